//! The hash table of facts: one function that finds, and those that say where to look.
//!
//! A text's hash names a pilot, a byte that was chosen so that the texts which share it lie in
//! lines of their own (hash and displace: Belazzougui, Botelho and Dietzfelbinger, 2009). So there
//! is one line to look at, whether the text is there or not, and the pilots are few enough to stay
//! in the processor's caches.

use super::image::{INLINE_LEN, Image, Kind, WHOLE_LEN};
use crate::{
    head::{Head, KEY_WORDS, Span},
    spread::{self, GOLDEN},
    state::{Slot, Table},
};

/// The longest text of a fact, in words: an origin at its limits.
const WORDS_MAX: usize = super::ORIGIN_MAX.div_ceil(8);
/// Words of a text in its first line.
const INLINE_WORDS: usize = INLINE_LEN / 8;
/// Words of an origin that fills its line.
pub(crate) const WHOLE_WORDS: usize = WHOLE_LEN / 8;

/// A word of the tag with its length.
#[inline(always)]
pub const fn tag(kind_and_set: u64, len: usize) -> u64 {
    kind_and_set | (len as u64) << 32
}

/// Whether a text fills its line, and there is no value beside it.
#[inline(always)]
pub const fn is_whole(tag: u64, len: usize) -> bool {
    Kind::is_about_origins(tag) && len <= WHOLE_LEN
}

/// The hash of a text under what is looked for of its tag. `key` is the text in words, zero padded
/// to seven at least, and `len` its length in bytes.
///
/// Multiply and fold: the table is built by us and probed in one line, so nobody can make it slow,
/// and nothing is believed without comparing.
#[inline(always)]
pub fn hash(seed: u32, tag: u64, len: usize, key: &[u64]) -> u64 {
    hash_up_to(WORDS_MAX, seed, tag, len, key)
}

/// The same for texts of at most `words` words.
#[inline(always)]
fn hash_up_to(words: usize, seed: u32, tag: u64, len: usize, key: &[u64]) -> u64 {
    // Products that do not wait for each other.
    let mut h = seed as u64 ^ Kind::sought(tag).wrapping_mul(GOLDEN);
    for (word, factor) in key[..WHOLE_WORDS].iter().zip(FACTORS) {
        h = h.wrapping_add(word.wrapping_mul(factor));
    }
    h = spread::fold(h);
    if len > WHOLE_LEN {
        for (i, word) in key[WHOLE_WORDS..words].iter().enumerate() {
            if (WHOLE_WORDS + i) * 8 >= len {
                break;
            }
            h = spread::fold((h ^ word).wrapping_mul(GOLDEN));
        }
    }
    spread::fold(h.wrapping_mul(GOLDEN))
}

/// For the words of a line: odd, and no two alike (the first digits of pi, 64 bits each).
const FACTORS: [u64; WHOLE_WORDS] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7345,
    0xa409_3822_299f_31d1,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
    0xbe54_66cf_34e9_0c6d,
    0xc0ac_29b7_c97c_50dd,
];

/// Pilots in a line.
pub const PILOTS: usize = 64;

/// Which of so many pilots a text with this hash has.
#[inline(always)]
pub const fn bucket(hash: u64, buckets: u32) -> u32 {
    spread::place(hash as u32, buckets)
}

/// Which of so many lines a text with this hash and this pilot is in.
#[inline(always)]
pub const fn place(hash: u64, pilot: u8, lines: u32) -> u32 {
    let moved = (hash ^ (pilot as u64).wrapping_mul(GOLDEN)).wrapping_mul(FACTORS[0]);
    spread::place((moved >> 32) as u32, lines)
}

/// Lines of a place: hosts have their first policy beside them.
#[inline(always)]
pub const fn stride(tag: u64) -> u32 {
    if Kind::is_about_origins(tag) { 1 } else { 2 }
}

/// The line for texts with this tag and hash.
#[inline(always)]
fn line_of<I: Image>(image: &I, table: &Table, tag: u64, hash: u64) -> Option<u32> {
    let bucket = bucket(hash, table.buckets);
    let pilots =
        table.base.wrapping_add(table.lines * stride(tag)).wrapping_add(bucket / PILOTS as u32);
    let pilot = image.line(pilots)?.pilot(bucket);
    Some(table.base.wrapping_add(place(hash, pilot, table.lines) * stride(tag)))
}

/// The value of the fact about a piece of the head, or 0.
#[inline(always)]
pub(super) fn find<I: Image>(
    image: I,
    slot: &Slot,
    head: &mut Head,
    kind: Kind,
    set: u32,
    text: Span,
) -> u64 {
    image.find(slot, head, tag(kind.of(set), text.len as usize), text.at)
}

/// The look-up itself. Of an origin's fact the value is the set, or [`super::image::SEVERAL`].
#[inline(always)]
pub fn find_tagged<I: Image>(image: I, slot: &Slot, head: &mut Head, tag: u64, at: u32) -> u64 {
    let len = (tag >> 32) as u16 as usize;
    if len > I::TEXT_MAX {
        return 0;
    }
    let table = if Kind::is_about_origins(tag) { &slot.origins } else { &slot.scopes };
    let zero = head.zero;
    head.set_key(Span { at, len: len as u32 }, I::TEXT_MAX / 8);
    // Lengths that loops compare with are blurred, so that what a loop's end says of one is not
    // known of the next.
    let hash = hash_up_to(I::TEXT_MAX / 8, table.seed, tag, zero.blur(len), head.key());
    let Some(index) = line_of(&image, table, tag, hash) else {
        return 0;
    };
    let Some(line) = image.line(index) else {
        return 0;
    };
    head.fact = index;
    let key = head.key();
    let sought = Kind::sought(tag);
    let mut differs = Kind::sought(line.tag()) ^ sought;
    for (w, word) in key[..INLINE_WORDS].iter().enumerate() {
        differs |= line.0[1 + w] ^ word;
    }
    if is_whole(tag, len) {
        differs |= line.0[6] ^ key[5] | line.0[7] ^ key[6];
    }
    let about_origins = Kind::is_about_origins(tag);
    let here = if about_origins { WHOLE_LEN } else { INLINE_LEN };
    let more = table.base.wrapping_add(line.more());
    if differs != 0 || (len > here && !rest_is(image, more, key, zero.blur(len))) {
        return 0;
    }
    if about_origins { u64::from(line.set()) } else { line.value() }
}

/// Whether the lines from `more` on hold the rest of a long text.
#[inline(always)]
fn rest_is<I: Image>(image: I, more: u32, key: &[u64; KEY_WORDS], len: usize) -> bool {
    for i in 0..(I::TEXT_MAX / 8 - INLINE_WORDS).div_ceil(8) {
        if (INLINE_WORDS + i * 8) * 8 >= len {
            break;
        }
        let Some(line) = image.line(more.wrapping_add(i as u32)) else {
            return false;
        };
        // Both are zero padded to the end of the line.
        let mut differs = 0;
        for w in 0..8 {
            differs |= line.0[w] ^ key[INLINE_WORDS + i * 8 + w];
        }
        if differs != 0 {
            return false;
        }
    }
    true
}
