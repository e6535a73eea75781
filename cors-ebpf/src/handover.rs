//! `handover`: the program behind the driver, which makes a connection the kernel's.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext as _,
    bindings::BPF_F_CURRENT_NETNS,
    helpers::generated::{bpf_sk_release, bpf_skc_lookup_tcp, bpf_skc_to_tcp_sock},
    macros::classifier,
    programs::TcContext,
};
use aya_log_ebpf::error;
use cors_common::{
    exit::Exit,
    head::HEAD_MAX,
    state::State,
    tcp::{
        flow::phase,
        handover::{Handover, hand_over},
    },
    track::{
        flag,
        inward::{self, Request},
    },
    wire::{options::Negotiated, segment::Segment},
};

use crate::{
    env::{self, Kernel, sock_tuple},
    exit,
    frame::{Packet as _, SkbFrame},
    global,
    kfunc::{Attributes, bpf_sk_assign_tcp_reqsk},
    maps::{FLOWS, PROTECTED, SCRATCH, Scratch},
    stage::result,
    table,
};

/// Hands over what is ours to hand over, and leaves the rest to the next program.
#[classifier]
fn handover(ctx: TcContext) -> i32 {
    exit::tc(match try_handover(&ctx) {
        Ok(exit) | Err(exit) => exit,
    })
}

#[inline(always)]
fn try_handover(ctx: &TcContext) -> Result<Exit, Exit> {
    // A lapsed lease ends the answers; connections that are open already are still handed over.
    let state = env::state()?;
    let frame = SkbFrame::pull(ctx);
    if env::goes_on(state, &frame) {
        return Err(Exit::TcNotOurs);
    }
    let scratch = SCRATCH.get_ptr_mut(0).ok_or(Exit::Internal)?;
    // SAFETY: the entry is this CPU's own, and this is the only reference to it.
    let scratch = unsafe { &mut *scratch };
    scratch.segment = Segment::read(&frame).map_err(|_| Exit::TcNotOurs)?;
    let mask = env::track_mask(state);
    let place = table::track_find(core::ptr::from_ref(&scratch.segment.tuple), mask);
    let track = table::entry(place);
    // The kernel has sent something on it, so it has a socket. Before that it may have refused what
    // was handed to it, for a full queue perhaps.
    if track.as_ref().is_some_and(|track| track.is(flag::HEARD)) {
        return Err(Exit::TcNotOurs);
    }
    // SAFETY: only whether there is an entry is asked.
    if unsafe { PROTECTED.get(scratch.segment.endpoint()) }.is_none() {
        return Err(Exit::TcNotOurs);
    }
    if env::measures(state) {
        return Err(Exit::TcNotOurs);
    }
    let flow = FLOWS.get_ptr_mut(scratch.segment.tuple);
    let known = match flow {
        // SAFETY: read once; a mixture of two connections matches no segment.
        Some(entry) => {
            scratch.flow.set(unsafe { &*entry });
            true
        }
        None => false,
    };
    let kept = judge(ctx, scratch, state, known, track.is_some());
    if kept >= ASSIGN {
        let kept = Negotiated(kept as u8);
        let tracking = track_from(ctx, scratch, state, kept);
        let exit = assign(ctx, scratch, kept);
        if matches!(exit, Exit::HandedOver) {
            if let Some(flow) = flow {
                // SAFETY: the map's memory stays where it is; of another connection's entry this
                // would be one that is answered less.
                unsafe { (&raw mut (*flow).phase).write(phase::LEAVING) };
            }
            if tracking == FULL {
                return Ok(Exit::HandedOverUntracked);
            }
        } else {
            table::forget(&scratch.segment.tuple, mask);
        }
        return Ok(exit);
    }
    result(kept)?;
    Err(Exit::Internal)
}

/// From here on what [`judge`] returns is a hand-over, with what was negotiated in the low byte.
const ASSIGN: u32 = 0x100;

