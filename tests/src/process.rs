//! A child process that does not outlive its test, and neither do the children it has.

use std::{
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

use crate::eventually;

/// How long a child may take to end by itself before it is killed.
const POLITENESS: Duration = Duration::from_secs(5);

/// A running child, the leader of a process group; ended with all of it when this is dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts the command as it is. See [`crate::netns::Netns::spawn`].
    pub fn spawn(mut command: Command) -> Self {
        Self(
            command.process_group(0).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")),
        )
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().try_into().expect("a process id"))
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("ask for the child's end")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("send a signal to the child");
    }

    /// Asks it to end and waits until it does.
    pub fn terminate(self) -> ExitStatus {
        self.end_by(Signal::SIGTERM)
    }

    /// The same by another signal.
    pub fn end_by(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        eventually(&format!("the child ends after {signal}"), || self.ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        // Politely first: the master of a server then ends its workers.
        self.signal(Signal::SIGTERM);
        let start = Instant::now();
        while start.elapsed() < POLITENESS {
            if self.0.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
        killpg(self.pid(), Signal::SIGKILL).ok();
        self.0.wait().ok();
    }
}
