//! How numbers are spread over places: multiply, and fold the high half, which depends on all bits,
//! into the low one. For tables that nobody can make slow; what must not be guessed is in
//! [`crate::siphash`].

/// 2^64 over the golden ratio: odd, with its bits well spread.
pub const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The high half into the low one.
#[inline(always)]
pub const fn fold(h: u64) -> u64 {
    h ^ h >> 32
}

/// One of `n` places by 32 bits that are spread evenly.
#[inline(always)]
pub const fn place(bits: u32, n: u32) -> u32 {
    (bits as u64 * n as u64 >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_all_of_them_and_no_others() {
        for n in [1, 3, 64, 117_648] {
            assert_eq!(place(0, n), 0);
            assert_eq!(place(u32::MAX, n), n - 1);
        }
        assert_eq!(place(u32::MAX, 0), 0);
        assert_eq!((place((1 << 31) - 1, 2), place(1 << 31, 2)), (0, 1));
    }
}
