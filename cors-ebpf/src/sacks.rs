//! What the options of a segment say, as global functions (see [`crate::global`]): each loop over
//! them is walked once by the verifier, and not once for each way in which a segment may have been
//! read.

use cors_common::{
    checksum::Sum,
    track::{
        Said,
        sack::{self, Found},
    },
    wire::{options::OPTIONS_MAX, segment::Segment},
};

use crate::{frame::Packet, maps::Sacks};

/// Reads a segment's options and looks for what there is in them; false where the packet ends
/// before they do.
#[inline(always)]
pub(crate) fn find<P: Packet>(packet: &P, segment: &Segment, sacks: &mut Sacks) -> bool {
    let zero = sacks.zero;
    sacks.found = Found::default();
    if let Some(len) = zero.bounded(segment.options_len, OPTIONS_MAX) {
        zero.fill(&mut sacks.bytes);
        let to = sacks.bytes.as_mut_ptr();
        // SAFETY: the array has 64 bytes.
        if !unsafe { packet.copy(segment.options_at(), to, len) } {
            return false;
        }
        sacks_find(sacks, len as u32);
    }
    true
}

/// What the timestamps say that were found.
#[inline(always)]
pub(crate) fn stamps(sacks: &Sacks, said: &mut Said) {
    let at = sacks.found.timestamps_at;
    said.is_stamped = at != 0;
    if at != 0 {
        said.tsval = sack::number(&sacks.bytes, at);
        said.tsecr = sack::number(&sacks.bytes, at + 4);
    }
}

/// [`sack::find`] in the first `len` bytes.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sacks_find(sacks: *mut Sacks, len: u32) -> u32 {
    // SAFETY: the verifier checks the size behind a pointer that is not null.
    let Some(sacks) = (unsafe { sacks.as_mut() }) else { return 0 };
    sacks.found = sack::find(&sacks.bytes, len as usize, sacks.zero);
    sacks.found.sack_at
}

/// [`sack::furthest`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sacks_furthest(sacks: *mut Sacks, from: u32) -> u32 {
    // SAFETY: as above.
    let Some(sacks) = (unsafe { sacks.as_mut() }) else { return from };
    sack::furthest(&sacks.bytes, &sacks.found, from)
}

/// [`sack::change`], with the sum folded.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sacks_change(sacks: *mut Sacks, floor: u32, by: u32) -> u32 {
    // SAFETY: as above.
    let Some(sacks) = (unsafe { sacks.as_mut() }) else { return 0 };
    u32::from(sack::change(&mut sacks.bytes, &sacks.found, floor, by).fold())
}

/// What [`sacks_change`] returns, as a sum again.
#[inline(always)]
pub(crate) const fn sum(folded: u32) -> Sum {
    Sum::folded(folded)
}
