//! Connections that were just seen to be the kernel's: the segments that follow need no look-up.
//!
//! Most packets of most hosts are of connections that tier 1 has nothing to do with. To find that
//! out anew for each costs a look-up of the socket and of the flow; to see that a packet goes on
//! where the last one was costs a comparison. What is remembered is good for a second, and only
//! for segments near the last one in both sequence spaces: a new connection on the same tuple,
//! with numbers of its own, meets both by chance once in 2^20 times, and is reset then.

use crate::wire::segment::{Segment, Tuple, flags};

/// How many are remembered for each CPU, a power of two.
pub const SLOTS: u32 = 256;

/// How far ahead of the last segment the next may be, in bytes: the windows of fast connections.
const AHEAD: u32 = 1 << 22;
/// How far behind: a retransmission.
const BEHIND: u32 = 1 << 16;

/// One connection, 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Recent {
    /// Whose it is.
    tuple: Tuple,
    /// Of the segment for which the socket was looked up.
    seq: u32,
    /// The same.
    ack: u32,
    /// Zero.
    pad: u32,
    /// The second in which that was, as the lease's end says it; 0: none.
    second: u64,
    /// Zero.
    pad2: u64,
}

const _: () = assert!(size_of::<Recent>() == 64);

impl Recent {
    /// Nothing.
    pub const NONE: Self = Self { tuple: Tuple::ZERO, seq: 0, ack: 0, pad: 0, second: 0, pad2: 0 };

    /// Where a connection is remembered, below [`SLOTS`].
    #[inline(always)]
    pub const fn slot(tuple: &Tuple) -> u32 {
        const K: u64 = 0x9e37_79b9_7f4a_7c15;
        let ports = (tuple.client_port as u64) << 16 | tuple.server_port as u64;
        let client = (tuple.client.0[2] as u64) << 32 | tuple.client.0[3] as u64;
        ((client ^ ports << 24).wrapping_mul(K) >> 56) as u32 & (SLOTS - 1)
    }

    /// The kernel has the segment's connection, in this second.
    #[inline(always)]
    pub const fn note(&mut self, segment: &Segment, second: u64) {
        self.tuple = segment.tuple;
        self.seq = segment.seq;
        self.ack = segment.ack;
        self.second = second;
    }

    /// Whether the segment is one more of this connection, with nothing in it that may begin or
    /// end one.
    #[inline(always)]
    pub fn covers(&self, segment: &Segment, second: u64) -> bool {
        let kind = segment.flags & (flags::SYN | flags::ACK | flags::FIN | flags::RST | flags::URG);
        kind == flags::ACK
            && self.second == second
            && second != 0
            && is_near(segment.seq, self.seq)
            && is_near(segment.ack, self.ack)
            && self.tuple == segment.tuple
    }
}

#[inline(always)]
const fn is_near(number: u32, last: u32) -> bool {
    number.wrapping_sub(last).wrapping_add(BEHIND) < AHEAD + BEHIND
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::segment::{Address, Family};

    fn segment() -> Segment {
        Segment {
            tuple: Tuple {
                client: Address::v4(u32::from_ne_bytes([10, 0, 0, 2])),
                server: Address::v4(u32::from_ne_bytes([10, 0, 0, 1])),
                client_port: 40_000u16.to_be(),
                server_port: 80u16.to_be(),
            },
            family: Family::V4,
            tag: 0,
            ip_at: 14,
            tcp_at: 34,
            options_len: 0,
            payload_len: 1000,
            seq: u32::MAX - 10,
            ack: 5,
            window: 512,
            flags: flags::ACK,
        }
    }

    fn noted() -> Recent {
        let mut recent = Recent::NONE;
        recent.note(&segment(), 7);
        recent
    }

    #[test]
    fn what_goes_on_is_covered_for_its_second() {
        let next = Segment { seq: 989, ack: 300, flags: flags::ACK | flags::PSH, ..segment() };
        assert!(noted().covers(&segment(), 7));
        assert!(noted().covers(&next, 7));
        assert!(!noted().covers(&next, 8));
        assert!(!Recent::NONE.covers(&segment(), 0));
    }

    #[test]
    fn what_begins_or_ends_a_connection_is_not() {
        for bit in [flags::SYN, flags::FIN, flags::RST, flags::URG] {
            let segment = Segment { flags: flags::ACK | bit, ..segment() };
            assert!(!noted().covers(&segment, 7), "{bit:#x}");
        }
        assert!(!noted().covers(&Segment { flags: 0, ..segment() }, 7));
    }

    #[test]
    fn only_numbers_near_the_last_ones_are() {
        for (by, near) in [
            (0, true),
            (AHEAD - 1, true),
            (AHEAD, false),
            (0u32.wrapping_sub(BEHIND), true),
            (0u32.wrapping_sub(BEHIND + 1), false),
            (1 << 31, false),
        ] {
            let last = segment();
            let moved = Segment { seq: last.seq.wrapping_add(by), ..last };
            assert_eq!(noted().covers(&moved, 7), near, "sequence number {by:#x}");
            let moved = Segment { ack: last.ack.wrapping_add(by), ..last };
            assert_eq!(noted().covers(&moved, 7), near, "acknowledgement {by:#x}");
        }
    }

    #[test]
    fn another_tuple_is_another_connection() {
        let same = segment();
        let Tuple { client, server, client_port, server_port } = same.tuple;
        let other = Address::v4(u32::from_ne_bytes([10, 0, 0, 3]));
        for tuple in [
            Tuple { client: other, server, client_port, server_port },
            Tuple { client, server: other, client_port, server_port },
            Tuple { client, server, client_port: 1, server_port },
            Tuple { client, server, client_port, server_port: 1 },
        ] {
            assert!(!noted().covers(&Segment { tuple, ..same }, 7));
        }
    }

    #[test]
    fn connections_are_spread_over_the_slots() {
        let mut used = [false; SLOTS as usize];
        for port in 30_000..31_000u16 {
            let tuple = Tuple { client_port: port.to_be(), ..segment().tuple };
            used[Recent::slot(&tuple) as usize] = true;
        }
        // Of a thousand balls into 256 boxes, five boxes stay empty on average.
        assert!(used.iter().filter(|used| **used).count() > 220);
    }
}
