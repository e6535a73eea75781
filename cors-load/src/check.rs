//! Whether a piece of a reply has the bytes that are expected.

use cors_common::{checksum::Sum, wire::segment::Segment};

use crate::layout::{REPLY_MAX, Reply};

/// The longest payload of one segment.
pub const PIECE_MAX: usize = 1536;
/// The same in words.
pub const PIECE_WORDS: usize = PIECE_MAX / 8;

/// The payload of a segment; behind its last byte it is zero to the end of that word.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Piece(pub [u64; PIECE_WORDS + 1]);

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its bytes are the expected ones.
    pub matches: bool,
    /// The sum of its bytes.
    pub sum: Sum,
}

impl Piece {
    /// Compares `len` bytes with a reply, from its byte `at` on.
    #[inline(always)]
    pub fn compare(&self, len: usize, reply: &Reply, at: usize) -> Found {
        let mut sum = Sum::ZERO;
        let mut differs = 0;
        let mut i = 0;
        while i < PIECE_WORDS && i * 8 < len {
            let word = self.0[i];
            sum = sum.word(word);
            let at = (at + i * 8) & (REPLY_MAX - 1);
            let left = len - i * 8;
            // Of the last word only so many bytes.
            let ours = if left < 8 { (1u64 << (left & 7) * 8) - 1 } else { u64::MAX };
            differs |= (word ^ load(&reply.bytes, at)) & load(&reply.mask, at) & ours;
            i += 1;
        }
        Found { matches: differs == 0, sum }
    }
}

/// Eight bytes in the order of memory.
#[inline(always)]
fn load(bytes: &[u8; REPLY_MAX + 8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// What the checksum of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It is right.
    Full,
    /// It covers the pseudo header alone: a card would have finished it.
    Partial,
    /// It is wrong.
    Bad,
}

/// Judges the checksum of a segment without options, by the sum of its payload.
#[inline(always)]
pub fn checksum(segment: &Segment, tcp: &[u8; 20], payload: Sum) -> Checksum {
    let mut pseudo = Sum::ZERO;
    let mut i = 0;
    while i < 4 {
        pseudo = pseudo
            .add(Sum::folded(segment.tuple.client.0[i]))
            .add(Sum::folded(segment.tuple.server.0[i]));
        i += 1;
    }
    let [high, low] = (20 + segment.payload_len as u16).to_be_bytes();
    let pseudo = pseudo.add(Sum::folded(u32::from_ne_bytes([0, 6, high, low])));
    let header = Sum::ZERO
        .word(u64::from_ne_bytes([tcp[0], tcp[1], tcp[2], tcp[3], tcp[4], tcp[5], tcp[6], tcp[7]]))
        .word(u64::from_ne_bytes([
            tcp[8], tcp[9], tcp[10], tcp[11], tcp[12], tcp[13], tcp[14], tcp[15],
        ]))
        .word(u64::from(u32::from_ne_bytes([tcp[16], tcp[17], tcp[18], tcp[19]])));
    if pseudo.add(header).add(payload).fold() == 0xffff {
        Checksum::Full
    } else if pseudo.fold() == u16::from_ne_bytes([tcp[16], tcp[17]]) {
        Checksum::Partial
    } else {
        Checksum::Bad
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use cors_common::wire::{
        reply::{self, TcpFields},
        segment::{Address, Family, Tuple, flags},
    };
    use std::vec::Vec;

    use super::*;

    fn reply(text: &[u8], masked: &[usize]) -> Reply {
        let mut reply = Reply::zeroed();
        reply.len = text.len() as u32;
        reply.bytes[..text.len()].copy_from_slice(text);
        reply.mask[..text.len()].fill(0xff);
        for at in masked {
            reply.mask[*at] = 0;
        }
        reply
    }

    fn piece(text: &[u8]) -> Piece {
        let mut bytes = [0; PIECE_MAX + 8];
        bytes[..text.len()].copy_from_slice(text);
        Piece(bytemuck::cast(bytes))
    }

    const TEXT: &[u8] = b"HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n";

    #[test]
    fn the_expected_bytes_match_in_pieces_of_any_length() {
        let reply = reply(TEXT, &[]);
        for cut in 0..=TEXT.len() {
            let first = piece(&TEXT[..cut]).compare(cut, &reply, 0);
            assert_eq!(first, Found { matches: true, sum: first.sum });
            assert_eq!(first.sum.fold(), Sum::of(&TEXT[..cut]).fold());
            assert!(piece(&TEXT[cut..]).compare(TEXT.len() - cut, &reply, cut).matches);
        }
    }

    #[test]
    fn each_other_byte_is_seen_but_where_it_may_differ() {
        for masked in [&[][..], &[31, 32, 33]] {
            let reply = reply(TEXT, masked);
            for at in 0..TEXT.len() {
                let mut other = Vec::from(TEXT);
                other[at] ^= 0x20;
                let found = piece(&other).compare(TEXT.len(), &reply, 0);
                assert_eq!(found.matches, masked.contains(&at), "byte {at}");
            }
        }
    }

    #[test]
    fn checksums_are_judged() {
        let tuple = Tuple {
            client: Address::v4(u32::from_ne_bytes([10, 0, 0, 1])),
            server: Address::v4(u32::from_ne_bytes([10, 64, 0, 9])),
            client_port: 80u16.to_be(),
            server_port: 4000u16.to_be(),
        };
        let to = Segment {
            tuple: Tuple {
                client: tuple.server,
                server: tuple.client,
                client_port: tuple.server_port,
                server_port: tuple.client_port,
            },
            family: Family::V4,
            tag: 0,
            ip_at: 14,
            tcp_at: 34,
            options_len: 0,
            payload_len: 0,
            seq: 0,
            ack: 0,
            window: 0,
            flags: 0,
        };
        let tcp = TcpFields {
            seq: 5,
            ack: 6,
            flags: flags::ACK,
            window: 7,
            options: [0; 3],
            option_words: 0,
        };
        let mut headers = reply::Reply::EMPTY;
        let len = headers.write_headers(&to, &tcp, TEXT.len(), Sum::of(TEXT));
        let bytes = &bytemuck::bytes_of(&headers)
            [reply::Reply::start(Family::V4, tcp.option_words)..][..len];
        let mut tcp: [u8; 20] = bytes[20..].try_into().expect("20 bytes");
        let segment = Segment { tuple, payload_len: TEXT.len(), ..to };
        assert_eq!(checksum(&segment, &tcp, Sum::of(TEXT)), Checksum::Full);
        assert_eq!(checksum(&segment, &tcp, Sum::of(b"other")), Checksum::Bad);
        tcp[16] ^= 1;
        assert_eq!(checksum(&segment, &tcp, Sum::of(TEXT)), Checksum::Bad);
        // What a sender leaves to its card: the folded sum of the pseudo header.
        let pseudo = Sum::of(&[10, 0, 0, 1, 10, 64, 0, 9, 0, 6, 0, 20 + TEXT.len() as u8]);
        tcp[16..18].copy_from_slice(&pseudo.fold().to_ne_bytes());
        assert_eq!(checksum(&segment, &tcp, Sum::of(TEXT)), Checksum::Partial);
    }
}
