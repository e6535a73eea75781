//! Tells when links or addresses change.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};
use tokio::io::unix::AsyncFd;

use super::netlink;

/// Tells when a link or an address of this network namespace changed; what changed must be read
/// anew. Make it before the first reading, so that no change falls between the two.
#[derive(Debug)]
pub struct Watch {
    socket: AsyncFd<OwnedFd>,
}

impl Watch {
    /// Starts watching. Must be called inside a tokio runtime.
    pub fn new() -> io::Result<Self> {
        let socket = netlink::changes()?;
        // SAFETY: the descriptor is open and owned, and is neither replaced nor closed before the
        // registration ends: nobody gets more than a shared reference to it.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self { socket })
    }

    /// Waits until something has changed. Any number of changes may be told as one. Nothing is
    /// lost where the future is dropped before it is ready.
    pub async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            if let Ok(told) = ready.try_io(|socket| drain(socket.get_ref())) {
                return told;
            }
        }
    }
}

/// Takes everything that is there; `WouldBlock` where there was nothing.
fn drain(socket: &OwnedFd) -> io::Result<()> {
    let mut buffer = [0; 8192];
    let mut told = false;
    loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            // Messages that did not fit were dropped: something changed all the same.
            Ok(_) | Err(Errno::ENOBUFS) => told = true,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if told => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
