//! Segments out, and the timers behind them.

use super::socket::{Socket, State};
use crate::packet::{Packet, flag};

const TIMEOUT_MAX: u64 = 20_000_000;
/// After so many timeouts without an answer a connection is given up.
const RETRIES_MAX: u32 = 15;
/// The most that is given to the interface at once, in segments.
const BATCH: u64 = 8;
/// The same in bytes: an IPv4 packet has no more.
const BATCH_BYTES: u64 = 64_000;

impl Socket {
    /// Sends what there is and what the client takes.
    pub(super) fn pump(&mut self, now: u64) {
        if matches!(self.state, State::SynReceived | State::TimeWait | State::Closed) {
            return;
        }
        loop {
            let room = (self.una + self.window.min(self.congestion)).saturating_sub(self.nxt);
            let left = self.end.saturating_sub(self.nxt);
            let mss = self.mss();
            let len = left.min(room).min(mss * self.rng.range(1, BATCH)).min(BATCH_BYTES);
            let is_short = len < left && len < mss && self.nxt > self.una;
            let fin = self.closes && self.nxt + len == self.end;
            if is_short || (len == 0 && !fin) {
                break;
            }
            let push = if self.nxt + len == self.end { flag::PSH } else { 0 };
            let fin_bit = if fin { flag::FIN } else { 0 };
            self.emit(flag::ACK | push | fin_bit, self.nxt, len as usize);
            self.nxt += len + u64::from(fin);
            self.max = self.max.max(self.nxt);
            if self.timer.is_none() {
                self.timer = Some(now + self.timeout);
            }
        }
        // A window that was closed is asked for.
        if self.una == self.nxt && self.nxt < self.all() && self.timer.is_none() {
            self.timer = Some(now + self.timeout);
        }
    }

    /// Sends the first segment that is not acknowledged once more, of any length: Linux joins small
    /// ones and cuts long ones.
    pub(super) fn retransmit_first(&mut self) {
        let most = self.mss() * self.rng.range(1, 2);
        let end = self.max.min(self.una + most);
        let len = end.min(self.end).saturating_sub(self.una);
        let fin = self.closes && self.max > self.end && self.una + len == self.end;
        let fin_bit = if fin { flag::FIN } else { 0 };
        self.emit(flag::ACK | fin_bit, self.una, len as usize);
    }

    /// What is due.
    pub fn run_timers(&mut self, now: u64) {
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        if is_due(self.forgotten_at) {
            self.state = State::Closed;
            return;
        }
        if is_due(self.ack_at) {
            self.send_ack();
        }
        if !is_due(self.timer) {
            return;
        }
        self.timer = None;
        self.retries += 1;
        self.timeout = (self.timeout * 2).min(TIMEOUT_MAX);
        if self.retries > RETRIES_MAX || (self.state == State::SynReceived && self.retries > 5) {
            self.state = State::Closed;
        } else if self.state == State::SynReceived {
            self.syn_ack(self.agreed.mss, now);
        } else if self.una < self.max && self.window > 0 {
            self.congestion = self.mss();
            self.nxt = self.una;
            self.pump(now);
        } else if self.una < self.all() {
            // A probe of a closed window, as Linux sends it: nothing, from one byte before.
            if self.window == 0 {
                self.emit_at(flag::ACK, self.seq(self.una).wrapping_sub(1), Vec::new());
            }
            self.pump(now);
            self.timer = Some(now + self.timeout);
        }
    }

    /// The SYN-ACK of the listener's own handshake.
    pub(super) fn syn_ack(&mut self, mss: u16, now: u64) {
        let [high, low] = mss.to_be_bytes();
        let mut options = vec![2, 4, high, low];
        if self.agreed.sack {
            options.extend([1, 1, 4, 2]);
        }
        if let Some(recent) = self.agreed.timestamp {
            options.extend([1, 1, 8, 10]);
            options.extend(self.ticks.to_be_bytes());
            options.extend(recent.to_be_bytes());
        }
        if self.agreed.scale.is_some() {
            options.extend([1, 3, 3, self.scale()]);
        }
        self.out.push(Packet {
            tuple: self.tuple,
            family: self.family,
            up: false,
            seq: self.iss,
            ack: self.ack(),
            flags: flag::SYN | flag::ACK,
            window: 0xffff,
            options,
            payload: Vec::new(),
        });
        self.timer = Some(now + self.timeout);
    }

    /// An acknowledgement of its own.
    pub(super) fn send_ack(&mut self) {
        // Not from where a retransmission has got to: it would be outside the client's window.
        self.emit(flag::ACK, self.max, 0);
    }

    pub(super) fn emit(&mut self, flags: u8, at: u64, len: usize) {
        let from = at.saturating_sub(self.una).min(self.stream.len() as u64) as usize;
        let payload = self.stream.range(from..from + len).copied().collect();
        self.emit_at(flags, self.seq(at), payload);
    }

    fn emit_at(&mut self, flags: u8, seq: u32, payload: Vec<u8>) {
        let mut options = Vec::new();
        if let Some(recent) = self.agreed.timestamp {
            options.extend([1, 1, 8, 10]);
            // The clock goes on by a tick with every packet; `now` is not known here.
            self.ticks = self.ticks.wrapping_add(1);
            options.extend(self.ticks.to_be_bytes());
            options.extend(recent.to_be_bytes());
        }
        let blocks = self.blocks(if options.is_empty() { 4 } else { 3 });
        if !blocks.is_empty() {
            options.extend([1, 1, 5, 2 + 8 * blocks.len() as u8]);
            for (from, to) in blocks {
                let number = |at: u64| self.irs.wrapping_add(1).wrapping_add(at as u32);
                options.extend(number(from).to_be_bytes());
                options.extend(number(to).to_be_bytes());
            }
        }
        self.ack_at = None;
        self.unacknowledged = 0;
        let window = self.offer();
        self.out.push(Packet {
            tuple: self.tuple,
            family: self.family,
            up: false,
            seq,
            ack: self.ack(),
            flags,
            window,
            options,
            payload,
        });
    }

    /// What came too early, joined, as a SACK option has it.
    fn blocks(&self, most: usize) -> Vec<(u64, u64)> {
        let mut blocks: Vec<(u64, u64)> = Vec::new();
        if !self.agreed.sack {
            return blocks;
        }
        for (at, bytes) in &self.early {
            let end = at + bytes.len() as u64;
            match blocks.last_mut() {
                Some((_, last)) if *at <= *last => *last = end.max(*last),
                _ => blocks.push((*at, end)),
            }
        }
        blocks.truncate(most);
        blocks
    }
}
