//! `cargo xtask vm`: the agent and the core of its end-to-end tests on the kernels of Debian
//! releases, under an emulator.
//!
//! Each boots with a file system in memory that holds the agent, the test programs as they were
//! built here, and what they need; nothing of this machine is shared with it. What a machine says
//! is kept in `target/vm`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::{
    setup::{self, Purpose, emulator::Emulator},
    shell::{agent, build_agent, cargo, find_program, output, say, target_dir, workspace},
};

pub(crate) mod guest;
mod initramfs;
mod kernels;
mod machine;

use initramfs::Initramfs;
use kernels::Kernel;
use machine::Machine;

/// Paths in the machine.
const AGENT: &str = "cors-edge";
const MODULES: &str = "modules";
const TESTS: &str = "tests";

/// On every kernel.
const ALWAYS: &str = "always";

/// What is run: where, which test program, and its arguments. One test at a time: a kernel that has
/// a program verified under emulation takes seconds for it, in which the heartbeat of another agent
/// may stop.
const CORE: &[(&str, &str, &[&str])] = &[
    (ALWAYS, "kernel_handshake", &["what_the_kernel_has", "--nocapture"]),
    (
        ALWAYS,
        "kernel_handshake",
        &["preflights_are_answered", "refused::v4", "given_again::v6", "--test-threads=1"],
    ),
    (ALWAYS, "tracked", &["every_byte_reaches_its_side::v6"]),
    (
        ALWAYS,
        "tracked_edges",
        &[
            "inside_of_bodies::v4",
            "a_stopped_agent_resets_what_would_break::v4",
            "--test-threads=1",
        ],
    ),
    (guest::TAKES_OVER, "handover", &["every_byte_of_a_request_in_three_segments_arrives::v4"]),
];

#[derive(Args)]
pub(crate) struct Options {
    /// A kernel: 6.1, 6.12, or a directory in which a kernel package was unpacked
    #[arg(long)]
    kernel: Vec<String>,
    /// Run on this machine's processor (/dev/kvm) instead of on an emulated one
    #[arg(long)]
    kvm: bool,
}

/// What came of the tests on one kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Results {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    setup::prepare(Purpose::Demo)?;
    build_agent()?;
    let emulator = Emulator::find_or_unpack()?;
    let kernels = if options.kernel.is_empty() { kernels::usual() } else { options.kernel.clone() };
    let Results { failed, .. } = on_each(&emulator, &kernels, options.kvm)?;
    if failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

/// The share that every run of the tests has; nothing where there is no emulator. The agent is
/// there.
pub(crate) fn share() -> Result<Option<Results>> {
    match Emulator::find_or_unpack() {
        Ok(emulator) => on_each(&emulator, &kernels::usual(), false).map(Some),
        Err(error) => {
            say(&format!("other kernels are left out, because there is no emulator: {error:#}"));
            Ok(None)
        }
    }
}

fn on_each(emulator: &Emulator, kernels: &[String], kvm: bool) -> Result<Results> {
    let programs = test_programs()?;
    let directory = target_dir().join("vm");
    fs::create_dir_all(&directory)?;
    let mut all = Results::default();
    for name in kernels {
        let kernel = Kernel::find(name)?;
        let results = on(emulator, &kernel, &programs, &directory, kvm)?;
        all.passed += results.passed;
        all.failed += results.failed;
    }
    Ok(all)
}

fn on(
    emulator: &Emulator,
    kernel: &Kernel,
    programs: &[(String, PathBuf)],
    directory: &Path,
    kvm: bool,
) -> Result<Results> {
    let name = kernel.name.replace('/', "-");
    let initramfs = directory.join(format!("{name}.cpio"));
    let log = directory.join(format!("{name}.log"));
    build(kernel, programs)?.write(&initramfs)?;
    println!("\nLinux {}", kernel.name);
    let start = Instant::now();
    let mut heard = Heard::default();
    let machine = Machine {
        emulator,
        kernel: &kernel.image,
        initramfs: &initramfs,
        arguments: "vm-guest",
        log: &log,
        patience: Duration::from_mins(5),
        kvm,
    };
    let ended = machine.run(|line| heard.hear(line));
    fs::remove_file(&initramfs)?;
    let mut results = heard.results;
    if let Err(error) = ended {
        heard.trouble.push(format!("{error:#}"));
    } else if !heard.ended {
        heard.trouble.push("it ended before its time".to_owned());
    }
    if !heard.trouble.is_empty() {
        results.failed = results.failed.max(1);
        heard.trouble.iter().for_each(|trouble| println!("  {trouble}"));
        println!("  all that it said is in {}", log.display());
    }
    let Results { passed, failed } = results;
    let seconds = start.elapsed().as_secs();
    println!("  {passed} passed, {failed} failed, in {seconds} s");
    Ok(results)
}

