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
    state::State,
    tcp::handover::{Handover, hand_over},
    wire::{options::Negotiated, segment::Segment},
};

use crate::{
    env::{self, Kernel, sock_tuple},
    exit,
    frame::SkbFrame,
    kfunc::{Attributes, bpf_sk_assign_tcp_reqsk},
    maps::{FLOWS, PROTECTED, SCRATCH, Scratch},
    stage::result,
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
    // SAFETY: only whether there is an entry is asked.
    if unsafe { PROTECTED.get(scratch.segment.endpoint()) }.is_none() {
        return Err(Exit::TcNotOurs);
    }
    if env::measures(state) {
        return Err(Exit::TcNotOurs);
    }
    let known = match FLOWS.get_ptr(scratch.segment.tuple) {
        // SAFETY: read once; a mixture of two connections matches no segment.
        Some(entry) => {
            scratch.flow.set(unsafe { &*entry });
            true
        }
        None => false,
    };
    let kept = judge(ctx, scratch, state, known);
    if kept >= ASSIGN {
        return Ok(assign(ctx, scratch, Negotiated(kept as u8)));
    }
    result(kept)?;
    Err(Exit::Internal)
}

/// From here on what [`judge`] returns is a hand-over, with what was negotiated in the low byte.
const ASSIGN: u32 = 0x100;

/// The segment becomes a verdict.
#[inline(never)]
fn judge(ctx: &TcContext, scratch: &mut Scratch, state: &'static State, known: bool) -> u32 {
    let Scratch { segment, flow, options, tick, zero, .. } = scratch;
    let mut kernel = Kernel { packet: SkbFrame(ctx), state, options, tick, zero: *zero };
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
