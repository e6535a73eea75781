//! The heartbeat: once a second, on the second, the programs are told what they cannot know
//! themselves. Without it they stop answering within [`LEASE`].

use std::{io, time::Duration};

use cors_common::{tcp::handshake::Maker, wire::options::Declined};
use tracing::{error, info};

use super::clock;
use crate::{host::sysctl, kernel::state::StateWords};

/// For how long the programs go on without a heartbeat.
pub const LEASE: Duration = Duration::from_secs(5);

/// What is remembered from one beat to the next.
#[derive(Debug, Default)]
pub struct Heartbeat {
    /// The host's switches forbid hand-overs: the programs have no lease.
    paused: bool,
    /// The agent is about to stop: likewise.
    draining: bool,
}

impl Heartbeat {
    /// Writes date, epoch, what the host's TCP does, and the lease.
    pub fn beat(&mut self, state: &mut StateWords) -> io::Result<()> {
        state.set_date(&clock::date_of_now());
        state.set_epoch(clock::epoch()?);
        let off = |name| sysctl::read(name) == Some(0);
        state.set_declined(Declined {
            sack: off(sysctl::SACK),
            window_scale: off(sysctl::WINDOW_SCALING),
        });
        // The kernel would refuse every hand-over, so no connection may be begun either.
        self.pause(state.handshake() == Maker::Driver && off(sysctl::SYN_COOKIES));
        let no_lease = self.paused || self.draining;
        state.set_lease(if no_lease { 0 } else { clock::lease(LEASE)? });
        Ok(())
    }

    /// Why the programs have no lease; nothing where they have one.
    pub fn idle(&self) -> Option<String> {
        match self {
            Self { draining: true, .. } => Some("the agent is stopping".to_owned()),
            Self { paused: true, .. } => Some(format!("{} is 0", sysctl::SYN_COOKIES)),
            _ => None,
        }
    }

    /// Takes the lease away for good: no connection is begun any more, and those that are open
    /// are handed over with their next request. Date and epoch go on, since their cookies must.
    pub fn drain(&mut self, state: &mut StateWords) {
        self.draining = true;
        state.set_lease(0);
    }

    fn pause(&mut self, pause: bool) {
        if pause && !self.paused {
            error!(
                "{0} was set to 0: everything passes until it is 1 again (`sysctl -w {0}=1`)",
                sysctl::SYN_COOKIES
            );
        }
        if !pause && self.paused {
            info!("{} is set again: answering", sysctl::SYN_COOKIES);
        }
        self.paused = pause;
    }
}
