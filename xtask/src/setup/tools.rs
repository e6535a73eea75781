//! Cargo's helpers, each in one exact version, in a cache directory of ours.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};

use super::linker::cache;
use crate::shell::{cargo, output, run, say};

/// A program that is installed by cargo.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

/// Makes Debian packages.
pub(crate) const PACKAGER: Tool = Tool { name: "cargo-deb", version: "3.8.0" };

/// Looks at what is depended on.
pub(crate) const GUARD: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

impl Tool {
    /// The path of the program, after building it where it is missing.
    pub(crate) fn find_or_install(&self) -> Result<PathBuf> {
        let Self { name, version } = self;
        let root = cache().join(format!("{name}-{version}"));
        let path = root.join("bin").join(name);
        if self.is_at(&path) {
            return Ok(path);
        }
        say(&format!("installing {name} {version} in {} (some minutes)", root.display()));
        run(Command::new(cargo())
            // Away from the workspace, whose cargo configuration is not meant for it.
            .current_dir("/")
            .args(["install", name, "--version", version, "--locked", "--force", "--root"])
            .arg(&root)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_TARGET_DIR"))?;
        if !self.is_at(&path) {
            bail!("{} is not {name} {version}", path.display());
        }
        Ok(path)
    }

    fn is_at(&self, path: &std::path::Path) -> bool {
        output(Command::new(path).arg("--version"))
            .is_ok_and(|version| version.contains(self.version))
    }
}
