//! Connections that were just seen to be the kernel's: the segments that follow need no look-up.
//!
//! Most packets of most hosts are of connections that tier 1 has nothing to do with. To find that
//! out anew for each costs a look-up of the socket and of the flow; to see that a packet goes on
//! where the last one was costs a comparison. What is remembered is good for a second, and only
//! for segments near the last one in both sequence spaces: a new connection on the same tuple,
//! with numbers of its own, meets both by chance once in 2^20 times, and is reset then. One whose
//! SYN the driver answers is not taken for the one before, however near its numbers.
//!
//! Of a tracked connection it is the body of a long upload that needs no look-up: up to where the
//! next request may start, see [`crate::track::inward::unread_ahead`].

use crate::{
    spread::GOLDEN,
    wire::{
        Frame,
        segment::{
            Address, ETH_LEN, ETH_P_IP, ETH_P_IPV6, IPPROTO_TCP, IPV4_LEN, IPV6_LEN, Segment,
            Tuple, flags, is_fragment, ne32,
        },
    },
};

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
    /// How far ahead of it the next may be, in bytes.
    ahead: u32,
    /// The second in which that was, as the lease's end says it; 0: none.
    second: u64,
    /// Zero.
    pad2: u64,
}

const _: () = assert!(size_of::<Recent>() == 64);

impl Recent {
    /// Nothing.
    pub const NONE: Self =
        Self { tuple: Tuple::ZERO, seq: 0, ack: 0, ahead: 0, second: 0, pad2: 0 };

    /// Where a connection is remembered, below [`SLOTS`].
    #[inline(always)]
    pub const fn slot(tuple: &Tuple) -> u32 {
        let ports = (tuple.client_port as u64) << 16 | tuple.server_port as u64;
        let client = (tuple.client.0[2] as u64) << 32 | tuple.client.0[3] as u64;
        ((client ^ ports << 24).wrapping_mul(GOLDEN) >> 56) as u32 & (SLOTS - 1)
    }

    /// The kernel has the segment's connection, in this second, and everything on it.
    ///
    /// Of a SYN nothing is noted: it may be a copy, or somebody else's, and its numbers say nothing of
    /// where the connection is.
    #[inline(always)]
    pub const fn note(&mut self, segment: &Segment, second: u64) {
        self.note_until(segment, AHEAD, second);
    }

    /// The same of what starts less than `ahead` bytes behind the segment's start, and nothing more.
    #[inline(always)]
    pub const fn note_until(&mut self, segment: &Segment, ahead: u32, second: u64) {
        if segment.flags & flags::SYN != 0 {
            return;
        }
        self.tuple = segment.tuple;
        self.seq = segment.seq;
        self.ack = segment.ack;
        self.ahead = if ahead < AHEAD { ahead } else { AHEAD };
        self.second = second;
    }

    /// The tuple is another connection's from here on.
    #[inline(always)]
    pub fn forget(&mut self, tuple: &Tuple) {
        if self.tuple == *tuple {
            self.second = 0;
        }
    }

    /// Whether what was glanced at is one more segment of this connection, with nothing in it that
    /// may begin or end one.
    #[inline(always)]
    pub fn covers(&self, glance: &Glance, second: u64) -> bool {
        glance.flags & flags::KIND == flags::ACK
            && self.second == second
            && second != 0
            && is_near(glance.seq, self.seq, self.ahead)
            && is_near(glance.ack, self.ack, AHEAD)
            && self.tuple == glance.tuple
    }
}

/// As much of a frame as tells whether it goes on. Nothing is checked that the kernel checks when
/// the packet passes: lengths, checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Whose it is.
    pub tuple: Tuple,
    /// Its sequence number.
    pub seq: u32,
    /// Its acknowledgement number.
    pub ack: u32,
    /// Its flags.
    pub flags: u8,
}

/// Whether a frame goes on where the kernel's socket was seen in this `second`. `entry` is what is
/// remembered in a slot.
///
/// Each family is compared where it is read: joined behind the two, the addresses would have to go
/// through memory.
#[inline(always)]
pub fn goes_on<'a, F: Frame + ?Sized>(
    frame: &F,
    second: u64,
    entry: impl Fn(u32) -> Option<&'a Recent>,
) -> bool {
    let is_covered = |glance: Glance| {
        entry(Recent::slot(&glance.tuple)).is_some_and(|recent| recent.covers(&glance, second))
    };
    match frame.load(ETH_LEN - 2).map(u16::from_be_bytes) {
        Some(ETH_P_IP) => Glance::v4(frame).is_some_and(is_covered),
        Some(ETH_P_IPV6) => Glance::v6(frame).is_some_and(is_covered),
        _ => false,
    }
}

impl Glance {
    #[inline(always)]
    fn v4<F: Frame + ?Sized>(frame: &F) -> Option<Self> {
        let ip: [u8; IPV4_LEN] = frame.load(ETH_LEN)?;
        if ip[0] != 0x45 || ip[9] != IPPROTO_TCP || is_fragment(&ip) {
            return None;
        }
        let (client, server) = (Address::v4(ne32(&ip, 12)), Address::v4(ne32(&ip, 16)));
        Self::tcp(frame, ETH_LEN + IPV4_LEN, client, server)
    }

    #[inline(always)]
    fn v6<F: Frame + ?Sized>(frame: &F) -> Option<Self> {
        let ip: [u8; IPV6_LEN] = frame.load(ETH_LEN)?;
        if ip[0] >> 4 != 6 || ip[6] != IPPROTO_TCP {
            return None;
        }
        let (client, server) = (Address::at(&ip, 8), Address::at(&ip, 24));
        Self::tcp(frame, ETH_LEN + IPV6_LEN, client, server)
    }

