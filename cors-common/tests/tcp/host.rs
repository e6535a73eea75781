//! A client with a stream to send and a timer: its own side of a whole conversation.

use cors_common::wire::{
    reply::TcpFields,
    segment::{Segment, flags},
};

use crate::{
    plan::{Ending, Plan},
    support::segment,
};

/// A segment and its payload.
pub(crate) type Packet = (Segment, Vec<u8>);

/// The client of one connection.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) plan: Plan,
    /// What it sent since the network took it away.
    pub(crate) out: Vec<Packet>,
    /// The sequence number of the SYN-ACK, once there was one.
    pub(crate) iss: Option<u32>,
    pub(crate) received: Vec<u8>,
    received_fin: bool,
    /// It believed a reset.
    pub(crate) reset: bool,
    stream: Vec<u8>,
    written: usize,
    una: usize,
    nxt: usize,
    fin: Option<usize>,
}

impl Host {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut host = Self {
            plan,
            out: Vec::new(),
            iss: None,
            received: Vec::new(),
            received_fin: false,
            reset: false,
            stream: Vec::new(),
            written: 0,
            una: 0,
            nxt: 0,
            fin: None,
        };
        host.retransmit(usize::MAX);
        host
    }

    /// Whether both sides have closed, and it knows.
    pub(crate) fn is_closed(&self) -> bool {
        self.fin.is_some_and(|at| self.una > at) && self.received_fin
    }

    /// Whether it takes a reset with this number: RFC 5961 §3.2 wants the very next one.
    pub(crate) fn believes_reset(&self, seq: u32) -> bool {
        self.iss.is_some() && seq == self.expected() && !self.is_closed()
    }

    /// The timer: everything that is not acknowledged, or its first `limit` bytes.
    pub(crate) fn retransmit(&mut self, limit: usize) {
        if self.iss.is_none() {
            let syn = segment(self.plan.family, flags::SYN, self.plan.isn, 0, 0);
            self.out.push((syn, Vec::new()));
            return;
        }
        let end = self.nxt.min(self.stream.len());
        let fin = self.fin.is_some_and(|at| self.una <= at && self.nxt > at);
        if self.una < end {
            let to = end.min(self.una.saturating_add(limit));
            self.send(self.una, to, fin && to == self.stream.len());
        } else if fin {
            self.send(self.stream.len(), self.stream.len(), true);
        } else {
            self.write();
        }
    }

    /// A keep-alive probe, with its byte or without it: only where nothing is on its way.
    pub(crate) fn probe(&mut self, byte: bool) {
        if self.nxt > 0 && self.una == self.nxt && self.fin.is_none() {
            let to = if byte { self.nxt } else { self.nxt - 1 };
            self.send(self.nxt - 1, to, false);
        }
    }

    /// What is next to come from the other side.
    fn expected(&self) -> u32 {
        let received = self.received.len() as u32 + u32::from(self.received_fin);
        self.iss.expect("connected").wrapping_add(1 + received)
    }

    fn send(&mut self, from: usize, to: usize, fin: bool) {
        let seq = self.plan.isn.wrapping_add(1 + from as u32);
        let bits = flags::ACK | if fin { flags::FIN } else { 0 };
        let segment = segment(self.plan.family, bits, seq, self.expected(), to - from);
        self.out.push((segment, self.stream[from..to].to_vec()));
    }

    fn acknowledge(&mut self) {
        let seq = self.plan.isn.wrapping_add(1 + self.nxt as u32);
        let segment = segment(self.plan.family, flags::ACK, seq, self.expected(), 0);
        self.out.push((segment, Vec::new()));
    }

    pub(crate) fn receive(&mut self, tcp: &TcpFields, payload: &[u8]) {
        let Some(iss) = self.iss else {
            assert_eq!(tcp.flags, flags::SYN | flags::ACK);
            self.iss = Some(tcp.seq);
            self.acknowledge();
            return self.write();
        };
        if tcp.flags & flags::SYN != 0 {
            // RFC 5961 §4.2: a challenge.
            return self.acknowledge();
        }
        let acked = tcp.ack.wrapping_sub(self.plan.isn.wrapping_add(1)) as usize;
        assert!(acked <= self.nxt, "acknowledges {acked} of {} bytes sent", self.nxt);
        self.una = self.una.max(acked);
        let fin = tcp.flags & flags::FIN != 0;
        let at = tcp.seq.wrapping_sub(iss.wrapping_add(1)) as usize;
        if at == self.received.len() && !self.received_fin {
            self.received.extend_from_slice(payload);
            self.received_fin = fin;
        } else {
            // Bytes that it has already: they must be those that it has.
            let have = self.received.len();
            assert!(at + payload.len() <= have + usize::from(self.received_fin), "a hole at {at}");
            assert_eq!(&self.received[at.min(have)..(at + payload.len()).min(have)], payload);
        }
        if !payload.is_empty() || fin {
            self.acknowledge();
        }
        if !self.plan.pauses || self.received_fin {
            self.write();
        }
    }

    /// Sends whatever is due by now.
    fn write(&mut self) {
        let mut have = 0;
        let mut complete = 0;
        while complete < self.plan.preflights.len() {
            have += self.plan.preflights[complete].1;
            if self.received.len() < have {
                break;
            }
            complete += 1;
        }
        let get = usize::from(self.plan.ending == Ending::Get);
        let wanted = self.plan.preflights.len() + get;
        let due = if self.plan.pipelines { wanted } else { wanted.min(complete + 1) };
        while self.written < due && self.fin.is_none() {
            let request = self.plan.request(self.written);
            self.written += 1;
            self.stream.extend_from_slice(&request);
            let from = self.nxt;
            self.nxt = self.stream.len();
            self.send(from, self.nxt, false);
        }
        let last = match self.plan.ending {
            Ending::Get => false,
            Ending::Fin | Ending::Close => complete == wanted || self.received_fin,
            Ending::HalfClose => self.written == wanted,
        };
        if last && self.fin.is_none() {
            self.fin = Some(self.stream.len());
            self.nxt = self.stream.len() + 1;
            self.send(self.stream.len(), self.stream.len(), true);
        }
    }
}
