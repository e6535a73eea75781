//! The host's kernel: a listener, its connections, and what happens to a segment that is nobody's.

mod receive;
mod send;
pub mod socket;

use cors_common::{
    tcp::Owner,
    wire::{
        options::Negotiated,
        segment::{Segment, Tuple},
    },
};

use crate::{
    driver::Host,
    packet::{Packet, flag},
    rng::Rng,
};
use socket::{Socket, State};

/// From here on the queue of connections to accept is never full, in microseconds: a cookie does not
/// live for ever.
const FULL_UNTIL: u64 = 20_000_000;

/// The listener and the connections.
#[derive(Debug)]
pub struct Kernel {
    /// What kind of listener it is.
    pub listener: Owner,
    /// The largest segment that it announces, IPv4 and IPv6.
    pub mss: [u16; 2],
    /// In so many of a thousand cases the queue of connections to accept is full.
    pub full: u64,
    /// Every connection that is not forgotten.
    pub sockets: Vec<Socket>,
    rng: Rng,
    count: u64,
    /// Resets for what is nobody's.
    out: Vec<Packet>,
}

impl Host for Kernel {
    fn owner(&self, segment: &Segment) -> Owner {
        if self.socket(&segment.tuple).is_some() { Owner::Connection } else { self.listener }
    }
}

impl Kernel {
    /// A host that nobody has talked to.
    pub const fn new(listener: Owner, mss: [u16; 2], full: u64, rng: Rng) -> Self {
        Self { listener, mss, full, sockets: Vec::new(), rng, count: 0, out: Vec::new() }
    }

    fn socket(&self, tuple: &Tuple) -> Option<usize> {
        self.sockets.iter().position(|socket| socket.tuple == *tuple)
    }

    /// Takes a segment; `kept` where a program has assigned it to the listener.
    pub fn receive(&mut self, packet: &Packet, kept: Option<Negotiated>, now: u64) {
        let index = self.socket(&packet.tuple);
        if let Some(index) = index
            && is_new(&self.sockets[index], packet)
        {
            // RFC 9293 §3.10.7.4: a connection on the same tuple may begin in TIME-WAIT.
            self.sockets.remove(index);
            return self.listen(packet, now);
        }
        if let Some(index) = index {
            self.sockets[index].receive(packet, now);
        } else if let Some(kept) = kept {
            if now > FULL_UNTIL || !self.rng.permille(self.full) {
                let mut socket = Socket::handed_over(packet, kept, self.rng.fork());
                socket.receive(packet, now);
                self.add(socket);
            }
        } else if packet.flags & (flag::SYN | flag::ACK | flag::RST) == flag::SYN {
            self.listen(packet, now);
        } else if !packet.has(flag::RST) {
            self.refuse(packet);
        }
    }

    fn listen(&mut self, syn: &Packet, now: u64) {
        if self.listener == Owner::Nobody {
            return self.refuse(syn);
        }
        let iss = self.rng.next() as u32;
        // Once in a while the numbers wrap around early.
        let iss = if self.rng.permille(100) { iss | 0xffff_f000 } else { iss };
        let mss = self.mss[usize::from(syn.family == cors_common::wire::segment::Family::V6)];
        let rng = self.rng.fork();
        self.add(Socket::answering(syn, iss, mss, now, rng));
    }

    fn add(&mut self, mut socket: Socket) {
        self.count += 1;
        socket.number = self.count;
        self.sockets.push(socket);
    }

    /// RFC 9293 §3.10.7.1
    fn refuse(&mut self, packet: &Packet) {
        let is_ack = packet.has(flag::ACK);
        self.out.push(Packet {
            up: false,
            seq: if is_ack { packet.ack } else { 0 },
            ack: if is_ack { 0 } else { packet.end() },
            flags: if is_ack { flag::RST } else { flag::RST | flag::ACK },
            window: 0,
            options: Vec::new(),
            payload: Vec::new(),
            ..packet.clone()
        });
    }

    /// What is due on any connection.
    pub fn run_timers(&mut self, now: u64) {
        for socket in &mut self.sockets {
            socket.run_timers(now);
        }
    }

    /// When that is.
    pub fn next_at(&self) -> Option<u64> {
        self.sockets.iter().filter_map(Socket::next_at).min()
    }

    /// Takes what is to be sent, each with the size that the interface cuts it to.
    pub fn take_out(&mut self) -> Vec<(Packet, usize)> {
        let mut out: Vec<_> = self.out.drain(..).map(|packet| (packet, usize::MAX)).collect();
        for socket in &mut self.sockets {
            let len = socket.segment_len();
            out.extend(socket.out.drain(..).map(|packet| (packet, len)));
        }
        out
    }
}

/// Whether a SYN begins another connection on the tuple of one that is over.
fn is_new(socket: &Socket, packet: &Packet) -> bool {
    socket.state == State::TimeWait
        && packet.flags & (flag::SYN | flag::ACK | flag::RST) == flag::SYN
        && packet.seq.wrapping_sub(socket.ack()).cast_signed() > 0
}
