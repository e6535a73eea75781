//! As much of rtnetlink(7) as is needed: a dump of links, addresses or local routes, a socket that
//! tells when a link or an address changed, and to ask for one thing.
//!
//! ```text
//! message    u32 length, u16 type, u16 flags, u32 sequence number, u32 port; then a payload
//! payload    a fixed head (links 16 bytes, addresses 8, routes 12), then attributes
//! attribute  u16 length with these four bytes, u16 type, value; padded to a multiple of four
//! ```
//!
//! All numbers are in the machine's own order.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
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

/// `NLM_F_DUMP_INTR`: what is dumped changed meanwhile, so something may be missing.
const INTERRUPTED: u16 = 0x10;
/// So many dumps of one thing are interrupted before it is given up for now.
const ATTEMPTS: usize = 8;

/// What can be dumped.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dump {
    /// Interfaces.
    Links,
    /// Addresses of both families.
    Addresses,
    /// The local routes of this address family, in the table `local`.
    LocalRoutes(u8),
}

impl Dump {
    const fn request_type(self) -> u16 {
        match self {
            Self::Links => libc::RTM_GETLINK,
            Self::Addresses => libc::RTM_GETADDR,
            Self::LocalRoutes(_) => libc::RTM_GETROUTE,
        }
    }

    const fn answer_type(self) -> u16 {
        match self {
            Self::Links => libc::RTM_NEWLINK,
            Self::Addresses => libc::RTM_NEWADDR,
            Self::LocalRoutes(_) => libc::RTM_NEWROUTE,
        }
    }

    /// The fixed head of the request: zeros mean of every family.
    fn head(self) -> Vec<u8> {
        match self {
            Self::Links => vec![0; 16],
            Self::Addresses => vec![0; 8],
            // `struct rtmsg`: u8 family, destination length, source length, tos, table, protocol,
            // scope, type; u32 flags.
            Self::LocalRoutes(family) => {
                vec![family, 0, 0, 0, libc::RT_TABLE_LOCAL, 0, 0, libc::RTN_LOCAL, 0, 0, 0, 0]
            }
        }
    }

    /// Whether the kernel is to answer no more than what the head asks for, which it does since
    /// Linux 4.20 where it is asked to be strict. A router's other tables may be very long.
    const fn is_strict(self) -> bool {
        matches!(self, Self::LocalRoutes(_))
    }
}

/// From now on the kernel takes the heads of requests at their word.
fn be_strict(socket: &OwnedFd) -> io::Result<()> {
    let yes: libc::c_int = 1;
    // SAFETY: the option is a number, which outlives the call and has the size that is said.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_GET_STRICT_CHK,
            (&raw const yes).cast(),
            size_of_val(&yes) as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Asks for everything of a kind, and gives what `read` makes of the fixed head and the attributes
/// of every answer. A dump during which something changed is made again.
pub(super) fn dump<T>(
    what: Dump,
    read: impl Fn(&[u8], &Attributes<'_>) -> Option<T>,
) -> io::Result<Vec<T>> {
    for _ in 0..ATTEMPTS {
        if let Some(all) = dump_once(what, &read)? {
            return Ok(all);
        }
    }
    Err(io::Error::other("it changes faster than it can be read"))
}

/// Nothing where the dump was interrupted.
fn dump_once<T>(
    what: Dump,
    read: &impl Fn(&[u8], &Attributes<'_>) -> Option<T>,
) -> io::Result<Option<Vec<T>>> {
    let socket = open(0, SockFlag::SOCK_CLOEXEC)?;
    if what.is_strict() {
        be_strict(&socket)?;
    }
    send(socket.as_raw_fd(), &request(what), MsgFlags::empty())?;
    let mut buffer = vec![0; BUFFER_LEN];
    let mut all = Vec::new();
    loop {
        let len = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => continue,
            len => len?,
        };
        match take(what, &buffer[..len], &mut all, read)? {
            Taken::More => {}
            Taken::All => return Ok(Some(all)),
            // The rest of it goes with the socket.
            Taken::Interrupted => return Ok(None),
        }
    }
}

/// What comes after a datagram of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// Another one.
    More,
    /// Nothing: this was the last.
    All,
    /// Nothing that is worth reading.
    Interrupted,
}

/// Reads one datagram of a dump.
fn take<T>(
    what: Dump,
    datagram: &[u8],
    all: &mut Vec<T>,
    read: impl Fn(&[u8], &Attributes<'_>) -> Option<T>,
) -> io::Result<Taken> {
    let head_len = what.head().len();
    for Message { kind, flags, payload } in (Messages { rest: datagram }) {
        if flags & INTERRUPTED != 0 {
            return Ok(Taken::Interrupted);
        }
        // Both carry an error's number, negative, or zero.
        let error = i32_at(payload, 0).unwrap_or(0);
        if kind == libc::NLMSG_ERROR as u16 || (kind == libc::NLMSG_DONE as u16 && error < 0) {
            return Err(io::Error::from_raw_os_error(-error));
        }
        if kind == libc::NLMSG_DONE as u16 {
            return Ok(Taken::All);
        }
        if kind == what.answer_type() && payload.len() >= head_len {
            let (head, attributes) = payload.split_at(head_len);
            all.extend(read(head, &Attributes { rest: attributes }));
        }
    }
    Ok(Taken::More)
}

fn request(what: Dump) -> Vec<u8> {
    let head = what.head();
    let len = HEADER_LEN + head.len();
    let mut request = Vec::with_capacity(len);
    request.extend((len as u32).to_ne_bytes());
    request.extend(what.request_type().to_ne_bytes());
    request.extend(((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    // The sequence number and the port, which nobody looks at: there is one answer.
    request.resize(HEADER_LEN, 0);
    request.extend(head);
    request
}

/// Asks for one thing, with this fixed head and these attributes, and waits until it is done.
pub(super) fn ask(kind: u16, flags: u16, payload: &[u8]) -> io::Result<()> {
    let len = HEADER_LEN + payload.len();
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16 | flags;
    let mut request = (len as u32).to_ne_bytes().to_vec();
    request.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
    // The sequence number and the port, as in a dump.
    request.resize(HEADER_LEN, 0);
    request.extend(payload);
    let socket = open(0, SockFlag::SOCK_CLOEXEC)?;
    send(socket.as_raw_fd(), &request, MsgFlags::empty())?;
    let mut buffer = vec![0; BUFFER_LEN];
    let len = loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            len => break len?,
        }
    };
    // An acknowledgement is an error message, whose number is zero.
    let answer = Messages { rest: &buffer[..len] }.find(|m| m.kind == libc::NLMSG_ERROR as u16);
    match answer.and_then(|message| i32_at(message.payload, 0)) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::Error::other("the kernel answers something else")),
    }
}

/// An attribute, padded.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = (ATTRIBUTE_HEADER_LEN + value.len()) as u16;
    let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(aligned(bytes.len()), 0);
    bytes
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

/// A message without what nobody looks at.
struct Message<'a> {
    kind: u16,
    flags: u16,
    payload: &'a [u8],
}

