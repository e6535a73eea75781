//! As much of rtnetlink(7) as is needed: a dump of links or addresses, and a socket that tells
//! when one of them changed.
//!
//! ```text
//! message    u32 length, u16 type, u16 flags, u32 sequence number, u32 port; then a payload
//! payload    a fixed head (links 16 bytes, addresses 8), then attributes
//! attribute  u16 length with these four bytes, u16 type, value; padded to a multiple of four
//! ```
//!
//! All numbers are in the machine's own order.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
        socket,
    },
};

const HEADER_LEN: usize = 16;
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// A dump comes in pieces of at most 32 KiB.
const BUFFER_LEN: usize = 64 << 10;
/// The upper two bits of an attribute's type are flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;

/// What can be dumped.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dump {
    /// Interfaces.
    Links,
    /// Addresses of both families.
    Addresses,
}

impl Dump {
    const fn request_type(self) -> u16 {
        match self {
            Self::Links => libc::RTM_GETLINK,
            Self::Addresses => libc::RTM_GETADDR,
        }
    }

    const fn answer_type(self) -> u16 {
        match self {
            Self::Links => libc::RTM_NEWLINK,
            Self::Addresses => libc::RTM_NEWADDR,
        }
    }

    /// The fixed head in zeros: of every family.
    const fn head_len(self) -> usize {
        match self {
            Self::Links => 16,
            Self::Addresses => 8,
        }
    }
}

/// Asks for everything of a kind, and calls `each` with the fixed head and the attributes of
/// every answer.
pub(super) fn dump(what: Dump, mut each: impl FnMut(&[u8], Attributes<'_>)) -> io::Result<()> {
    let socket = open(0, SockFlag::SOCK_CLOEXEC)?;
    send(socket.as_raw_fd(), &request(what), MsgFlags::empty())?;
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let len = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => continue,
            len => len?,
        };
        for (kind, payload) in (Messages { rest: &buffer[..len] }) {
            if kind == libc::NLMSG_DONE as u16 {
                return Ok(());
            }
            if kind == libc::NLMSG_ERROR as u16 {
                let code = i32_at(payload, 0).unwrap_or(-libc::EPROTO);
                return Err(io::Error::from_raw_os_error(-code));
            }
            if kind == what.answer_type() && payload.len() >= what.head_len() {
                let (head, attributes) = payload.split_at(what.head_len());
                each(head, Attributes { rest: attributes });
            }
        }
    }
}

fn request(what: Dump) -> Vec<u8> {
    let len = HEADER_LEN + what.head_len();
    let mut request = Vec::with_capacity(len);
    request.extend((len as u32).to_ne_bytes());
    request.extend(what.request_type().to_ne_bytes());
    request.extend(((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    request.resize(len, 0);
    request
}

/// A socket that becomes readable whenever a link or an address of this namespace changes.
pub(super) fn changes() -> io::Result<OwnedFd> {
    let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
    open(groups.cast_unsigned(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)
}

fn open(groups: u32, flags: SockFlag) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

/// The messages of one datagram: type and payload of each.
struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = u32_at(self.rest, 0)? as usize;
        let kind = u16_at(self.rest, 4)?;
        let payload = self.rest.get(HEADER_LEN..len)?;
        self.rest = self.rest.get(aligned(len)..).unwrap_or_default();
        Some((kind, payload))
    }
}

/// Attributes in a row: type and value of each.
#[derive(Clone, Debug)]
pub(super) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Those inside the value of one.
    pub(super) const fn nested(value: &'a [u8]) -> Self {
        Self { rest: value }
    }

    /// The value of the first one of this type.
    pub(super) fn find(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone().find_map(|(k, value)| (k == kind).then_some(value))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = u16_at(self.rest, 0)? as usize;
        let kind = u16_at(self.rest, 2)? & ATTRIBUTE_TYPE;
        let value = self.rest.get(ATTRIBUTE_HEADER_LEN..len)?;
        self.rest = self.rest.get(aligned(len)..).unwrap_or_default();
        Some((kind, value))
    }
}

const fn aligned(len: usize) -> usize {
    len.next_multiple_of(4)
}

/// A number in the machine's own order.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A number in the machine's own order.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = (ATTRIBUTE_HEADER_LEN + value.len()) as u16;
        let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    #[test]
    fn attributes_are_padded_and_may_be_nested() {
        let inner = attribute(1, b"veth");
        let bytes = [attribute(3, b"eth0\0"), attribute(0x8012, &inner)].concat();
        let attributes = Attributes { rest: &bytes };
        assert_eq!(attributes.find(3), Some(&b"eth0\0"[..]));
        let nested = Attributes::nested(attributes.find(18).expect("the second"));
        assert_eq!(nested.find(1), Some(&b"veth"[..]));
        assert_eq!(attributes.find(4), None);
    }

    #[test]
    fn lengths_that_lie_end_the_row() {
        for bytes in [&[][..], &[8], &[8, 0, 1, 0], &[3, 0, 1, 0, 0, 0, 0, 0], &[0; 8]] {
            assert_eq!(Attributes { rest: bytes }.count(), 0, "{bytes:?}");
            assert_eq!(Messages { rest: bytes }.count(), 0, "{bytes:?}");
        }
        let mut message = vec![0; 20];
        message[0] = 200;
        assert_eq!(Messages { rest: &message }.count(), 0);
    }
}
