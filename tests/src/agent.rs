//! The agent under test: a release build of `cors-edge`, running on a host of the test's.

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    net::TcpListener,
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::fs::chown,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::signal::Signal,
};
use serde_json::Value;

use crate::{
    counter::Counters, eventually, netns::Netns, policy, process::Process, scratch::Scratch,
    topology, xdp::Runs,
};

/// A running agent; killed when dropped.
#[derive(Debug)]
pub struct Agent {
    host: Netns,
    program: PathBuf,
    process: Option<Process>,
    scratch: Scratch,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    host: &'a Netns,
    policy: String,
    interfaces: Vec<&'a str>,
    xdp: &'a str,
    drain: &'a str,
    more: Vec<&'a str>,
    privilege: Privilege<'a>,
    runtime_dir: Option<&'a Path>,
    program: Option<PathBuf>,
    log_format: &'a str,
    environment: Vec<(&'a str, String)>,
    sockets: Vec<RawFd>,
}

/// What the agent may do. The names of capabilities are those of setpriv(1).
#[derive(Clone, Copy, Debug)]
enum Privilege<'a> {
    Root,
    RootWithout(&'a [&'a str]),
    NobodyWith(&'a [&'a str]),
}

/// An agent that has ended, and its files.
#[derive(Debug)]
pub struct Ended(Scratch);

/// User and group of `nobody`.
const NOBODY: u32 = 65_534;

impl<'a> Setup<'a> {
    /// On this host, with this policy file.
    pub fn new(host: &'a Netns, policy: String) -> Self {
        Self {
            host,
            policy,
            interfaces: Vec::new(),
            xdp: "auto",
            drain: "0",
            more: Vec::new(),
            privilege: Privilege::Root,
            runtime_dir: None,
            program: None,
            log_format: "text",
            environment: Vec::new(),
            sockets: Vec::new(),
        }
    }

    /// With its log in this form, instead of as text.
    #[must_use]
    pub fn log_format(mut self, format: &'a str) -> Self {
        self.log_format = format;
        self
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn environment(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// With a listening socket, given as a service manager would.
    #[must_use]
    pub fn socket(mut self, socket: &TcpListener) -> Self {
        // Every child has it from now on; whoever is not told of it leaves it alone.
        fcntl(socket, FcntlArg::F_SETFD(FdFlag::empty())).expect("let children have it");
        self.sockets.push(socket.as_raw_fd());
        self
    }

    /// With its status socket in this directory instead of one of its own.
    #[must_use]
    pub fn runtime_dir(mut self, directory: &'a Path) -> Self {
        self.runtime_dir = Some(directory);
        self
    }

    /// As root who lacks these capabilities.
    #[must_use]
    pub fn root_without(mut self, capabilities: &'a [&'a str]) -> Self {
        self.privilege = Privilege::RootWithout(capabilities);
        self
    }

    /// As a user who has these capabilities and no others.
    #[must_use]
    pub fn nobody_with(mut self, capabilities: &'a [&'a str]) -> Self {
        self.privilege = Privilege::NobodyWith(capabilities);
        self
    }

    /// On this interface, too.
    #[must_use]
    pub fn interface(mut self, name: &'a str) -> Self {
        self.interfaces.push(name);
        self
    }

    /// In this mode: `auto`, `native`, `generic`, `off`.
    #[must_use]
    pub fn xdp(mut self, mode: &'a str) -> Self {
        self.xdp = mode;
        self
    }

    /// With so many seconds for open connections at the end, instead of none.
    #[must_use]
    pub fn drain(mut self, seconds: &'a str) -> Self {
        self.drain = seconds;
        self
    }

    /// With another argument.
    #[must_use]
    pub fn argument(mut self, argument: &'a str) -> Self {
        self.more.push(argument);
        self
    }

    /// From this build of it.
    #[must_use]
    pub fn program(mut self, path: PathBuf) -> Self {
        self.program = Some(path);
        self
    }

    /// Starts it and waits until it says that it is ready.
    pub fn start(self) -> Agent {
        self.start_in(Scratch::new("agent"))
    }

    /// Starts it in the place of one that has ended, with that one's files.
    pub fn start_after(self, ended: Ended) -> Agent {
        self.start_in(ended.0)
    }

    fn start_in(self, scratch: Scratch) -> Agent {
        let (host, program) = (self.host.clone(), self.binary());
        let mut agent = Agent { host, program, process: None, scratch };
        let mut command = self.command(&agent.scratch);
        let log = File::create(agent.scratch.path("log")).expect("make a log file");
        command.stdout(log.try_clone().expect("share the log file")).stderr(log);
        agent.process = Some(self.host.spawn(command));
        eventually("the agent is ready", || {
            if let Some(status) = agent.process.as_mut().and_then(Process::ended) {
                panic!("the agent ended: {status}\n{}", agent.log());
            }
            agent.try_status()
        });
        agent
    }

