//! The maps. User space gives them other sizes when it loads.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, PerCpuArray, Queue},
    macros::btf_map,
};
use cors_common::{
    wire::{reply, segment::Segment},
    zero::Zero,
};
use cors_load::{
    check::Piece,
    conn::Conn,
    count::{Count, Tally},
    histogram::{self, BUCKETS},
    layout::{Config, Progress, Reply, Request},
};

/// How to play; shared memory.
#[btf_map]
pub(crate) static CONFIG: Array<Config, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// What is requested; shared memory.
#[btf_map]
pub(crate) static REQUESTS: Array<Request, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// What is expected; shared memory.
#[btf_map]
pub(crate) static REPLIES: Array<Reply, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The clients; shared memory, so that each is a cache line of its own.
#[btf_map]
pub(crate) static CONNS: Array<Conn, 64, { BPF_F_MMAPABLE as usize }> = Array::new();

/// What is remembered besides; shared memory.
#[btf_map]
pub(crate) static PROGRESS: Array<Progress, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Clients that have something to send now.
#[btf_map]
pub(crate) static TURNS: Queue<u32, 65536> = Queue::new();

/// Clients that wait for an arrival.
#[btf_map]
pub(crate) static FREE: Queue<u32, 65536> = Queue::new();

/// See [`Count`].
#[btf_map]
pub(crate) static COUNTS: PerCpuArray<u64, { Count::COUNT }> = PerCpuArray::new();

/// See [`histogram`].
#[btf_map]
pub(crate) static LATENCIES: PerCpuArray<u64, { BUCKETS }> = PerCpuArray::new();

/// Room that a stack of 512 bytes does not have.
#[btf_map]
pub(crate) static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// One for each CPU. Every field is written before it is read in the same run; zero is a value of
/// each.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) piece: Piece,
    pub(crate) headers: reply::Reply,
    pub(crate) segment: Segment,
    pub(crate) zero: Zero,
}

/// This CPU's room.
#[inline(always)]
pub(crate) fn scratch() -> Option<&'static mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: the entry is this CPU's own, and no program here is interrupted by another.
    Some(unsafe { &mut *scratch })
}

/// A client.
#[inline(always)]
pub(crate) fn conn(slot: u32) -> Option<&'static mut Conn> {
    let conn = CONNS.get_ptr_mut(slot)?;
    // SAFETY: a client's segments come on one queue, and `seed` takes its turn only where it
    // is its own; user space writes nothing there.
    Some(unsafe { &mut *conn })
}

/// What is remembered.
#[inline(always)]
pub(crate) fn progress() -> Option<&'static mut Progress> {
    let progress = PROGRESS.get_ptr_mut(0)?;
    // SAFETY: plain numbers; where two CPUs add at once, one is lost, and nothing depends on it.
    Some(unsafe { &mut *progress })
}

/// The counters of this CPU.
pub(crate) struct Counters;

impl Tally for Counters {
    #[inline(always)]
    fn add(&mut self, count: Count, more: u64) {
        if let Some(counter) = COUNTS.get_ptr_mut(count as u32) {
            // SAFETY: this CPU's own.
            unsafe { *counter += more };
        }
    }

    #[inline(always)]
    fn latency(&mut self, ns: u64) {
        if let Some(counter) = LATENCIES.get_ptr_mut(histogram::bucket(ns)) {
            // SAFETY: this CPU's own.
            unsafe { *counter += 1 };
        }
    }
}

/// The client stands in a queue, once.
#[inline(always)]
pub(crate) fn queue(conn: &mut Conn, slot: u32, at_once: bool) {
    if conn.queued != 0 {
        return;
    }
    let queued = if at_once { TURNS.push(slot, 0) } else { FREE.push(slot, 0) };
    match queued {
        Ok(()) => conn.queued = 1,
        Err(_) => Counters.one(Count::Internal),
    }
}
