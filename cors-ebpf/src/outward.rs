//! `outward`: the program at TC egress, which sees what the kernel sends to tracked connections.

use aya_ebpf::{
    EbpfContext as _,
    bindings::__sk_buff,
    helpers::generated::{bpf_l4_csum_replace, bpf_skb_load_bytes, bpf_skb_store_bytes},
    macros::classifier,
    programs::TcContext,
};
use cors_common::{
    checksum::Sum,
    exit::{Action, Exit},
    head::{HEAD_MAX, Head},
    state::State,
    tcp::flow::change,
    track::{
        Track,
        offer::{self, Offer},
        outward::{Outward, Unread, send, unread},
        response::{self, Payload, STEPS},
    },
    wire::{
        options::OPTIONS_MAX,
        segment::{Segment, flags},
    },
};

use crate::{
    edge::changed,
    env, exit,
    frame::SkbFrame,
    global,
    maps::{FLOWS, OFFERS, PROTECTED, SCRATCH, Scratch, WINDOW, Window},
    sacks::{self, sacks_change, sacks_furthest},
    stage::{Done, done, result},
    table::{self, Unlocked},
};

/// Where the checksum is in a TCP header.
const CHECKSUM_AT: u32 = 16;
/// Where the sequence number is, with the acknowledgement behind it.
const NUMBERS_AT: u32 = 4;

/// Follows what is sent, and moves its numbers where the driver has answered.
#[classifier]
fn outward(ctx: TcContext) -> i32 {
    exit::tc(match try_outward(&ctx) {
        Ok(exit) | Err(exit) => exit,
    })
}

#[inline(always)]
fn try_outward(ctx: &TcContext) -> Result<Exit, Exit> {
    let state = env::state().map_err(|_| Exit::OutNotTracked)?;
    let mask = env::track_mask(state);
    let scratch = SCRATCH.get_ptr_mut(OUTWARD).ok_or(Exit::Internal)?;
    // SAFETY: the entry is this CPU's own, and this is the only reference to it: no program that
    // receives runs while this one sends, save one that sends itself.
    let scratch = unsafe { &mut *scratch };
    let frame = SkbFrame::pull(ctx);
    scratch.segment = Segment::read(&frame).map_err(|_| Exit::OutNotTracked)?;
    scratch.segment.tuple = scratch.segment.tuple.returned();
    if scratch.segment.flags & flags::RST != 0 {
        forget_flow(&scratch.segment);
    }
    if scratch.segment.flags & flags::KIND == flags::SYN | flags::ACK {
        result(options(ctx, scratch))?;
        return begin(ctx, scratch, state, mask);
    }
    let place = table::track_find(core::ptr::from_ref(&scratch.segment.tuple), mask);
    if place == table::NOWHERE {
        return Err(Exit::OutNotTracked);
    }
    let track = table::entry(place).ok_or(Exit::Internal)?;
    result(options(ctx, scratch))?;
    let is_readable = follow(ctx, scratch, track) != 0;
    result(decide(ctx, scratch, state, track, is_readable))?;
    let exit = scratch.outward.exit;
    if exit.action() == Action::Pass {
        result(rewrite(ctx, scratch))?;
    }
    Ok(exit)
}

/// Which scratch memory is this program's. What receives may interrupt what sends between two
/// packets only, but both may be in the middle of theirs: a reset that the kernel sends for a
/// packet that is being received.
const OUTWARD: u32 = 1;

/// The kernel resets a connection.
#[inline(always)]
fn forget_flow(segment: &Segment) {
    let Some(flow) = FLOWS.get_ptr_mut(segment.tuple) else { return };
    // SAFETY: read once; where another CPU has just given the entry to another connection, that one
    // is looked at anew.
    if unsafe { (*flow).ends_with(segment.flags) } && FLOWS.remove(segment.tuple).is_ok() {
        changed(change::REMOVED);
    }
}

