//! The Internet checksum (RFC 1071) as sums that can be added, moved and finished.
//!
//! Sums are over 16-bit words *in the order of memory on a little-endian machine*. The one's
//! complement sum does not mind (RFC 1071 §2 B), and the result is stored the way it was loaded.

/// An unfinished one's complement sum. Adding carries; nothing is lost below 2^48 words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// A sum that was folded earlier, such as one kept in a map.
    pub const fn folded(sum: u32) -> Self {
        Self(sum as u64)
    }

    /// Adds a 64-bit word as loaded from memory.
    #[must_use]
    pub const fn word(self, word: u64) -> Self {
        Self(self.0 + (word & 0xffff_ffff) + (word >> 32))
    }

    /// Adds another sum whose bytes start at an even distance.
    #[must_use]
    pub const fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Adds another sum whose bytes start `at` bytes from here: at an odd distance the bytes of
    /// each word change places, and so do those of the sum.
    #[must_use]
    pub const fn add_at(self, at: usize, other: Self) -> Self {
        let other = other.fold() as u64;
        if at & 1 == 0 { Self(self.0 + other) } else { Self(self.0 + (other << 8)) }
    }

    /// The sum as 16 bits.
    pub const fn fold(self) -> u16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        sum as u16
    }

    /// What goes into the header: the complement, in the order of memory.
    pub const fn finish(self) -> u16 {
        !self.fold()
    }

    /// What has to be added to a sum in which these words are for others to be there: the first are left
    /// out by adding their complement (RFC 1624 §3, equation 3).
    #[must_use]
    pub const fn exchanged(old: u64, new: u64) -> Self {
        Self::ZERO.word(!old).word(new)
    }

    /// A checksum as it stands in a header, after the words that it is for have changed by this.
    pub const fn update(self, checksum: u16) -> u16 {
        self.add(Self::folded(!checksum as u32 & 0xffff)).finish()
    }

    /// The sum of a byte string that starts at an even place.
    pub const fn of(bytes: &[u8]) -> Self {
        let mut sum = 0;
        let mut i = 0;
        while i < bytes.len() {
            sum += (bytes[i] as u64) << (i % 2 * 8);
            i += 1;
        }
        Self(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_section_3() {
        // 0001 f203 f4f5 f6f7: sum ddf2 in network order.
        let sum = Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold().to_le_bytes(), [0xdd, 0xf2]);
        assert_eq!(sum.finish().to_le_bytes(), [0x22, 0x0d]);
    }

    #[test]
    fn words_and_bytes_agree() {
        let bytes: std::vec::Vec<u8> = (0..64u8).map(|i| i.wrapping_mul(37) ^ 0x5a).collect();
        let mut sum = Sum::ZERO;
        for chunk in bytes.chunks_exact(8) {
            sum = sum.word(u64::from_le_bytes(chunk.try_into().expect("8 bytes")));
        }
        assert_eq!(sum.fold(), Sum::of(&bytes).fold());
    }

    #[test]
    fn parts_join_at_any_distance() {
        let text = b"HTTP/1.1 204 No Content\r\nDate: x\r\n";
        for cut in 0..text.len() {
            let joined = Sum::of(&text[..cut]).add_at(cut, Sum::of(&text[cut..]));
            assert_eq!(joined.fold(), Sum::of(text).fold(), "cut at {cut}");
        }
    }

    #[test]
    fn carries_fold_fully() {
        assert_eq!(Sum(u64::MAX).fold(), 0xffff);
        assert_eq!(Sum(0xffff_ffff_0001_ffff).fold(), Sum(0x1_ffff + 0xffff_ffff).fold());
    }

    #[test]
    fn an_update_is_the_sum_of_what_is_there_then() {
        let mut bytes = *b"\x01\x02\x03\x04\xff\xfe\xfd\xfc\x45\x00\x00\x28\x00\x00\x40\x00";
        for new in [0u64, 1, 0x0102_0304_0506_0708, u64::MAX, 0xffff_0000_0000_ffff] {
            let before = Sum::of(&bytes).finish();
            let old = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
            bytes[..8].copy_from_slice(&new.to_le_bytes());
            let after = Sum::exchanged(old, new).update(before);
            assert_eq!(Sum::of(&bytes).add(Sum::folded(u32::from(after))).finish(), 0, "{new:#x}");
        }
    }
}
