//! The decision on a segment of the kernel on its way to the client of a tracked connection.

use super::{Said, Track, flag, is_before, response, response::Payload};
use crate::{
    exit::Exit,
    wire::segment::{Segment, flags},
};

/// Where the numbers of a segment go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Outward {
    /// How it is counted.
    pub exit: Exit,
    /// Its sequence number as the client counts.
    pub seq: u32,
    /// Its acknowledgement as the client counts.
    pub ack: u32,
    /// What is added to the edges of its selective acknowledgements.
    pub sack_by: u32,
    /// Below this (kernel's number) they are left out.
    pub sack_floor: u32,
}

impl Outward {
    /// To start from.
    pub const NONE: Self = Self { exit: Exit::Internal, seq: 0, ack: 0, sack_by: 0, sack_floor: 0 };
}

/// Follows the responses in a segment's payload of `len` bytes; false where nobody can tell where
/// they end. Without the lock: only the CPU that sends for the socket comes here, and until
/// [`send`] nothing is answered, because more was read than sent.
#[inline(always)]
pub fn read<P: Payload>(track: &mut Track, segment: &Segment, len: u32, payload: &mut P) -> bool {
    match unread(track, segment, len) {
        Unread::From(at) => response::follow(track, payload, at, len).is_ok(),
        Unread::Nothing => true,
        Unread::Gap => false,
    }
}

/// What of a payload was not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Nothing.
    Nothing,
    /// What comes from here on. It counts as read now.
    From(u32),
    /// Something before it is missing: somebody else sends for the kernel, or another program has
    /// dropped something.
    Gap,
}

/// What of the payload of `len` bytes [`read`] has to follow.
#[inline(always)]
pub fn unread(track: &mut Track, segment: &Segment, len: u32) -> Unread {
    let end = segment.seq.wrapping_add(len);
    if len == 0 || track.is(flag::OPAQUE) || !is_before(track.parsed, end) {
        return Unread::Nothing;
    }
    let at = track.parsed.wrapping_sub(segment.seq);
    if at >= len {
        return Unread::Gap;
    }
    track.parsed = end;
    Unread::From(at)
}

/// Decides on a segment with a payload of `len` bytes. To be asked with the lock. `is_readable` is
/// what [`read`] has said.
#[inline(always)]
pub fn send(
    track: &mut Track,
    segment: &Segment,
    len: u32,
    said: &Said,
    is_readable: bool,
    now: u32,
    out: &mut Outward,
) {
    track.seen = now;
    // An acknowledgement of the handshake alone may be a request socket's, which still waits for
    // the client's and will send its SYN-ACK again.
    if len != 0 || segment.flags & flags::FIN != 0 || segment.ack != track.base_in {
        track.flags |= flag::HEARD;
    }
    out.exit = Exit::OutTracked;
    out.seq = segment.seq.wrapping_add(track.shift_out);
    out.ack = segment.ack.wrapping_add(track.shift_in);
    // Of a request that was taken out nothing is acknowledged before its answer is: the client
    // would not send it again, and the answer, if it was lost, could never be given again.
    if track.is(flag::UNACKED) && is_before(track.request_seq(), out.ack) {
        out.ack = track.request_seq();
    }
    out.sack_by = track.shift_in;
    out.sack_floor = track.base_in.wrapping_sub(track.shift_in);
    let fin = segment.flags & flags::FIN != 0;
    let end = segment.seq.wrapping_add(len).wrapping_add(fin as u32);
    if is_before(track.snd_nxt, end) {
        track.snd_nxt = end;
    } else if track.is(flag::UNACKED)
        && segment.seq != end
        && is_before(segment.seq, track.base_out)
    {
        // The client has it: its request said so, which the kernel never saw. In the client's
        // numbers this would be where the answer is, and other bytes.
        out.exit = Exit::OutHeld;
        return;
    }
    if segment.flags & flags::ACK != 0 {
        if is_before(track.acked, segment.ack) {
            track.acked = segment.ack;
        }
        // What came before its turn is known by this, whichever way it went.
        let top = said.furthest.wrapping_add(track.shift_in);
        if is_before(track.top_in, top) {
            track.top_in = top;
        }
    }
    track.window = segment.window;
    if said.is_stamped {
        track.flags |= flag::STAMPED;
        track.tsval = said.tsval;
        // The kernel knows nothing of a request that was taken out, and the client's next segment
        // tells it of a later time.
        if !track.is(flag::UNACKED) {
            track.ts_recent = said.tsecr;
        }
    }
    if !is_readable {
        out.exit = Exit::OutOpaque;
        track.make_opaque();
    }
    if segment.flags & flags::RST != 0 {
        track.flags |= flag::RESET;
    }
    if fin {
        track.flags |= flag::SERVER_FIN;
    }
    track.drop_if_over();
}
