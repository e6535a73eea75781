//! The timestamps of one connection (RFC 7323), as a client that believes in them sees them.

use crate::packet::{Packet, flag};

/// What was said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamps {
    /// The SYN-ACK had them.
    is_agreed: bool,
    /// The last TSval of the host's.
    host: u32,
    /// The first and the last TSval of the client's.
    client: Option<(u32, u32)>,
    /// What the client has acknowledged.
    acked: u32,
    /// The client's TS.Recent.
    recent: u32,
}

const fn is_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

impl Stamps {
    /// The client sends a segment.
    pub fn client_sends(&mut self, packet: &Packet) {
        if let Some((value, _)) = packet.timestamps() {
            let first = self.client.map_or(value, |(first, _)| first);
            self.client = Some((first, value));
        }
        if packet.has(flag::ACK) {
            self.acked = packet.ack;
        }
    }

    /// The host sends one, the kernel or the driver. What the client would take for an old one
    /// because of what was sent before must not leave.
    pub fn host_sends(&mut self, packet: &Packet) -> Result<(), String> {
        if packet.has(flag::SYN) {
            self.is_agreed = packet.timestamps().is_some();
            self.host = packet.timestamps().map_or(0, |(value, _)| value);
            return Ok(());
        }
        if !self.is_agreed || packet.has(flag::RST) {
            return Ok(());
        }
        let Some((value, echo)) = packet.timestamps() else {
            return Err("a segment without timestamps".to_owned());
        };
        if is_before(value, self.host) {
            return Err(format!("a timestamp of {value} after one of {}", self.host));
        }
        self.host = value;
        match self.client {
            Some((first, last)) if !is_before(echo, first) && !is_before(last, echo) => Ok(()),
            _ => Err(format!("an echo of {echo}, which the client did not send")),
        }
    }

    /// Whether the client takes a segment (§5.3). One that it does not take comes again.
    pub fn client_takes(&mut self, packet: &Packet) -> bool {
        let Some((value, _)) = packet.timestamps() else { return true };
        if packet.has(flag::SYN) {
            self.recent = value;
            return true;
        }
        if !self.is_agreed || packet.has(flag::RST) {
            return true;
        }
        if is_before(value, self.recent) {
            return false;
        }
        if !is_before(self.acked, packet.seq) {
            self.recent = value;
        }
        true
    }
}