/// What [`track_from`] returns where there is no room.
const FULL: u32 = 1;

/// Tracks the connection from the segment on that is about to be handed over. Before the kernel has
/// a socket: nobody then meets one that is not tracked yet, and remembers it.
#[inline(never)]
fn track_from(
    ctx: &TcContext,
    scratch: &mut Scratch,
    state: &'static State,
    kept: Negotiated,
) -> u32 {
    let Scratch { segment, head, request, inward, zero, .. } = scratch;
    let mask = env::track_mask(state);
    // Without selective acknowledgements nobody says what the kernel has before its turn, of
    // segments that passed before this one.
    if !env::tracks(state) || !kept.sack() {
        table::forget(&segment.tuple, mask);
        return 0;
    }
    let payload = segment.payload_len;
    let len = if payload < HEAD_MAX { payload } else { HEAD_MAX };
    let Some(len) = zero.bounded(len, HEAD_MAX) else { return 0 };
    let to = head.buffer().as_mut_ptr();
    // SAFETY: the buffer has more than HEAD_MAX bytes.
    if !unsafe { SkbFrame(ctx).copy(segment.payload_at(), to, len) } {
        return 0;
    }
    // What is not framed is not tracked at all.
    if result(global::head_read(head, len as u32, 0)).is_err() {
        table::forget(&segment.tuple, mask);
        return 0;
    }
    *request = Request::framed(head);
    let second = env::second(state);
    let tuple = core::ptr::from_ref(&segment.tuple);
    let place =
        table::track_begin(tuple, mask, segment.seq, segment.ack, table::packed(kept, second));
    let Some(track) = table::entry(place) else { return FULL };
    if table::lock(track, &segment.tuple).is_ok() {
        track.flags |= flag::HANDED;
        inward::pass(track, segment, request, second, inward);
        table::unlock(track);
    }
    0
}

/// The segment becomes a verdict.
#[inline(never)]
fn judge(
    ctx: &TcContext,
    scratch: &mut Scratch,
    state: &'static State,
    known: bool,
    tracked: bool,
) -> u32 {
    let Scratch { segment, flow, options, tick, zero, .. } = scratch;
    let mut kernel = Kernel { packet: SkbFrame(ctx), state, options, tick, zero: *zero, tracked };
    match hand_over(segment, known.then_some(&*flow), &mut kernel) {
        Handover::Leave(exit) => exit as u32,
        Handover::Assign(kept) => ASSIGN | u32::from(kept.0),
    }
}

/// The entry of the flow stays: where the kernel drops the segment after all (a full accept
/// queue), the client sends it again, and it is handed over then.
#[inline(always)]
fn assign(ctx: &TcContext, scratch: &Scratch, kept: Negotiated) -> Exit {
    let mut key = MaybeUninit::uninit();
    let size = sock_tuple(&mut key, &scratch.segment.tuple, scratch.segment.family);
    let mut attributes = Attributes::new(kept);
    let skb = ctx.skb.skb;
    // SAFETY: the key has `size` bytes, and the socket is released on every path.
    unsafe {
        let sk =
            bpf_skc_lookup_tcp(ctx.as_ptr(), key.as_mut_ptr(), size, BPF_F_CURRENT_NETNS as u64, 0);
        if sk.is_null() {
            return Exit::HandoverNoListener;
        }
        let listener = bpf_skc_to_tcp_sock(sk.cast());
        if listener.is_null() {
            bpf_sk_release(sk.cast());
            return Exit::HandoverRefused;
        }
        let refused = bpf_sk_assign_tcp_reqsk(skb, listener, &mut attributes);
        bpf_sk_release(listener.cast());
        if refused == 0 {
            return Exit::HandedOver;
        }
        // Nothing that a packet does on a host that is set up well, and the counter alone does not
        // tell the reason.
        error!(ctx, "bpf_sk_assign_tcp_reqsk refuses a hand-over: error {}", refused);
        Exit::HandoverRefused
    }
}
