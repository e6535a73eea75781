//! The driver's decision on a segment of a tracked connection.
//!
//! Twice for each segment: [`peek`] says without the lock what has to be read of the payload, then
//! [`pass`] or [`answer`] decides with the lock, on what is true by then.

use super::{Said, Track, flag, is_before};
use crate::{
    exit::Exit,
    head::{
        Head, PREFLIGHT_MAX,
        frame::{METHOD_HEAD, METHOD_OPTIONS},
    },
    wire::{
        options::{Negotiated, TIMESTAMPS_WORDS, timestamps_option},
        reply::TcpFields,
        segment::{Segment, flags},
    },
};

/// What to read of a segment before there is a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Read {
    /// Nothing.
    Nothing,
    /// The request that it starts with.
    Request,
    /// The same, and if it is a preflight it may be answered.
    Preflight,
    /// The last answered request once more, which it contains.
    Again,
}

/// What was read. Not an enum with fields, see [`crate::tcp::verdict::Verdict`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Request {
    /// Whether the segment starts with a request whose end is known, and why not.
    pub framed: Result<(), Exit>,
    /// Bytes of its head.
    pub end: u32,
    /// Bytes of its body.
    pub body: u32,
    /// It is a `HEAD`.
    pub is_head: bool,
}

impl Request {
    /// Nothing was read. Where something should have been, the connection has moved on since.
    pub const UNREAD: Self = Self::unframed(Exit::Opaque);

    /// Something of which the end cannot be told.
    pub const fn unframed(why: Exit) -> Self {
        Self { framed: Err(why), end: 0, body: 0, is_head: false }
    }

    /// A request of which [`Head::frame`] has told the end.
    #[inline(always)]
    pub const fn framed(head: &Head) -> Self {
        let is_head = head.method_kind == METHOD_HEAD;
        Self { framed: Ok(()), end: head.end, body: head.body, is_head }
    }
}

/// Where the numbers of a segment go, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Inward {
    /// How it is counted.
    pub exit: Exit,
    /// Its sequence number as the kernel counts.
    pub seq: u32,
    /// Its acknowledgement as the kernel counts.
    pub ack: u32,
    /// What is added to the edges of its selective acknowledgements.
    pub sack_by: u32,
    /// Below this (client's number) they are left out.
    pub sack_floor: u32,
    /// What is sent in its place, where the exit's action is to transmit.
    pub tcp: TcpFields,
    /// Of that the TSval and the TSecr, where the connection has timestamps.
    pub stamps: [u32; 2],
}

impl Inward {
    /// To start from.
    pub const NONE: Self = Self {
        exit: Exit::Internal,
        seq: 0,
        ack: 0,
        sack_by: 0,
        sack_floor: 0,
        tcp: TcpFields { seq: 0, ack: 0, flags: 0, window: 0, options: [0; 3], option_words: 0 },
        stamps: [0; 2],
    };
}

/// What has to be read.
#[inline(always)]
pub fn peek(track: &Track, segment: &Segment) -> Read {
    if segment.payload_len == 0 || segment.flags & (flags::SYN | flags::RST) != 0 {
        Read::Nothing
    } else if is_again(track, segment) {
        Read::Again
    } else if track.is(flag::OPAQUE) || segment.seq != track.next_in {
        Read::Nothing
    } else if is_quiet(track, segment) {
        Read::Preflight
    } else {
        Read::Request
    }
}

/// Whether it contains the last answered request, whose answer the client has not got.
#[inline(always)]
fn is_again(track: &Track, segment: &Segment) -> bool {
    let before = track.request_seq().wrapping_sub(segment.seq);
    let behind = segment.seq.wrapping_add(segment.payload_len as u32).wrapping_sub(track.base_in);
    track.is(flag::UNACKED)
        && !is_before(segment.ack, track.reply_seq())
        && is_before(segment.ack, track.reply_end())
        && before < 1 << 30
        && behind < 1 << 30
}

/// Where the last answered request starts in the payload of such a segment.
#[inline(always)]
pub const fn again_at(track: &Track, segment: &Segment) -> usize {
    track.request_seq().wrapping_sub(segment.seq) as usize
}

/// Whether nothing is pending in either direction, and this segment says so.
#[inline(always)]
fn is_quiet(track: &Track, segment: &Segment) -> bool {
    let closing = flag::CLIENT_FIN | flag::SERVER_FIN | flag::RESET;
    !track.is(flag::OPAQUE | closing)
        && track.is(flag::HEARD)
        // Where there is ECN, the kernel waits for CWR (RFC 3168 §6.1.3).
        && segment.flags & (flags::KIND | flags::CWR) == flags::ACK
        // Here the next request starts, and nothing behind it was seen yet.
        && segment.seq == track.next_in
        && track.top_in == track.next_in
        // The kernel has everything before it and said so, and the server has answered.
        && track.acked == segment.seq.wrapping_sub(track.shift_in)
        && track.asked == track.given
        && track.parsed == track.snd_nxt
        // The client has everything that the kernel sent, and the driver's last answer.
        && segment.ack == track.snd_nxt.wrapping_add(track.shift_out)
}

