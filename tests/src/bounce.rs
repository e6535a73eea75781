//! The bare bounce: an XDP program that sends every UDP datagram back to where it came from.
//!
//! It does what any program that answers in the driver must do, look at the headers and swap the
//! addresses, and nothing else: what a program costs is told beside it. The checksum is cleared
//! (RFC 768: there is none), since a sender on the same machine leaves it to the card.

/// `*(size *)(r2 + offset)`, by the size of the access.
#[derive(Clone, Copy)]
enum Size {
    Word = 0x00,
    Half = 0x08,
    Byte = 0x10,
}

const LOAD: u64 = 0x61;
const STORE: u64 = 0x63;

/// `offset` counts as the kernel counts: jumps from the next instruction on.
const fn instruction(opcode: u64, to: u64, from: u64, offset: u64, constant: u64) -> u64 {
    opcode | to << 8 | from << 12 | offset << 16 | constant << 32
}

/// `r<to> = *(size *)(r2 + offset)`
const fn load(to: u64, size: Size, offset: u64) -> u64 {
    instruction(LOAD | size as u64, to, 2, offset, 0)
}

/// `*(size *)(r2 + offset) = r<from>`
const fn store(from: u64, size: Size, offset: u64) -> u64 {
    instruction(STORE | size as u64, 2, from, offset, 0)
}

/// The program. Where a packet is no UDP over IPv4 it passes.
pub const PROGRAM: [u64; 30] = {
    use Size::{Byte, Half, Word};
    const PASS: u64 = 28;
    /// A jump at this place to the end.
    const fn to_pass(opcode: u64, at: u64, left: u64, right: u64, constant: u64) -> u64 {
        instruction(opcode, left, right, PASS - at - 1, constant)
    }
    [
        // r2 = data; r3 = data_end; if (r2 + 42 > r3) pass
        instruction(LOAD, 2, 1, 0, 0),
        instruction(LOAD, 3, 1, 4, 0),
        instruction(0xbf, 4, 2, 0, 0),
        instruction(0x07, 4, 0, 0, 42),
        to_pass(0x2d, 4, 4, 3, 0),
        // if (EtherType != IPv4) pass; if (protocol != UDP) pass
        load(5, Half, 12),
        to_pass(0x55, 6, 5, 0, 0x0008),
        load(5, Byte, 23),
        to_pass(0x55, 8, 5, 0, 17),
        // Ethernet
        load(5, Word, 0),
        load(6, Half, 4),
        load(7, Word, 6),
        load(8, Half, 10),
        store(7, Word, 0),
        store(8, Half, 4),
        store(5, Word, 6),
        store(6, Half, 10),
        // IPv4
        load(5, Word, 26),
        load(6, Word, 30),
        store(6, Word, 26),
        store(5, Word, 30),
        // UDP
        load(5, Half, 34),
        load(6, Half, 36),
        store(6, Half, 34),
        store(5, Half, 36),
        instruction(0x6a, 2, 0, 40, 0),
        // return XDP_TX
        instruction(0xb7, 0, 0, 0, 3),
        instruction(0x95, 0, 0, 0, 0),
        // return XDP_PASS
        instruction(0xb7, 0, 0, 0, 2),
        instruction(0x95, 0, 0, 0, 0),
    ]
};
