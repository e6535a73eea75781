//! `cargo xtask deb`: the Debian package, with man pages and completions, a systemd unit and an
//! example policy. What goes where is in `cors-user/Cargo.toml`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    setup::{self, Purpose, tools::PACKAGER},
    shell::{agent, build_agent, output, run, say, workspace},
};

#[derive(Args)]
pub(crate) struct Options {}

pub(crate) fn run_verb(_: &Options) -> Result<()> {
    setup::prepare(Purpose::Demo)?;
    build_agent()?;
    let package = build(false)?;
    println!("{}", package.display());
    Ok(())
}

/// Packs the release build that there is, and returns the package; a `quick` one is larger.
pub(crate) fn build(quick: bool) -> Result<PathBuf> {
    let packager = PACKAGER.find_or_install()?;
    let directory = workspace().join("target/deb");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    say("packing");
    run(Command::new(agent()).arg("generate").arg(&directory))?;
    output(
        Command::new(packager)
            .current_dir(workspace())
            .args(["--package", "cors-user", "--no-build", "--output"])
            .arg(&directory)
            .args(quick.then_some("--fast")),
    )?;
    find(&directory)
}

fn find(directory: &Path) -> Result<PathBuf> {
    let mut files = fs::read_dir(directory)?.filter_map(|entry| Some(entry.ok()?.path()));
    let package = files.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    package.context("cargo-deb made no package")
}
