//! Sockets that the standard library does not make: MPTCP, and a port of one's own choice.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nix::sys::socket::{self, SockaddrStorage, setsockopt, sockopt::ReuseAddr};

/// A stream socket of the address's family that may use a port again at once.
pub fn stream(address: SocketAddr, protocol: libc::c_int) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: socket(2) touches no memory of ours.
    let fd = unsafe { libc::socket(family, kind, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    setsockopt(&socket, ReuseAddr, &true)?;
    Ok(socket)
}

/// Connects, from `local` if that is given.
pub fn connect(
    protocol: libc::c_int,
    local: Option<SocketAddr>,
    server: SocketAddr,
) -> io::Result<TcpStream> {
    let socket = stream(server, protocol)?;
    if let Some(local) = local {
        socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(local))?;
    }
    socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(server))?;
    Ok(socket.into())
}
