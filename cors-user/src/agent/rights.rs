//! Descriptors on a Unix socket (unix(7), `SCM_RIGHTS`): how listening sockets go from one process to
//! another.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The most that the kernel takes at once (`SCM_MAX_FD`).
pub(super) const MOST: usize = 253;

const SPACE: usize = rustix::cmsg_space!(ScmRights(MOST));

/// Sends bytes, and descriptors with the first of them. Returns how many bytes were sent.
pub(super) fn send(
    to: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = [const { MaybeUninit::uninit() }; SPACE];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    Ok(sendmsg(to, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
}

/// Receives bytes, and what descriptors come with them. Returns how many bytes came.
pub(super) fn receive(
    from: impl AsFd,
    bytes: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [const { MaybeUninit::uninit() }; SPACE];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(bytes)];
    let received = recvmsg(from, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(received.bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::{net::TcpListener, os::unix::net::UnixStream};

    use super::*;

    #[test]
    fn a_socket_arrives_and_is_the_same() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(send(&ours, b"one", &[listening.as_fd()]).unwrap(), 3);
        assert_eq!(send(&ours, b"none", &[]).unwrap(), 4);
        drop(ours);
        let (mut bytes, mut descriptors) = ([0; 16], Vec::new());
        let mut read = 0;
        loop {
            match receive(&theirs, &mut bytes[read..], &mut descriptors).unwrap() {
                0 => break,
                more => read += more,
            }
        }
        assert_eq!(&bytes[..read], b"onenone");
        let arrived = TcpListener::from(descriptors.pop().unwrap());
        assert!(descriptors.is_empty());
        assert_eq!(arrived.local_addr().unwrap(), listening.local_addr().unwrap());
    }
}
