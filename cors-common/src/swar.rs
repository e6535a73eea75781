//! Eight bytes at a time: tests on all bytes of a `u64` at once (SWAR).
//!
//! Words are loaded little-endian, so byte 0 of the text is the lowest byte of the word. Every
//! function returns a mask with bit 7 of a byte set where the byte answers the question, and says
//! how far it may be trusted. The kernel has no vector unit and eBPF no instruction to count
//! zeros; additions and subtractions that carry into bit 7 do the work of both.

/// Bit 0 of every byte.
pub const ONES: u64 = 0x0101_0101_0101_0101;
/// Bit 7 of every byte.
pub const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The byte `b` in every place.
pub const fn splat(b: u8) -> u64 {
    ONES * b as u64
}

/// Bytes outside `0x20..=0x7e`, exact up to and including the *first* marked byte.
///
/// A byte below 0x20 borrows in the subtraction, 0x7f carries in the addition, and from 0x80 on
/// bit 7 is set to begin with. A borrow or a carry may mark bytes after the first one wrongly.
pub const fn not_printable(word: u64) -> u64 {
    (word.wrapping_sub(splat(0x20)) | word.wrapping_add(ONES) | word) & HIGHS
}

/// Bytes outside `0x21..=0x7e` (what may stand in a request target), exact up to the first.
pub const fn not_visible(word: u64) -> u64 {
    (word.wrapping_sub(splat(0x21)) | word.wrapping_add(ONES) | word) & HIGHS
}

/// Bytes equal to `b`, exact for words of bytes below 0x80.
pub const fn equal(word: u64, b: u8) -> u64 {
    // A byte of the difference is zero where they are equal; adding 0x7f leaves bit 7 clear
    // only there, and cannot carry, since both operands are below 0x80.
    !((word ^ splat(b)).wrapping_add(splat(0x7f))) & HIGHS
}

/// Bytes in `lo..=hi`, exact for words of bytes below 0x80 (and up to the first byte above).
pub const fn within(word: u64, lo: u8, hi: u8) -> u64 {
    word.wrapping_add(splat(0x80 - lo)) & !word.wrapping_add(splat(0x7f - hi)) & HIGHS
}

/// Bytes that cannot stand in a header name as tier 1 reads it: all but `[A-Za-z0-9-]`.
///
/// A subset of RFC 9110 §5.6.2 `tchar`, which every header in the field stays inside. Exact up to
/// the first byte of 0x80 or above, save that CR counts as `-`: the caller knows where the
/// line ends.
pub const fn not_name(word: u64) -> u64 {
    not_lower_name(lower(word))
}

/// Bytes outside `[a-z0-9-]`; exact for words of bytes below 0x80.
pub const fn not_lower_name(word: u64) -> u64 {
    (within(word, b'a', b'z') | within(word, b'0', b'9') | within(word, b'-', b'-')) ^ HIGHS
}

/// Sets bit 5 of every byte: ASCII letters become lower case, digits and `-` stay.
pub const fn lower(word: u64) -> u64 {
    word | splat(0x20)
}

/// The place of the lowest marked byte. `mask` must not be 0 and only have bits of [`HIGHS`].
pub const fn first(mask: u64) -> usize {
    // The lowest set bit, moved to bit 0 of its byte; the product then has, in its top byte, the
    // table entry for that place. eBPF has no instruction to count trailing zeros.
    let lowest = (mask & mask.wrapping_neg()) >> 7;
    (lowest.wrapping_mul(0x0001_0203_0405_0607) >> 56) as usize
}

/// The low `len` bytes of a word; all of it from 8 on.
pub const fn keep(word: u64, len: usize) -> u64 {
    if len >= 8 { word } else { word & ((1u64 << (len * 8)) - 1) }
}

/// The low `len` bytes of a word; `len` is below 8. [`keep`] without a branch.
#[inline(always)]
pub const fn low_bytes(word: u64, len: usize) -> u64 {
    word & ((1u64 << (len * 8)) - 1)
}

/// The eight bytes from `at` on.
///
/// # Panics
///
/// Where there are not so many.
#[inline(always)]
pub const fn load(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes([
        bytes[at],
        bytes[at + 1],
        bytes[at + 2],
        bytes[at + 3],
        bytes[at + 4],
        bytes[at + 5],
        bytes[at + 6],
        bytes[at + 7],
    ])
}

/// A short text as words, zero padded: what [`keep`] leaves of the same text in a buffer.
///
/// # Panics
///
/// At compile time, where `N` is not the number of words that the text takes.
pub const fn words<const N: usize>(text: &str) -> [u64; N] {
    let bytes = text.as_bytes();
    assert!(bytes.len() <= N * 8 && bytes.len() + 8 > N * 8, "N words hold the text exactly");
    let mut out = [0u64; N];
    let mut i = 0;
    while i < bytes.len() {
        out[i / 8] |= (bytes[i] as u64) << (i % 8 * 8);
        i += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each_byte(mut check: impl FnMut(u8, u64, usize)) {
        for b in 0..=255u8 {
            for place in 0..8 {
                let mut bytes = *b"abcdefgh";
                bytes[place] = b;
                check(b, u64::from_le_bytes(bytes), place);
            }
        }
    }

    #[test]
    fn printable_and_visible_mark_the_first_offender() {
        each_byte(|b, word, place| {
            let printable = (0x20..=0x7e).contains(&b);
            assert_eq!(not_printable(word) == 0, printable, "{b:#x}");
            assert_eq!(not_visible(word) == 0, (0x21..=0x7e).contains(&b), "{b:#x}");
            if !printable {
                assert_eq!(first(not_printable(word)), place);
            }
        });
        // What follows the first offender never hides it.
        assert_eq!(first(not_printable(u64::from_le_bytes(*b"ab\r\n\xff\x00\x7fz"))), 2);
    }

    #[test]
    fn classes_are_exact_below_0x80() {
        each_byte(|b, word, place| {
            if b >= 0x80 {
                return;
            }
            let at = 0x80u64 << (place * 8);
            assert_eq!(equal(word, b) & at, at);
            assert_eq!(equal(word, b.wrapping_add(1) & 0x7f) & at, 0);
            assert_eq!(within(word, b'0', b'9') & at != 0, b.is_ascii_digit());
            let name = b.is_ascii_alphanumeric() || b == b'-';
            if b >= 0x20 {
                assert_eq!(not_name(word) & at == 0, name, "{b:#x}");
            }
            let lower = b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            assert_eq!(not_lower_name(word) & at == 0, lower, "{b:#x}");
        });
    }

    #[test]
    fn first_finds_every_place() {
        for place in 0..8 {
            assert_eq!(first(0x80u64 << (place * 8)), place);
            assert_eq!(first(HIGHS << (place * 8)), place);
        }
    }

    #[test]
    fn words_match_a_masked_buffer() {
        assert_eq!(words::<2>("keep-alive"), [u64::from_le_bytes(*b"keep-ali"), 0x6576]);
        assert_eq!(keep(u64::from_le_bytes(*b"closeXYZ"), 5), words::<1>("close")[0]);
        for len in 0..8 {
            assert_eq!(low_bytes(!0, len), keep(!0, len));
        }
    }
}