/// A handshake that the kernel made itself.
#[inline(always)]
fn begin(ctx: &TcContext, scratch: &Scratch, state: &State, mask: u32) -> Result<Exit, Exit> {
    let Scratch { segment, sacks, .. } = scratch;
    // SAFETY: only whether there is an entry is asked.
    let is_protected = unsafe { PROTECTED.get(segment.endpoint()) }.is_some();
    let tracks = env::tracks(state) && env::has_policy(state) && !env::measures(state);
    if !is_protected || !tracks || !offer::is_plain(&SkbFrame(ctx), segment, &sacks.found) {
        table::forget(&segment.tuple, mask);
        return Err(Exit::OutNotTracked);
    }
    let offer = OFFERS.get(Offer::slot(&segment.tuple)).ok_or(Exit::Internal)?;
    let kept = offer.agreed(segment, &sacks.found);
    let (seq, ack) = (segment.ack, segment.seq.wrapping_add(1));
    let tuple = core::ptr::from_ref(&segment.tuple);
    let place = table::track_begin(tuple, mask, seq, ack, table::packed(kept, env::second(state)));
    if place == table::NOWHERE {
        return Err(Exit::OutNotTracked);
    }
    Ok(Exit::OutBegun)
}

/// What the options say.
#[inline(never)]
fn options(ctx: &TcContext, scratch: &mut Scratch) -> Done {
    let Scratch { segment, sacks, said, .. } = scratch;
    if !sacks::find(&SkbFrame(ctx), segment, sacks) {
        return done(Err(Exit::Internal));
    }
    said.furthest = segment.ack;
    if sacks.found.sack_at != 0 {
        said.furthest = sacks_furthest(sacks, segment.ack);
    }
    sacks::stamps(sacks, said);
    done(Ok(()))
}

/// Bytes of the payload. By the packet's length: that of a packet which will be cut into segments
/// need not fit a header's field.
#[inline(always)]
fn payload_len(ctx: &TcContext, segment: &Segment) -> u32 {
    ctx.len().saturating_sub(segment.payload_at() as u32)
}

/// Follows the responses; 0 where nobody can tell where they end.
#[inline(never)]
fn follow(ctx: &TcContext, scratch: &mut Scratch, track: &mut Track) -> u32 {
    let len = payload_len(ctx, &scratch.segment);
    let mut at = match unread(track, &scratch.segment, len) {
        Unread::From(at) => at,
        Unread::Nothing => return 1,
        Unread::Gap => return 0,
    };
    scratch.window.len = 0;
    for _ in 0..STEPS {
        if at >= len {
            break;
        }
        at = response_step(ctx.as_ptr().cast(), scratch, track, at, len);
    }
    u32::from(at == len)
}

/// [`response::step`]; more than the length of any payload where nobody can tell.
///
/// A global function, see [`crate::global`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn response_step(
    skb: *mut __sk_buff,
    scratch: *mut Scratch,
    track: *mut Track,
    at: u32,
    len: u32,
) -> u32 {
    const ODD: u32 = u32::MAX;
    // SAFETY: the verifier checks the size behind a pointer that is not null, and the callers pass
    // references to memory of their own.
    let (Some(scratch), Some(track)) = (unsafe { (scratch.as_mut(), track.as_mut()) }) else {
        return ODD;
    };
    let Scratch { segment, head, window, .. } = scratch;
    let start = segment.payload_at() as u32;
    response::step(track, &mut Skb { skb, start, len, head, window }, at, len).unwrap_or(ODD)
}

struct Skb<'a> {
    skb: *mut __sk_buff,
    start: u32,
    len: u32,
    head: &'a mut Head,
    window: &'a mut Window,
}

