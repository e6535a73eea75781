//! One agent after the other, while both run: the next one has the listening sockets of the one
//! before, and when it is ready tells it to go. Whoever is connected is served to the end by the
//! agent that took the connection.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    select,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use super::{
    client::{self, ClientError},
    directory::{Directory, DirectoryError},
    live::Agent,
    protocol::{Answer, Request},
    service,
    signals::Signals,
};
use crate::proxy::{Proxy, Sockets};

/// Why an agent does not get into the place of another.
#[derive(Debug, Error)]
pub enum SuccessionError {
    /// It does not say what it has, or does not go.
    #[error("the agent that is running cannot be replaced: {0}")]
    Ask(#[from] ClientError),
    /// It says something else.
    #[error("the agent that is running cannot be replaced: it answers something else")]
    Answer,
    /// It does not go.
    #[error("the agent that is running does not go: {0}")]
    Stays(DirectoryError),
}

/// For how long an agent that was told to go may keep its directory.
const PATIENCE: Duration = Duration::from_secs(10);

/// The listening sockets, for whoever asks for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Estate(Arc<Mutex<Vec<OwnedFd>>>);

impl Estate {
    /// Adds one.
    pub(super) fn add(&self, socket: OwnedFd) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
    }

    /// Closes them: who connects from now on is refused, unless somebody else has the socket.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Descriptors of all of them.
    pub(super) fn copies(&self) -> io::Result<Vec<OwnedFd>> {
        let sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.iter().map(OwnedFd::try_clone).collect()
    }
}

/// The runtime directory; none where another agent has it, which is to be replaced. Then its
/// sockets are among these.
pub(super) fn lock(
    path: &Path,
    replace: bool,
    sockets: &mut Sockets,
) -> Result<Option<Directory>, super::RunError> {
    match Directory::lock(path) {
        Err(DirectoryError::Taken(_)) if replace => {
            let given = client::sockets(path).map_err(SuccessionError::from)?;
            info!("an agent is running: taking over {} of its sockets", given.len());
            sockets.extend(given.into_iter().map(Into::into));
            Ok(None)
        }
        locked => Ok(Some(locked?)),
    }
}

/// Tells the agent that has the directory to go, and takes its place.
pub(super) async fn replace(path: &Path) -> Result<Directory, SuccessionError> {
    match client::ask(path, &Request::Leave) {
        Ok(Answer::Left) => {}
        Ok(_) => return Err(SuccessionError::Answer),
        Err(error @ ClientError::Agent(_)) => return Err(error.into()),
        // It may have ended before its answer was written, or for another reason.
        Err(error) => warn!("{error}"),
    }
    let end = Instant::now() + PATIENCE;
    loop {
        match Directory::lock(path) {
            Ok(directory) => return Ok(directory),
            Err(error) if Instant::now() > end => return Err(SuccessionError::Stays(error)),
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
}

impl Agent {
    /// Why another agent cannot take this one's place.
    pub(super) fn cannot_be_replaced(&self) -> Option<&'static str> {
        let attached = !self.network.attachments().is_empty();
        (attached && !self.pins()).then_some(
            "it was started without --pin, and its programs would be taken off with it: stop it \
             first",
        )
    }

    /// Leaves everything that is attached as it is. What remains is the proxy, with the connections
    /// that it has.
    pub(super) fn depart(mut self) -> Option<Proxy> {
        service::stopping();
        self.network.set_stays(true);
        self.estate.clear();
        self.proxy.take()
    }
}

/// Serves the connections that a proxy has to their end, for no longer than this, and until the
/// next signal.
pub(super) async fn finish(proxy: Option<Proxy>, time: Duration, signals: &mut Signals) {
    let Some(mut proxy) = proxy else { return };
    proxy.drain();
    info!("{} connections have {time:?} for their next response", proxy.connections());
    select! {
        () = proxy.drained() => {}
        () = sleep(time) => info!("{} connections are cut off", proxy.connections()),
        _ = signals.told() => {}
    }
}

/// Has the service manager keep the sockets that were not there, until the next start, and let go
/// of those that were and are of no use.
pub(super) fn keep(proxy: &Proxy, left: &Sockets) {
    for (address, socket) in proxy.sockets() {
        if proxy.bound().contains(&address) {
            service::keep(address, socket.as_fd());
        }
    }
    for address in left.left() {
        info!("a socket at {address} was given to the agent, and no policy file names it");
        service::let_go(address);
    }
}
