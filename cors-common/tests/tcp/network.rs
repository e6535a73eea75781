//! A client with a stream to send, a network that loses, repeats and reorders, and the driver.

use std::collections::VecDeque;

use cors_common::{
    exit::{Action, Exit},
    tcp::{Owner, handover::Handover, step::Ask},
    wire::{
        reply::TcpFields,
        segment::{Segment, flags},
    },
};

use crate::{
    plan::{Ending, Plan},
    support::{Edge, segment},
};

type Packet = (Segment, Vec<u8>);
type Reply = (TcpFields, Vec<u8>);

/// Both ends of one connection, and what is on its way between them.
#[derive(Debug)]
pub(crate) struct Network {
    plan: Plan,
    edge: Edge,
    up: VecDeque<Packet>,
    down: VecDeque<Reply>,
    // The client.
    stream: Vec<u8>,
    written: usize,
    una: usize,
    nxt: usize,
    fin: Option<usize>,
    received: Vec<u8>,
    received_fin: bool,
    iss: Option<u32>,
    // What the driver did.
    answered: usize,
    sent: usize,
    consumed: usize,
    handed_over: bool,
}

impl Network {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut network = Self {
            plan,
            edge: Edge::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            stream: Vec::new(),
            written: 0,
            una: 0,
            nxt: 0,
            fin: None,
            received: Vec::new(),
            received_fin: false,
            iss: None,
            answered: 0,
            sent: 0,
            consumed: 0,
            handed_over: false,
        };
        network.retransmit(usize::MAX);
        network
    }

    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (self.up.len(), self.down.len())
    }

    /// The cookie's epoch turns.
    pub(crate) fn turn_epoch(&mut self) {
        self.edge.world.epoch += 1;
    }

    /// A segment arrives at the driver, out of its order if `at` is not the first.
    pub(crate) fn deliver_up(&mut self, at: usize, keep: bool) {
        let index = at % self.up.len().max(1);
        let packet = if keep { self.up.get(index).cloned() } else { self.up.remove(index) };
        if let Some((segment, payload)) = packet {
            self.driver(&segment, &payload);
        }
    }

    /// A reply arrives at the client.
    pub(crate) fn deliver_down(&mut self, at: usize, keep: bool) {
        let index = at % self.down.len().max(1);
        let reply = if keep { self.down.get(index).cloned() } else { self.down.remove(index) };
        if let Some((tcp, payload)) = reply {
            self.client(&tcp, &payload);
        }
    }

    pub(crate) fn lose_up(&mut self, at: usize) {
        self.up.remove(at % self.up.len().max(1));
    }

    pub(crate) fn lose_down(&mut self, at: usize) {
        self.down.remove(at % self.down.len().max(1));
    }

    /// The client's timer: everything that is not acknowledged, or its first `limit` bytes.
    pub(crate) fn retransmit(&mut self, limit: usize) {
        if self.iss.is_none() {
            let syn = segment(self.plan.family, flags::SYN, self.plan.isn, 0, 0);
            self.up.push_back((syn, Vec::new()));
            return;
        }
        let end = self.nxt.min(self.stream.len());
        let fin = self.fin.is_some_and(|at| self.una <= at && self.nxt > at);
        if self.una < end {
            let to = end.min(self.una.saturating_add(limit));
            self.send(self.una, to, fin && to == self.stream.len());
        } else if fin {
            self.send(self.stream.len(), self.stream.len(), true);
        }
    }

    /// Whether the client has all that it wanted, or the kernel its connection.
    pub(crate) fn is_done(&self) -> bool {
        let closed = self.fin.is_some_and(|at| self.una > at) && self.received_fin;
        self.handed_over || closed
    }

    pub(crate) fn handed_over(&self) -> bool {
        self.handed_over
    }

    pub(crate) fn answered(&self) -> usize {
        self.answered
    }

    // === The client ===

    fn send(&mut self, from: usize, to: usize, fin: bool) {
        let iss = self.iss.expect("connected");
        let seq = self.plan.isn.wrapping_add(1 + from as u32);
        let ack = iss.wrapping_add(1 + self.received.len() as u32 + u32::from(self.received_fin));
        let bits = flags::ACK | if fin { flags::FIN } else { 0 };
        let segment = segment(self.plan.family, bits, seq, ack, to - from);
        self.up.push_back((segment, self.stream[from..to].to_vec()));
    }

    fn acknowledge(&mut self) {
        self.send(self.nxt.min(self.stream.len()), self.nxt.min(self.stream.len()), false);
    }

    fn client(&mut self, tcp: &TcpFields, payload: &[u8]) {
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
        self.write();
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
        while self.written < due {
            let request = self.plan.request(self.written);
            self.written += 1;
            self.stream.extend_from_slice(&request);
            let from = self.nxt;
            self.nxt = self.stream.len();
            self.send(from, self.nxt, false);
        }
        let last = complete == wanted || self.received_fin;
        if last && self.fin.is_none() && get == 0 {
            self.fin = Some(self.stream.len());
            self.nxt = self.stream.len() + 1;
            self.send(self.stream.len(), self.stream.len(), true);
        }
    }

    // === The driver, its shell, and the hook behind it ===

    fn driver(&mut self, segment: &Segment, payload: &[u8]) {
        self.edge.world.preflight = payload.starts_with(b"OPTIONS ");
        let mut verdict = self.edge.step(segment);
        let mut body = Vec::new();
        if verdict.ask != Ask::Nothing {
            let read = self.plan.read(&payload[..verdict.request_len]);
            let found = read.map(|index| self.plan.answer(index));
            verdict.answered(found.as_ref().map_err(|exit| *exit));
            if verdict.body {
                body = self.plan.reply(read.expect("a preflight"));
            }
            if matches!(verdict.exit, Exit::Answered | Exit::AnsweredClose) {
                self.count(read.expect("a preflight"), &verdict.tcp, segment);
            }
        }
        self.edge.apply(&verdict);
        if self.handed_over {
            assert_eq!(verdict.exit.action(), Action::Pass, "the kernel has the connection");
            assert_eq!(self.edge.hand_over(segment), Handover::Leave(Exit::TcNotOurs));
            return;
        }
        match verdict.exit.action() {
            Action::Drop => {}
            Action::Transmit => self.down.push_back((verdict.tcp, body)),
            Action::Pass => self.behind(segment, verdict.exit),
        }
    }

    /// Each answer is the next one, at the next byte of both streams.
    fn count(&mut self, index: usize, tcp: &TcpFields, segment: &Segment) {
        assert_eq!(index, self.answered, "each preflight is answered once");
        let iss = self.iss.expect("connected");
        assert_eq!(tcp.seq, iss.wrapping_add(1 + self.sent as u32));
        assert_eq!(segment.seq, self.plan.isn.wrapping_add(1 + self.consumed as u32));
        self.answered += 1;
        self.sent += self.plan.preflights[index].1;
        self.consumed += self.plan.request(index).len();
    }

    fn behind(&mut self, segment: &Segment, passed: Exit) {
        match self.edge.hand_over(segment) {
            Handover::Assign(_) => {
                let iss = self.iss.expect("connected");
                // The kernel goes on where the last answer ended, and the client has that answer.
                assert_eq!(segment.seq, self.plan.isn.wrapping_add(1 + self.consumed as u32));
                assert_eq!(segment.ack, iss.wrapping_add(1 + self.sent as u32));
                assert_eq!(self.received.len(), self.sent);
                self.handed_over = true;
                self.edge.world.owner = Owner::Connection;
            }
            Handover::Leave(exit) => {
                assert_eq!(exit.action(), Action::Drop, "{passed:?}, {exit:?}: the kernel resets");
            }
        }
    }
}
