//! The decisions on connections that the kernel owns, on one connection at a time.
#![allow(missing_docs, reason = "tests")]

mod answers;
mod losses;
mod timestamps;

use cors_common::wire::segment::{Address, Family, Segment, Tuple, flags};

fn tuple() -> Tuple {
    Tuple {
        client: Address::v4(u32::from_ne_bytes([10, 0, 0, 2])),
        server: Address::v4(u32::from_ne_bytes([10, 0, 0, 1])),
        client_port: 40_000u16.to_be(),
        server_port: 80u16.to_be(),
    }
}

/// A segment with an acknowledgement, and with no options.
fn segment(seq: u32, ack: u32, payload_len: u32) -> Segment {
    Segment {
        tuple: tuple(),
        family: Family::V4,
        tag: 0,
        ip_at: 14,
        tcp_at: 34,
        options_len: 0,
        payload_len: payload_len as usize,
        seq,
        ack,
        window: 512,
        flags: flags::ACK,
    }
}
