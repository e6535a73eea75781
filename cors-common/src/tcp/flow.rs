//! What is remembered of a connection once a preflight on it was answered.

use crate::wire::{options::Negotiated, segment::flags};

/// Changes whenever what an entry holds does, or what that means: an agent takes over the entries of
/// one before it that has the same.
pub const LAYOUT: u32 = 1;

/// Entries of the map `CHANGES`, which say what became of entries of the flow map: those that were
/// added and not removed are there, or were evicted.
pub mod change {
    /// An entry was added.
    pub const ADDED: u32 = 0;
    /// An entry was removed.
    pub const REMOVED: u32 = 1;
    /// How many of these there are.
    pub const COUNT: usize = 2;
}

/// Where a connection stands.
///
/// Kept as a number in the map; a number that is none of these is treated like a missing entry.
pub mod phase {
    /// Requests are answered.
    pub const OPEN: u32 = 1;
    /// We sent FIN, as the request asked; the client's is still to come.
    pub const FIN_SENT: u32 = 2;
    /// The client sent FIN and got ours; its last acknowledgement is still to come.
    pub const LAST_ACK: u32 = 3;
    /// Both FINs were exchanged after ours; a lost acknowledgement is repeated.
    pub const CLOSED: u32 = 4;
    /// The segment at the next expected byte went up to be handed over.
    pub const LEAVING: u32 = 5;
}

/// The window that is offered: what starts further ahead was not asked for.
pub const WINDOW: u32 = 0x1_0000;

/// The value of the flow map, 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Flow {
    /// The client's next sequence number (RCV.NXT).
    pub rcv_nxt: u32,
    /// Our next sequence number (SND.NXT): what the client must acknowledge.
    pub snd_nxt: u32,
    /// Our initial sequence number, the cookie; its low byte holds what was negotiated.
    pub iss: u32,
    /// Bytes of the last answered request.
    pub request_len: u16,
    /// Bytes of the answer to it, a FIN counted.
    pub reply_len: u16,
    /// See [`phase`].
    pub phase: u32,
    /// [`crate::state::State::sockets`] when the entry was written: as long as it says the same,
    /// the connection's socket is protected and need not be looked up.
    pub sockets: u32,
}

const _: () = assert!(size_of::<Flow>() == 24);

impl Flow {
    /// A connection that is open, and nothing else yet.
    pub const EMPTY: Self = Self {
        rcv_nxt: 0,
        snd_nxt: 0,
        iss: 0,
        request_len: 0,
        reply_len: 0,
        phase: phase::OPEN,
        sockets: 0,
    };

    /// Becomes the same, field by field: copied as a whole it would be copied byte by byte.
    #[inline(always)]
    pub const fn set(&mut self, from: &Self) {
        self.rcv_nxt = from.rcv_nxt;
        self.snd_nxt = from.snd_nxt;
        self.iss = from.iss;
        self.request_len = from.request_len;
        self.reply_len = from.reply_len;
        self.phase = from.phase;
        self.sockets = from.sockets;
    }

    /// What the handshake agreed on.
    #[inline(always)]
    pub const fn negotiated(&self) -> Negotiated {
        Negotiated(self.iss as u8)
    }

    /// Where the last answered request started.
    #[inline(always)]
    pub const fn request_seq(&self) -> u32 {
        self.rcv_nxt.wrapping_sub(self.request_len as u32)
    }

    /// Where the answer to it started.
    #[inline(always)]
    pub const fn reply_seq(&self) -> u32 {
        self.snd_nxt.wrapping_sub(self.reply_len as u32)
    }

    /// Whether a segment acknowledges what was sent before an answer, but not the answer.
    #[inline(always)]
    pub const fn is_behind(&self, ack: u32) -> bool {
        let acked = ack.wrapping_sub(self.iss);
        acked != 0 && acked < self.snd_nxt.wrapping_sub(self.iss)
    }

    /// Whether a segment of the kernel's with these flags is the end of it: the reset of a socket
    /// that had taken it over. Otherwise what the client still sends would wait here for the
    /// segment that was handed over, and nothing would tell a client that has lost the reset.
    ///
    /// A socket that is closed sends RST with ACK; to a late copy that meets no socket the kernel
    /// replies without (RFC 9293 §3.10.7.1), and the hand-over may still come.
    #[inline(always)]
    pub const fn ends_with(&self, bits: u8) -> bool {
        let reset = flags::RST | flags::ACK;
        self.phase == phase::LEAVING && bits & reset == reset
    }

    /// The same connection in another phase.
    #[inline(always)]
    #[must_use]
    pub const fn in_phase(self, phase: u32) -> Self {
        Self { phase, ..self }
    }
}
