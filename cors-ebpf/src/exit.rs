//! The one place where a way out is counted and becomes the kernel's code for it.

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action};
use cors_common::exit::{Action, Exit};

use crate::maps::COUNTERS;

/// Counts, and gives the `XDP_*` code.
#[inline(always)]
pub(crate) fn xdp(exit: Exit) -> u32 {
    count(exit);
    match exit.action() {
        Action::Pass => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
        Action::Transmit => xdp_action::XDP_TX,
    }
}

/// Counts, and gives the `TC_ACT_*` code. What passes goes to the next program of the hook.
#[inline(always)]
pub(crate) fn tc(exit: Exit) -> i32 {
    count(exit);
    match exit.action() {
        Action::Drop => TC_ACT_SHOT as i32,
        Action::Pass | Action::Transmit => TC_ACT_UNSPEC,
    }
}

#[inline(always)]
fn count(exit: Exit) {
    if let Some(counter) = COUNTERS.get_ptr_mut(exit as u32) {
        // SAFETY: the entry is this CPU's own, and programs of one CPU do not interrupt each
        // other inside this read and write.
        unsafe { *counter += 1 };
    }
}
