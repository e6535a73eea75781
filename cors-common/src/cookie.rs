//! SYN cookies of our own: the sequence number of a SYN-ACK proves the handshake.
//!
//! ```text
//! bits 31..8   proof = low 24 bits of SipHash-2-4(key, tuple, epoch, bits 7..0) + client's ISN
//! bits  7..0   what was negotiated, see Negotiated
//! ```
//!
//! The client's initial sequence number is *added* to the hash and not hashed, so that it can be
//! taken out again: from a segment that acknowledges the cookie, the proof gives back the low 24
//! bits of the ISN, and with them how far the segment is from the first byte of the connection.
//! Distance 0 is the first data segment and as strong a proof as hashing the ISN would be (24
//! bits, over a hash that nobody off the path can know). A small distance is a later segment that
//! overtook it: such a segment must be neither handed over (bytes would be lost) nor given to the
//! kernel (which would reset the connection), but dropped, so that the client sends both again.
//!
//! An epoch lasts [`EPOCH_SECONDS`], and the one before is still good: a cookie lives at least that long,
//! and at most twice.

use crate::{
    siphash::{Key, siphash24},
    wire::{
        options::Negotiated,
        segment::{Family, Tuple},
    },
};

/// Seconds that an epoch lasts.
pub const EPOCH_SECONDS: u64 = 64;

/// How far behind the first byte a segment may be to count as one that overtook it: an initial
/// window of ten segments of 1,460 bytes (RFC 6928), and some.
///
/// Not more, since a near match proves little: of the segments that belong to nothing, a share of
/// `2 * EARLY_MAX / 2^24` is dropped instead of reset, until the epoch moves on.
pub const EARLY_MAX: u32 = 0x3fff;

/// The secret: one 128-bit key for each family, so that no message of the one can stand for one
/// of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Keys {
    /// For IPv4.
    pub v4: Key,
    /// For IPv6.
    pub v6: Key,
}

const PROOF: u32 = 0x00ff_ffff;

#[inline(always)]
const fn ports(tuple: &Tuple) -> u64 {
    (tuple.client_port as u64) << 16 | tuple.server_port as u64
}

#[inline(always)]
const fn pair(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

/// One copy of the code for all the places that ask: in the kernel it is a function of its own.
#[inline(never)]
fn proof(keys: &Keys, family: Family, tuple: &Tuple, epoch: u32, kept: Negotiated) -> u32 {
    let (c, s) = (&tuple.client.0, &tuple.server.0);
    let last = pair(epoch, 0) | ports(tuple);
    let hash = match family {
        Family::V4 => siphash24(&keys.v4, &[pair(c[3], s[3]), last ^ (kept.0 as u64) << 56]),
        Family::V6 => siphash24(
            &keys.v6,
            &[
                pair(c[0], c[1]),
                pair(c[2], c[3]),
                pair(s[0], s[1]),
                pair(s[2], s[3]),
                last ^ (kept.0 as u64) << 56,
            ],
        ),
    };
    hash as u32 & PROOF
}

/// The cookie for a SYN with the sequence number `isn`.
#[inline(always)]
pub fn issue(
    keys: &Keys,
    family: Family,
    tuple: &Tuple,
    epoch: u32,
    isn: u32,
    kept: Negotiated,
) -> u32 {
    let proof = proof(keys, family, tuple, epoch, kept).wrapping_add(isn) & PROOF;
    proof << 8 | kept.0 as u32
}

/// How far `seq` is from the first byte after the SYN that `cookie` was issued for, modulo 2^24,
/// if it was issued in `epoch`. Nothing is proven unless the distance is the expected one.
#[inline(always)]
pub fn distance(
    keys: &Keys,
    family: Family,
    tuple: &Tuple,
    epoch: u32,
    cookie: u32,
    seq: u32,
) -> u32 {
    let hash = proof(keys, family, tuple, epoch, Negotiated(cookie as u8));
    let isn = (cookie >> 8).wrapping_sub(hash);
    seq.wrapping_sub(1).wrapping_sub(isn) & PROOF
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::segment::Address;

    const KEYS: Keys = Keys { v4: [1, 2], v6: [3, 4] };

    fn tuple(n: u32) -> Tuple {
        Tuple {
            client: Address([n, 2, 3, 4 + n]),
            server: Address([5, 6, 7, 8]),
            client_port: 9,
            server_port: 10,
        }
    }

    #[test]
    fn the_distance_is_counted_from_the_first_byte() {
        let kept = Negotiated(0xb6);
        for family in [Family::V4, Family::V6] {
            for isn in [0, 1, 0xff_ffff, 0x1234_5678, u32::MAX] {
                let cookie = issue(&KEYS, family, &tuple(0), 7, isn, kept);
                assert_eq!(cookie as u8, kept.0);
                for far in [0, 1, 1460, EARLY_MAX] {
                    let seq = isn.wrapping_add(1).wrapping_add(far);
                    assert_eq!(distance(&KEYS, family, &tuple(0), 7, cookie, seq), far);
                }
                // A keep-alive probe starts one byte before.
                assert_eq!(distance(&KEYS, family, &tuple(0), 7, cookie, isn), PROOF);
            }
        }
    }

    #[test]
    fn every_input_changes_the_proof() {
        let base = issue(&KEYS, Family::V4, &tuple(0), 7, 1000, Negotiated(0));
        let check =
            |tuple: &Tuple, epoch, cookie| distance(&KEYS, Family::V4, tuple, epoch, cookie, 1001);
        assert_eq!(check(&tuple(0), 7, base), 0);
        assert_ne!(check(&tuple(1), 7, base), 0, "address");
        assert_ne!(check(&tuple(0), 8, base), 0, "epoch");
        assert_ne!(check(&tuple(0), 7, base ^ 1), 0, "negotiated");
        assert_ne!(check(&tuple(0), 7, base ^ 0x100), 0, "proof");
        let port = Tuple { client_port: 11, ..tuple(0) };
        assert_ne!(check(&port, 7, base), 0, "port");
        let other = Keys { v4: [1, 3], v6: [3, 4] };
        assert_ne!(distance(&other, Family::V4, &tuple(0), 7, base, 1001), 0, "key");
    }

    #[test]
    fn guesses_hit_one_in_two_to_the_24() {
        let hits = (0..200_000u32)
            .filter(|i| {
                let guess = i.wrapping_mul(0x9e37_79b9);
                distance(&KEYS, Family::V6, &tuple(3), 1, guess, 77) == 0
            })
            .count();
        assert!(hits <= 2, "{hits} of 200,000 guesses verified");
    }
}
