//! Connections that the kernel owns, followed so that a preflight anywhere on them can be answered.
//!
//! After the hand-over (or a handshake that the kernel made itself) both programs keep watching:
//! [`inward`] decides on segments of the client at the driver, [`outward`] on segments of the
//! kernel on their way out. Together they know where requests begin and end, that nothing is
//! pending, and by how much the two sides' numbers differ since the driver took requests out and
//! put answers in.
//!
//! ```text
//!   client            driver                kernel
//!   seq c      ──►    c - shift_in    ──►   what it has received
//!   ack a      ──►    a - shift_out   ──►   what it has sent
//!   seq        ◄──    s + shift_out   ◄──   seq s
//!   ack        ◄──    k + shift_in    ◄──   ack k
//! ```
//!
//! A shift is only ever changed where nothing is on its way in either direction: everything the
//! kernel sent is acknowledged by the very segment that asks, and the kernel has acknowledged
//! everything before it. So of every older number it is known that it is old, and none is moved
//! by the wrong shift.
//!
//! **When in doubt, opaque.** Where it cannot be told any more where the next request starts,
//! nothing is answered on the connection again. Numbers that differ already are still moved.

pub mod chunks;
pub mod inward;
pub mod offer;
pub mod outward;
pub mod response;
pub mod sack;
pub mod table;

use crate::wire::{options::Negotiated, segment::Tuple};

/// Changes whenever an entry means something else than before, so that a build which knows others
/// does not go on with them.
pub const LAYOUT: u32 = 2;

/// Bits of [`Track::flags`].
pub mod flag {
    /// The entry is a connection's. Without it, it is nobody's.
    pub const ALIVE: u32 = 1;
    /// Nobody can tell any more where requests begin: nothing is answered.
    pub const OPAQUE: u32 = 2;
    /// The client has sent FIN.
    pub const CLIENT_FIN: u32 = 4;
    /// The kernel has sent FIN.
    pub const SERVER_FIN: u32 = 8;
    /// The client has not acknowledged the last answer of the driver's.
    pub const UNACKED: u32 = 0x10;
    /// The request whose response is pending is a `HEAD`: that one has no body.
    pub const HEAD: u32 = 0x20;
    /// The kernel has sent something: it has a socket.
    pub const HEARD: u32 = 0x40;
    /// The handshake has agreed on timestamps.
    pub const STAMPED: u32 = 0x80;
    /// The kernel, or the client, has reset the connection.
    pub const RESET: u32 = 0x100;
    /// It was handed over. Until the kernel is heard of, it may have refused that.
    pub const HANDED: u32 = 0x200;
}

/// A connection, 128 bytes. All zero: nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Track {
    /// Not 0: a CPU has it. Whoever changes anything but [`Track::stage`] and what belongs to it
    /// must have it.
    pub lock: u64,
    /// Whose it is.
    pub tuple: Tuple,
    /// See [`flag`].
    pub flags: u32,
    /// When something of it was seen last, in units of 2^30 ns of the lease's clock.
    pub seen: u32,

    /// Client's number behind the last request that the driver took out.
    pub base_in: u32,
    /// Bytes that it took out so far.
    pub shift_in: u32,
    /// Client's number of the first byte of the next request.
    pub next_in: u32,
    /// Client's number behind everything that was passed up.
    pub top_in: u32,

    /// Kernel's number at which the driver put in its last answer.
    pub base_out: u32,
    /// Bytes that it put in so far.
    pub shift_out: u32,
    /// Kernel's number behind everything it has sent (SND.NXT).
    pub snd_nxt: u32,
    /// The last number that the kernel has acknowledged (RCV.NXT), as it counts.
    pub acked: u32,

    /// Requests that were passed up.
    pub asked: u32,
    /// Responses that are over.
    pub given: u32,
    /// Kernel's number up to which responses were read.
    pub parsed: u32,
    /// Where in a response that is, see [`response`].
    pub stage: u32,
    /// Where there are timestamps (RFC 7323), the last TSval that the kernel sent.
    pub tsval: u32,
    /// Bytes until that stage is over.
    pub left: u64,

    /// Bytes of the last request that was taken out.
    pub request_len: u16,
    /// Bytes of the answer to it.
    pub reply_len: u16,
    /// The window that the kernel announced last, as it stands in its segment.
    pub window: u16,
    /// What the handshake agreed on, see [`Negotiated`].
    pub kept: u8,
    /// Zero.
    pub pad: u8,
    /// TS.Recent, as the kernel has echoed it, or of the last request that was taken out.
    pub ts_recent: u32,
    /// Zero.
    pub pad2: u32,
}

