//! `edge` on a segment of a tracked connection: read what has to be read, answer or pass.

use aya_ebpf::{helpers::generated::bpf_xdp_store_bytes, programs::XdpContext};
use cors_common::{
    checksum::Sum,
    exit::{Action, Exit},
    head::{HEAD_MAX, PREFLIGHT_MAX},
    state::State,
    tcp::verdict::{Ask, Change},
    trace,
    track::{
        Track, flag,
        inward::{self, PACKET_MAX, Read, Request},
    },
    wire::options::OPTIONS_MAX,
};

use crate::{
    edge::{decide_framed, decided, denier, no_event},
    env,
    frame::{Packet as _, XdpFrame},
    global,
    maps::Scratch,
    sacks::{self, sacks_change},
    stage::{Done, done, result},
    table::{self, Unlocked},
    transmit::transmit,
};

/// Decides on the segment in the scratch memory.
#[inline(always)]
pub(crate) fn edge(
    ctx: &XdpContext,
    scratch: &mut Scratch,
    state: &'static State,
    place: u32,
) -> Result<Exit, Exit> {
    let track = table::entry(place).ok_or(Exit::Internal)?;
    match consider(ctx, scratch, state, track) {
        ANSWER => match result(transmit(ctx, scratch, state)) {
            Ok(()) => {
                result(take_out(scratch, track))?;
                decided(ctx, scratch, state, Exit::TrackedAnswered);
                return Ok(Exit::TrackedAnswered);
            }
            Err(Exit::NoRoom) => {}
            Err(failed) => return Err(failed),
        },
        AGAIN => {
            return match result(transmit(ctx, scratch, state)) {
                Ok(()) => Ok(Exit::TrackedAgain),
                Err(Exit::NoRoom) => Err(Exit::NoRoomAgain),
                Err(failed) => Err(failed),
            };
        }
        GONE => {
            result(reset(scratch, track))?;
            return result(transmit(ctx, scratch, state)).map(|()| Exit::TrackedReset);
        }
        _ => {}
    }
    result(pass(scratch, state, track))?;
    let exit = scratch.inward.exit;
    match exit.action() {
        Action::Pass => result(rewrite(ctx, scratch)).map(|()| exit),
        Action::Drop => Ok(exit),
        Action::Transmit => {
            prepare(scratch);
            scratch.verdict.body = false;
            result(transmit(ctx, scratch, state)).map(|()| exit)
        }
    }
}

/// What [`consider`] returns: the segment is not answered.
const PASS: u32 = 0;
/// The reply is described.
const ANSWER: u32 = 1;
/// The reply to what was answered before is.
const AGAIN: u32 = 2;
/// It cannot be given again.
const GONE: u32 = 3;

/// Reads what has to be read of the payload, without the lock.
#[inline(never)]
fn consider(
    ctx: &XdpContext,
    scratch: &mut Scratch,
    state: &'static State,
    track: &mut Track,
) -> u32 {
    scratch.request = Request::UNREAD;
    let segment = &scratch.segment;
    match inward::peek(track, segment) {
        Read::Nothing => PASS,
        Read::Again => {
            let at = inward::again_at(track, segment);
            let len = track.request_len as usize;
            match look_up(ctx, scratch, state, at, len, true) {
                Ok(()) if scratch.answer.len == track.reply_len as usize => {
                    inward::again_fields(track, &mut scratch.inward);
                    prepare(scratch);
                    AGAIN
                }
                // Too early to tell: it comes again.
                Err(Exit::LeaseExpired | Exit::Truncated) => PASS,
                _ => GONE,
            }
        }
        read => {
            let len = segment.payload_len;
            let answers = matches!(read, Read::Preflight);
            no_event(scratch);
            if let Err(exit) = look_up(ctx, scratch, state, 0, len, answers) {
                if scratch.event.policy != trace::NO_POLICY {
                    decided(ctx, scratch, state, exit);
                }
                return PASS;
            }
            if scratch.answer.close || !inward::fits(track, &scratch.segment, scratch.answer.len) {
                return PASS;
            }
            if track.is(flag::STAMPED) && stamps(ctx, scratch) == 0 {
                return PASS;
            }
            if !inward::is_current(track, &scratch.said) {
                return PASS;
            }
            inward::answer_fields(track, &scratch.segment, &scratch.said, &mut scratch.inward);
            prepare(scratch);
            ANSWER
        }
    }
}

