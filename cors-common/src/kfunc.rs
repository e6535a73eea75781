//! What the kernel programs and the agent agree on about the one kernel function.

use crate::wire::options::{Negotiated, WINDOW_SCALE};

/// The number that the program calls, and that the agent replaces by the function's BTF id.
///
/// Helpers are numbered from 1 and far below.
pub const MARKER: i32 = 0x0c02_5ed6;

/// The name of the kernel function.
pub const NAME: &str = "bpf_sk_assign_tcp_reqsk";

/// `struct bpf_tcp_req_attrs` (include/linux/tcp.h of Linux 6.9), 20 bytes:
///
/// ```text
/// +0  u32 rcv_tsval      +4  u32 rcv_tsecr     +8  u16 mss
/// +10 u8 rcv_wscale      +11 u8 snd_wscale     +12 u8 ecn_ok     +13 u8 wscale_ok
/// +14 u8 sack_ok         +15 u8 tstamp_ok      +16 u8 usec_ts_ok +17 u8 reserved[3]
/// ```
///
/// As aligned words: the compiler joins neighbouring bytes to words at odd places, which the
/// verifier does not let a program do on its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Attributes([u32; 5]);

impl Attributes {
    /// The size of the kernel's struct, which is passed along with it.
    pub const SIZE: i32 = 20;

    /// What our SYN-ACK promised.
    #[inline(always)]
    pub const fn new(kept: Negotiated) -> Self {
        let (wscale_ok, rcv_wscale, snd_wscale) = match kept.window_scale() {
            Some(scale) => (1, WINDOW_SCALE, scale),
            None => (0, 0, 0),
        };
        let [m0, m1] = kept.mss().to_ne_bytes();
        Self([
            0,
            0,
            u32::from_ne_bytes([m0, m1, rcv_wscale, snd_wscale]),
            u32::from_ne_bytes([0, wscale_ok, kept.sack() as u8, 0]),
            0,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laid_out_like_the_kernels_struct() {
        // Segment size 1460 (index 6), window scale 9, SACK.
        let bytes: std::vec::Vec<u8> = Attributes::new(Negotiated(6 | 9 << 3 | 0x80))
            .0
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        let [m0, m1] = 1460u16.to_ne_bytes();
        assert_eq!(bytes[..8], [0; 8]);
        assert_eq!(bytes[8..16], [m0, m1, 7, 9, 0, 1, 1, 0]);
        assert_eq!(bytes[16..], [0; 4]);
    }
}