    /// Starts it in the place of one that is running, with that one's files, and waits until that one
    /// has ended.
    pub fn replace(self, agent: &mut Agent) {
        let scratch = &agent.scratch;
        fs::rename(scratch.path("log"), scratch.path("log.old")).expect("rename the log");
        let mut command = self.argument("--replace").command(scratch);
        let log = File::create(scratch.path("log")).expect("make a log file");
        command.stdout(log.try_clone().expect("share the log file")).stderr(log);
        let mut process = agent.host.spawn(command);
        let pid = process.pid().as_raw();
        eventually("the agent is in the other's place", || {
            if let Some(status) = process.ended() {
                panic!("the agent ended: {status}\n{}", agent.log());
            }
            (agent.try_status()?["pid"] == pid).then_some(())
        });
        let mut old = agent.process.replace(process).expect("a running agent");
        let status = eventually("the other ends", || old.ended());
        assert!(status.success(), "{status}\n{}", agent.scratch.read("log.old"));
    }

    /// Starts it where it is expected to refuse. Returns its exit code and what it says.
    pub fn refuse(self) -> (i32, String) {
        let scratch = Scratch::new("agent");
        let mut command = self.command(&scratch);
        let log = File::create(scratch.path("log")).expect("make a log file");
        command.stdout(Stdio::null()).stderr(log);
        let mut process = self.host.spawn(command);
        let status = eventually("the agent refuses to start", || process.ended());
        (status.code().unwrap_or(-1), scratch.read("log"))
    }

    fn binary(&self) -> PathBuf {
        self.program.clone().unwrap_or_else(binary)
    }

    fn command(&self, scratch: &Scratch) -> Command {
        let config = scratch.write("policy.toml", &self.policy);
        let runtime_dir = self.runtime_dir.map_or_else(|| scratch.path("run"), Path::to_owned);
        let mut command = match self.privilege {
            Privilege::Root => Command::new(self.binary()),
            Privilege::RootWithout(capabilities) => {
                let mut command = Command::new("setpriv");
                command.arg(list("--bounding-set=", '-', capabilities)).arg(self.binary());
                command
            }
            Privilege::NobodyWith(capabilities) => {
                fs::create_dir(&runtime_dir).expect("make a runtime directory");
                chown(&runtime_dir, Some(NOBODY), Some(NOBODY)).expect("give it to nobody");
                let mut command = Command::new("setpriv");
                command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
                for set in ["--inh-caps=-all,", "--ambient-caps=-all,", "--bounding-set=-all,"] {
                    command.arg(list(set, '+', capabilities));
                }
                command.arg(scratch.copy_program(self.binary()));
                command
            }
        };
        if !self.sockets.is_empty() {
            command = self.given(&command);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(["--log-format", self.log_format]);
        command.args(["run", "--xdp", self.xdp, "--drain", self.drain]).arg("--config").arg(config);
        command.arg("--runtime-dir").arg(runtime_dir);
        for interface in &self.interfaces {
            command.args(["--interface", interface]);
        }
        command.args(&self.more);
        command
    }
}

impl Setup<'_> {
    /// The command with the sockets as its first descriptors behind the standard ones.
    fn given(&self, command: &Command) -> Command {
        let mut script = String::new();
        for (number, socket) in (3..).zip(&self.sockets) {
            write!(script, "exec {number}<&{socket}; ").expect("a string");
        }
        let count = self.sockets.len();
        write!(script, "LISTEN_FDS={count} LISTEN_PID=$$ exec \"$@\"").expect("a string");
        let mut shell = Command::new("bash");
        shell.args(["-c", &script, "bash"]).arg(command.get_program()).args(command.get_args());
        shell
    }
}

impl Agent {
    /// On one interface, in the mode that it chooses itself.
    pub fn start(host: &Netns, interface: &str, policy: String) -> Self {
        Setup::new(host, policy).interface(interface).start()
    }

    /// With the policy of the tests for [`topology::sockets`], on one interface.
    pub fn protect(host: &Netns, interface: &str) -> Self {
        Self::start(host, interface, policy::file(&topology::sockets()))
    }

    fn try_status(&self) -> Option<Value> {
        let mut command = Command::new(&self.program);
        command.args(["status", "--json", "--runtime-dir"]).arg(self.scratch.path("run"));
        self.host.prepare(&mut command);
        let output = command.output().ok()?;
        output.status.success().then(|| serde_json::from_slice(&output.stdout).ok())?
    }

    /// What `cors-edge status --json` says.
    pub fn status(&self) -> Value {
        self.try_status().unwrap_or_else(|| panic!("the agent gives no status\n{}", self.log()))
    }

    /// What `cors-edge status` says to people.
    pub fn said(&self, arguments: &[&str]) -> String {
        let mut command = edge();
        command.args(["status", "--runtime-dir"]).arg(self.scratch.path("run")).args(arguments);
        self.host.prepare(&mut command);
        let output = command.output().expect("run the agent's status command");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Puts another text into its policy file, at once.
    pub fn write_policy(&self, text: &str) {
        let new = self.scratch.write("policy.new", text);
        fs::rename(new, self.scratch.path("policy.toml")).expect("exchange the policy file");
    }

    /// Runs a command that asks it for something. Returns the exit code and what it writes.
    pub fn ask(&self, verb: &str, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(&self.program);
        command.arg(verb).args(arguments).arg("--runtime-dir").arg(self.scratch.path("run"));
        self.host.prepare(&mut command);
        let output = command.output().expect("run a command of the agent's");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8(text).expect("text"))
    }

