//! The project's chores: `cargo xtask <verb>`. One module a verb.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod shell;

mod bench;
mod deb;
mod demo;
mod deny;
mod setup;
mod soak;
mod test;
mod vm;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, demonstration, tests and benchmarks of cors-edge")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Find or install what the build needs; quick when nothing is missing
    Setup(setup::Options),
    /// See it work: real requests against a private network namespace (needs root)
    Demo(demo::Options),
    /// Run every test there is, end-to-end ones included (needs root)
    Test(test::Options),
    /// Let real TCP clients talk to the driver's decisions over a simulated bad network
    Soak(soak::Options),
    /// Run the agent and the core of the end-to-end tests on other kernels, under an emulator
    Vm(vm::Options),
    /// Look at the licences and sources of everything that is depended on
    Deny(deny::Options),
    /// Make the Debian package
    Deb(deb::Options),
    /// Measure it beside other servers, in network namespaces (needs root)
    Bench(bench::Options),
    /// Be one of those servers: hyper, on port 80
    #[command(hide = true)]
    ServeHyper,
    /// Be the first process of a machine that `vm` boots
    #[command(hide = true)]
    VmGuest,
}

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Setup(options) => setup::run(&options),
        Verb::Demo(options) => demo::run(&options),
        Verb::Test(options) => test::run(&options),
        Verb::Soak(options) => soak::run(&options),
        Verb::Deny(options) => deny::run_verb(&options),
        Verb::Deb(options) => deb::run_verb(&options),
        Verb::Bench(options) => bench::run(&options),
        Verb::Vm(options) => vm::run(&options),
        Verb::VmGuest => vm::guest::run(),
        Verb::ServeHyper => bench::hyper_peer::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace that anyhow may have: these are sentences for people.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
