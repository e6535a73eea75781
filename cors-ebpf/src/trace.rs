//! Tells of a decision, where somebody traces.

use aya_ebpf::programs::XdpContext;
use cors_common::{
    exit::{Action, Exit},
    head::PREFLIGHT_MAX,
    tally::is_denied,
    trace::{DENIED, EVENT_MAX, Event},
};

use crate::{
    frame::{Packet as _, XdpFrame},
    maps::{Scratch, TRACE},
};

/// Tells it, unless it is not wanted or there were too many. A function of its own, so that what
/// nobody traces takes a load and a branch.
#[inline(never)]
pub(crate) fn tell(ctx: &XdpContext, scratch: &mut Scratch, wanted: u32, exit: Exit) -> u32 {
    if wanted == DENIED && !is_denied(exit) {
        return 0;
    }
    let now = scratch.tick.now();
    if !scratch.budget.take(now) {
        return 0;
    }
    let frame = XdpFrame(ctx);
    // A head that nobody looked at: too long, or there is no lease. The packet is what it was,
    // since it passes.
    if scratch.event.len == 0
        && matches!(exit.action(), Action::Pass)
        && let Some(len) =
            scratch.zero.bounded(scratch.verdict.request_len.min(PREFLIGHT_MAX), PREFLIGHT_MAX)
    {
        let to = scratch.head.buffer().as_mut_ptr();
        // SAFETY: the buffer has more than PREFLIGHT_MAX bytes.
        if unsafe { frame.copy(scratch.segment.payload_at(), to, len) } {
            scratch.event.len = len as u32;
        }
    }
    scratch.event.at = now;
    scratch.event.interface = frame.interface();
    scratch.event.exit = exit as u32;
    scratch.event.left_out = scratch.budget.left_out();
    let len = size_of::<Event>() + scratch.event.len as usize;
    let told = scratch.zero.bounded(len, EVENT_MAX).is_some_and(|len| {
        let start = (&raw const *scratch).cast();
        // SAFETY: the event is the first thing there and the head the next, which has more than
        // PREFLIGHT_MAX bytes; nobody writes there meanwhile.
        let bytes: &[u8] = unsafe { core::slice::from_raw_parts(start, len) };
        TRACE.output_untyped::<[u8]>(bytes, 0).is_ok()
    });
    if told {
        scratch.budget.told();
    } else {
        scratch.budget.leave_out();
    }
    0
}
