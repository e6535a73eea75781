//! The first process of a machine that is booted: mounts what a system has mounted, loads modules,
//! runs tests, and turns the machine off.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount},
    sys::reboot::{RebootMode, reboot},
};

use super::{AGENT, MODULES, TESTS};

/// What the machine says at its end where everything was run. A kernel that breaks does not.
pub(super) const END: &str = "vm: end";
/// In front of the name of what is run next.
pub(super) const NEXT: &str = "vm: next ";
/// In front of what is run and did not end well.
pub(super) const FAILED: &str = "vm: failed ";

/// Tests that need a kernel which takes connections over: without, it makes every handshake itself.
pub(super) const TAKES_OVER: &str = "takes-over";

/// Does all of it.
pub(crate) fn run() -> Result<()> {
    if process::id() != 1 {
        bail!("this is the first process of a machine that `cargo xtask vm` boots");
    }
    match inside() {
        Ok(()) => println!("{END}"),
        Err(error) => println!("{FAILED}{error:#}"),
    }
    nix::unistd::sync();
    match reboot(RebootMode::RB_POWER_OFF)? {}
}

fn inside() -> Result<()> {
    let none = None::<&str>;
    for (kind, on) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
        ("bpf", "/sys/fs/bpf"),
    ] {
        fs::create_dir_all(on)?;
        match mount(Some(kind), on, Some(kind), MsFlags::empty(), none) {
            Err(Errno::EBUSY) => {}
            result => result.with_context(|| format!("cannot mount {on}"))?,
        }
    }
    for module in sorted(MODULES)? {
        let file = File::open(&module)?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            Err(Errno::EEXIST) => {}
            result => result.with_context(|| format!("cannot load {}", module.display()))?,
        }
    }
    let takes_over = contains("/sys/kernel/btf/vmlinux", cors_common::kfunc::NAME.as_bytes())?;
    for run in sorted(TESTS)? {
        let text = fs::read_to_string(&run)?;
        let mut words = text.split_whitespace();
        let (Some(condition), Some(program)) = (words.next(), words.next()) else { continue };
        if condition == TAKES_OVER && !takes_over {
            continue;
        }
        println!("{NEXT}{program}");
        let status = Command::new(program)
            .args(words)
            .env("PATH", "/usr/bin:/usr/sbin:/bin:/sbin")
            .env("CORS_EDGE_BIN", Path::new("/").join(AGENT))
            .status()
            .with_context(|| format!("cannot run {program}"))?;
        if !status.success() {
            println!("{FAILED}{program}: {status}");
        }
    }
    Ok(())
}

/// What is in a directory, in the order of the names.
fn sorted(directory: &str) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(Path::new("/").join(directory))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// Whether a name is among those of the kernel's types and functions.
fn contains(file: &str, name: &[u8]) -> Result<bool> {
    let bytes = fs::read(file).with_context(|| format!("this kernel has no {file}"))?;
    Ok(bytes.split(|byte| *byte == 0).any(|text| text == name))
}
