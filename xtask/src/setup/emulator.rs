//! `qemu-system-x86_64`: the one that is installed, or Debian's, unpacked in a cache directory of
//! ours.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use super::{archive::Archive, linker::cache};
use crate::shell::{find_program, output};

const NAME: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

/// An emulator that runs here.
pub(crate) struct Emulator {
    program: PathBuf,
    /// Where it was unpacked; nothing where it is installed.
    root: Option<PathBuf>,
}

impl Emulator {
    /// Finds or unpacks it.
    pub(crate) fn find_or_unpack() -> Result<Self> {
        if let Some(program) = find_program(NAME) {
            return Ok(Self { program, root: None });
        }
        let root = cache().join("qemu");
        let unpacked = Self { program: root.join("usr/bin").join(NAME), root: Some(root.clone()) };
        if unpacked.runs().is_ok() {
            return Ok(unpacked);
        }
        let archive = Archive::own();
        if archive.unpack_with_all(PACKAGE, &root).is_err() {
            archive.update()?;
            archive.unpack_with_all(PACKAGE, &root)?;
        }
        unpacked.runs()?;
        Ok(unpacked)
    }

    fn runs(&self) -> Result<String> {
        output(self.command().arg("--version"))
    }

    /// To start it, killed when whoever starts it goes.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(&self.program);
        if let Some(root) = &self.root {
            let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
            let libraries = libraries.map(|path| root.join(path).display().to_string());
            command.env("LD_LIBRARY_PATH", libraries.join(":"));
            for firmware in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(root.join(firmware));
            }
        }
        command
    }
}
