//! Debian packages that are unpacked in the cache directory and not installed: kernels to boot, and
//! the emulator that boots them.
//!
//! Packages of another release of Debian come from where this machine has its own: the source is
//! derived from what apt is configured with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::linker::cache;
use crate::shell::{output, run, say};

/// Where Debian's packages of an architecture-independent keyring puts the keys of its archive.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Apt's view of one release.
pub(crate) struct Archive {
    /// What makes apt look there and nowhere else; nothing for the machine's own.
    options: Vec<String>,
}

impl Archive {
    /// The machine's own.
    pub(crate) fn own() -> Self {
        Self { options: Vec::new() }
    }

    /// That of a release of Debian, by its code name.
    pub(crate) fn of(release: &str) -> Result<Self> {
        let directory = cache().join(format!("archive-{release}"));
        let (source, lists) = (directory.join("source.list"), directory.join("lists"));
        fs::create_dir_all(lists.join("partial"))?;
        fs::create_dir_all(directory.join("archives/partial"))?;
        let by = if Path::new(KEYRING).is_file() {
            format!(" [signed-by={KEYRING}]")
        } else {
            String::new()
        };
        fs::write(&source, format!("deb{by} {} {release} main\n", own_archive()?))?;
        let options = [
            format!("Dir::Etc::sourcelist={}", source.display()),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::lists={}", lists.display()),
            format!("Dir::Cache={}", directory.display()),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            // The directory may be one that nobody but its owner can read.
            "APT::Sandbox::User=root".to_owned(),
        ];
        Ok(Self { options: options.into() })
    }

    /// Asks the archive what there is.
    pub(crate) fn update(&self) -> Result<()> {
        run(self.apt("apt-get").args(["-qq", "update"]))
    }

    /// The package that a package of no content stands for, such as the newest kernel.
    pub(crate) fn stands_for(&self, package: &str) -> Result<String> {
        let text = output(self.apt("apt-cache").args(["depends", package]))?;
        let depends = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(depends.with_context(|| format!("{package} depends on nothing"))?.to_owned())
    }

    /// Unpacks one package.
    pub(crate) fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        say(&format!("unpacking the Debian package {package} in {}", into.display()));
        let archives = fresh(&into.with_extension("deb"))?;
        run(self
            .apt("apt-get")
            .args(["-qq", "-o", "APT::Sandbox::User=root", "download", package])
            .current_dir(&archives))?;
        unpack_all(&archives, into)
    }

    /// Unpacks a package, and with it everything that it needs and that is not installed here.
    pub(crate) fn unpack_with_all(&self, package: &str, into: &Path) -> Result<()> {
        say(&format!("unpacking {package} and what it needs in {}", into.display()));
        let archives = fresh(&into.with_extension("deb"))?;
        fs::create_dir_all(archives.join("partial"))?;
        run(self
            .apt("apt-get")
            .args(["-qq", "install", "--yes", "--download-only", "--no-install-recommends"])
            .args(["-o", "APT::Sandbox::User=root", "-o"])
            .arg(format!("Dir::Cache::archives={}", archives.display()))
            .arg(package)
            .env("DEBIAN_FRONTEND", "noninteractive"))?;
        unpack_all(&archives, into)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(self.options.iter().flat_map(|option| ["-o", option]));
        command
    }
}

/// An empty directory of that name.
fn fresh(directory: &Path) -> Result<PathBuf> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    Ok(directory.to_owned())
}

/// Unpacks every package in a directory, which goes with it. The target appears when it is whole.
fn unpack_all(archives: &Path, into: &Path) -> Result<()> {
    let unpacked = fresh(&into.with_extension("part"))?;
    for entry in fs::read_dir(archives)?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(entry.path()).arg(&unpacked))?;
        }
    }
    fs::remove_dir_all(archives)?;
    if into.exists() {
        fs::remove_dir_all(into)?;
    }
    Ok(fs::rename(unpacked, into)?)
}

/// Where this machine gets the packages of its own release.
fn own_archive() -> Result<String> {
    let system = fs::read_to_string("/etc/os-release").context("this is no Debian")?;
    let release = system.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let release = release.context("this system's release has no code name")?;
    let targets = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)",
        "Identifier: Packages",
    ]))?;
    match targets.lines().find_map(|line| line.strip_prefix(&format!("Debian main {release} "))) {
        Some(uri) => Ok(uri.to_owned()),
        None => bail!("apt is configured with no archive of Debian {release}"),
    }
}
