//! The hash table of facts: one function that finds, one that says where to look.

use super::image::{INLINE_LEN, Image, Kind};
use crate::{
    head::{Head, KEY_WORDS, Span},
    state::Slot,
};

/// The longest text of a fact, in words: an origin at its limits.
const WORDS_MAX: usize = super::ORIGIN_MAX.div_ceil(8);
/// Words of a text in its first line.
const INLINE_WORDS: usize = INLINE_LEN / 8;

/// A word of the tag with its length.
#[inline(always)]
pub const fn tag(kind_and_set: u64, len: usize) -> u64 {
    kind_and_set | (len as u64) << 32
}

/// The hash of a text under its tag. `key` is the text in words, zero padded to five at least,
/// and `len` its length in bytes.
///
/// Multiply and fold: the table is built by us and probed at no more than four lines,
/// so nobody can make it slow, and nothing is believed without comparing.
#[inline(always)]
pub fn hash(seed: u64, tag: u64, len: usize, key: &[u64]) -> u64 {
    hash_up_to(WORDS_MAX, seed, tag, len, key)
}

/// The same for texts of at most `words` words.
#[inline(always)]
fn hash_up_to(words: usize, seed: u64, tag: u64, len: usize, key: &[u64]) -> u64 {
    // Five products that do not wait for each other.
    let mut h = seed ^ tag.wrapping_mul(K);
    for (word, factor) in key[..INLINE_WORDS].iter().zip(FACTORS) {
        h = h.wrapping_add(word.wrapping_mul(factor));
    }
    h = mix(h);
    if len > INLINE_LEN {
        for (i, word) in key[INLINE_WORDS..words].iter().enumerate() {
            if (INLINE_WORDS + i) * 8 >= len {
                break;
            }
            h = mix((h ^ word).wrapping_mul(K));
        }
    }
    mix(h.wrapping_mul(K))
}

/// What a line says of the hash: two texts that begin alike are told apart before the rest of
/// them is compared. The table has no two texts with one tag, one beginning and one fingerprint.
#[inline(always)]
pub const fn fingerprint(hash: u64) -> u32 {
    (hash >> 32) as u32 ^ hash as u32
}

/// 2^64 over the golden ratio: odd, with its bits well spread.
const K: u64 = 0x9e37_79b9_7f4a_7c15;

/// For the words of a line: odd, and no two alike (the first digits of pi, 64 bits each).
const FACTORS: [u64; INLINE_WORDS] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7345,
    0xa409_3822_299f_31d1,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
];

#[inline(always)]
const fn mix(h: u64) -> u64 {
    h ^ h >> 32
}

/// The four lines, from the table's first, that may hold a text with this hash.
#[inline(always)]
pub const fn places(hash: u64, mask: u32) -> [u32; 4] {
    let (a, b) = (hash as u32 & mask, (hash >> 32) as u32 & mask);
    [a, a ^ 1, b, b ^ 1]
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

/// The look-up itself.
#[inline(always)]
pub fn find_tagged<I: Image>(image: I, slot: &Slot, head: &mut Head, tag: u64, at: u32) -> u64 {
    let len = (tag >> 32) as u16 as usize;
    if len > I::TEXT_MAX {
        return 0;
    }
    let table = if Kind::is_about_origins(tag) { &slot.origins } else { &slot.scopes };
    let zero = head.zero;
    let key = head.set_key(Span { at, len: len as u32 }, I::TEXT_MAX / 8);
    // Lengths that loops compare with are blurred, so that what a loop's end says of one is not
    // known of the next.
    let hash = hash_up_to(I::TEXT_MAX / 8, table.seed, tag, zero.blur(len), key);
    let fingerprint = fingerprint(hash);
    let (first, second) = (hash as u32 & table.mask, (hash >> 32) as u32 & table.mask);
    for i in 0..4 {
        let place = if i < 2 { first } else { second } ^ (i & 1);
        let Some(line) = image.line(table.base.wrapping_add(place)) else {
            return 0;
        };
        let mut differs = line.tag() ^ tag;
        for (w, word) in key[..INLINE_WORDS].iter().enumerate() {
            differs |= line.0[1 + w] ^ word;
        }
        differs |= u64::from(line.fingerprint() ^ fingerprint);
        if differs == 0 {
            let more = table.base.wrapping_add(line.more());
            let same = len <= INLINE_LEN || rest_is(image, more, key, zero.blur(len));
            return if same { line.value() } else { 0 };
        }
    }
    0
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
