//! The agent as a child process, and what it says about itself.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::{child::tie, policy::Policy};
use crate::shell::output;

/// Long enough for a slow machine to load the programs; only there so that nothing hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running agent.
pub(super) struct Agent {
    child: Child,
    program: PathBuf,
    runtime_dir: PathBuf,
    log: PathBuf,
}

impl Agent {
    /// Starts it on `lo` and waits until it is ready.
    pub(super) fn start(program: &Path, policy: &Policy, scratch: &Path) -> Result<Self> {
        let config = scratch.join("demo.toml");
        fs::write(&config, &policy.text)?;
        let runtime_dir = scratch.join("cors-edge");
        let log = scratch.join("agent.log");
        let mut command = Command::new(program);
        command
            .args(["run", "--interface", "lo", "--config"])
            .arg(&config)
            .arg("--runtime-dir")
            .arg(&runtime_dir)
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?);
        let child = tie(&mut command)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let mut agent = Self { child, program: program.to_owned(), runtime_dir, log };
        agent.wait_until_ready()?;
        Ok(agent)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while self.counters().is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the agent ended, {status}:\n{}", self.log());
            }
            if start.elapsed() > PATIENCE {
                bail!("the agent does not become ready:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What its programs have counted so far.
    pub(super) fn counters(&self) -> Result<Counters> {
        let mut command = Command::new(&self.program);
        command.args(["status", "--json", "--runtime-dir"]).arg(&self.runtime_dir);
        let status = output(tie(&mut command))?;
        let status: Value = serde_json::from_str(&status).context("the status is not JSON")?;
        let counters = status["counters"].as_object().context("the status has no counters")?;
        let counter = |(name, value): (&String, &Value)| Some((name.clone(), value.as_u64()?));
        Ok(Counters(counters.iter().filter_map(counter).collect()))
    }

    /// Asks it to stop, and expects it to do so in good order.
    pub(super) fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGTERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the agent stopped with {status}:\n{}", self.log());
        }
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Has no effect on one that was stopped.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Totals by name.
pub(super) struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// One counter; 0 where there is none of that name.
    pub(super) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// What was added after `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().map(|(name, n)| (name.clone(), n - before.get(name))).collect())
    }

    /// Those that counted something.
    pub(super) fn nonzero(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().filter(|(_, n)| **n > 0).map(|(name, n)| (name.as_str(), *n))
    }
}
