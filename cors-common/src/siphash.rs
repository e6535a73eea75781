//! SipHash-2-4 over whole 64-bit words (Aumasson and Bernstein, 2012).
//!
//! The kernel's own SYN cookies and sequence numbers use the same function. A message here is a
//! fixed number of words, so there is no tail to gather: the reference's last block, which holds
//! the length, is the only padding.

/// A 128-bit key, as two little-endian words.
pub type Key = [u64; 2];

#[inline(always)]
const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

/// The hash of `message`.
#[inline(always)]
pub const fn siphash24<const N: usize>(key: &Key, message: &[u64; N]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let mut i = 0;
    while i <= N {
        let word = if i < N { message[i] } else { ((N * 8) as u64) << 56 };
        v[3] ^= word;
        v = round(round(v));
        v[0] ^= word;
        i += 1;
    }
    v[2] ^= 0xff;
    v = round(round(round(round(v))));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[cfg(test)]
mod tests {
    use core::hash::Hasher as _;

    use super::*;

    #[test]
    fn the_reference_vectors_of_whole_words() {
        // key 00..0f, message 00 01 02 …: vectors_sip64 of the reference implementation.
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        assert_eq!(siphash24(&key, &[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(siphash24(&key, &[0x0706_0504_0302_0100]), 0x93f5_f579_9a93_2462);
    }

    #[test]
    fn agrees_with_another_implementation() {
        let key = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
        let message = [1u64, u64::MAX, 0x55aa, 42, 0, 7];
        let mut other = siphasher::sip::SipHasher24::new_with_keys(key[0], key[1]);
        for word in message {
            other.write(&word.to_le_bytes());
        }
        assert_eq!(siphash24(&key, &message), other.finish());
    }
}
