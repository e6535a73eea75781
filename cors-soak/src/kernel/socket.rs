//! A TCP connection of the kernel's: RFC 9293, with the habits of Linux that matter here.
//!
//! It is made by the listener's own handshake or from one segment in the middle of a connection, as
//! `bpf_sk_assign_tcp_reqsk` does it: the sequence number before that segment's is the initial one of
//! the client, the one before its acknowledgement is ours.
//!
//! Both streams are counted in bytes from the first behind the SYN, in 64 bits; only packets have
//! sequence numbers. `receive` takes segments, `send` makes them.

use std::collections::VecDeque;

use cors_common::wire::{
    options::{Negotiated, WINDOW_SCALE},
    segment::{Family, Tuple},
};

use crate::{
    packet::{Packet, flag},
    rng::Rng,
};

/// Room for what the server has not read, in bytes.
pub(super) const RECEIVE_BUFFER: u64 = 0x1_0000;
/// How long the last state of a connection is kept, in microseconds.
const TIME_WAIT: u64 = 60_000_000;
/// The first retransmission timeout.
pub(super) const RTO_MIN: u64 = 300_000;

/// Where a connection stands (RFC 9293 §3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The listener's handshake: the SYN-ACK is out.
    SynReceived,
    /// Both directions are open.
    Established,
    /// We have closed, the client has not.
    FinWait1,
    /// The same, and the client knows.
    FinWait2,
    /// Both have closed; the client does not know it yet.
    Closing,
    /// The client has closed, we have not.
    CloseWait,
    /// The client has closed, then we.
    LastAck,
    /// Over, but copies may come.
    TimeWait,
    /// Over.
    Closed,
}

/// What a handshake has agreed on.
#[derive(Clone, Copy, Debug)]
pub struct Agreed {
    /// The most that the client takes in a segment.
    pub mss: u16,
    /// The shift of the client's windows, where both scale.
    pub scale: Option<u8>,
    /// Selective acknowledgements.
    pub sack: bool,
    /// The client's last timestamp, where there are timestamps.
    pub timestamp: Option<u32>,
}

impl From<Negotiated> for Agreed {
    fn from(kept: Negotiated) -> Self {
        Self { mss: kept.mss(), scale: kept.window_scale(), sack: kept.sack(), timestamp: None }
    }
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Socket {
    /// No two have the same.
    pub number: u64,
    /// Whose.
    pub tuple: Tuple,
    /// Which IP header its packets have.
    pub family: Family,
    /// Where it stands.
    pub state: State,
    pub(super) agreed: Agreed,
    pub(super) rng: Rng,
    // What we send.
    pub(super) iss: u32,
    /// The first byte that is not acknowledged.
    pub(super) una: u64,
    /// The next to send.
    pub(super) nxt: u64,
    /// Behind everything that was ever sent.
    pub(super) max: u64,
    /// From `una` on.
    pub(super) stream: VecDeque<u8>,
    /// Behind the last byte that is to be sent.
    pub(super) end: u64,
    /// A FIN follows.
    pub(super) closes: bool,
    pub(super) window: u64,
    pub(super) window_seq: u32,
    pub(super) window_ack: u64,
    pub(super) congestion: u64,
    pub(super) duplicates: u32,
    pub(super) timeout: u64,
    pub(super) timer: Option<u64>,
    pub(super) retries: u32,
    // What we get.
    pub(super) irs: u32,
    /// The next byte to come.
    pub(super) rcv: u64,
    /// Behind the last byte that we have offered to take.
    pub(super) offered: u64,
    /// What came too early, by where it starts.
    pub(super) early: Vec<(u64, Vec<u8>)>,
    pub(super) fin_at: Option<u64>,
    pub(super) got_fin: bool,
    /// What the server has not read.
    pub(super) unread: VecDeque<u8>,
    pub(super) ack_at: Option<u64>,
    pub(super) unacknowledged: u32,
    /// The value of the next timestamp.
    pub(super) ticks: u32,
    /// When the connection is forgotten.
    pub(super) forgotten_at: Option<u64>,
    /// What is to be sent.
    pub out: Vec<Packet>,
    /// What no segment of a client can have caused.
    pub complaint: Option<String>,
    /// The client's reset was believed.
    pub was_reset: bool,
}

impl Socket {
    fn new(packet: &Packet, agreed: Agreed, irs: u32, iss: u32, state: State, rng: Rng) -> Self {
        Self {
            number: 0,
            tuple: packet.tuple,
            family: packet.family,
            state,
            agreed,
            rng,
            iss,
            una: 0,
            nxt: 0,
            max: 0,
            stream: VecDeque::new(),
            end: 0,
            closes: false,
            window: 0,
            window_seq: irs,
            window_ack: 0,
            congestion: 10 * u64::from(agreed.mss),
            duplicates: 0,
            timeout: RTO_MIN,
            timer: None,
            retries: 0,
            irs,
            rcv: 0,
            offered: RECEIVE_BUFFER - 1,
            early: Vec::new(),
            fin_at: None,
            got_fin: false,
            unread: VecDeque::new(),
            ack_at: None,
            unacknowledged: 0,
            ticks: iss ^ irs,
            forgotten_at: None,
            out: Vec::new(),
            complaint: None,
            was_reset: false,
        }
    }

