//! Segments in (RFC 9293 §3.10.7.4).

use super::socket::{RECEIVE_BUFFER, RTO_MIN, Socket, State};
use crate::packet::{Packet, flag};

/// Delay of an acknowledgement, in microseconds.
const DELAYED_ACK: u64 = 40_000;
/// How long one side that has closed waits for the other.
const FIN_WAIT_2: u64 = 60_000_000;

impl Socket {
    /// Takes a segment.
    pub fn receive(&mut self, packet: &Packet, now: u64) {
        if let (Some(recent), Some((value, _))) = (self.agreed.timestamp, packet.timestamps())
            && (value.wrapping_sub(recent) as i32) < 0
            && !packet.has(flag::RST)
        {
            return self.send_ack();
        }
        if self.state == State::SynReceived
            && packet.flags & (flag::SYN | flag::ACK | flag::RST) == flag::SYN
            && packet.seq == self.irs
        {
            return self.syn_ack(self.agreed.mss, now);
        }
        let at = self.got_at(packet.seq);
        if !self.is_acceptable(packet, at) {
            if !packet.has(flag::RST) {
                self.send_ack();
                if self.state == State::TimeWait && packet.has(flag::FIN) {
                    self.wait_for_copies(now);
                }
            }
            return;
        }
        if packet.has(flag::RST) {
            // RFC 5961 §3.2
            if packet.seq == self.ack() {
                self.was_reset = true;
                self.state = State::Closed;
            } else {
                self.send_ack();
            }
            return;
        }
        if packet.has(flag::SYN) {
            return self.send_ack();
        }
        if !packet.has(flag::ACK) || !self.acknowledged(packet, now) {
            return;
        }
        if let Some((value, _)) = packet.timestamps()
            && at <= self.rcv as i64
            && let Some(recent) = &mut self.agreed.timestamp
        {
            *recent = value;
        }
        self.data(packet, at, now);
        self.pump(now);
    }

    fn is_acceptable(&self, packet: &Packet, at: i64) -> bool {
        let (next, edge) = (self.rcv as i64 + i64::from(self.got_fin), self.offered as i64);
        let end = at + i64::from(packet.len());
        if packet.is_empty() { at >= next && at <= edge.max(next) } else { end > next && at < edge }
    }

    /// RFC 9293 §3.10.7.4: what acknowledges no SYN of ours gets a reset.
    fn refuse(&mut self, packet: &Packet) {
        self.out.push(Packet {
            up: false,
            seq: packet.ack,
            ack: 0,
            flags: flag::RST,
            window: 0,
            options: Vec::new(),
            payload: Vec::new(),
            ..packet.clone()
        });
    }

    /// The acknowledgement and the window; false where the segment ends here.
    fn acknowledged(&mut self, packet: &Packet, now: u64) -> bool {
        let at = self.sent_at(packet.ack);
        if self.state == State::SynReceived {
            if at != 0 {
                // A copy from a connection before this one, or a client that is gone.
                self.refuse(packet);
                return false;
            }
            self.state = State::Established;
            self.timer = None;
            self.timeout = RTO_MIN;
            self.retries = 0;
        }
        if at > self.max as i64 {
            self.complaint =
                Some(format!("acknowledges byte {at} of {} that the kernel sent", self.max));
            return false;
        }
        for (from, to) in packet.sack_blocks() {
            let (from, to) = (self.sent_at(from), self.sent_at(to));
            // A duplicate may be reported below the acknowledgement (RFC 2883).
            if from >= to || to > self.max as i64 || from < at {
                self.complaint = Some(format!(
                    "selects bytes {from} to {to} of {} sent, acknowledging {at}",
                    self.max
                ));
            }
        }
        if at < 0 {
            return true;
        }
        let at = at as u64;
        let window = u64::from(packet.window) << self.agreed.scale.unwrap_or(0);
        if at > self.una {
            self.advance(at, now);
        } else if at == self.una
            && packet.is_empty()
            && self.una < self.max
            && window == self.window
        {
            self.duplicates += 1;
            if self.duplicates == 3 {
                self.congestion = (self.congestion / 2).max(2 * self.mss());
                self.retransmit_first();
            }
        }
        let newer = packet.seq.wrapping_sub(self.window_seq) as i32;
        if newer > 0 || (newer == 0 && at >= self.window_ack) {
            self.window = window;
            self.window_seq = packet.seq;
            self.window_ack = at;
        }
        self.state != State::Closed
    }

    fn advance(&mut self, to: u64, now: u64) {
        let bytes = to.min(self.end).saturating_sub(self.una) as usize;
        self.stream.drain(..bytes);
        self.una = to;
        self.nxt = self.nxt.max(to);
        self.duplicates = 0;
        self.retries = 0;
        self.timeout = RTO_MIN;
        self.congestion = (self.congestion + self.mss()).min(1 << 20);
        self.timer = (self.una < self.max).then_some(now + self.timeout);
        if self.closes && self.una == self.all() {
            match self.state {
                State::FinWait1 => {
                    self.state = State::FinWait2;
                    self.forgotten_at = Some(now + FIN_WAIT_2);
                }
                State::Closing => self.wait_for_copies(now),
                State::LastAck => self.state = State::Closed,
                _ => {}
            }
        }
    }

    fn data(&mut self, packet: &Packet, at: i64, now: u64) {
        if packet.payload.is_empty() && !packet.has(flag::FIN) {
            return;
        }
        let had_gap = !self.early.is_empty();
        let skip = (self.rcv as i64 - at).max(0) as usize;
        let fin = packet.has(flag::FIN).then_some((at + packet.payload.len() as i64) as u64);
        if skip < packet.payload.len() {
            let at = (at + skip as i64) as u64;
            let mut bytes = packet.payload[skip..].to_vec();
            bytes.truncate(self.offered.saturating_sub(at) as usize);
            self.early.push((at, bytes));
            self.early.sort_by_key(|(at, _)| *at);
        }
        self.fin_at = self.fin_at.or(fin);
        let before = self.rcv;
        self.take_early();
        if self.fin_at == Some(self.rcv) && !self.got_fin {
            self.got_fin = true;
            self.finished(now);
            return self.send_ack();
        }
        self.unacknowledged += packet.payload.len() as u32;
        let is_plain = self.rcv > before && !had_gap && self.early.is_empty();
        if !is_plain || u64::from(self.unacknowledged) > self.mss() {
            self.send_ack();
        } else if self.ack_at.is_none() {
            self.ack_at = Some(now + DELAYED_ACK);
        }
    }

    /// What came too early and is next now.
    fn take_early(&mut self) {
        while let Some((at, _)) = self.early.first()
            && *at <= self.rcv
        {
            let (at, bytes) = self.early.remove(0);
            if let Some(new) = bytes.get((self.rcv - at) as usize..) {
                self.rcv += new.len() as u64;
                self.unread.extend(new);
            }
        }
    }

    /// The client's FIN.
    fn finished(&mut self, now: u64) {
        match self.state {
            State::Established => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => self.wait_for_copies(now),
            _ => {}
        }
    }

    /// The window field, and what it offers.
    pub(super) fn offer(&mut self) -> u16 {
        let scale = self.scale();
        let most = if scale == 0 { 0xffff } else { RECEIVE_BUFFER };
        let free = most.saturating_sub(self.unread.len() as u64);
        // What was offered is not taken back.
        self.offered = self.offered.max(self.rcv + free);
        ((self.offered - self.rcv) >> scale).min(0xffff) as u16
    }
}
