//! One client, one connection at a time: what it does with what comes, and when nothing comes.
//!
//! ```text
//! Idle ──SYN──► Opening ──SYN-ACK──► Ready ──request──► Waiting ──reply──► Ready, or
//!   ▲                                                                        │ FIN
//!   └──────────────── last ACK ◄── Closing (we first) or Closed by both ◄────┘
//! ```
//!
//! It is an honest client: it acknowledges what it got and only that, sends again what is not
//! acknowledged in time (200 ms, doubled each time, as Linux), closes with FIN, and answers a FIN
//! that comes again (TIME-WAIT, RFC 9293 §3.6.1). It does not reorder: a gap is an anomaly, since on
//! a cable nothing overtakes. The acknowledgement of a reply travels with the next request, as that
//! of a kernel that delays it would, or by itself after 40 ms.

use bytemuck::{Pod, Zeroable};
use cors_common::wire::segment::{Segment, flags};

use crate::{
    count::{Count, Tally},
    layout::FIRST_PORT,
};

/// How long to wait before something is sent for the second time, in nanoseconds.
const AGAIN_NS: u64 = 200_000_000;
/// How often it is sent again.
const AGAIN_MAX: u8 = 4;
/// How long an acknowledgement may wait for something to travel with.
const DELAYED_ACK_NS: u64 = 40_000_000;

/// Where a connection is.
pub mod state {
    /// There is none.
    pub const IDLE: u8 = 0;
    /// SYN was sent.
    pub const OPENING: u8 = 1;
    /// A request may be sent.
    pub const READY: u8 = 2;
    /// A request was sent, and its reply is not complete.
    pub const WAITING: u8 = 3;
    /// FIN was sent first.
    pub const CLOSING: u8 = 4;
    /// FIN came first, and was answered with FIN.
    pub const LAST_ACK: u8 = 5;
}

/// A client: one cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Conn {
    /// See [`state`].
    pub state: u8,
    /// How often the last segment was sent again.
    pub again: u8,
    /// Its port, host order.
    pub port: u16,
    /// How many replies came on this connection.
    pub replies: u32,
    /// The number of the request that was sent last.
    pub request: u32,
    /// How many bytes of the reply came.
    pub received: u32,
    /// The first byte that is not acknowledged.
    pub unacked: u32,
    /// The next byte to send.
    pub next: u32,
    /// The next byte to come.
    pub expected: u32,
    /// Whether there is something to acknowledge.
    pub owes_ack: u32,
    /// When what is waited for was due, in nanoseconds.
    pub due_ns: u64,
    /// When something was last sent.
    pub sent_ns: u64,
    /// Whether it stands in a queue: then its turn comes.
    pub queued: u64,
    /// Zero.
    pub pad: u64,
}

const _: () = assert!(size_of::<Conn>() == 64);

/// What to send. A number, since it goes through memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Send {
    /// Nothing.
    Nothing,
    /// The start of a connection.
    Syn,
    /// An acknowledgement.
    Ack,
    /// The next request, or the same again.
    Request,
    /// The end of what we send.
    Fin,
    /// The end of it all: what came made no sense.
    Reset,
    /// An answer to a segment of a connection that is over, from its own numbers.
    TimeWait,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Turn {
    /// The server's.
    Theirs,
    /// The client's, at once.
    Now,
    /// The client's, at the next arrival.
    NextArrival,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to send in the place of what came.
    pub send: Send,
    /// Who goes on.
    pub turn: Turn,
}

impl Step {
    const WAIT: Self = Self { send: Send::Nothing, turn: Turn::Theirs };

    const fn send(send: Send) -> Self {
        Self { send, turn: Turn::Theirs }
    }
}

/// How connections are used.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    /// Requests on a connection.
    pub per_connection: u32,
    /// Whether requests wait for an arrival.
    pub paced: bool,
    /// Whether latencies are recorded.
    pub record: bool,
}

/// What is known about the payload of a segment before it is taken.
#[derive(Clone, Copy, Debug)]
pub struct Payload {
    /// It has the expected bytes.
    pub matches: bool,
    /// Length of the whole reply.
    pub reply_len: u32,
}

impl Payload {
    /// There is none.
    pub const NONE: Self = Self { matches: false, reply_len: 0 };
}

/// `a` is after `b`, in sequence space.
const fn after(a: u32, b: u32) -> bool {
    b.wrapping_sub(a).cast_signed() < 0
}

impl Conn {
    /// Whether a segment belongs to the connection that there is.
    #[inline(always)]
    pub const fn is_mine(&self, segment: &Segment) -> bool {
        self.state != state::IDLE && segment.tuple.server_port == self.port.to_be()
    }