    /// The connection that goes on from this segment.
    pub fn handed_over(packet: &Packet, kept: Negotiated, rng: Rng) -> Self {
        let (irs, iss) = (packet.seq.wrapping_sub(1), packet.ack.wrapping_sub(1));
        let mut socket = Self::new(packet, kept.into(), irs, iss, State::Established, rng);
        socket.window = u64::from(packet.window) << kept.window_scale().unwrap_or(0);
        socket
    }

    /// The connection that this SYN asks for; the SYN-ACK is on its way out.
    pub fn answering(syn: &Packet, iss: u32, mss: u16, now: u64, rng: Rng) -> Self {
        let mut agreed = Agreed { mss: 536, scale: None, sack: false, timestamp: None };
        for (kind, data) in syn.each_option() {
            match (kind, data) {
                (2, &[high, low]) => agreed.mss = u16::from_be_bytes([high, low]).min(mss),
                (3, &[scale]) => agreed.scale = Some(scale.min(14)),
                (4, []) => agreed.sack = true,
                _ => {}
            }
        }
        agreed.timestamp = syn.timestamps().map(|(value, _)| value);
        let mut socket = Self::new(syn, agreed, syn.seq, iss, State::SynReceived, rng);
        socket.window = u64::from(syn.window);
        socket.timeout = 1_000_000;
        socket.syn_ack(mss, now);
        socket
    }

    /// Whether nothing is left of it.
    pub fn is_over(&self) -> bool {
        self.state == State::Closed
    }

    /// Behind everything that was sent and is to be acknowledged.
    pub(super) fn all(&self) -> u64 {
        self.end + u64::from(self.closes)
    }

    pub(super) fn seq(&self, at: u64) -> u32 {
        self.iss.wrapping_add(1).wrapping_add(at as u32)
    }

    /// Where a byte of ours is, from its sequence number; near `una`.
    pub(super) fn sent_at(&self, seq: u32) -> i64 {
        self.una as i64 + i64::from(seq.wrapping_sub(self.seq(self.una)) as i32)
    }

    /// Where a byte of the client's is, from its sequence number; near `rcv`.
    pub(super) fn got_at(&self, seq: u32) -> i64 {
        let next = self.irs.wrapping_add(1).wrapping_add(self.rcv as u32);
        self.rcv as i64 + i64::from(seq.wrapping_sub(next) as i32)
    }

    /// What is acknowledged.
    pub(super) fn ack(&self) -> u32 {
        self.irs.wrapping_add(1).wrapping_add(self.rcv as u32).wrapping_add(u32::from(self.got_fin))
    }

    /// The most that is sent in one segment.
    pub(super) fn mss(&self) -> u64 {
        let options = if self.agreed.timestamp.is_some() { 12 } else { 0 };
        u64::from(self.agreed.mss) - options
    }

    /// The size into which the interface cuts what is sent.
    pub fn segment_len(&self) -> usize {
        self.mss() as usize
    }

    pub(super) fn scale(&self) -> u8 {
        if self.agreed.scale.is_some() { WINDOW_SCALE } else { 0 }
    }

    pub(super) fn wait_for_copies(&mut self, now: u64) {
        self.state = State::TimeWait;
        self.timer = None;
        self.forgotten_at = Some(now + TIME_WAIT);
    }

    // === What the server does with it ===

    /// Takes what has come.
    pub fn read(&mut self) -> Vec<u8> {
        let was_closed = self.offered <= self.rcv;
        let data = self.unread.drain(..).collect::<Vec<u8>>();
        if was_closed && !data.is_empty() {
            self.send_ack();
        }
        data
    }

    /// Whether the client has closed its side, and all before it was read.
    pub fn is_at_end(&self) -> bool {
        self.got_fin && self.unread.is_empty()
    }

    /// Whether the server may write.
    pub const fn may_write(&self) -> bool {
        matches!(self.state, State::Established | State::CloseWait) && !self.closes
    }

    /// Whether everything that was written has arrived.
    pub fn is_idle(&self) -> bool {
        self.una == self.all()
    }

    /// Writes.
    pub fn write(&mut self, data: &[u8], now: u64) {
        if self.may_write() {
            self.stream.extend(data);
            self.end += data.len() as u64;
            self.pump(now);
        }
    }

    /// Closes our side behind what was written.
    pub fn close(&mut self, now: u64) {
        match self.state {
            State::Established => self.state = State::FinWait1,
            State::CloseWait => self.state = State::LastAck,
            _ => return,
        }
        self.closes = true;
        self.pump(now);
    }

    /// Gives it up with a reset.
    pub fn abort(&mut self) {
        if !matches!(self.state, State::Closed | State::TimeWait) {
            self.emit(flag::RST | flag::ACK, self.max, 0);
            self.state = State::Closed;
        }
    }

    /// When something is to be done without a segment.
    pub fn next_at(&self) -> Option<u64> {
        [self.timer, self.ack_at, self.forgotten_at].into_iter().flatten().min()
    }
}
