//! Where a connection's entry is: a table of buckets in one array, in place of a hash map.
//!
//! An entry of a hash map that was deleted may be another connection's while a CPU still writes to
//! it. Here nothing is ever deleted: an entry is locked, looked at again, and only then believed.
//! And what may be driven out can be chosen: never a connection whose numbers differ.

use super::{Track, flag};
use crate::{
    spread::{self, GOLDEN},
    wire::segment::Tuple,
};

/// How many entries there are.
pub const ENTRIES: u32 = 1 << 16;

/// Entries of a bucket.
pub const WAYS: u32 = 4;

/// How long a connection that both sides have closed must have been quiet before its entry is given
/// away though its numbers differ, in the unit of [`Track::seen`]: what was lost comes again until
/// then, and without the entry it would come with other numbers.
pub const QUIET: u32 = 64;

/// The first entry of a connection's bucket. `mask` is the number of entries less one, which is a
/// power of two and at least [`WAYS`].
#[inline(always)]
pub const fn bucket(tuple: &Tuple, mask: u32) -> u32 {
    let (client, server) = (&tuple.client.0, &tuple.server.0);
    let mut fold = pair(client[2], client[3]).wrapping_mul(GOLDEN);
    fold = (fold ^ fold >> 29 ^ pair(client[0], client[1])).wrapping_mul(GOLDEN);
    fold = (fold ^ fold >> 29 ^ pair(server[3], server[1])).wrapping_mul(GOLDEN);
    fold = (fold ^ fold >> 29 ^ pair(tuple.client_port as u32, tuple.server_port as u32))
        .wrapping_mul(GOLDEN);
    fold = spread::fold(fold).wrapping_mul(GOLDEN);
    (fold >> 32) as u32 & mask & !(WAYS - 1)
}

/// How willingly an entry is given to another connection: 0 never, and else the more the higher.
#[inline(always)]
pub const fn worth(track: &Track, now: u32) -> u32 {
    let age = now.wrapping_sub(track.seen) & 0x00ff_ffff;
    let closed = flag::CLIENT_FIN | flag::SERVER_FIN;
    if track.flags & flag::ALIVE == 0 {
        u32::MAX
    } else if track.flags & flag::RESET != 0
        || (track.flags & closed == closed && (track.is_even() || age >= QUIET))
    {
        0x0200_0000 | age
    } else if track.is_even() {
        0x0100_0000 | age
    } else {
        0
    }
}

#[inline(always)]
const fn pair(a: u32, b: u32) -> u64 {
    (a as u64) << 32 | b as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::segment::Address;

    fn tuple(port: u16) -> Tuple {
        Tuple {
            client: Address::v4(u32::from_ne_bytes([10, 0, 0, 2])),
            server: Address::v4(u32::from_ne_bytes([10, 0, 0, 1])),
            client_port: port.to_be(),
            server_port: 80u16.to_be(),
        }
    }

    #[test]
    fn connections_are_spread_over_the_buckets() {
        let mut used = [0; 256];
        for port in 20_000..21_024 {
            let at = bucket(&tuple(port), 1023);
            assert!(at.is_multiple_of(WAYS) && at < 1024);
            used[(at / WAYS) as usize] += 1;
        }
        // Four to a bucket on average; 15 in one of 256 would come once in ten thousand times.
        assert!(used.iter().all(|n| *n < 15));
    }

    #[test]
    fn a_connection_whose_numbers_differ_is_never_driven_out() {
        let alive = Track { flags: flag::ALIVE, seen: 5, ..Track::NONE };
        let shifted = Track { shift_in: 1, ..alive };
        let closed = flag::ALIVE | flag::CLIENT_FIN | flag::SERVER_FIN;
        assert_eq!(worth(&shifted, 9), 0);
        assert_eq!(worth(&Track { shift_in: 0, shift_out: 7, ..alive }, 9), 0);
        // Nor before everything that was lost has come again.
        assert_eq!(worth(&Track { flags: closed, ..shifted }, 5 + QUIET - 1), 0);
        assert_ne!(worth(&Track { flags: closed, ..shifted }, 5 + QUIET), 0);
        let order = [
            worth(&Track::NONE, 9),
            worth(&Track { flags: closed, ..alive }, 9),
            worth(&Track { seen: 1, ..alive }, 9),
            worth(&alive, 9),
            0,
        ];
        assert!(order.windows(2).all(|pair| pair[0] > pair[1]), "{order:?}");
    }
}
