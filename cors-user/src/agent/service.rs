//! What the agent tells whoever started it, where that is systemd (or somebody else who keeps to
//! sd_notify(3)): that it is ready, reloading, stopping, and that its main loop goes round.

use std::env;

use sd_notify::NotifyState;
use tracing::debug;

/// Preflights are answered. `status` is a line for people.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The policy file is being read; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => debug!("the clock cannot be read: {error}"),
    }
}

/// The agent is about to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The main loop has gone round; once a second. Whoever has a watchdog restarts an agent that says
/// nothing for too long; a second is less than anybody's patience.
pub(super) fn beat() {
    if env::var_os("WATCHDOG_USEC").is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(what: &[NotifyState<'_>]) {
    // Where nobody wants to know, this does nothing.
    if let Err(error) = sd_notify::notify(false, what) {
        debug!("the service manager is not told: {error}");
    }
}