/// Takes the request out of the connection and puts the answer in, of `reply_len` bytes and with the
/// header that is `written`; false where that is not possible any more. To be asked with the lock,
/// when the reply is ready to leave.
#[inline(always)]
pub fn answer(track: &mut Track, segment: &Segment, reply_len: usize, written: &Inward) -> bool {
    if !track.is(flag::ALIVE) || !is_quiet(track, segment) {
        return false;
    }
    if track.is(flag::STAMPED) {
        let [tsval, tsecr] = written.stamps;
        // If the kernel has sent something since, the client may take the answer for an old one.
        if written.tcp.option_words == 0 || tsval != track.tsval || track.is_old(tsecr) {
            return false;
        }
        track.ts_recent = tsecr;
    }
    let len = segment.payload_len as u32;
    track.base_in = segment.seq.wrapping_add(len);
    track.shift_in = track.shift_in.wrapping_add(len);
    track.next_in = track.base_in;
    track.top_in = track.base_in;
    track.base_out = track.snd_nxt;
    track.shift_out = track.shift_out.wrapping_add(reply_len as u32);
    track.request_len = len as u16;
    track.reply_len = reply_len as u16;
    track.flags |= flag::UNACKED;
    true
}

/// The header of the segment that carries the answer to a request which is about to be taken out.
/// `said` is what its segment says, and is only looked at where the connection has timestamps.
#[inline(always)]
pub fn answer_fields(track: &Track, segment: &Segment, said: &Said, out: &mut Inward) {
    let ack = segment.seq.wrapping_add(segment.payload_len as u32);
    fields(track, flags::ACK | flags::PSH, segment.ack, ack, said.tsval, out);
}

/// The same for one that was answered before. It echoes what the first answer did: a copy of what is
/// acknowledged does not change TS.Recent (RFC 7323 §4.3).
#[inline(always)]
pub fn again_fields(track: &Track, out: &mut Inward) {
    let (seq, ack) = (track.reply_seq(), track.base_in);
    fields(track, flags::ACK | flags::PSH, seq, ack, track.ts_recent, out);
}

/// Resets the connection of a client whose request was taken out and has no such answer any more;
/// false where the client has got it meanwhile. To be asked with the lock.
#[inline(always)]
pub fn reset(track: &mut Track, segment: &Segment, out: &mut Inward) -> bool {
    if !is_again(track, segment) {
        return false;
    }
    track.flags |= flag::OPAQUE | flag::RESET;
    out.exit = Exit::TrackedReset;
    let (seq, ack) = (track.reply_seq(), track.base_in);
    fields(track, flags::ACK | flags::RST, seq, ack, track.ts_recent, out);
    true
}

#[inline(always)]
fn fields(track: &Track, bits: u8, seq: u32, ack: u32, tsecr: u32, out: &mut Inward) {
    out.tcp.flags = bits;
    out.tcp.seq = seq;
    out.tcp.ack = ack;
    out.tcp.window = track.window;
    out.tcp.option_words = 0;
    if track.is(flag::STAMPED) {
        let tsval = track.tsval;
        out.stamps = [tsval, tsecr];
        out.tcp.options = timestamps_option(tsval, tsecr);
        out.tcp.option_words = TIMESTAMPS_WORDS;
    }
}

/// Whether the timestamps of a segment are as they must be where the connection has any: they are
/// there (RFC 7323 §3.2), and not older than those before them (§5.3).
#[inline(always)]
pub const fn is_current(track: &Track, said: &Said) -> bool {
    !track.is(flag::STAMPED) || (said.is_stamped && !track.is_old(said.tsval))
}

/// Whether an answer of `reply_len` bytes fits what the client takes now.
#[inline(always)]
pub fn fits(track: &Track, segment: &Segment, reply_len: usize) -> bool {
    let kept = Negotiated(track.kept);
    let window = usize::from(segment.window) << kept.window_scale().unwrap_or(0);
    // A segment size counts options (RFC 6691 §2).
    let options = if track.is(flag::STAMPED) { TIMESTAMPS_WORDS * 4 } else { 0 };
    reply_len + options <= kept.mss() as usize && reply_len <= window
}

