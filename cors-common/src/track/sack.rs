//! Selective acknowledgements (RFC 2018): their edges are sequence numbers, too.

use crate::{
    checksum::Sum,
    swar,
    wire::options::{END, NOP, TIMESTAMPS, WSCALE},
    zero::Zero,
};

/// Bytes of a segment's options, and room to read beyond them.
pub const BUFFER: usize = 64;
const MASK: usize = BUFFER - 1;

const SACK: u8 = 5;
/// Multipath TCP (RFC 8684 §9).
const MPTCP: u8 = 30;

/// The most options that 40 bytes hold, and as many turns.
const TURNS: usize = 40;
/// The most blocks of an option that 40 bytes hold.
const BLOCKS: usize = 4;

/// What there is in the options of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Found {
    /// Where the blocks start; 0: there are none.
    pub sack_at: u32,
    /// How many.
    pub blocks: u32,
    /// Where the value of the timestamps option starts: TSval, then TSecr; 0: there is none.
    pub timestamps_at: u32,
    /// 1 where a SYN or its answer scales windows.
    pub scales: u32,
    /// 1 where the connection speaks Multipath TCP, which counts its bytes by itself.
    pub mptcp: u32,
}

/// Looks for what concerns a connection in the first `len` bytes, behind which are zeros.
///
/// What is found is blurred: to the verifier it is any number from the first turn on, and not one
/// of all the sets of options that there are.
#[inline(always)]
pub fn find(options: &[u8; BUFFER], len: usize, zero: Zero) -> Found {
    let any = |number: usize| zero.blur(number) as u32;
    let mut found = Found {
        sack_at: any(0),
        blocks: any(0),
        timestamps_at: any(0),
        scales: any(0),
        mptcp: any(0),
    };
    let mut at = zero.blur(0);
    for _ in 0..TURNS {
        at &= MASK;
        let kind = options[at];
        if at >= len || kind == END {
            break;
        }
        if kind == NOP {
            at = zero.blur(at + 1);
            continue;
        }
        let size = options[(at + 1) & MASK] as usize;
        if size < 2 || at + size > len {
            break;
        }
        if kind == SACK {
            found.sack_at = any(at + 2);
            found.blocks = any((size - 2) / 8);
        } else if kind == TIMESTAMPS && size == 10 {
            found.timestamps_at = any(at + 2);
        } else if kind == WSCALE {
            found.scales = any(1);
        } else if kind == MPTCP {
            found.mptcp = any(1);
        }
        at = zero.blur(at + size);
    }
    found
}

/// A number of the options in network order, at any offset.
#[inline(always)]
pub fn number(options: &[u8; BUFFER], at: u32) -> u32 {
    let byte = |i: usize| options[(at as usize + i) & MASK];
    u32::from_be_bytes([byte(0), byte(1), byte(2), byte(3)])
}

#[inline(always)]
fn set_number(options: &mut [u8; BUFFER], at: u32, number: u32) {
    for (i, byte) in number.to_be_bytes().into_iter().enumerate() {
        options[(at as usize + i) & MASK] = byte;
    }
}

/// Adds `by` to every edge. Where a block starts before `floor`, the whole option becomes padding:
/// what it says of bytes before a shift cannot be said in the other side's numbers, and nobody
/// needs it (RFC 2018 §8: the receiver may forget what it said).
#[inline(always)]
pub fn shift(options: &mut [u8; BUFFER], found: &Found, floor: u32, by: u32) {
    let mut odd = false;
    for i in 0..BLOCKS as u32 {
        if i >= found.blocks {
            break;
        }
        let at = found.sack_at + i * 8;
        let (left, right) = (number(options, at), number(options, at + 4));
        odd |= super::is_before(left, floor) || super::is_before(right, floor);
        set_number(options, at, left.wrapping_add(by));
        set_number(options, at + 4, right.wrapping_add(by));
    }
    if odd {
        for i in 0..BLOCKS * 8 + 2 {
            if i >= found.blocks as usize * 8 + 2 {
                break;
            }
            options[(found.sack_at as usize - 2 + i) & MASK] = NOP;
        }
    }
}

