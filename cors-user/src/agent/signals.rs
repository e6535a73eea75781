//! The signals that mean something to the agent.

use std::io;

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
};

/// SIGTERM and SIGINT, which end it, and SIGHUP, which makes it read its policy file again.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// To end, by SIGTERM: an agent may come next, as it does in a restart.
    Leave,
    /// To end, by SIGINT: nobody comes next.
    Stop,
    /// To read the policy file again.
    Reload,
}

impl Told {
    /// The name of the signal.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Leave => "SIGTERM",
            Self::Stop => "SIGINT",
            Self::Reload => "SIGHUP",
        }
    }
}

impl Signals {
    /// From now on these signals are waited for.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one of them.
    pub(super) async fn told(&mut self) -> Told {
        select! {
            _ = self.terminate.recv() => Told::Leave,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::Reload,
        }
    }
}