    /// Whether the bytes of a segment are the next of a reply.
    #[inline(always)]
    pub const fn takes(&self, segment: &Segment) -> bool {
        self.state == state::WAITING
            && segment.payload_len != 0
            && segment.seq == self.expected
            && segment.flags & (flags::SYN | flags::RST) == 0
    }

    /// A segment of a connection that is over: where it ends one, the server waits for an answer.
    #[inline(always)]
    pub fn stale(segment: &Segment, tally: &mut impl Tally) -> Step {
        tally.one(Count::Stale);
        if segment.has(flags::FIN | flags::ACK) {
            return Step::send(Send::TimeWait);
        }
        Step::WAIT
    }

    /// A segment of this connection came.
    #[inline(always)]
    pub fn receive(
        &mut self,
        segment: &Segment,
        payload: Payload,
        habit: Habit,
        now: u64,
        tally: &mut impl Tally,
    ) -> Step {
        if segment.has(flags::RST) {
            tally.one(Count::Reset);
            return self.over(Send::Nothing);
        }
        if self.state == state::OPENING {
            return self.opened(segment, habit, tally);
        }
        if segment.has(flags::SYN) {
            // The SYN-ACK again: what followed it acknowledges it.
            tally.one(Count::Duplicate);
            return Step::send(Send::Ack);
        }
        if !segment.has(flags::ACK) {
            tally.one(Count::Unexpected);
            return self.over(Send::Reset);
        }
        if after(segment.ack, self.next) || after(self.unacked, segment.ack) {
            // An old one may be a duplicate that was late; one of the future is made up.
            if after(segment.ack, self.next) {
                tally.one(Count::WrongAck);
                return self.over(Send::Reset);
            }
            tally.one(Count::Duplicate);
            return Step::WAIT;
        }
        if segment.ack != self.unacked {
            self.unacked = segment.ack;
            self.again = 0;
        }
        let fin = segment.has(flags::FIN);
        if segment.payload_len == 0 && !fin {
            return self.acknowledged(segment, tally);
        }
        if segment.seq != self.expected {
            let gap = after(segment.seq, self.expected);
            tally.one(if gap { Count::Gap } else { Count::Duplicate });
            return Step::send(Send::Ack);
        }
        if segment.payload_len != 0 {
            if self.state != state::WAITING {
                tally.one(Count::WrongLength);
                return self.over(Send::Reset);
            }
            if self.unacked != self.next {
                tally.one(Count::WrongAck);
                return self.over(Send::Reset);
            }
            if !payload.matches {
                tally.one(Count::WrongBytes);
                return self.over(Send::Reset);
            }
            self.received += segment.payload_len as u32;
            self.expected = self.expected.wrapping_add(segment.payload_len as u32);
            self.owes_ack = 1;
            if self.received > payload.reply_len {
                tally.one(Count::WrongLength);
                return self.over(Send::Reset);
            }
            if self.received == payload.reply_len {
                tally.one(Count::Replied);
                tally.add(Count::Bytes, u64::from(self.received));
                if habit.record {
                    tally.latency(now.saturating_sub(self.due_ns));
                }
                self.replies += 1;
                self.state = state::READY;
                if !fin {
                    return self.next_step(habit, now);
                }
            } else if !fin {
                return Step::send(Send::Ack);
            }
        }
        self.their_end(tally)
    }

    /// The answer to SYN.
    #[inline(always)]
    fn opened(&mut self, segment: &Segment, habit: Habit, tally: &mut impl Tally) -> Step {
        if !segment.has(flags::SYN | flags::ACK) {
            tally.one(Count::Unexpected);
            return self.over(Send::Reset);
        }
        if segment.ack != self.next {
            tally.one(Count::WrongAck);
            return self.over(Send::Reset);
        }
        tally.one(Count::Established);
        self.unacked = self.next;
        self.expected = segment.seq.wrapping_add(1);
        self.owes_ack = 1;
        self.again = 0;
        self.state = state::READY;
        if habit.per_connection == 0 {
            return Step::send(Send::Fin);
        }
        // The connection was what waited for its arrival.
        Step::send(Send::Request)
    }

    /// An acknowledgement and nothing else.
    #[inline(always)]
    fn acknowledged(&mut self, segment: &Segment, tally: &mut impl Tally) -> Step {
        if after(segment.seq, self.expected) {
            tally.one(Count::Gap);
            return Step::send(Send::Ack);
        }
        if self.state == state::LAST_ACK && self.unacked == self.next {
            tally.one(Count::Closed);
            return self.over(Send::Nothing);
        }
        if segment.seq == self.expected.wrapping_sub(1) {
            // A keep-alive probe (RFC 9293 §3.8.4).
            return Step::send(Send::Ack);
        }
        Step::WAIT
    }

