//! `cargo xtask test`: every test of the workspace, the end-to-end ones against a release agent.
//!
//! The tests themselves are built in the `dev` profile: there overflow checks and debug
//! assertions are on.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    deb,
    setup::{self, Purpose, pypi},
    shell::{agent, build_agent, cargo, is_root, say, workspace},
    soak, vm,
};

#[derive(Args)]
pub(crate) struct Options {
    /// Run only the tests whose names contain this
    filter: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !is_root() {
        bail!(
            "the end-to-end tests make network namespaces and load kernel programs, which only \
             root may do. Please run\n    sudo env \"PATH=$PATH\" cargo xtask test"
        );
    }
    setup::prepare(Purpose::Test)?;
    build_agent()?;
    let package = deb::build(true)?;
    let start = Instant::now();
    let mut tally = cargo_test(options.filter.as_deref(), &package)?;
    // Tests more to whoever counts; a filter is about names, and these have others.
    if options.filter.is_none() {
        let passed = soak::share()?;
        tally.passed += u64::from(passed);
        tally.failed += u64::from(!passed);
        if let Some(vm::Results { passed, failed }) = vm::share()? {
            tally.passed += passed;
            tally.failed += failed;
        }
    }
    println!("\n{}", tally.closing_line(start.elapsed()));
    if tally.failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    filtered_out: u64,
}

/// Runs `cargo test`, repeats what it prints and adds up what its runners say at their end.
fn cargo_test(filter: Option<&str>, package: &Path) -> Result<Tally> {
    say("running the tests");
    let mut child = Command::new(cargo())
        .current_dir(workspace())
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(filter)
        // What needs root is left out elsewhere; here it is there.
        .args(["--", "--include-ignored"])
        .env("CORS_EDGE_BIN", agent())
        .env("CORS_EDGE_DEB", package)
        .envs(pypi::variables())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo test")?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        tally.add(&line);
    }
    let status = child.wait()?;
    if !status.success() && tally.failed == 0 {
        // A test that does not compile, or a runner that died before it could say so.
        say(&format!("cargo test: {status}"));
        tally.failed = 1;
    }
    Ok(tally)
}

impl Tally {
    /// Adds a line such as `test result: ok. 12 passed; 0 failed; 0 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let count = |what: &str| -> u64 {
            result
                .split([';', '.'])
                .filter_map(|part| part.trim().strip_suffix(what)?.trim().parse::<u64>().ok())
                .sum()
        };
        self.passed += count(" passed");
        self.failed += count(" failed");
        self.ignored += count(" ignored");
        self.filtered_out += count(" filtered out");
    }

    /// What all the runners would say if they were one, in their own words.
    fn closing_line(&self, elapsed: Duration) -> String {
        let Self { passed, failed, ignored, filtered_out } = self;
        let result = if *failed == 0 { "ok" } else { "FAILED" };
        format!(
            "test result: {result}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; \
             {filtered_out} filtered out; finished in {:.2}s",
            elapsed.as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Tally;

    #[test]
    fn adds_up_the_closing_lines_of_several_runners() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test a::b ... FAILED",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.25s",
        ] {
            tally.add(line);
        }
        assert_eq!(tally, Tally { passed: 15, failed: 2, ignored: 1, filtered_out: 0 });
        let line = tally.closing_line(Duration::from_millis(1250));
        assert_eq!(
            line,
            "test result: FAILED. 15 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; \
             finished in 1.25s"
        );
    }
}
