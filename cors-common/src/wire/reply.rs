//! Writing: a reply from its IP header on, checksums included.
//!
//! ```text
//! IPv4  0x45 tos=0 length | id=0 DF | ttl=64 TCP checksum | server | client
//! IPv6  version 6, class 0, label 0 | length TCP hops=64 | server (16) | client (16)
//! TCP   server port, client port | seq | ack | offset flags window | checksum 0 | options
//! ```
//!
//! The id is 0, which RFC 6864 §4.1 allows for a packet that is never fragmented. Checksums are
//! computed in full: a local sender leaves only a partial one in the request, so there is nothing
//! to update.

use super::segment::{Family, IPV4_LEN, IPV6_LEN, Segment, TCP_LEN};
use crate::checksum::Sum;

/// The TCP header of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFields {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// See [`super::segment::flags`].
    pub flags: u8,
    /// The window field, scaled already.
    pub window: u16,
    /// Option words in the order of memory, those that are not used zero.
    pub options: [u32; 3],
    /// How many of them are used. Where none is, nobody looks at the words.
    pub option_words: usize,
}

/// The longest headers: IPv6, TCP and 12 bytes of options.
pub const HEADERS_MAX: usize = IPV6_LEN + TCP_LEN + 12;

/// Where the TCP header is in a [`Reply`], in words. The IP header ends there, whichever it is.
const TCP_AT: usize = (IPV6_LEN + PAD) / 4;
/// What brings the payload to a multiple of 8.
const PAD: usize = 12;
/// Words in front of TCP options or payload.
const HEADERS: usize = TCP_AT + TCP_LEN / 4;

/// Payloads are written at masked offsets, so that the verifier can see that they are inside.
const BODY_MASK: usize = 2047;
/// A word may be written at any masked offset.
const BODY: usize = BODY_MASK + 1 + 8;

/// A reply as it leaves, from the IP header on, written where it lies.
///
/// The TCP header is always at the same place, with the IP header in front of it and the options or
/// the payload behind; a reply that has both does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(8))]
pub struct Reply {
    headers: [u32; HEADERS],
    body: [u8; BODY],
}

const _: () = assert!(size_of::<Reply>() == HEADERS * 4 + BODY && (HEADERS * 4).is_multiple_of(8));

/// Length of the IP and TCP headers of a reply in bytes.
#[inline(always)]
pub const fn headers_len(family: Family, option_words: usize) -> usize {
    ip_len(family) + TCP_LEN + option_words * 4
}

#[inline(always)]
const fn ip_len(family: Family) -> usize {
    match family {
        Family::V4 => IPV4_LEN,
        Family::V6 => IPV6_LEN,
    }
}

impl Reply {
    /// Nothing written yet.
    pub const EMPTY: Self = Self { headers: [0; HEADERS], body: [0; BODY] };

    /// The longest reply from its IP header on, in bytes.
    pub const LEN_MAX: usize = IPV6_LEN + TCP_LEN + BODY_MASK;

    /// Where the IP header starts in this struct, in bytes.
    #[inline(always)]
    pub const fn start(family: Family) -> usize {
        TCP_AT * 4 - ip_len(family)
    }

