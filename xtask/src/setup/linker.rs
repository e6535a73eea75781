//! `bpf-linker`, one exact version, in a cache directory of ours.
//!
//! It carries no LLVM: at run time it opens the first file called `libLLVM*` that it meets in the
//! directories of `LD_LIBRARY_PATH`, whatever version that is. So it is always run with a path
//! of one directory, which holds one link, to the libLLVM of the compiler that calls it.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::compiler::Compiler;
use crate::shell::{cargo, output, run, say};

/// The last release that finds its LLVM beside rustc; later ones want a system LLVM.
pub(super) const VERSION: &str = "0.10.3";

/// Where the project keeps what it installs for itself.
pub(crate) fn cache() -> PathBuf {
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache"))
        .join("cors-edge")
}

fn root() -> PathBuf {
    cache().join(format!("bpf-linker-{VERSION}"))
}

/// Where the linker is, or will be.
pub(super) fn path() -> PathBuf {
    root().join("bin/bpf-linker")
}

/// The path of the linker, after building it where it is missing.
pub(super) fn find_or_install(compiler: &Compiler) -> Result<PathBuf> {
    let path = path();
    if is_pinned_version(&path) {
        return Ok(path);
    }
    say(&format!("installing bpf-linker {VERSION} in {} (two minutes)", root().display()));
    run(Command::new(cargo())
        // Away from the workspace, whose cargo configuration is not meant for it.
        .current_dir("/")
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force", "--root"])
        .arg(root())
        .env("RUSTC", &compiler.rustc)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR"))?;
    if !is_pinned_version(&path) {
        bail!("{} is not bpf-linker {VERSION}", path.display());
    }
    Ok(path)
}

fn is_pinned_version(path: &Path) -> bool {
    output(Command::new(path).arg("--version"))
        .is_ok_and(|version| version.split_whitespace().any(|word| word == VERSION))
}

/// A directory that holds nothing but a link to the libLLVM of this compiler.
pub(super) fn llvm_dir(compiler: &Compiler) -> Result<PathBuf> {
    let library = llvm_of(&compiler.rustc)?;
    let version = output(Command::new(&compiler.rustc).arg("--version"))?;
    let version = version.split_whitespace().nth(1).context("rustc does not tell its version")?;
    let dir = cache().join(format!("llvm-of-rustc-{version}"));
    let link = dir.join("libLLVM.so");
    if fs::read_link(&link).is_ok_and(|target| target == library) {
        return Ok(dir);
    }
    fs::create_dir_all(&dir)?;
    if link.is_symlink() {
        fs::remove_file(&link)?;
    }
    symlink(&library, &link).with_context(|| format!("cannot create {}", link.display()))?;
    Ok(dir)
}

/// Asks the dynamic loader, as ldd does, which libLLVM this rustc runs with.
fn llvm_of(rustc: &Path) -> Result<PathBuf> {
    let libraries = output(
        Command::new(rustc).env("LD_TRACE_LOADED_OBJECTS", "1").env_remove("LD_LIBRARY_PATH"),
    )?;
    let library = libraries
        .lines()
        .filter_map(|line| line.split_once(" => "))
        .find(|(name, _)| name.trim_start().starts_with("libLLVM"))
        .and_then(|(_, target)| target.split_whitespace().next())
        .with_context(|| format!("{} does not use a shared libLLVM", rustc.display()))?;
    fs::canonicalize(library).with_context(|| format!("{library} is not there"))
}