    /// After a reply.
    #[inline(always)]
    fn next_step(&mut self, habit: Habit, now: u64) -> Step {
        if self.replies >= habit.per_connection {
            return Step::send(Send::Fin);
        }
        if habit.paced {
            return Step { send: Send::Nothing, turn: Turn::NextArrival };
        }
        self.due_ns = now;
        Step::send(Send::Request)
    }

    /// FIN came, and everything before it.
    #[inline(always)]
    fn their_end(&mut self, tally: &mut impl Tally) -> Step {
        self.expected = self.expected.wrapping_add(1);
        match self.state {
            state::CLOSING => {
                // Where both closed at once, the acknowledgement of our FIN is still on its way, and
                // nobody waits for it.
                tally.one(Count::Closed);
                self.over(Send::Ack)
            }
            state::WAITING => {
                tally.one(Count::CutShort);
                self.over(Send::Reset)
            }
            _ => {
                tally.one(Count::ServerClosed);
                self.state = state::LAST_ACK;
                Step::send(Send::Fin)
            }
        }
    }

    /// Nothing is left of the connection but what is sent now.
    #[inline(always)]
    fn over(&mut self, send: Send) -> Step {
        self.state = state::IDLE;
        self.owes_ack = 0;
        Step { send, turn: Turn::NextArrival }
    }

    /// The client's turn: what it sends by itself.
    #[inline(always)]
    pub const fn begins_with(&self) -> Send {
        match self.state {
            state::IDLE => Send::Syn,
            state::READY => Send::Request,
            // It was served meanwhile.
            _ => Send::Nothing,
        }
    }

    /// A new connection from the next port.
    #[inline(always)]
    pub fn open(&mut self, isn: u32, due: u64) {
        self.state = state::OPENING;
        self.port = if self.port < FIRST_PORT || self.port == u16::MAX {
            FIRST_PORT
        } else {
            self.port + 1
        };
        self.again = 0;
        self.replies = 0;
        self.unacked = isn;
        self.next = isn;
        self.expected = 0;
        self.due_ns = due;
    }

    /// The sequence number of what is sent now, and everything that changes with it.
    #[inline(always)]
    pub fn sends(&mut self, send: Send, len: u32, now: u64) -> u32 {
        // What is not acknowledged goes again.
        let seq = if matches!(send, Send::Ack | Send::Reset) { self.next } else { self.unacked };
        match send {
            Send::Syn => self.next = self.unacked.wrapping_add(1),
            Send::Request => {
                self.state = state::WAITING;
                self.next = self.unacked.wrapping_add(len);
                self.received = 0;
            }
            Send::Fin => {
                if self.state != state::LAST_ACK {
                    self.state = state::CLOSING;
                }
                self.next = self.unacked.wrapping_add(1);
            }
            Send::Nothing | Send::Ack | Send::Reset | Send::TimeWait => {}
        }
        self.owes_ack = 0;
        self.sent_ns = now;
        seq
    }

    /// Nothing came for a while: what to send, and whether the client is free afterwards.
    #[inline(always)]
    pub fn overdue(&mut self, habit: Habit, now: u64, tally: &mut impl Tally) -> Step {
        let since = now.saturating_sub(self.sent_ns);
        if self.state == state::IDLE {
            return Step::WAIT;
        }
        if self.state == state::READY {
            if self.replies >= habit.per_connection {
                // The habit changed while it waited for an arrival.
                return Step::send(Send::Fin);
            }
            return if self.owes_ack != 0 && since > DELAYED_ACK_NS {
                Step::send(Send::Ack)
            } else {
                Step::WAIT
            };
        }
        if since < AGAIN_NS << (self.again & 7) {
            return Step::WAIT;
        }
        if self.again >= AGAIN_MAX {
            tally.one(Count::TimedOut);
            return self.over(Send::Reset);
        }
        self.again += 1;
        tally.one(Count::Retransmitted);
        Step::send(match self.state {
            state::OPENING => Send::Syn,
            // The request arrived: the reply, or the rest of it, is what is missing. An
            // acknowledgement tells the server how far it came.
            state::WAITING if self.unacked == self.next => Send::Ack,
            state::WAITING => Send::Request,
            _ if self.unacked == self.next => Send::Ack,
            _ => Send::Fin,
        })
    }
}

#[cfg(test)]
mod tests;