impl Payload for Skb<'_> {
    #[inline(always)]
    fn head(&mut self, at: u32) -> Result<&Head, Exit> {
        let rest = self.len.wrapping_sub(at) as usize;
        let len = if rest < HEAD_MAX { rest } else { HEAD_MAX };
        let len = self.head.zero().bounded(len, HEAD_MAX).ok_or(Exit::OutOpaque)?;
        let to = self.head.buffer().as_mut_ptr();
        // SAFETY: the buffer has more than HEAD_MAX bytes; the helper checks the packet's bounds.
        let loaded =
            unsafe { bpf_skb_load_bytes(self.skb.cast(), self.start + at, to.cast(), len as u32) };
        if loaded != 0 {
            return Err(Exit::OutOpaque);
        }
        result(global::head_response(self.head, len as u32))?;
        Ok(self.head)
    }

    #[inline(always)]
    fn byte(&mut self, at: u32) -> Option<u8> {
        let window = &mut *self.window;
        if at.wrapping_sub(window.at) >= window.len {
            let rest = self.len.wrapping_sub(at) as usize;
            let len = if rest < WINDOW { rest } else { WINDOW };
            let len = self.head.zero().bounded(len, WINDOW)?;
            let to = window.bytes.as_mut_ptr();
            // SAFETY: the window has 16 bytes; the helper checks the packet's bounds.
            let loaded = unsafe {
                bpf_skb_load_bytes(self.skb.cast(), self.start + at, to.cast(), len as u32)
            };
            if loaded != 0 {
                return None;
            }
            window.at = at;
            window.len = len as u32;
        }
        Some(window.bytes[at.wrapping_sub(window.at) as usize & (WINDOW - 1)])
    }
}

/// Decides with the lock.
#[inline(never)]
fn decide(
    ctx: &TcContext,
    scratch: &mut Scratch,
    state: &State,
    track: &mut Track,
    is_readable: bool,
) -> Done {
    let Scratch { segment, said, outward, .. } = scratch;
    let len = payload_len(ctx, segment);
    match table::lock(track, &segment.tuple) {
        Ok(()) => {}
        Err(Unlocked::Busy) => return done(Err(Exit::Busy)),
        Err(Unlocked::Gone) => return done(Err(Exit::OutNotTracked)),
    }
    send(track, segment, len, said, is_readable, env::second(state), outward);
    table::unlock(track);
    done(Ok(()))
}

/// Writes the numbers that the client counts by, where they are others.
#[inline(never)]
fn rewrite(ctx: &TcContext, scratch: &mut Scratch) -> Done {
    let Scratch { segment, outward, sacks, zero, .. } = scratch;
    let Outward { seq, ack, sack_by, sack_floor, .. } = *outward;
    if segment.seq == seq && segment.ack == ack {
        return done(Ok(()));
    }
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    let at = segment.tcp_at as u32;
    let mut change = Sum::ZERO;
    if sacks.found.sack_at != 0
        && let Some(len) = zero.bounded(segment.options_len, OPTIONS_MAX)
    {
        change = sacks::sum(sacks_change(sacks, sack_floor, sack_by));
        let options_at = segment.options_at() as u32;
        // SAFETY: the array has 64 bytes, of which the helper only reads; it checks the bounds of
        // the packet.
        let stored = unsafe {
            bpf_skb_store_bytes(skb, options_at, sacks.bytes.as_ptr().cast(), len as u32, 0)
        };
        if stored != 0 {
            return done(Err(Exit::Broken));
        }
    }
    let new = u64::from(ack.to_be()) << 32 | u64::from(seq.to_be());
    let old = u64::from(segment.ack.to_be()) << 32 | u64::from(segment.seq.to_be());
    let change = change.add(Sum::exchanged(old, new)).fold();
    // SAFETY: as above. A checksum that the card is to finish has neither number in it yet; the
    // helper knows and leaves it.
    let written = unsafe {
        bpf_skb_store_bytes(skb, at + NUMBERS_AT, (&raw const new).cast(), 8, 0) == 0
            && bpf_l4_csum_replace(skb, at + CHECKSUM_AT, 0, u64::from(change), 0) == 0
    };
    done(if written { Ok(()) } else { Err(Exit::Broken) })
}