/// [`shift`], and what that changes of the sum of a segment.
#[inline(always)]
pub fn change(options: &mut [u8; BUFFER], found: &Found, floor: u32, by: u32) -> Sum {
    // There are forty bytes of options at most.
    const WORDS: usize = 5;
    let mut change = Sum::ZERO;
    for i in 0..WORDS {
        change = change.word(!swar::load(options, i * 8));
    }
    shift(options, found, floor, by);
    for i in 0..WORDS {
        change = change.word(swar::load(options, i * 8));
    }
    change
}

/// The furthest edge.
#[inline(always)]
pub fn furthest(options: &[u8; BUFFER], found: &Found, from: u32) -> u32 {
    let mut furthest = from;
    for i in 0..BLOCKS as u32 {
        if i >= found.blocks {
            break;
        }
        let right = number(options, found.sack_at + i * 8 + 4);
        if super::is_before(furthest, right) {
            furthest = right;
        }
    }
    furthest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(bytes: &[u8]) -> [u8; BUFFER] {
        let mut options = [0; BUFFER];
        options[..bytes.len()].copy_from_slice(bytes);
        options
    }

    const TIMES: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9];

    fn sack(edges: &[(u32, u32)]) -> Vec<u8> {
        let mut option = vec![1, 1, 5, 2 + edges.len() as u8 * 8];
        for (left, right) in edges {
            option.extend(left.to_be_bytes());
            option.extend(right.to_be_bytes());
        }
        option
    }

    use std::{vec, vec::Vec};

    #[test]
    fn both_are_found_in_any_order() {
        let blocks = sack(&[(1, 2), (3, 4)]);
        for (bytes, sack_at, times_at) in [
            ([&TIMES[..], &blocks].concat(), 16, 4),
            ([&blocks, &TIMES[..]].concat(), 4, 24),
            (blocks.clone(), 4, 0),
            (TIMES.to_vec(), 0, 4),
            (vec![5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0], 2, 0),
            (vec![], 0, 0),
            (vec![5, 1, 1, 1], 0, 0),
            (vec![5, 18, 0, 0], 0, 0),
            (vec![0, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1], 0, 0),
        ] {
            let found = find(&options(&bytes), bytes.len(), Zero::NEW);
            assert_eq!((found.sack_at, found.timestamps_at), (sack_at, times_at), "{bytes:?}");
            assert_eq!(found.blocks, if sack_at == 0 { 0 } else { 2 });
            assert_eq!(found.mptcp, 0);
        }
        let multipath = [&[30, 4, 0x01, 0x81][..], &TIMES].concat();
        let found = find(&options(&multipath), multipath.len(), Zero::NEW);
        assert_eq!((found.mptcp, found.timestamps_at, found.scales), (1, 8, 0));
        let scales = [2, 4, 5, 0xb4, 1, 3, 3, 7];
        assert_eq!(find(&options(&scales), scales.len(), Zero::NEW).scales, 1);
    }

    #[test]
    fn edges_move() {
        let bytes = sack(&[(100, 200), (u32::MAX, 5)]);
        let mut moved = options(&bytes);
        let found = find(&moved, bytes.len(), Zero::NEW);
        shift(&mut moved, &found, 0xffff_0000, 10);
        assert_eq!(moved[..bytes.len()], sack(&[(110, 210), (9, 15)]));
        assert_eq!(furthest(&moved, &found, 150), 210);
        assert_eq!(furthest(&moved, &found, 300), 300);
    }

    #[test]
    fn what_is_older_than_a_shift_is_not_said() {
        let bytes = sack(&[(100, 200), (300, 400)]);
        for floor in [101, 301, 401] {
            let mut moved = options(&[&bytes[..], &[9, 9]].concat());
            let found = find(&moved, bytes.len(), Zero::NEW);
            shift(&mut moved, &found, floor, 10);
            assert_eq!(moved[..bytes.len()], vec![NOP; bytes.len()]);
            assert_eq!(moved[bytes.len()..bytes.len() + 2], [9, 9]);
        }
    }
}