/// Decides on a segment that is not answered.
#[inline(always)]
pub fn pass(track: &mut Track, segment: &Segment, request: &Request, now: u32, out: &mut Inward) {
    track.seen = now;
    let floor = track.reply_end();
    out.exit = if track.is(flag::OPAQUE) { Exit::Opaque } else { Exit::Tracked };
    out.seq = segment.seq.wrapping_sub(track.shift_in);
    out.ack = segment.ack.wrapping_sub(track.shift_out);
    out.sack_by = track.shift_out.wrapping_neg();
    out.sack_floor = floor;
    let acks = !is_before(segment.ack, floor);
    if !acks && !track.is_even() {
        // Nothing that the kernel has not sent is acknowledged to it.
        out.ack = track.base_out;
    }
    if segment.flags & flags::RST != 0 {
        if segment.seq.wrapping_sub(track.shift_in) == track.acked {
            track.flags |= flag::RESET;
            track.drop_if_over();
        }
        return;
    }
    if track.is(flag::UNACKED) {
        if !acks {
            return without_answer(track, segment, out);
        }
        track.flags &= !flag::UNACKED;
    }
    let len = segment.payload_len as u32;
    let end = segment.seq.wrapping_add(len);
    if track.flags & (flag::HANDED | flag::HEARD) == flag::HANDED {
        // A queue may have been full, and what was handed over comes again. What overtakes it and
        // says nothing would only be reset.
        let is_bare = len == 0 && segment.flags & flags::FIN == 0;
        if is_bare || (len <= 1 && segment.seq == track.base_in.wrapping_sub(1)) {
            out.exit = Exit::ReplyAck;
            return;
        }
    }
    if !track.is_even() && is_before(segment.seq, track.base_in) {
        // A keep-alive probe starts one byte before the next (RFC 9293 §3.8.4). All else is a late
        // copy of what was taken out, or of what was before it.
        let is_probe = len <= 1 && segment.seq == track.base_in.wrapping_sub(1);
        if !is_probe {
            out.exit = Exit::Stale;
        }
        return;
    }
    if !acks && !track.is_even() && len == 0 && segment.flags & flags::FIN == 0 {
        // A late copy, too.
        out.exit = Exit::Stale;
        return;
    }
    if len != 0 {
        requests(track, segment, request, end, out);
    }
    if segment.flags & flags::FIN != 0 {
        track.flags |= flag::CLIENT_FIN;
        track.drop_if_over();
    }
}

/// More than the longest packet has that there is (BIG TCP: 512 KiB).
pub const PACKET_MAX: u32 = 1 << 20;

/// How many bytes ahead of the segment's start nothing is left to be read on the connection: in the
/// body of a request, at whose end the next one may start. 0: unknown, or nothing. No packet has
/// more than `longest` bytes.
///
/// A segment that starts before that ends before the next request, so all that it would change of
/// the entry is what the body's last segments change again. Only while the numbers are the same on
/// both sides: nobody moves those of a segment that is not looked at.
#[inline(always)]
pub const fn unread_ahead(track: &Track, segment: &Segment, longest: u32) -> u32 {
    let ahead = track.next_in.wrapping_sub(segment.seq).cast_signed();
    if track.is(flag::HEARD) && track.is_even() && ahead > longest.cast_signed() {
        ahead.cast_unsigned() - longest
    } else {
        0
    }
}

/// A segment of a client that has not got the last answer yet.
///
/// If it went up, the kernel would acknowledge it, and with it the request that was taken out: the
/// client would never send that again. So nothing goes up, and everything that is missing comes
/// again.
#[inline(always)]
fn without_answer(track: &Track, segment: &Segment, out: &mut Inward) {
    out.exit = Exit::Unacknowledged;
    // The client does not know that the kernel has what was before the request. Without that it
    // would send it again and again, and never come to the request.
    if segment.payload_len != 0 && is_before(segment.seq, track.request_seq()) {
        out.exit = Exit::TrackedAck;
        let (seq, ack) = (track.reply_seq(), track.request_seq());
        fields(track, flags::ACK, seq, ack, track.ts_recent, out);
    }
}

/// Follows the requests of the client.
#[inline(always)]
fn requests(track: &mut Track, segment: &Segment, request: &Request, end: u32, out: &mut Inward) {
    if is_before(track.top_in, end) {
        track.top_in = end;
    }
    if track.is(flag::OPAQUE) {
        return;
    }
    if segment.seq == track.next_in {
        match request.framed {
            Ok(()) if track.asked == track.given => {
                track.next_in = segment.seq.wrapping_add(request.end).wrapping_add(request.body);
                track.asked = track.asked.wrapping_add(1);
                track.flags &= !flag::HEAD;
                if request.is_head {
                    track.flags |= flag::HEAD;
                }
                // Something behind it came in this segment, or before it.
                if is_before(track.next_in, track.top_in) {
                    out.exit = Exit::Pipelined;
                    track.make_opaque();
                }
            }
            Ok(()) => {
                out.exit = Exit::Pipelined;
                track.make_opaque();
            }
            Err(exit) => {
                out.exit = exit;
                track.make_opaque();
            }
        }
    } else if is_before(segment.seq, track.next_in) && is_before(track.next_in, end) {
        out.exit = Exit::Pipelined;
        track.make_opaque();
    }
}

/// Whether a head that was framed is all of a payload, and may be a preflight.
#[inline(always)]
pub const fn may_be_preflight(head: &Head, payload_len: usize) -> bool {
    head.method_kind == METHOD_OPTIONS
        && head.end as usize == payload_len
        && head.body == 0
        && payload_len <= PREFLIGHT_MAX
}
