//! `cargo xtask soak`: whole TCP conversations over a simulated network, built to be fast and with
//! every check on.

use std::{
    path::PathBuf,
    process::{Command, ExitStatus},
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::shell::{cargo, run as run_command, say, target_dir, workspace};

/// Connections in `cargo xtask test`.
const SHARE: u64 = 120_000;

#[derive(Args)]
pub(crate) struct Options {
    /// Where to begin: the same seed gives the same conversations
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many connections there are at least
    #[arg(long, default_value_t = SHARE)]
    connections: u64,
    /// Count what became of the frames as well
    #[arg(long)]
    verbose: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let status = start(options)?;
    if !status.success() {
        std::process::exit(1);
    }
    Ok(())
}

/// The share that every run of the tests has. Whether it passed.
pub(crate) fn share() -> Result<bool> {
    say("simulating conversations over a bad network");
    Ok(start(&Options { seed: 1, connections: SHARE, verbose: false })?.success())
}

fn start(options: &Options) -> Result<ExitStatus> {
    let program = build()?;
    let mut command = Command::new(&program);
    command.args(["--seed", &options.seed.to_string()]);
    command.args(["--connections", &options.connections.to_string()]);
    if options.verbose {
        command.arg("--verbose");
    }
    command.status().with_context(|| format!("cannot run {command:?}"))
}

fn build() -> Result<PathBuf> {
    run_command(Command::new(cargo()).current_dir(workspace()).args([
        "build",
        "--quiet",
        "--profile",
        "soak",
        "--package",
        "cors-soak",
    ]))?;
    Ok(target_dir().join("soak/cors-soak"))
}
