//! A TCP client without a TCP: it sends exactly the segments that a test tells it to.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    PATIENCE,
    packet::{self, Segment, flags},
    tap::{Mac, Tap},
};

/// How long to listen before saying that nothing comes. A reply that would come later is missed,
/// never the other way round: so a slow machine makes no test fail.
const SILENCE: Duration = Duration::from_millis(150);

/// What today's clients offer in a SYN.
pub mod offer {
    /// MSS 1460, SACK permitted, window scale 7.
    pub const USUAL: &[u8] = &[2, 4, 0x05, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7];
    /// The same with timestamps, as Linux sends it.
    pub const LINUX: &[u8] = &[2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7];
    /// Nothing at all.
    pub const NONE: &[u8] = &[];
}

/// One connection, as the client keeps it.
#[derive(Clone, Debug)]
pub struct RawTcp {
    tap: Tap,
    mac: Mac,
    /// 802.1Q tags of everything it sends.
    pub vlans: Vec<u16>,
    /// The client's end.
    pub local: SocketAddr,
    /// The server's end.
    pub remote: SocketAddr,
    /// The next byte to send.
    pub snd_nxt: u32,
    /// The next byte that is expected.
    pub rcv_nxt: u32,
    /// The window that it announces.
    pub window: u16,
}

impl RawTcp {
    /// A connection that does not exist yet. `mac` and `local` belong to the client: no kernel
    /// may have them, or it would send resets.
    pub fn new(tap: &Tap, mac: Mac, local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            tap: tap.clone(),
            mac,
            vlans: Vec::new(),
            local,
            remote,
            // Different for each connection, as reuse of a port wants it.
            snd_nxt: u32::from(local.port()).wrapping_mul(0x0101_0101),
            rcv_nxt: 0,
            window: u16::MAX,
        }
    }

    /// A segment at the place where the connection is.
    pub fn segment(&self, flags: u8, payload: &[u8]) -> Segment {
        Segment {
            src_mac: self.mac,
            dst_mac: self.tap.mac,
            vlans: self.vlans.clone(),
            src: self.local.ip(),
            dst: self.remote.ip(),
            src_port: self.local.port(),
            dst_port: self.remote.port(),
            ttl: 64,
            seq: self.snd_nxt,
            ack: if flags & flags::ACK == 0 { 0 } else { self.rcv_nxt },
            flags,
            window: self.window,
            options: Vec::new(),
            payload: payload.to_vec(),
        }
    }

    /// Sends a segment as it is; the connection's state stays.
    pub fn send(&self, segment: &Segment) {
        self.tap.send(&segment.frame());
    }

    /// Sends a segment and moves on by what it occupies. Returns it, for retransmissions.
    pub fn advance(&mut self, segment: Segment) -> Segment {
        self.send(&segment);
        self.snd_nxt = segment.seq.wrapping_add(segment.sequence_length());
        segment
    }

    /// SYN with these options.
    pub fn syn(&mut self, options: &[u8]) -> Segment {
        let mut syn = self.segment(flags::SYN, b"");
        syn.options = options.to_vec();
        self.advance(syn)
    }

    /// Data.
    pub fn data(&mut self, payload: &[u8]) -> Segment {
        let data = self.segment(flags::ACK | flags::PSH, payload);
        self.advance(data)
    }

    /// An acknowledgement of everything received so far.
    pub fn ack(&self) {
        self.send(&self.segment(flags::ACK, b""));
    }

    /// A keep-alive probe: an acknowledgement one byte before the next.
    pub fn probe(&self) {
        let mut probe = self.segment(flags::ACK, b"");
        probe.seq = probe.seq.wrapping_sub(1);
        self.send(&probe);
    }

    /// FIN.
    pub fn fin(&mut self) -> Segment {
        let fin = self.segment(flags::FIN | flags::ACK, b"");
        self.advance(fin)
    }

    /// RST at the next byte.
    pub fn rst(&self) {
        self.send(&self.segment(flags::RST | flags::ACK, b""));
    }

    /// SYN, SYN-ACK, ACK. Returns the SYN-ACK.
    pub fn handshake(&mut self, options: &[u8]) -> Segment {
        self.syn(options);
        let reply = self.expect("a SYN-ACK");
        assert_eq!(reply.flags, flags::SYN | flags::ACK, "{reply:?}");
        assert_eq!(reply.ack, self.snd_nxt);
        self.accept(&reply);
        self.ack();
        reply
    }

    /// Takes a reply over into the connection's state.
    pub fn accept(&mut self, reply: &Segment) {
        self.rcv_nxt = reply.seq.wrapping_add(reply.sequence_length());
    }

    /// The next segment that the server sends on this connection. Its checksums must be right.
    pub fn expect(&self, what: &str) -> Segment {
        self.receive(PATIENCE).unwrap_or_else(|| panic!("{what} does not come"))
    }

    /// The next segment with data, taken over into the state and acknowledged. Bare
    /// acknowledgements before it are passed by, and so are retransmissions.
    pub fn expect_data(&mut self) -> Segment {
        loop {
            let reply = self.expect("a segment with data");
            assert!(!reply.has(flags::RST), "the connection was reset");
            if !reply.payload.is_empty() && reply.seq == self.rcv_nxt {
                self.accept(&reply);
                self.ack();
                return reply;
            }
        }
    }

    /// Data until it ends with `end`, all of it acknowledged.
    pub fn expect_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut received = Vec::new();
        while !received.ends_with(end) {
            received.extend(self.expect_data().payload);
        }
        received
    }

    /// Nothing comes on this connection.
    pub fn expect_silence(&self) {
        if let Some(reply) = self.receive(SILENCE) {
            panic!("silence was expected, not {reply:?}");
        }
    }

    /// The next segment of this connection, if one comes within that time.
    pub fn receive(&self, patience: Duration) -> Option<Segment> {
        let start = Instant::now();
        while let Some(left) = patience.checked_sub(start.elapsed()) {
            let Some(frame) = self.tap.receive(left) else { continue };
            let Some(parsed) = packet::parse(&frame) else { continue };
            let segment = parsed.segment;
            let to_us = segment.dst == self.local.ip() && segment.dst_port == self.local.port();
            let from_it = segment.src == self.remote.ip() && segment.src_port == self.remote.port();
            if to_us && from_it {
                assert!(parsed.checksums_hold, "a wrong checksum: {segment:?}");
                assert_eq!(segment.dst_mac, self.mac, "to somebody else: {segment:?}");
                return Some(segment);
            }
        }
        None
    }
}