/// The request at `at` of the payload, of at most `len` bytes: where it ends is in
/// [`Scratch::request`] then, and if it may be answered and is, the answer in [`Scratch::answer`].
#[inline(always)]
fn look_up(
    ctx: &XdpContext,
    scratch: &mut Scratch,
    state: &'static State,
    at: usize,
    len: usize,
    answers: bool,
) -> Result<(), Exit> {
    let is_short = len <= PREFLIGHT_MAX;
    let len = if len < HEAD_MAX { len } else { HEAD_MAX };
    let len = scratch.zero.bounded(len, HEAD_MAX).ok_or(Exit::Internal)?;
    let to = scratch.head.buffer().as_mut_ptr();
    // SAFETY: the buffer has more than HEAD_MAX bytes.
    if !unsafe { XdpFrame(ctx).copy(scratch.segment.payload_at() + at, to, len) } {
        return Err(Exit::Truncated);
    }
    let slot = env::slot(state);
    let Scratch { event, head, answer, request, tick, .. } = scratch;
    let mut place = global::NOWHERE;
    let answers = answers
        && is_short
        && env::has_policy(state)
        && !env::measures(state)
        && !env::lapsed(state, tick);
    if answers {
        place = global::recall(head, answer, len as u32, slot.generation, env::memo_mask(state));
        if place == global::RECALLED {
            *request = Request { framed: Ok(()), end: len as u32, body: 0, is_head: false };
            event.generation = slot.generation;
            event.len = len as u32;
            event.policy = answer.policy;
            return Ok(());
        }
    }
    if let Err(exit) = result(global::head_read(head, len as u32, 0)) {
        *request = Request::unframed(exit);
        return Err(exit);
    }
    *request = Request::framed(head);
    if !answers {
        return Err(Exit::LeaseExpired);
    }
    if !inward::may_be_preflight(head, len) {
        return Err(Exit::NotOptions);
    }
    event.generation = slot.generation;
    event.len = len as u32;
    if let Err(exit) = decide_framed(head, answer, slot) {
        event.policy = denier(head, slot, exit);
        return Err(exit);
    }
    event.policy = answer.policy;
    global::remember(head, answer, place, len as u32, slot.generation);
    Ok(())
}

/// The reply's header where [`transmit`] looks for it.
#[inline(always)]
fn prepare(scratch: &mut Scratch) {
    let Scratch { verdict, inward, .. } = scratch;
    verdict.ask = Ask::Nothing;
    verdict.change = Change::Keep;
    verdict.tcp.seq = inward.tcp.seq;
    verdict.tcp.ack = inward.tcp.ack;
    verdict.tcp.flags = inward.tcp.flags;
    verdict.tcp.window = inward.tcp.window;
    verdict.tcp.options[0] = inward.tcp.options[0];
    verdict.tcp.options[1] = inward.tcp.options[1];
    verdict.tcp.options[2] = inward.tcp.options[2];
    verdict.tcp.option_words = inward.tcp.option_words;
    verdict.body = true;
}

/// Takes the request out, when its answer is written already.
#[inline(never)]
fn take_out(scratch: &Scratch, track: &mut Track) -> Done {
    if let Err(unlocked) = table::lock(track, &scratch.segment.tuple) {
        return done(Err(exit(unlocked)));
    }
    let taken = inward::answer(track, &scratch.segment, scratch.answer.len, &scratch.inward);
    table::unlock(track);
    done(if taken { Ok(()) } else { Err(Exit::Overtaken) })
}

