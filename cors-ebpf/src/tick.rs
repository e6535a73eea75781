//! What a CPU knows for the length of one tick of the kernel's clock.
//!
//! `jiffies` is one load from memory (the verifier makes it one, Linux 5.6, commit 5576b991e9c1),
//! and what is asked of the kernel otherwise takes a call. The coarse clock moves with the tick, so
//! it is asked once for each; and a listener that was there is taken to be there until the tick
//! ends.

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns};
use cors_common::wire::segment::Endpoint;

/// One for each CPU. Tick 0 never comes again: the kernel counts from five minutes before zero in
/// 32 bits, and is far beyond that in 64.
#[repr(C)]
pub(crate) struct Tick {
    /// In which tick the clock was asked.
    asked: u64,
    /// What it said, in nanoseconds of `CLOCK_MONOTONIC`.
    now: u64,
    /// In which tick a listener was found.
    heard: u64,
    /// Whose.
    listener: Endpoint,
}

impl Tick {
    /// The coarse clock.
    #[inline(always)]
    pub(crate) fn now(&mut self) -> u64 {
        let tick = jiffies();
        if self.asked != tick {
            // SAFETY: no arguments, no memory.
            self.now = unsafe { bpf_ktime_get_coarse_ns() };
            self.asked = tick;
        }
        self.now
    }

    /// Whether a listener was found there in this tick.
    #[inline(always)]
    pub(crate) fn is_heard(&self, endpoint: &Endpoint) -> bool {
        self.heard == jiffies() && self.listener == *endpoint
    }

    /// A listener was found there.
    #[inline(always)]
    pub(crate) fn hear(&mut self, endpoint: Endpoint) {
        self.heard = jiffies();
        self.listener = endpoint;
    }
}

#[inline(always)]
fn jiffies() -> u64 {
    // SAFETY: no arguments, no memory.
    unsafe { bpf_jiffies64() }
}
