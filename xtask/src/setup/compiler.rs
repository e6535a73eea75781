//! A rustc that can compile `core` for BPF: one whose LLVM major is the one that our `bpf-linker`
//! speaks, and whose own `core` source is installed beside it.
//!
//! Two will do. A dated nightly from rustup, the same on every machine; or the pair of packages
//! that Debian keeps for its web browsers, where only Debian's archive can be reached.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use super::apt;
use crate::shell::{cargo, find_program, output, run, say};

/// The nightly that the project pins. Its LLVM must be [`LLVM`].
const NIGHTLY: &str = "nightly-2026-05-20";
/// The LLVM major version that [`super::linker::VERSION`] speaks.
const LLVM: u32 = 22;

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "rust-web-src"];
/// The first minor release of Rust 1 that Debian built with [`LLVM`].
const DEBIAN_MINOR: u32 = 96;

/// Where the compiler comes from.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Choice {
    /// The pinned nightly, by rustup
    Rustup,
    /// The packages rustc-web and rust-web-src, by apt
    Debian,
}

/// A compiler that was looked at and found fit.
pub(super) struct Compiler {
    pub(super) rustc: PathBuf,
    pub(super) cargo: PathBuf,
}

/// A compiler that is already there wins; then what rustup can install; then what apt can.
pub(super) fn find_or_install(choice: Option<Choice>) -> Result<Compiler> {
    match choice {
        Some(choice) => find(choice).or_else(|_| install(choice)),
        None => find(Choice::Rustup)
            .or_else(|_| find(Choice::Debian))
            .or_else(|_| install(Choice::Rustup))
            .or_else(|error| {
                say(&format!("rustup cannot provide it: {error:#}"));
                install(Choice::Debian)
            })
            .context("found no way to a compiler for the kernel programs"),
    }
}

fn find(choice: Choice) -> Result<Compiler> {
    let compiler = match choice {
        Choice::Rustup => Compiler { rustc: rustup_which("rustc")?, cargo: rustup_which("cargo")? },
        Choice::Debian => Compiler { rustc: DEBIAN_RUSTC.into(), cargo: cargo() },
    };
    check(&compiler.rustc)?;
    Ok(compiler)
}

fn install(choice: Choice) -> Result<Compiler> {
    match choice {
        Choice::Rustup => {
            if find_program("rustup").is_none() {
                bail!("there is no rustup");
            }
            say(&format!("installing the Rust tool chain {NIGHTLY} with rust-src, by rustup"));
            run(Command::new("rustup")
                .args(["toolchain", "install", NIGHTLY, "--no-self-update"])
                .args(["--profile", "minimal", "--component", "rust-src"]))?;
        }
        Choice::Debian => {
            let minor = |version: &str| minor(version).unwrap_or(0);
            apt::install_at_least(DEBIAN_PACKAGES, |version| minor(version) >= DEBIAN_MINOR)?;
        }
    }
    find(choice)
}

/// Asks rustup without letting it install anything.
fn rustup_which(program: &str) -> Result<PathBuf> {
    let path = output(
        Command::new("rustup")
            .args(["which", "--toolchain", NIGHTLY, program])
            .env("RUSTUP_AUTO_INSTALL", "0"),
    )?;
    Ok(path.trim_end().into())
}

fn check(rustc: &Path) -> Result<()> {
    let version = output(Command::new(rustc).arg("-vV"))?;
    let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name));
    let llvm = field("LLVM version: ").and_then(|llvm| llvm.split('.').next()?.parse().ok());
    if llvm != Some(LLVM) {
        bail!("{} speaks LLVM {llvm:?}, needed is {LLVM}", rustc.display());
    }
    if !has_source(rustc) {
        bail!("{} has no standard library source", rustc.display());
    }
    Ok(())
}

/// Whether the source of `core` is where `-Z build-std` looks for it.
pub(super) fn has_source(rustc: &Path) -> bool {
    output(Command::new(rustc).args(["--print", "sysroot"])).is_ok_and(|sysroot| {
        Path::new(sysroot.trim_end()).join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
    })
}

/// The 96 of `1.96.0+dfsg1-1`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::minor;

    #[test]
    fn reads_the_minor_release_from_a_package_version() {
        assert_eq!(minor("1.96.0+dfsg1-1~deb12u2"), Some(96));
        assert_eq!(minor("1.85.0+dfsg3-1~deb12u3"), Some(85));
        assert_eq!(minor("(none)"), None);
    }
}