    /// Where its socket is.
    pub fn runtime_dir(&self) -> PathBuf {
        self.scratch.path("run")
    }

    /// Puts another text into its policy file, and has it read.
    pub fn reload(&self, text: &str) -> (i32, String) {
        self.write_policy(text);
        self.ask("reload", &[])
    }

    /// The number of the policy that it uses.
    pub fn generation(&self) -> u64 {
        self.status()["policy"]["generation"].as_u64().expect("a generation in the status")
    }

    /// Every counter's total.
    pub fn counters(&self) -> Counters {
        let status = self.status();
        let counters = status["counters"].as_object().expect("counters in the status");
        let total = |(name, value): (&String, &Value)| {
            (name.clone(), value.as_u64().expect("a counter is a number"))
        };
        Counters(counters.iter().map(total).collect())
    }

    /// What is counted while something happens.
    pub fn counted(&self, happens: impl FnOnce()) -> Counters {
        let before = self.counters();
        happens();
        self.counters().since(&before)
    }

    /// The runs of one of its programs so far, as far as the kernel was counting: see
    /// [`crate::xdp::count_runs`].
    pub fn runs(&self, program: &str) -> Runs {
        let status = self.status();
        let programs = status["programs"].as_array().expect("programs in the status");
        let found = programs.iter().find(|entry| entry["name"] == program);
        let found = found.unwrap_or_else(|| panic!("the agent has no program {program}: {status}"));
        let number = |key: &str| found[key].as_u64().expect("a number of a program");
        Runs { count: number("run_count"), time_ns: number("run_time_ns") }
    }

    /// How many connections tier 1 remembers.
    pub fn flows(&self) -> u64 {
        self.status()["flows"].as_u64().expect("a number of flows in the status")
    }

    /// The mode in which it is on an interface: `native`, `generic` or `off`.
    pub fn mode(&self, interface: &str) -> String {
        let status = self.status();
        let interfaces = status["interfaces"].as_array().expect("interfaces in the status");
        let found = interfaces.iter().find(|entry| entry["name"] == interface);
        let found = found.unwrap_or_else(|| panic!("the agent is not on {interface}: {status}"));
        found["xdp"].as_str().expect("a mode in the status").to_owned()
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        self.scratch.read("log")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("a running agent").signal(signal);
    }

    /// Asks it to stop, and expects it to do so in good order.
    pub fn stop(self) {
        self.stop_by(Signal::SIGTERM);
    }

    /// The same by this signal.
    pub fn stop_by(mut self, signal: Signal) {
        self.signal(signal);
        let mut process = self.process.take().expect("a running agent");
        let status = eventually("the agent ends", || process.ended());
        assert!(status.success(), "the agent stopped with {status}\n{}", self.log());
        let socket = self.scratch.path("run").join("status.sock");
        assert!(!socket.exists(), "the agent left its socket behind");
    }

    /// Kills it without a warning.
    pub fn kill(self) {
        self.end(Signal::SIGKILL);
    }

    /// Ends it by this signal, in whichever way that is, and keeps its files for another one.
    pub fn end(mut self, signal: Signal) -> Ended {
        let mut process = self.process.take().expect("a running agent");
        process.signal(signal);
        eventually("the agent ends", || process.ended());
        Ended(std::mem::replace(&mut self.scratch, Scratch::new("ended")))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- the agent's log:\n{}", self.log());
            if let Some(status) = self.try_status() {
                let counters = status["counters"].as_object();
                let counted = counters.into_iter().flatten().filter(|(_, n)| n.as_u64() > Some(0));
                eprintln!("---- its counters: {:?}", counted.collect::<Vec<_>>());
            }
        }
    }
}

/// An argument of setpriv(1): a list of capabilities, each with a sign.
fn list(option: &str, sign: char, capabilities: &[&str]) -> String {
    let signed: Vec<_> = capabilities.iter().map(|name| format!("{sign}{name}")).collect();
    format!("{option}{}", signed.join(","))
}

/// A command of the agent's binary, without arguments.
pub fn edge() -> Command {
    Command::new(binary())
}

/// The agent's binary: `CORS_EDGE_BIN`, or the release build beside the tests.
fn binary() -> PathBuf {
    if let Some(path) = env::var_os("CORS_EDGE_BIN") {
        return path.into();
    }
    // The test is `target/<profile>/deps/<name>`.
    let test = env::current_exe().expect("the test's own path");
    let target = test.ancestors().nth(3).expect("the target directory");
    let path = target.join("release/cors-edge");
    assert!(path.is_file(), "{} is missing: `cargo build --release`", path.display());
    path
}
