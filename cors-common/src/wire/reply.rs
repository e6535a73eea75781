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

/// The most words of options that a reply has.
const OPTIONS: usize = 3;
/// The most words of all headers, IPv6's being the longer one.
const HEADERS: usize = FIXED + OPTIONS;
/// The same without options.
const FIXED: usize = TCP_AT + TCP_LEN / 4;
/// Where the TCP header starts among those. The IP header ends there, whichever it is.
const TCP_AT: usize = IPV6_LEN / 4;

/// The longest headers in bytes.
pub const HEADERS_MAX: usize = HEADERS * 4;

/// Payloads are written at masked offsets, so that the verifier can see that they are inside.
const BODY_MASK: usize = 2047;
/// A word may be written at any masked offset.
const BODY: usize = BODY_MASK + 1 + 8;

/// A reply as it leaves, from the IP header on, written where it lies.
///
/// The payload is always at the same place. In front of it are the options, then the TCP header, and
/// then the IP header, so where a reply starts depends on how many options it has.
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

/// Where headers with so many words of options start if the IP header is the longer one, in words.
/// Masked, as payloads are.
#[inline(always)]
const fn first(option_words: usize) -> usize {
    OPTIONS - (option_words & OPTIONS)
}

impl Reply {
    /// Nothing written yet.
    pub const EMPTY: Self = Self { headers: [0; HEADERS], body: [0; BODY] };

    /// So many bytes there are from wherever the IP header starts.
    pub const LEN_MAX: usize = IPV4_LEN + TCP_LEN + BODY;

    /// Where the IP header starts in this struct, in bytes.
    #[inline(always)]
    pub const fn start(family: Family, option_words: usize) -> usize {
        first(option_words) * 4 + IPV6_LEN - ip_len(family)
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
        let Some(headers) = self.headers[first(tcp.option_words)..].first_chunk_mut() else {
            return 0;
        };
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
        write_tcp(headers, to, tcp, tcp_len, payload);
        let [.., a, b, c] = &mut self.headers;
        let options = tcp.options;
        match tcp.option_words {
            0 => {}
            1 => *c = options[0],
            2 => (*b, *c) = (options[0], options[1]),
            _ => (*a, *b, *c) = (options[0], options[1], options[2]),
        }
        headers_len(to.family, tcp.option_words)
    }
}

/// The TCP header without its options, which its checksum covers.
#[inline(always)]
fn write_tcp(
    headers: &mut [u32; FIXED],
    to: &Segment,
    tcp: &TcpFields,
    tcp_len: usize,
    payload: Sum,
) {
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
    let mut sum =
        payload.add(Sum::folded(u32::from_ne_bytes([0, 6, (tcp_len >> 8) as u8, tcp_len as u8])));
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
    headers[TCP_AT] = words[0];
    headers[TCP_AT + 1] = words[1];
    headers[TCP_AT + 2] = words[2];
    headers[TCP_AT + 3] = words[3];
    let [c0, c1] = sum.finish().to_ne_bytes();
    headers[TCP_AT + 4] = u32::from_ne_bytes([c0, c1, 0, 0]);
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

    /// Four bytes for each option word: the number that it has, from one on.
    fn bytes(family: Family, option_words: usize, payload: &[u8]) -> Vec<u8> {
        let mut options = [0; 3];
        for (option, number) in options.iter_mut().zip(1..=option_words) {
            *option = u32::from_ne_bytes([number as u8; 4]);
        }
        let tcp = TcpFields {
            seq: 0x0102_0304,
            ack: 0x0506_0708,
            flags: flags::ACK | flags::PSH,
            window: 512,
            options,
            option_words,
        };
        let mut reply = Reply::EMPTY;
        for (at, word) in payload.chunks(8).enumerate() {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            reply.put(at * 8, u64::from_le_bytes(bytes));
        }
        let len = reply.write_headers(&segment(family), &tcp, payload.len(), Sum::of(payload));
        assert_eq!(len, headers_len(family, option_words));
        let start = Reply::start(family, option_words);
        bytemuck::bytes_of(&reply)[start..][..len + payload.len()].to_vec()
    }

    #[test]
    fn ipv4_byte_for_byte() {
        let packet = bytes(Family::V4, 1, b"");
        assert_eq!(packet[..10], [0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6]);
        assert_eq!(packet[12..20], [10, 0, 0, 1, 10, 0, 0, 2]);
        assert_eq!(Sum::of(&packet[..20]).fold(), 0xffff, "header checksum");
        assert_eq!(packet[20..36], [0, 80, 0x9c, 0x40, 1, 2, 3, 4, 5, 6, 7, 8, 0x60, 0x18, 2, 0]);
        assert_eq!(packet[38..], [0, 0, 1, 1, 1, 1]);
    }

    #[test]
    fn options_are_between_header_and_payload() {
        for family in [Family::V4, Family::V6] {
            for option_words in 0..=3 {
                let packet = bytes(family, option_words, b"payload");
                let tcp = &packet[if family == Family::V4 { 20 } else { 40 }..];
                assert_eq!(usize::from(tcp[12] >> 4), 5 + option_words);
                let options = [[1; 4], [2; 4], [3; 4]].concat();
                assert_eq!(tcp[20..20 + option_words * 4], options[..option_words * 4]);
                assert_eq!(&tcp[20 + option_words * 4..], b"payload");
            }
        }
    }

    #[test]
    fn tcp_checksums_hold_for_odd_and_even_payloads() {
        for family in [Family::V4, Family::V6] {
            let payloads = [&b""[..], b"x", b"xy", b"an odd payload!", b"an even payload."];
            for (payload, option_words) in payloads.into_iter().flat_map(|p| [(p, 0), (p, 3)]) {
                let packet = bytes(family, option_words, payload);
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
