//! Resets a connection of this host: `SOCK_DESTROY` of sock_diag(7) (Linux 4.5, commit
//! 64be0aed59ad).
//!
//! ```text
//! message    u32 length, u16 type, u16 flags, u32 sequence number, u32 port; then a payload
//! payload    struct inet_diag_req_v2: u8 family, protocol, extensions, padding; u32 states; then
//!            struct inet_diag_sockid: ports 2 + 2 bytes, addresses 16 + 16 bytes, all of them in
//!            network order, local ones first; u32 interface, u32[2] cookie
//! ```

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

const HEADER_LEN: usize = 16;
const REQUEST_LEN: usize = 56;
/// `linux/sock_diag.h`.
const SOCK_DESTROY: u16 = 21;
/// Every cookie is the right one.
const NO_COOKIE: [u8; 8] = [0xff; 8];

/// Resets the connection between these two: both ends are told. None of that kind is no error.
pub fn reset(local: SocketAddr, remote: SocketAddr) -> io::Result<()> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    send(socket.as_raw_fd(), &request(local, remote), MsgFlags::empty())?;
    let mut buffer = [0; 256];
    let len = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
    // An acknowledgement is an error message, whose number is zero.
    let number = buffer[..len].get(HEADER_LEN..HEADER_LEN + 4).and_then(|b| b.first_chunk());
    match number.map_or(0, |bytes| i32::from_ne_bytes(*bytes)) {
        0 => Ok(()),
        error if error == -libc::ENOENT => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

fn request(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 };
    let mut message = Vec::with_capacity(HEADER_LEN + REQUEST_LEN);
    message.extend(((HEADER_LEN + REQUEST_LEN) as u32).to_ne_bytes());
    message.extend(SOCK_DESTROY.to_ne_bytes());
    message.extend(((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family, libc::IPPROTO_TCP as u8, 0, 0]);
    message.extend(u32::MAX.to_ne_bytes());
    message.extend(local.port().to_be_bytes());
    message.extend(remote.port().to_be_bytes());
    message.extend(octets(local.ip()));
    message.extend(octets(remote.ip()));
    message.extend([0; 4]);
    message.extend(NO_COOKIE);
    message
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&v4.octets());
            octets
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_laid_out_as_the_kernel_reads_it() {
        let message = request("10.0.0.1:80".parse().unwrap(), "[fd00::2]:40000".parse().unwrap());
        assert_eq!(message.len(), HEADER_LEN + REQUEST_LEN);
        assert_eq!(message[..4], 72u32.to_ne_bytes());
        assert_eq!(message[24..28], [0, 80, 0x9c, 0x40]);
        assert_eq!(message[28..44], [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(message[44..60], [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(message[64..], NO_COOKIE);
    }

    /// A dual-stack listener's IPv4 connections are found as IPv4, as the driver names them.
    #[test]
    fn a_connection_ends_at_both_ends() {
        use std::{
            io::Read as _,
            net::{TcpListener, TcpStream},
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let (local, remote) = (server.local_addr().unwrap(), server.peer_addr().unwrap());
        match reset(local, remote) {
            // For whoever may administer the network alone.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return,
            result => result.unwrap(),
        }
        for end in [&mut client, &mut server] {
            let error = end.read(&mut [0]).unwrap_err();
            assert!(
                matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
                ),
                "{error}"
            );
        }
        reset(local, remote).unwrap();
    }
}