/// The messages of one datagram.
struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let len = u32_at(self.rest, 0)? as usize;
        let kind = u16_at(self.rest, 4)?;
        let flags = u16_at(self.rest, 6)?;
        let payload = self.rest.get(HEADER_LEN..len)?;
        self.rest = self.rest.get(aligned(len)..).unwrap_or_default();
        Some(Message { kind, flags, payload })
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

/// An address of this family.
pub(super) fn ip(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Messages as the kernel writes them.
#[cfg(test)]
pub(super) mod synthetic {
    pub(in super::super) use super::attribute;
    use super::{HEADER_LEN, aligned};

    pub(in super::super) fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER_LEN + payload.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
        bytes.resize(HEADER_LEN, 0);
        bytes.extend(payload);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{synthetic::message, *};

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

    /// The first bytes of the heads of addresses, and how the datagram ends.
    fn taken(datagram: &[u8]) -> io::Result<(Vec<u8>, Taken)> {
        let mut all = Vec::new();
        let taken = take(Dump::Addresses, datagram, &mut all, |head, _| head.first().copied())?;
        Ok((all, taken))
    }

    #[test]
    fn a_dump_ends_with_its_last_message() {
        let address = |first| message(libc::RTM_NEWADDR, 2, &[first, 0, 0, 0, 0, 0, 0, 0]);
        let other = message(libc::RTM_NEWLINK, 2, &[0; 16]);
        let done = message(libc::NLMSG_DONE as u16, 2, &[0; 4]);
        let two = [address(7), other, address(8)].concat();
        assert_eq!(taken(&two).expect("no error"), (vec![7, 8], Taken::More));
        let last = [two, done].concat();
        assert_eq!(taken(&last).expect("no error"), (vec![7, 8], Taken::All));
    }

    #[test]
    fn an_interrupted_dump_is_no_dump() {
        let first = message(libc::RTM_NEWADDR, 2, &[7, 0, 0, 0, 0, 0, 0, 0]);
        for interrupted in [
            message(libc::RTM_NEWADDR, 2 | INTERRUPTED, &[8, 0, 0, 0, 0, 0, 0, 0]),
            message(libc::NLMSG_DONE as u16, 2 | INTERRUPTED, &[0; 4]),
        ] {
            let datagram = [first.clone(), interrupted].concat();
            assert_eq!(taken(&datagram).expect("no error").1, Taken::Interrupted);
        }
    }

    #[test]
    fn errors_come_in_two_ways() {
        for kind in [libc::NLMSG_ERROR as u16, libc::NLMSG_DONE as u16] {
            let said = taken(&message(kind, 2, &(-libc::ENOENT).to_ne_bytes()));
            assert_eq!(said.expect_err("an error").raw_os_error(), Some(libc::ENOENT));
        }
    }
}