const _: () = assert!(size_of::<Track>() == 128);

impl Track {
    /// Nobody's.
    pub const NONE: Self = Self {
        tuple: Tuple::ZERO,
        lock: 0,
        flags: 0,
        seen: 0,
        base_in: 0,
        shift_in: 0,
        next_in: 0,
        top_in: 0,
        base_out: 0,
        shift_out: 0,
        snd_nxt: 0,
        acked: 0,
        asked: 0,
        given: 0,
        parsed: 0,
        stage: 0,
        tsval: 0,
        left: 0,
        request_len: 0,
        reply_len: 0,
        window: 0,
        kept: 0,
        pad: 0,
        ts_recent: 0,
        pad2: 0,
    };

    /// Becomes a connection's from here on: the client's next byte is `seq`, the kernel's `ack`.
    /// The lock stays as it is.
    #[inline(always)]
    pub const fn begin(&mut self, tuple: &Tuple, seq: u32, ack: u32, kept: Negotiated, seen: u32) {
        self.tuple = *tuple;
        self.flags = flag::ALIVE;
        self.seen = seen;
        self.base_in = seq;
        self.shift_in = 0;
        self.next_in = seq;
        self.top_in = seq;
        self.base_out = ack;
        self.shift_out = 0;
        self.snd_nxt = ack;
        self.acked = seq;
        self.asked = 0;
        self.given = 0;
        self.parsed = ack;
        self.stage = response::HEAD;
        self.left = 0;
        self.request_len = 0;
        self.reply_len = 0;
        self.window = 0;
        self.kept = kept.0;
        self.tsval = 0;
        self.ts_recent = 0;
    }

    /// Whether any of these flags is set.
    #[inline(always)]
    pub const fn is(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    /// Whether the two sides' numbers are the same: forgetting the connection changes nothing for
    /// it.
    #[inline(always)]
    pub const fn is_even(&self) -> bool {
        self.shift_in | self.shift_out == 0
    }

    /// Nothing is answered on it any more. Where the numbers never differed it is forgotten.
    #[inline(always)]
    pub const fn make_opaque(&mut self) {
        self.flags |= flag::OPAQUE;
        self.drop_if_over();
    }

    /// Forgets a connection that there is nothing to do for.
    #[inline(always)]
    pub(crate) const fn drop_if_over(&mut self) {
        let closed = self.flags & flag::CLIENT_FIN != 0 && self.flags & flag::SERVER_FIN != 0;
        if self.is_even() && (closed || self.flags & (flag::OPAQUE | flag::RESET) != 0) {
            self.flags = 0;
        }
    }

    /// Whether a segment with this TSval is an old one (RFC 7323 §5.3, PAWS).
    #[inline(always)]
    pub const fn is_old(&self, tsval: u32) -> bool {
        is_before(tsval, self.ts_recent)
    }

    /// Client's number of the first byte of the last request that was taken out.
    #[inline(always)]
    pub const fn request_seq(&self) -> u32 {
        self.base_in.wrapping_sub(self.request_len as u32)
    }

    /// Client's number of the first byte of the answer to it.
    #[inline(always)]
    pub const fn reply_seq(&self) -> u32 {
        self.reply_end().wrapping_sub(self.reply_len as u32)
    }

    /// Client's number behind that answer.
    #[inline(always)]
    pub const fn reply_end(&self) -> u32 {
        self.base_out.wrapping_add(self.shift_out)
    }
}

/// What a segment says beside its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Said {
    /// Of the kernel's, the furthest edge of its selective acknowledgements, as it counts; its
    /// acknowledgement where there is none.
    pub furthest: u32,
    /// It has timestamps.
    pub is_stamped: bool,
    /// Its TSval.
    pub tsval: u32,
    /// Its TSecr.
    pub tsecr: u32,
}

/// Whether a sequence number comes before another (RFC 9293 §3.4), or a timestamp (RFC 7323 §5.2).
#[inline(always)]
pub const fn is_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}
