//! What to do with a segment, and how a verdict with a question becomes one without.

use super::flow::{Flow, phase};
use crate::{
    exit::Exit,
    policy::Answer,
    wire::{
        options::Negotiated,
        reply::TcpFields,
        segment::{Segment, flags},
    },
};

/// What to do with a segment: how it is counted, what to send, what to remember.
///
/// Filled in where it lies, field by field, and without a payload inside an enum: a value that is
/// undefined in some variant may be moved through a register, and the verifier refuses to move
/// what was never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Verdict {
    /// The exit; its action says whether the packet passes, is dropped, or becomes a reply.
    pub exit: Exit,
    /// Whether a request must be read before there is a verdict: see [`Verdict::answered`].
    pub ask: Ask,
    /// How many bytes of the payload are that request.
    pub request_len: usize,
    /// What becomes of the flow entry.
    pub change: Change,
    /// What the entry becomes; with a question, the connection as it stands before the request.
    pub flow: Flow,
    /// The reply's TCP header, where the exit's action is to transmit.
    pub tcp: TcpFields,
    /// Whether the reply carries the answer.
    pub body: bool,
}

/// Which request of its connection must be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Ask {
    /// None: the verdict stands.
    Nothing,
    /// The first. Nothing is remembered yet: the cookie has told.
    First,
    /// One after an answered one.
    Next,
    /// The last answered one once more.
    Again,
}

/// What becomes of the flow entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Change {
    /// Nothing.
    Keep,
    /// Stored, or replaced.
    Put,
    /// Removed.
    Forget,
}

impl Verdict {
    /// To start from: nothing is sent and nothing changes.
    pub const NONE: Self = Self {
        exit: Exit::Internal,
        ask: Ask::Nothing,
        request_len: 0,
        change: Change::Keep,
        flow: Flow::EMPTY,
        tcp: TcpFields { seq: 0, ack: 0, flags: 0, window: 0, options: [0; 3], option_words: 0 },
        body: false,
    };

    #[inline(always)]
    pub(super) const fn leave(&mut self, exit: Exit) {
        self.exit = exit;
    }

    #[inline(always)]
    pub(super) const fn leave_and(&mut self, exit: Exit, change: Change) {
        self.exit = exit;
        self.change = change;
    }

    #[inline(always)]
    pub(super) const fn put(&mut self, flow: Flow) {
        self.change = Change::Put;
        self.flow = flow;
    }

    #[inline(always)]
    pub(super) const fn ask(&mut self, ask: Ask, flow: Flow, request_len: usize) {
        self.ask = ask;
        self.flow = flow;
        self.request_len = request_len;
    }

    /// A segment without payload.
    #[inline(always)]
    pub(super) const fn control(
        &mut self,
        exit: Exit,
        flags: u8,
        seq: u32,
        ack: u32,
        kept: Negotiated,
    ) {
        self.exit = exit;
        self.send(flags, seq, ack, kept);
    }

    /// The header of a segment without options, field by field: as a whole it would be cleared
    /// byte by byte.
    #[inline(always)]
    const fn send(&mut self, flags: u8, seq: u32, ack: u32, kept: Negotiated) {
        self.tcp.seq = seq;
        self.tcp.ack = ack;
        self.tcp.flags = flags;
        self.tcp.window = kept.window();
        self.tcp.option_words = 0;
    }

    /// Decides, once the request in question was read and looked up. The verdict holds what
    /// [`super::step::step`] left in it.
    #[inline(always)]
    pub fn answered(&mut self, segment: &Segment, decision: Result<&Answer, Exit>) {
        let before = self.flow;
        let again = matches!(self.ask, Ask::Again);
        // What is not answered goes up, and the connection with it. With a request that was answered
        // before, the entry stays: it says that the connection must not start over from its cookie.
        if matches!(self.ask, Ask::Next) {
            self.put(before.in_phase(phase::LEAVING));
        }
        let answer = match decision {
            Ok(answer) => answer,
            Err(exit) => return self.leave(if again { Exit::AnswerChanged } else { exit }),
        };
        let reply_len = answer.len + usize::from(answer.close);
        if again {
            // The same length, or the two answers would not end at the same byte.
            if reply_len != before.reply_len as usize {
                return self.leave(Exit::AnswerChanged);
            }
            self.exit = Exit::AnsweredAgain;
            return self.data(&before, answer.close);
        }
        let kept = before.negotiated();
        let window = usize::from(segment.window) << kept.window_scale().unwrap_or(0);
        // A FIN that the window cuts off would never be acknowledged.
        if answer.len > kept.mss() as usize || reply_len > window {
            return self.leave(Exit::ReplyTooLong);
        }
        let after = Flow {
            rcv_nxt: before.rcv_nxt.wrapping_add(self.request_len as u32),
            snd_nxt: before.snd_nxt.wrapping_add(reply_len as u32),
            request_len: self.request_len as u16,
            reply_len: reply_len as u16,
            phase: if answer.close { phase::FIN_SENT } else { phase::OPEN },
            ..before
        };
        self.put(after);
        self.exit = if answer.close { Exit::AnsweredClose } else { Exit::Answered };
        self.data(&after, answer.close);
    }

    /// The reply could not be written, and the packet is what it was. The room is another one with
    /// each packet, so a copy of it must not be answered after it went up: the entry says so.
    #[inline(never)]
    pub fn no_room(&mut self) {
        match self.ask {
            Ask::First | Ask::Next => {
                let after = self.flow;
                self.put(Flow {
                    rcv_nxt: after.request_seq(),
                    snd_nxt: after.reply_seq(),
                    request_len: 0,
                    reply_len: 0,
                    phase: phase::LEAVING,
                    ..after
                });
                self.exit = Exit::NoRoom;
            }
            // What was answered once is never the kernel's to answer.
            Ask::Again => self.leave_and(Exit::NoRoomAgain, Change::Keep),
            Ask::Nothing => self.leave_and(Exit::NoRoom, Change::Keep),
        }
    }

    /// The segment that carries the answer which the flow remembers.
    #[inline(always)]
    const fn data(&mut self, flow: &Flow, close: bool) {
        let fin = if close { flags::FIN } else { 0 };
        let bits = flags::ACK | flags::PSH | fin;
        self.send(bits, flow.reply_seq(), flow.rcv_nxt, flow.negotiated());
        self.body = true;
    }
}
