//! The table of tracked connections: found, begun, locked. The rules are
//! [`cors_common::track::table`]'s.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xchg};

use cors_common::{
    track::{
        Track, flag,
        table::{WAYS, bucket, worth},
    },
    wire::{options::Negotiated, segment::Tuple},
};

use crate::maps::TRACKS;

/// No entry.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// How often a lock is tried. Whoever holds one is done after some fifty instructions, unless its
/// (virtual) processor stands still.
const TRIES: u32 = 64;

/// An entry. Others may change it at any time; what is read of it without its lock is a hint.
#[inline(always)]
pub(crate) fn entry(place: u32) -> Option<&'static mut Track> {
    let entry = TRACKS.get_ptr_mut(place)?;
    // SAFETY: the map's memory stays where it is. Another CPU may write there meanwhile, each word
    // as a whole; what depends on several words is decided with the lock.
    Some(unsafe { &mut *entry })
}

/// Takes the entry's lock if it is still this connection's.
#[inline(always)]
pub(crate) fn lock(track: &mut Track, tuple: &Tuple) -> Result<(), Unlocked> {
    if !acquire(track) {
        return Err(Unlocked::Busy);
    }
    if track.flags & flag::ALIVE == 0 || track.tuple != *tuple {
        unlock(track);
        return Err(Unlocked::Gone);
    }
    Ok(())
}

/// Why there is no lock.
#[derive(Clone, Copy)]
pub(crate) enum Unlocked {
    /// Another CPU has it.
    Busy,
    /// The entry is another connection's, or nobody's.
    Gone,
}

#[inline(always)]
fn acquire(track: &mut Track) -> bool {
    // The target says that it cannot compare and exchange, which it can from `v3` on; so there are
    // no methods for it, but what they are made of is there.
    let lock = &raw mut track.lock;
    for _ in 0..TRIES {
        // SAFETY: an aligned word of memory that is the map's, which everybody changes like this.
        let (_, taken) = unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(lock, 0, 1)
        };
        if taken {
            return true;
        }
    }
    false
}

/// Gives it back.
#[inline(always)]
pub(crate) fn unlock(track: &mut Track) {
    // A store would not do: eBPF has none that is ordered after the writes before.
    // SAFETY: as above.
    unsafe { atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(&raw mut track.lock, 0) };
}

/// Where a connection's entry is, or [`NOWHERE`].
///
/// A global function, see [`crate::global`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn track_find(tuple: *const Tuple, mask: u32) -> u32 {
    // SAFETY: the verifier checks the size behind a pointer that is not null.
    let Some(tuple) = (unsafe { tuple.as_ref() }) else { return NOWHERE };
    let first = bucket(tuple, mask);
    for way in 0..WAYS {
        let Some(track) = entry(first + way) else { return NOWHERE };
        if track.flags & flag::ALIVE != 0 && track.tuple == *tuple {
            return first + way;
        }
    }
    NOWHERE
}

/// What [`track_begin`] takes in one argument, of which there are five at most.
#[inline(always)]
pub(crate) const fn packed(kept: Negotiated, second: u32) -> u64 {
    (kept.0 as u64) << 32 | second as u64
}

/// Begins to track a connection, see [`Track::begin`], and returns where; [`NOWHERE`] where nobody
/// can be driven out.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn track_begin(
    tuple: *const Tuple,
    mask: u32,
    seq: u32,
    ack: u32,
    kept_and_second: u64,
) -> u32 {
    // SAFETY: as above.
    let Some(tuple) = (unsafe { tuple.as_ref() }) else { return NOWHERE };
    let (kept, second) = (Negotiated((kept_and_second >> 32) as u8), kept_and_second as u32);
    let first = bucket(tuple, mask);
    let mut best = 0;
    let mut place = NOWHERE;
    for way in 0..WAYS {
        let Some(track) = entry(first + way) else { return NOWHERE };
        let worth = if track.tuple == *tuple { u32::MAX } else { worth(track, second) };
        if worth > best {
            best = worth;
            place = first + way;
        }
        // Its own entry above all: there must not be two.
        if track.flags & flag::ALIVE != 0 && track.tuple == *tuple {
            place = first + way;
            break;
        }
    }
    let Some(track) = entry(place) else { return NOWHERE };
    if !acquire(track) {
        return NOWHERE;
    }
    if track.tuple == *tuple || worth(track, second) != 0 {
        track.begin(tuple, seq, ack, kept, second);
    } else {
        place = NOWHERE;
    }
    unlock(track);
    place
}

/// Forgets what is left of an earlier connection of the same tuple.
#[inline(always)]
pub(crate) fn forget(tuple: &Tuple, mask: u32) {
    let place = track_find(core::ptr::from_ref(tuple), mask);
    if let Some(track) = entry(place)
        && lock(track, tuple).is_ok()
    {
        track.flags = 0;
        unlock(track);
    }
}
