//! `cargo xtask setup`: makes sure of everything that building and testing need.
//!
//! The kernel programs need three things that fit each other: a rustc with the source of `core`,
//! a `bpf-linker` that speaks that rustc's LLVM, and the libLLVM itself. What was found or
//! installed is written to `.toolchain.toml`, which the build script of `cors-user` reads.

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::shell::say;

mod apt;
pub(crate) mod archive;
mod compiler;
pub(crate) mod emulator;
mod linker;
pub(crate) mod pypi;
mod record;
pub(crate) mod tools;

pub(crate) use compiler::Choice;
pub(crate) use linker::cache;
use record::Record;

#[derive(Args)]
pub(crate) struct Options {
    /// What else to prepare for, besides building
    #[arg(long = "for", value_enum, default_value_t = Purpose::Demo)]
    purpose: Purpose,
    /// Which eBPF tool chain to use; without it, one that is already there
    #[arg(long, value_enum)]
    toolchain: Option<Choice>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Purpose {
    /// Building, and the requests of the demonstration
    Demo,
    /// The end-to-end tests
    Test,
    /// The benchmarks
    Bench,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    toolchain(options.toolchain)?;
    apt::packages_for(options.purpose)?;
    if options.purpose != Purpose::Demo {
        pypi::install()?;
    }
    Ok(())
}

/// The same, as a first step of another verb.
pub(crate) fn prepare(purpose: Purpose) -> Result<()> {
    run(&Options { purpose, toolchain: None })
}

fn toolchain(choice: Option<Choice>) -> Result<()> {
    if choice.is_none()
        && let Some(record) = Record::read()
        && record.is_current()
    {
        say(&format!("eBPF tool chain: {}", record.describe()));
        return Ok(());
    }
    let compiler = compiler::find_or_install(choice)?;
    let record = Record {
        bpf_linker: linker::find_or_install(&compiler)?,
        llvm_dir: linker::llvm_dir(&compiler)?,
        rustc: compiler.rustc,
        cargo: compiler.cargo,
    };
    record.probe().context("the tool chain is there, but does not produce a BPF object")?;
    record.write()?;
    say(&format!("eBPF tool chain: {}", record.describe()));
    Ok(())
}