/// Ends a connection that cannot be saved.
#[inline(never)]
fn reset(scratch: &mut Scratch, track: &mut Track) -> Done {
    if let Err(unlocked) = table::lock(track, &scratch.segment.tuple) {
        return done(Err(exit(unlocked)));
    }
    let is_reset = inward::reset(track, &scratch.segment, &mut scratch.inward);
    table::unlock(track);
    prepare(scratch);
    scratch.verdict.body = false;
    done(if is_reset { Ok(()) } else { Err(Exit::Overtaken) })
}

/// Decides with the lock.
#[inline(never)]
fn pass(scratch: &mut Scratch, state: &State, track: &mut Track) -> Done {
    let Scratch { segment, request, inward, .. } = scratch;
    if let Err(unlocked) = table::lock(track, &segment.tuple) {
        return done(Err(exit(unlocked)));
    }
    inward::pass(track, segment, request, env::second(state), inward);
    let ahead = inward::unread_ahead(track, segment, PACKET_MAX);
    table::unlock(track);
    if ahead != 0 {
        env::note_until(state, segment, ahead);
    }
    done(Ok(()))
}

/// A segment of a connection that is forgotten meanwhile is the kernel's, and one that comes again
/// will be seen again.
#[inline(always)]
const fn exit(unlocked: Unlocked) -> Exit {
    match unlocked {
        Unlocked::Busy => Exit::Busy,
        Unlocked::Gone => Exit::Tracked,
    }
}

/// What the segment's timestamps say goes to [`Scratch::said`]; 0 where it cannot be read.
#[inline(never)]
fn stamps(ctx: &XdpContext, scratch: &mut Scratch) -> u32 {
    let Scratch { segment, sacks, said, .. } = scratch;
    if !sacks::find(&XdpFrame(ctx), segment, sacks) {
        return 0;
    }
    sacks::stamps(sacks, said);
    1
}

/// Writes the numbers that the kernel counts by, where they are others.
#[inline(never)]
fn rewrite(ctx: &XdpContext, scratch: &mut Scratch) -> Done {
    let Scratch { segment, inward, sacks, zero, .. } = scratch;
    if segment.seq == inward.seq && segment.ack == inward.ack {
        return done(Ok(()));
    }
    if !sacks::find(&XdpFrame(ctx), segment, sacks) {
        return done(Err(Exit::Truncated));
    }
    let mut change = Sum::ZERO;
    if sacks.found.sack_at != 0
        && let Some(len) = zero.bounded(segment.options_len, OPTIONS_MAX)
    {
        change = sacks::sum(sacks_change(sacks, inward.sack_floor, inward.sack_by));
        let (at, from) = (segment.options_at() as u32, sacks.bytes.as_mut_ptr());
        // SAFETY: the array has 64 bytes, of which the helper only reads; it checks the bounds of
        // the packet.
        if unsafe { bpf_xdp_store_bytes(ctx.ctx, at, from.cast(), len as u32) } != 0 {
            return done(Err(Exit::Truncated));
        }
    }
    let at = ctx.data() + (segment.tcp_at & 0x7f);
    if at + 20 > ctx.data_end() {
        return done(Err(Exit::Truncated));
    }
    let tcp = at as *mut [u16; 10];
    let (seq, ack) = (inward.seq.to_be(), inward.ack.to_be());
    let new = u64::from(ack) << 32 | u64::from(seq);
    let old = u64::from(segment.ack.to_be()) << 32 | u64::from(segment.seq.to_be());
    // SAFETY: the 20 bytes were just compared with the end of the packet.
    unsafe {
        (*tcp)[2] = seq as u16;
        (*tcp)[3] = (seq >> 16) as u16;
        (*tcp)[4] = ack as u16;
        (*tcp)[5] = (ack >> 16) as u16;
        // Of a local sender it is only begun, and neither number is part of it yet; nobody looks at
        // it any more, then.
        (*tcp)[8] = change.add(Sum::exchanged(old, new)).update((*tcp)[8]);
    }
    done(Ok(()))
}
