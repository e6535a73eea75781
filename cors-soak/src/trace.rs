//! What happened last, for people to read.

use std::collections::VecDeque;

use cors_common::wire::segment::Tuple;

use crate::packet::{Packet, flag};

/// The last lines.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    lines: VecDeque<(Option<Tuple>, String)>,
    /// How many are kept; 0: none is written.
    pub keep: usize,
}

impl Trace {
    /// Notes a line about a connection. The text is only made where it is kept.
    pub fn note(&mut self, now: u64, tuple: Option<Tuple>, text: impl FnOnce() -> String) {
        if self.keep == 0 {
            return;
        }
        if self.lines.len() >= self.keep {
            self.lines.pop_front();
        }
        let line = format!("{:>6}.{:06} {}", now / 1_000_000, now % 1_000_000, text());
        self.lines.push_back((tuple, line));
    }

    /// The last lines about a connection, or about all.
    pub fn last(&self, tuple: Option<Tuple>, count: usize) -> String {
        let about = |of: &Option<Tuple>| tuple.is_none() || of.is_none() || *of == tuple;
        let lines: Vec<&str> =
            self.lines.iter().filter(|(of, _)| about(of)).map(|(_, line)| &**line).collect();
        let from = lines.len().saturating_sub(count);
        lines[from..].join("\n")
    }
}

/// A frame in one line.
pub fn show(frame: &[u8]) -> String {
    match Packet::read(frame) {
        Ok(packet) => show_packet(&packet),
        Err(what) => format!("{} bytes: {what}", frame.len()),
    }
}

fn show_packet(packet: &Packet) -> String {
    const NAMES: [(u8, char); 5] =
        [(flag::SYN, 'S'), (flag::FIN, 'F'), (flag::RST, 'R'), (flag::PSH, 'P'), (flag::ACK, '.')];
    let flags: String =
        NAMES.into_iter().filter(|(bit, _)| packet.has(*bit)).map(|(_, name)| name).collect();
    let mut text = format!(
        "{}{} {flags:4} seq {:08x} ack {:08x} len {:5} win {:5}",
        if packet.up { "port " } else { "to " },
        u16::from_be(packet.tuple.client_port),
        packet.seq,
        packet.ack,
        packet.payload.len(),
        packet.window,
    );
    for (from, to) in packet.sack_blocks() {
        text += &format!(" sack {from:08x}-{to:08x}");
    }
    if !packet.payload.is_empty() {
        let start = &packet.payload[..packet.payload.len().min(36)];
        text += &format!(" {:?}", String::from_utf8_lossy(start));
    }
    text
}