    /// Writes eight bytes of the payload from `at`, masked.
    #[inline(always)]
    pub(crate) fn put(&mut self, at: usize, word: u64) {
        let at = at & BODY_MASK;
        self.body[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }

    /// The payload, for whoever is not the kernel.
    pub fn payload(&self, len: usize) -> &[u8] {
        &self.body[..len]
    }

    /// Writes the headers of the reply to `to` that carries `payload_len` bytes summing up to
    /// `payload`, and returns their length.
    #[inline(always)]
    pub fn write_headers(
        &mut self,
        to: &Segment,
        tcp: &TcpFields,
        payload_len: usize,
        payload: Sum,
    ) -> usize {
        const V4: usize = TCP_AT - IPV4_LEN / 4;
        const V6: usize = TCP_AT - IPV6_LEN / 4;
        let tcp_len = TCP_LEN + tcp.option_words * 4 + payload_len;
        let (client, server) = (&to.tuple.client.0, &to.tuple.server.0);
        let headers = &mut self.headers;
        match to.family {
            Family::V4 => {
                let ip = [
                    be([0x45, 0], (IPV4_LEN + tcp_len) as u16),
                    be([0, 0], 0x4000),
                    be([64, 6], 0),
                    server[3],
                    client[3],
                ];
                let mut sum = Sum::ZERO;
                for word in ip {
                    sum = sum.add(Sum::folded(word));
                }
                headers[V4] = ip[0];
                headers[V4 + 1] = ip[1];
                headers[V4 + 2] = with_checksum(ip[2], sum.finish());
                headers[V4 + 3] = ip[3];
                headers[V4 + 4] = ip[4];
            }
            Family::V6 => {
                headers[V6] = be([0x60, 0], 0);
                headers[V6 + 1] = u32::from_ne_bytes([(tcp_len >> 8) as u8, tcp_len as u8, 6, 64]);
                headers[V6 + 2] = server[0];
                headers[V6 + 3] = server[1];
                headers[V6 + 4] = server[2];
                headers[V6 + 5] = server[3];
                headers[V6 + 6] = client[0];
                headers[V6 + 7] = client[1];
                headers[V6 + 8] = client[2];
                headers[V6 + 9] = client[3];
            }
        }
        self.write_tcp(to, tcp, tcp_len, payload);
        headers_len(to.family, tcp.option_words)
    }

    /// The TCP header, and its options in the place of a payload.
    #[inline(always)]
    fn write_tcp(&mut self, to: &Segment, tcp: &TcpFields, tcp_len: usize, payload: Sum) {
        let [sp0, sp1] = to.tuple.server_port.to_ne_bytes();
        let [cp0, cp1] = to.tuple.client_port.to_ne_bytes();
        let offset = ((TCP_LEN / 4 + tcp.option_words) << 4) as u8;
        let words = [
            u32::from_ne_bytes([sp0, sp1, cp0, cp1]),
            tcp.seq.to_be(),
            tcp.ack.to_be(),
            be([offset, tcp.flags], tcp.window),
            0,
        ];
        // The pseudo header (RFC 9293 §3.1, RFC 8200 §8.1): addresses, length, protocol. The
        // mapped prefix of an IPv4 address sums up to 0xffff, which is zero.
        let mut sum = payload.add(Sum::folded(u32::from_ne_bytes([
            0,
            6,
            (tcp_len >> 8) as u8,
            tcp_len as u8,
        ])));
        for i in 0..4 {
            sum = sum.add(Sum::folded(to.tuple.client.0[i])).add(Sum::folded(to.tuple.server.0[i]));
        }
        for word in words {
            sum = sum.add(Sum::folded(word));
        }
        if tcp.option_words != 0 {
            for option in tcp.options {
                sum = sum.add(Sum::folded(option));
            }
        }
        let headers = &mut self.headers;
        headers[TCP_AT] = words[0];
        headers[TCP_AT + 1] = words[1];
        headers[TCP_AT + 2] = words[2];
        headers[TCP_AT + 3] = words[3];
        let [c0, c1] = sum.finish().to_ne_bytes();
        headers[TCP_AT + 4] = u32::from_ne_bytes([c0, c1, 0, 0]);
        if tcp.option_words != 0 {
            self.put(0, u64::from(tcp.options[1]) << 32 | u64::from(tcp.options[0]));
            self.put(8, u64::from(tcp.options[2]));
        }
    }
}

/// Two bytes and a number in network order, as a word in the order of memory.
#[inline(always)]
const fn be(first: [u8; 2], second: u16) -> u32 {
    let [c, d] = second.to_be_bytes();
    u32::from_ne_bytes([first[0], first[1], c, d])
}

/// The third word of an IPv4 header with its checksum.
#[inline(always)]
const fn with_checksum(word: u32, checksum: u16) -> u32 {
    let [a, b, ..] = word.to_ne_bytes();
    let [c, d] = checksum.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::super::segment::{Address, Tuple, flags};
    use super::*;

    fn segment(family: Family) -> Segment {
        let (client, server) = match family {
            Family::V4 => (
                Address::v4(u32::from_ne_bytes([10, 0, 0, 2])),
                Address::v4(u32::from_ne_bytes([10, 0, 0, 1])),
            ),
            Family::V6 => (Address::from_bytes([0xfd; 16]), Address::from_bytes([0x20; 16])),
        };
        Segment {
            tag: 0,
            window: 0,
            tuple: Tuple {
                client,
                server,
                client_port: 40000u16.to_be(),
                server_port: 80u16.to_be(),
            },
            family,
            ip_at: 14,
            tcp_at: 34,
            options_len: 0,
            payload_len: 0,
            seq: 1,
            ack: 2,
            flags: flags::ACK,
        }
    }

    fn bytes(family: Family, option_words: usize, payload: &[u8]) -> Vec<u8> {
        let tcp = TcpFields {
            seq: 0x0102_0304,
            ack: 0x0506_0708,
            flags: flags::ACK | flags::PSH,
            window: 512,
            options: [u32::from_ne_bytes([2, 4, 5, 0xb4]), 0, 0],
            option_words,
        };
        let tcp =
            TcpFields { options: if option_words == 0 { [0; 3] } else { tcp.options }, ..tcp };
        let mut reply = Reply::EMPTY;
        let len = reply.write_headers(&segment(family), &tcp, payload.len(), Sum::of(payload));
        let mut out = Vec::from(&bytemuck::bytes_of(&reply)[Reply::start(family)..][..len]);
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn ipv4_byte_for_byte() {
        let packet = bytes(Family::V4, 1, b"");
        assert_eq!(packet[..10], [0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6]);
        assert_eq!(packet[12..20], [10, 0, 0, 1, 10, 0, 0, 2]);
        assert_eq!(Sum::of(&packet[..20]).fold(), 0xffff, "header checksum");
        assert_eq!(packet[20..36], [0, 80, 0x9c, 0x40, 1, 2, 3, 4, 5, 6, 7, 8, 0x60, 0x18, 2, 0]);
        assert_eq!(packet[38..], [0, 0, 2, 4, 5, 0xb4]);
    }

    #[test]
    fn tcp_checksums_hold_for_odd_and_even_payloads() {
        for family in [Family::V4, Family::V6] {
            for payload in [&b""[..], b"x", b"xy", b"an odd payload!", b"an even payload."] {
                let packet = bytes(family, 0, payload);
                let (ip, addresses) = if family == Family::V4 { (20, 12..20) } else { (40, 8..40) };
                let mut pseudo = Vec::from(&packet[addresses]);
                pseudo.extend([0, 6]);
                pseudo.extend(u16::try_from(packet.len() - ip).expect("short").to_be_bytes());
                let sum = Sum::of(&pseudo).add(Sum::of(&packet[ip..]));
                assert_eq!(sum.fold(), 0xffff, "{family:?} {payload:?}");
            }
        }
    }
}
