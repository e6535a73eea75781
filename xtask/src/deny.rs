//! `cargo xtask deny`: licences, bans and sources of everything that is depended on; what is allowed
//! is in `deny.toml`, and why advisories are not looked at here.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{
    setup::tools::GUARD,
    shell::{run, workspace},
};

#[derive(Args)]
pub(crate) struct Options {}

pub(crate) fn run_verb(_: &Options) -> Result<()> {
    run(Command::new(GUARD.find_or_install()?)
        .current_dir(workspace())
        .args(["check", "licenses", "bans", "sources"]))
}
