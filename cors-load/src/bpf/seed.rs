//! `seed`: clients that send by themselves, in frames that user space makes run through this program,
//! over and over. Where nobody's turn has come it looks after those for whom nothing comes.

use aya_ebpf::{
    bindings::xdp_action::XDP_DROP, helpers::generated::bpf_ktime_get_ns, macros::xdp,
    programs::XdpContext,
};
use cors_load::{
    conn::{Send, Turn},
    count::{Count, Tally as _},
};

use super::{
    maps::{CONFIG, Counters, FREE, TURNS, conn, progress, queue, scratch},
    transmit::{transmit, transmit_again},
};

/// An arrival that waited so long counts as late.
const LATE_NS: u64 = 1_000_000;

/// Sends for the client whose turn it is.
#[xdp]
fn seed(ctx: XdpContext) -> u32 {
    try_seed(&ctx).or_else(|| sweep(&ctx)).unwrap_or(XDP_DROP)
}

#[inline(always)]
fn try_seed(ctx: &XdpContext) -> Option<u32> {
    let config = CONFIG.get(0)?;
    // Zero where it is no arrival. Plain numbers: of a tuple in an `Option` the compiler copies what
    // was never written, and the verifier does not have that.
    let (mut now, mut due) = (0, 0);
    let slot = if let Ok(Some(slot)) = TURNS.pop() {
        slot
    } else {
        // SAFETY: no arguments, no memory.
        now = unsafe { bpf_ktime_get_ns() };
        due = if config.interval_ns == 0 {
            now
        } else {
            config.begin_ns + progress()?.arrivals * config.interval_ns
        };
        if now < due {
            return None;
        }
        let Ok(Some(slot)) = FREE.pop() else { return None };
        if now - due > LATE_NS {
            Counters.one(Count::Late);
        }
        slot
    };
    let conn = conn(slot)?;
    conn.queued = 0;
    let send = conn.begins_with();
    if matches!(send, Send::Nothing) {
        return None;
    }
    if now != 0 {
        progress()?.arrivals += 1;
        if matches!(send, Send::Syn) {
            conn.open(now as u32 ^ slot.wrapping_mul(0x9e37_79b1), due);
        } else {
            conn.due_ns = due;
        }
    } else if matches!(send, Send::Syn) {
        // It was reset while it waited for its turn: the next arrival is its.
        queue(conn, slot, false);
        return None;
    }
    match transmit(ctx, scratch()?, slot, send as u32) {
        0 => {
            Counters.one(Count::Internal);
            None
        }
        sent => {
            Counters.one(Count::Seeded);
            Some(sent)
        }
    }
}

/// Looks at one client after the other, and sends again what is overdue.
#[inline(always)]
fn sweep(ctx: &XdpContext) -> Option<u32> {
    let config = CONFIG.get(0)?;
    let progress = progress()?;
    let slot = (progress.sweep % u64::from(config.slots.max(1))) as u32;
    progress.sweep += 1;
    let conn = conn(slot)?;
    // SAFETY: no arguments, no memory.
    let step = conn.overdue(config.habit(), unsafe { bpf_ktime_get_ns() }, &mut Counters);
    let mut action = XDP_DROP;
    if !matches!(step.send, Send::Nothing) {
        match transmit_again(ctx, scratch()?, slot, step.send as u32) {
            0 => Counters.one(Count::Internal),
            sent => {
                Counters.one(Count::Seeded);
                action = sent;
            }
        }
    }
    if matches!(step.turn, Turn::NextArrival) {
        queue(conn, slot, false);
    }
    Some(action)
}
