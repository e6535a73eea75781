//! A network that loses, repeats and reorders, and the driver and the kernel behind it.

use std::collections::VecDeque;

use cors_common::{
    exit::{Action, Exit},
    tcp::{Owner, handover::Handover, verdict::Ask},
    wire::{
        reply::TcpFields,
        segment::{Segment, flags},
    },
};

use crate::{
    host::{Host, Packet},
    plan::Plan,
    support::Edge,
};

/// What comes back to the client.
#[derive(Clone, Debug)]
struct Reply {
    tcp: TcpFields,
    body: Vec<u8>,
    /// Why the kernel was asked for a reset, where it is one.
    reset_by: Option<Exit>,
}

/// Both ends of one connection, and what is on its way between them.
#[derive(Debug)]
pub(crate) struct Network {
    host: Host,
    edge: Edge,
    up: VecDeque<Packet>,
    down: VecDeque<Reply>,
    /// Every segment that the client ever sent.
    history: Vec<Packet>,
    /// The listener's queue is full: the kernel drops what it is given.
    full: bool,
    // What the driver did.
    answered: usize,
    sent: usize,
    consumed: usize,
    /// The client acknowledged the last FIN, and nothing is remembered.
    ended: bool,
    handed_over: bool,
}

impl Network {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut network = Self {
            host: Host::new(plan),
            edge: Edge::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            history: Vec::new(),
            full: false,
            answered: 0,
            sent: 0,
            consumed: 0,
            ended: false,
            handed_over: false,
        };
        network.carry();
        network
    }

    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (self.up.len(), self.down.len())
    }

    /// The cookie's epoch turns.
    pub(crate) fn turn_epoch(&mut self) {
        self.edge.world.epoch += 1;
    }

    /// The agent stops to renew the lease, or begins again.
    pub(crate) fn toggle_lease(&mut self) {
        self.edge.world.lapsed ^= true;
    }

    pub(crate) fn fill_queue(&mut self, full: bool) {
        self.full = full;
    }

    /// A segment arrives at the driver, out of its order if `at` is not the first.
    pub(crate) fn deliver_up(&mut self, at: usize, keep: bool) {
        let index = at % self.up.len().max(1);
        let packet = if keep { self.up.get(index).cloned() } else { self.up.remove(index) };
        if let Some((segment, payload)) = packet {
            self.driver(&segment, &payload);
        }
    }

    /// A copy of anything that the client ever sent arrives.
    pub(crate) fn deliver_late(&mut self, at: usize) {
        let (segment, payload) = self.history[at % self.history.len()].clone();
        self.driver(&segment, &payload);
    }

    /// A reply arrives at the client.
    pub(crate) fn deliver_down(&mut self, at: usize, keep: bool) {
        let index = at % self.down.len().max(1);
        let reply = if keep { self.down.get(index).cloned() } else { self.down.remove(index) };
        let Some(Reply { tcp, body, reset_by }) = reply else { return };
        if self.host.reset {
            return;
        }
        let Some(by) = reset_by else {
            self.host.receive(&tcp, &body);
            return self.carry();
        };
        self.host.reset = self.host.believes_reset(tcp.seq);
        // An answer that can no longer be had ends its connection. Every other reset must be of
        // a number that the client has left behind.
        assert!(
            !self.host.reset || by == Exit::AnswerChanged,
            "the client believes a reset: {by:?}"
        );
    }

    pub(crate) fn lose_up(&mut self, at: usize) {
        self.up.remove(at % self.up.len().max(1));
    }

    pub(crate) fn lose_down(&mut self, at: usize) {
        self.down.remove(at % self.down.len().max(1));
    }

    /// The client's timer.
    pub(crate) fn retransmit(&mut self, limit: usize) {
        if !self.host.reset {
            self.host.retransmit(limit);
            self.carry();
        }
    }

    pub(crate) fn probe(&mut self, byte: bool) {
        if !self.host.reset {
            self.host.probe(byte);
            self.carry();
        }
    }

    /// Whether the client has all that it wanted, or the kernel its connection.
    pub(crate) fn is_done(&self) -> bool {
        self.handed_over || self.host.reset || self.host.is_closed()
    }

    pub(crate) fn handed_over(&self) -> bool {
        self.handed_over
    }

    pub(crate) fn was_reset(&self) -> bool {
        self.host.reset
    }

    pub(crate) fn answered(&self) -> usize {
        self.answered
    }

    pub(crate) fn received(&self) -> usize {
        self.host.received.len()
    }

    fn carry(&mut self) {
        self.history.extend(self.host.out.iter().cloned());
        self.up.extend(self.host.out.drain(..));
    }

    // === The driver, its shell, and the hook behind it ===

    fn driver(&mut self, segment: &Segment, payload: &[u8]) {
        self.edge.world.preflight = payload.starts_with(b"OPTIONS ");
        let mut verdict = self.edge.step(segment);
        let mut body = Vec::new();
        if verdict.ask != Ask::Nothing {
            let plan = &self.host.plan;
            let read = plan.read(&payload[..verdict.request_len]);
            let found = read.map(|index| plan.answer(index));
            let found = self.edge.looked_up(found.as_ref().map_err(|exit| *exit));
            verdict.answered(segment, found);
            if verdict.body {
                body = plan.reply(read.expect("a preflight"));
            }
            if matches!(verdict.exit, Exit::Answered | Exit::AnsweredClose) {
                self.count(read.expect("a preflight"), &verdict.tcp, segment);
            }
        }
        self.edge.apply(&verdict);
        self.ended |= verdict.exit == Exit::LastAck;
        if self.handed_over {
            assert_eq!(verdict.exit.action(), Action::Pass, "the kernel has the connection");
            assert_eq!(self.edge.hand_over(segment), Handover::Leave(Exit::TcNotOurs));
            // Or a copy that comes when the kernel's connection has ended would be handed over.
            assert!(self.edge.flow.is_none() || segment.has(flags::SYN), "the entry stays");
            return;
        }
        match verdict.exit.action() {
            Action::Drop => {}
            Action::Transmit => {
                self.down.push_back(Reply { tcp: verdict.tcp, body, reset_by: None });
            }
            Action::Pass if segment.has(flags::SYN) => self.kernel_syn(verdict.exit),
            Action::Pass => self.behind(segment, verdict.exit),
        }
    }

    /// Each answer is the next one, at the next byte of both streams.
    fn count(&mut self, index: usize, tcp: &TcpFields, segment: &Segment) {
        if self.ended {
            // From its cookie: copies of the first requests, one after the other, get the same
            // bytes again. That they are the same the client looks after.
            return;
        }
        assert_eq!(index, self.answered, "each preflight is answered once");
        let plan = &self.host.plan;
        let iss = self.host.iss.expect("connected");
        assert_eq!(tcp.seq, iss.wrapping_add(1 + self.sent as u32));
        assert_eq!(segment.seq, plan.isn.wrapping_add(1 + self.consumed as u32));
        self.answered += 1;
        self.sent += plan.preflights[index].1;
        self.consumed += plan.request(index).len();
    }

    /// Without a lease the kernel makes the handshake. (What it makes of a late copy of a SYN is
    /// not played: that takes a connection with it for which nothing but an entry is there.)
    fn kernel_syn(&mut self, exit: Exit) {
        assert_eq!(exit, Exit::LeaseExpired);
        if self.host.iss.is_none() {
            self.take();
        }
    }

    fn take(&mut self) {
        self.handed_over = true;
        self.edge.world.owner = Owner::Connection;
    }

    fn behind(&mut self, segment: &Segment, passed: Exit) {
        let next = self.host.plan.isn.wrapping_add(1 + self.consumed as u32);
        match self.edge.hand_over(segment) {
            // A copy of the first segment, and a cookie is all the proof that is asked for.
            Handover::Assign(_) if self.ended => {}
            Handover::Assign(_) => {
                // The kernel goes on where the last answer ended, and the client has that answer.
                let iss = self.host.iss.expect("connected");
                assert_eq!(segment.seq, next);
                assert_eq!(segment.ack, iss.wrapping_add(1 + self.sent as u32));
                assert_eq!(self.host.received.len(), self.sent);
                if !self.full {
                    self.take();
                }
            }
            Handover::Leave(exit) if exit.action() == Action::Drop => {}
            Handover::Leave(_) => {
                // RFC 9293 §3.10.7.1: the kernel knows of no connection.
                let tcp = TcpFields {
                    seq: segment.ack,
                    ack: 0,
                    flags: flags::RST,
                    window: 0,
                    options: [0; 3],
                    option_words: 0,
                };
                self.down.push_back(Reply { tcp, body: Vec::new(), reset_by: Some(passed) });
            }
        }
    }
}