/// What a machine has said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    results: Results,
    trouble: Vec<String>,
    ended: bool,
    /// Lines about the kernel are being said.
    tells: bool,
}

impl Heard {
    fn hear(&mut self, line: &str) {
        if line == guest::END {
            self.ended = true;
        } else if let Some(what) = line.strip_prefix(guest::FAILED) {
            self.trouble.push(format!("failed: {what}"));
        } else if line == "kernel" {
            self.tells = true;
        } else if self.tells {
            self.tells = line.starts_with("  ");
            if self.tells {
                println!("{line}");
            }
        }
        let Some((name, result)) = line.strip_prefix("test ").and_then(|l| l.split_once(" ... "))
        else {
            return;
        };
        match result {
            "ok" => self.results.passed += 1,
            "FAILED" => {
                self.results.failed += 1;
                self.trouble.push(format!("failed: {name}"));
            }
            _ => {}
        }
    }
}

fn build(kernel: &Kernel, programs: &[(String, PathBuf)]) -> Result<Initramfs> {
    let mut files = Initramfs::default();
    for directory in ["proc", "sys", "dev", "tmp", "run", "etc", "var", MODULES, TESTS] {
        files.directory(directory);
    }
    files.program("init", &env::current_exe().context("this program's own path")?)?;
    files.program(AGENT, &agent())?;
    files.program("usr/sbin/ip", &find_program("ip").context("there is no program ip")?)?;
    for (name, program) in programs {
        files.program(&format!("bin/{name}"), program)?;
    }
    for (number, (name, module)) in kernel.modules()?.into_iter().enumerate() {
        files.bytes(&format!("{MODULES}/{number:02}-{name}"), module);
    }
    for (number, (condition, program, arguments)) in CORE.iter().enumerate() {
        let line = format!("{condition} /bin/{program} {}\n", arguments.join(" "));
        files.bytes(&format!("{TESTS}/{number:02}"), line.into_bytes());
    }
    Ok(files)
}

/// The test programs that are run, built: their names and where they are.
fn test_programs() -> Result<Vec<(String, PathBuf)>> {
    let mut names: Vec<&str> = CORE.iter().map(|(_, program, _)| *program).collect();
    names.sort_unstable();
    names.dedup();
    let mut command = Command::new(cargo());
    command.current_dir(workspace()).args(["test", "--package", "cors-tests", "--no-run"]);
    command.args(["--quiet", "--message-format", "json"]).stderr(Stdio::inherit());
    command.args(names.iter().flat_map(|name| ["--test", name]));
    let messages = output(&mut command)?;
    let built = |message: &str| {
        let message: Value = serde_json::from_str(message).ok()?;
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, PathBuf::from(message["executable"].as_str()?)))
    };
    let programs: Vec<_> = messages.lines().filter_map(built).collect();
    if programs.len() == names.len() {
        Ok(programs)
    } else {
        bail!("cargo has built {} test programs, not {}", programs.len(), names.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_says() {
        let mut heard = Heard::default();
        for line in [
            "[    0.1] something of the kernel's",
            "test preflights::v4 ... ok",
            "kernel",
            "  release  6.1.0",
            "",
            "  not about the kernel",
            "test preflights::v6 ... FAILED",
            "vm: failed /bin/tracked: exit status: 101",
            "test slow ... ignored",
        ] {
            heard.hear(line);
        }
        assert_eq!(heard.results, Results { passed: 1, failed: 1 });
        let trouble = ["failed: preflights::v6", "failed: /bin/tracked: exit status: 101"];
        assert_eq!(
            (heard.trouble.iter().map(String::as_str).collect(), heard.ended),
            (trouble.to_vec(), false)
        );
        heard.hear("vm: end");
        assert!(heard.ended);
    }
}