    #[inline(always)]
    fn tcp<F: Frame + ?Sized>(
        frame: &F,
        at: usize,
        client: Address,
        server: Address,
    ) -> Option<Self> {
        let tcp: [u8; 16] = frame.load(at)?;
        Some(Self {
            tuple: Tuple::new(client, server, &tcp),
            seq: u32::from_be(ne32(&tcp, 4)),
            ack: u32::from_be(ne32(&tcp, 8)),
            flags: tcp[13],
        })
    }
}

#[inline(always)]
const fn is_near(number: u32, last: u32, ahead: u32) -> bool {
    number.wrapping_sub(last).wrapping_add(BEHIND) < ahead + BEHIND
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::wire::segment::Family;

    fn segment() -> Segment {
        Segment { payload_len: 1000, seq: u32::MAX - 10, ack: 5, ..Segment::EXAMPLE }
    }

    fn glance(segment: &Segment) -> Glance {
        let Segment { tuple, seq, ack, flags, .. } = *segment;
        Glance { tuple, seq, ack, flags }
    }

    fn noted() -> Recent {
        let mut recent = Recent::NONE;
        recent.note(&segment(), 7);
        recent
    }

    #[test]
    fn what_goes_on_is_covered_for_its_second() {
        let next = Segment { seq: 989, ack: 300, flags: flags::ACK | flags::PSH, ..segment() };
        assert!(noted().covers(&glance(&segment()), 7));
        assert!(noted().covers(&glance(&next), 7));
        assert!(!noted().covers(&glance(&next), 8));
        assert!(!Recent::NONE.covers(&glance(&segment()), 0));
    }

    #[test]
    fn what_begins_or_ends_a_connection_is_not() {
        for bit in [flags::SYN, flags::FIN, flags::RST, flags::URG] {
            let segment = Segment { flags: flags::ACK | bit, ..segment() };
            assert!(!noted().covers(&glance(&segment), 7), "{bit:#x}");
        }
        assert!(!noted().covers(&glance(&Segment { flags: 0, ..segment() }), 7));
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
            assert_eq!(noted().covers(&glance(&moved), 7), near, "sequence number {by:#x}");
            let moved = Segment { ack: last.ack.wrapping_add(by), ..last };
            assert_eq!(noted().covers(&glance(&moved), 7), near, "acknowledgement {by:#x}");
        }
    }

    #[test]
    fn a_bound_is_kept() {
        let last = segment();
        let mut recent = Recent::NONE;
        for (ahead, by, near) in [
            (1000, 999, true),
            (1000, 1000, false),
            (1000, 0u32.wrapping_sub(BEHIND), true),
            (0, 0, false),
            (0, u32::MAX, true),
            (u32::MAX, AHEAD - 1, true),
            (u32::MAX, AHEAD, false),
        ] {
            recent.note_until(&last, ahead, 7);
            let moved = Segment { seq: last.seq.wrapping_add(by), ..last };
            assert_eq!(recent.covers(&glance(&moved), 7), near, "{by:#x} with {ahead:#x} ahead");
        }
    }

    #[test]
    fn what_is_forgotten_is_not_covered() {
        let mut recent = noted();
        recent.forget(&Tuple { client_port: 1, ..segment().tuple });
        assert!(recent.covers(&glance(&segment()), 7));
        recent.forget(&segment().tuple);
        assert!(!recent.covers(&glance(&segment()), 7));
        assert!(!recent.covers(&glance(&segment()), 0));
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
            assert!(!noted().covers(&glance(&Segment { tuple, ..same }), 7));
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

    /// A glance sees what reading sees, in either family.
    #[test]
    fn a_glance_sees_what_reading_sees() {
        let mut v4 = Vec::from([0u8; 12]);
        v4.extend([0x08, 0x00, 0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6, 0x26, 0xca]);
        v4.extend([10, 0, 0, 2, 10, 0, 0, 1]);
        let mut v6 = Vec::from([0u8; 12]);
        v6.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 6, 64]);
        v6.extend([0xfd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        v6.extend([0xfd, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5]);
        for mut frame in [v4, v6] {
            frame.extend([0xc0, 0x01, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0x60, 0x10, 0xff, 0xff]);
            frame.extend([0, 0, 0, 0, 2, 4, 5, 0xb4]);
            let segment = Segment::read(&frame[..]).expect("a segment");
            let mut recent = Recent::NONE;
            recent.note(&segment, 7);
            let slot = Recent::slot(&segment.tuple);
            let goes_on =
                |frame: &[u8], second| goes_on(frame, second, |at| (at == slot).then_some(&recent));
            assert!(goes_on(&frame, 7));
            assert!(!goes_on(&frame, 8));
            // Whatever is cut off of it, or changed in what says whose it is and where it is.
            let tcp = segment.tcp_at;
            assert!(!goes_on(&frame[..tcp + 15], 7));
            let kind =
                if segment.family == Family::V4 { [12, 14, 20, 23] } else { [12, 13, 14, 20] };
            for at in kind.into_iter().chain(26..34).chain([tcp, tcp + 3, tcp + 4, tcp + 8]) {
                let mut other = frame.clone();
                other[at] ^= 0x21;
                assert!(!goes_on(&other, 7), "byte {at}");
            }
            frame[tcp + 13] |= flags::FIN;
            assert!(!goes_on(&frame, 7));
        }
    }
}
