//! What the agent tells whoever started it, where that is systemd (or somebody else who keeps to
//! sd_notify(3)): that it is ready, reloading, stopping, and that its main loop goes round.

use std::{
    env,
    net::SocketAddr,
    os::{
        fd::BorrowedFd,
        linux::net::SocketAddrExt as _,
        unix::{self, ffi::OsStrExt as _, net::UnixDatagram},
    },
};

use sd_notify::NotifyState;
use tracing::debug;

use super::rights::send;

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

/// The service manager is to keep a listening socket until the agent is started again
/// (sd_pid_notify_with_fds(3), `FDSTORE`).
pub(super) fn keep(address: SocketAddr, socket: BorrowedFd<'_>) {
    let Some(manager) = manager() else { return };
    let text = format!("FDSTORE=1\nFDNAME={}\n", name(address));
    if let Err(error) = send(&manager, text.as_bytes(), &[socket]) {
        debug!("the service manager does not keep {address}: {error}");
    }
}

/// It need not keep that one any more.
pub(super) fn let_go(address: SocketAddr) {
    let name = format!("FDNAME={}", name(address));
    tell(&[NotifyState::Custom("FDSTOREREMOVE=1"), NotifyState::Custom(&name)]);
}

/// The other end of what [`tell`] says.
fn manager() -> Option<UnixDatagram> {
    let path = env::var_os("NOTIFY_SOCKET")?;
    let manager = UnixDatagram::unbound().ok()?;
    let connected = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => unix::net::SocketAddr::from_abstract_name(name)
            .and_then(|address| manager.connect_addr(&address)),
        None => manager.connect(&path),
    };
    connected.is_ok().then_some(manager)
}

/// A name that systemd takes: it may have no colon.
fn name(address: SocketAddr) -> String {
    format!("listen-{address}").replace(':', "_")
}

fn tell(what: &[NotifyState<'_>]) {
    // Where nobody wants to know, this does nothing.
    if let Err(error) = sd_notify::notify(false, what) {
        debug!("the service manager is not told: {error}");
    }
}
