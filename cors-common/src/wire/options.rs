//! TCP options of the handshake: what a SYN offers, and the 8 bits of it that are kept.
//!
//! Tier 1 stores nothing for a handshake, so all that the kernel must know at hand-over travels in
//! the low byte of the cookie. Timestamps are never offered: nothing then depends on two clocks.
//! Where the kernel has made the handshake, they may be on, and what the driver sends carries them.

use crate::{exit::Exit, zero::Zero};

use super::segment::Family;

/// The most that a TCP header can hold.
pub const OPTIONS_MAX: usize = 40;

/// The window scale that our side announces: 2^7, so that a receive buffer of 8 MiB can be told.
pub const WINDOW_SCALE: u8 = 7;

/// The end of the options.
pub(crate) const END: u8 = 0;
/// Padding.
pub(crate) const NOP: u8 = 1;
const MSS: u8 = 2;
pub(crate) const WSCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
pub(crate) const TIMESTAMPS: u8 = 8;
const FAST_OPEN: u8 = 34;

/// RFC 7323 §2.3: a larger shift is used as 14.
const WSCALE_MAX: u8 = 14;
/// In [`Negotiated`]: no window scale.
const WSCALE_NONE: u8 = 15;

/// The segment sizes that can be kept; a client's is rounded down to one of them.
///
/// 536 and 1220 are the defaults of IPv4 and IPv6 and the least that `bpf_sk_assign_tcp_reqsk`
/// takes; 1380 to 1460 are what tunnels, mobile carriers and Ethernet have; 8960 is a jumbo frame.
const SEGMENT_SIZES: [u16; 8] = [536, 1220, 1340, 1380, 1400, 1440, 1460, 8960];

/// What a handshake agreed on, in 8 bits: bits 0–2 the index into the segment sizes, bits 3–6 the
/// client's window scale (15: none), bit 7 SACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Negotiated(pub u8);

impl Negotiated {
    /// From what a SYN offers, and the largest segment of our side; `None` where the segment size
    /// is below the family's least.
    #[inline(always)]
    pub fn new(family: Family, offer: &Offer, mss_max: u16) -> Option<Self> {
        let (least, default) = match family {
            Family::V4 => (0, 536),
            Family::V6 => (1, 1220),
        };
        let mss = if offer.mss == 0 { default } else { offer.mss };
        // What the interface cannot send is not sent to anybody.
        let mss = if mss < mss_max { mss } else { mss_max };
        let mut index = 0u8;
        let mut i = 1;
        while i < SEGMENT_SIZES.len() {
            if SEGMENT_SIZES[i] <= mss {
                index = i as u8;
            }
            i += 1;
        }
        if mss < SEGMENT_SIZES[0] || index < least {
            return None;
        }
        let scale = if offer.window_scale > WSCALE_MAX {
            if offer.window_scale == WSCALE_NONE { WSCALE_NONE } else { WSCALE_MAX }
        } else {
            offer.window_scale
        };
        Some(Self(index | scale << 3 | (offer.sack as u8) << 7))
    }

    /// What every client takes of whom nothing is known: the least segment size, no window scale,
    /// no selective acknowledgements.
    #[inline(always)]
    pub const fn least(family: Family) -> Self {
        let index = match family {
            Family::V4 => 0,
            Family::V6 => 1,
        };
        Self(index | WSCALE_NONE << 3)
    }

    /// The largest payload that the client takes, in bytes.
    #[inline(always)]
    pub const fn mss(self) -> u16 {
        // Comparisons instead of a table: a look-up by an unknown index would have to live in a
        // map of its own.
        match self.0 & 7 {
            0 => SEGMENT_SIZES[0],
            1 => SEGMENT_SIZES[1],
            2 => SEGMENT_SIZES[2],
            3 => SEGMENT_SIZES[3],
            4 => SEGMENT_SIZES[4],
            5 => SEGMENT_SIZES[5],
            6 => SEGMENT_SIZES[6],
            _ => SEGMENT_SIZES[7],
        }
    }

    /// The shift of the windows that the client sends, where both sides scale.
    #[inline(always)]
    pub const fn window_scale(self) -> Option<u8> {
        let scale = self.0 >> 3 & 0xf;
        if scale == WSCALE_NONE { None } else { Some(scale) }
    }

    /// The same without what this host does not do.
    #[inline(always)]
    #[must_use]
    pub const fn without(self, declined: Declined) -> Self {
        let sack = if declined.sack { 0x80 } else { 0 };
        let scale = if declined.window_scale { WSCALE_NONE << 3 } else { 0 };
        Self(self.0 & !sack | scale)
    }

    /// Whether selective acknowledgements may be used.
    #[inline(always)]
    pub const fn sack(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// The window field that stands for 64 KiB (or a byte less, unscaled).
    #[inline(always)]
    pub const fn window(self) -> u16 {
        if self.window_scale().is_some() { (0x1_0000u32 >> WINDOW_SCALE) as u16 } else { u16::MAX }
    }
}

/// What this host's TCP does not do, whoever offers it. The kernel refuses to take over a
/// connection on which it was promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declined {
    /// Selective acknowledgements.
    pub sack: bool,
    /// Window scaling.
    pub window_scale: bool,
}

/// What a SYN offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Offer {
    /// Maximum segment size; 0: absent.
    pub mss: u16,
    /// Window scale; 15: absent.
    pub window_scale: u8,
    /// SACK permitted.
    pub sack: bool,
}

/// TCP options, copied out of a segment, and where each kind is.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct OptionBytes {
    bytes: [u8; 64],
    /// For each kind below 64 the offset behind its first byte, 0 where it is absent. A table
    /// instead of a branch for each kind: the verifier then has one path through a turn.
    places: [u8; 64],
    len: u32,
    zero: Zero,
    kept: Negotiated,
}

impl OptionBytes {
    /// No options.
    pub const EMPTY: Self =
        Self { bytes: [END; 64], places: [0; 64], len: 0, zero: Zero::NEW, kept: Negotiated(0) };

    /// Makes room for `len` bytes of options; whatever is behind them ends them.
    #[inline(always)]
    pub fn clear(&mut self, len: usize) -> &mut [u8; 64] {
        const _: () = assert!(END == 0);
        self.zero.fill(&mut self.bytes);
        self.zero.fill(&mut self.places);
        self.len = len as u32;
        &mut self.bytes
    }

    /// Options that could not be copied out: one that is shorter than itself.
    #[inline(always)]
    pub const fn set_unreadable(&mut self) {
        self.bytes[0] = MSS;
        self.bytes[1] = 0;
    }

    /// Reads the options of a SYN; what is kept of them is in [`OptionBytes::kept`] then.
    #[inline(never)]
    pub fn negotiate(&mut self, family: Family, mss_max: u16) -> Result<(), Exit> {
        let offer = self.offer()?;
        self.kept = Negotiated::new(family, &offer, mss_max).ok_or(Exit::SynOptions)?;
        Ok(())
    }

    /// What was negotiated.
    #[inline(always)]
    pub const fn kept(&self) -> Negotiated {
        self.kept
    }

    /// Reads the options of a SYN. Unknown ones are skipped: not to answer them refuses them.
    #[inline(always)]
    fn offer(&mut self) -> Result<Offer, Exit> {
        self.find_places()?;
        if self.places[FAST_OPEN as usize] != 0 {
            return Err(Exit::SynData);
        }
        let mut offer = Offer { mss: 0, window_scale: WSCALE_NONE, sack: false };
        if let Some(at) = self.place(MSS, 4)? {
            offer.mss = u16::from_be_bytes([self.byte(at + 1), self.byte(at + 2)]);
        }
        if let Some(at) = self.place(WSCALE, 3)? {
            // RFC 7323 §2.3: a larger shift is used as 14.
            let scale = self.byte(at + 1);
            offer.window_scale = if scale > WSCALE_MAX { WSCALE_MAX } else { scale };
        }
        offer.sack = self.place(SACK_PERMITTED, 2)?.is_some();
        Ok(offer)
    }

    #[inline(never)]
    fn find_places(&mut self) -> Result<(), Exit> {
        // Masked at every turn, so that an offset is any offset to the verifier. One that has
        // wrapped around has gone further than any header is long, which `total` tells.
        let mut at = self.zero.blur(0) & 63;
        let mut total = 0;
        for _ in 0..=OPTIONS_MAX {
            let kind = self.byte(at);
            if kind == END {
                break;
            }
            at = (at + 1) & 63;
            total += 1;
            if kind == NOP {
                continue;
            }
            let size = self.byte(at) as usize;
            // The experiments (RFC 6994) are beyond the table; Fast Open was one of them.
            if kind as usize >= self.places.len() || size < 2 {
                return Err(Exit::SynOptions);
            }
            self.places[kind as usize] = at as u8;
            at = (at + size - 1) & 63;
            total += size - 1;
        }
        // An option that reaches behind the header.
        if total > self.len as usize { Err(Exit::SynOptions) } else { Ok(()) }
    }

    /// Where the size of an option is, which must be the one it always has.
    #[inline(always)]
    fn place(&self, kind: u8, size: u8) -> Result<Option<usize>, Exit> {
        let at = self.places[kind as usize] as usize;
        if at == 0 {
            Ok(None)
        } else if self.byte(at) == size {
            Ok(Some(at))
        } else {
            Err(Exit::SynOptions)
        }
    }

    #[inline(always)]
    const fn byte(&self, at: usize) -> u8 {
        self.bytes[at & 63]
    }
}

/// The options of our SYN-ACK as words in the order of memory, and how many of them are used.
#[inline(always)]
pub const fn syn_ack_options(negotiated: Negotiated, mss: u16) -> ([u32; 3], usize) {
    let m = mss.to_be_bytes();
    let mss = u32::from_ne_bytes([MSS, 4, m[0], m[1]]);
    let sack = u32::from_ne_bytes([NOP, NOP, SACK_PERMITTED, 2]);
    let scale = u32::from_ne_bytes([NOP, WSCALE, 3, WINDOW_SCALE]);
    match (negotiated.sack(), negotiated.window_scale().is_some()) {
        (true, true) => ([mss, sack, scale], 3),
        (true, false) => ([mss, sack, 0], 2),
        (false, true) => ([mss, scale, 0], 2),
        (false, false) => ([mss, 0, 0], 1),
    }
}

/// How many words [`timestamps_option`] has.
pub const TIMESTAMPS_WORDS: usize = 3;

/// The timestamps of a segment (RFC 7323 §3.2) as words in the order of memory, padded as appendix
/// A has it.
#[inline(always)]
pub const fn timestamps_option(tsval: u32, tsecr: u32) -> [u32; TIMESTAMPS_WORDS] {
    [u32::from_ne_bytes([NOP, NOP, TIMESTAMPS, 10]), tsval.to_be(), tsecr.to_be()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Offer, Exit> {
        let mut options = OptionBytes::EMPTY;
        options.clear(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        options.offer()
    }

    #[test]
    fn reads_what_linux_sends() {
        let offer = read(&[2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 9]);
        assert_eq!(offer, Ok(Offer { mss: 1460, window_scale: 9, sack: true }));
    }

    #[test]
    fn skips_unknown_options_and_stops_at_the_end() {
        // MP_CAPABLE (kind 30), then End, then what must not be read any more.
        let offer = read(&[30, 4, 0, 1, 2, 4, 2, 0x18, 0, 4, 2, 0]);
        assert_eq!(offer, Ok(Offer { mss: 536, window_scale: 15, sack: false }));
        assert_eq!(read(&[]), Ok(Offer { mss: 0, window_scale: 15, sack: false }));
    }

    #[test]
    fn refuses_lengths_that_lie() {
        assert_eq!(read(&[2, 0, 5, 0xb4]), Err(Exit::SynOptions));
        assert_eq!(read(&[2, 1, 5, 0xb4]), Err(Exit::SynOptions));
        assert_eq!(read(&[2, 5, 5, 0xb4]), Err(Exit::SynOptions));
        assert_eq!(read(&[3, 4, 7, 0]), Err(Exit::SynOptions));
        assert_eq!(read(&[1, 1, 1, 8]), Err(Exit::SynOptions));
    }

    #[test]
    fn fast_open_is_the_kernels() {
        assert_eq!(read(&[34, 2, 1, 1]), Err(Exit::SynData));
        // Fast Open before it had a number (RFC 7413 §4.1.1), and every other experiment.
        assert_eq!(read(&[254, 4, 0xf9, 0x89]), Err(Exit::SynOptions));
    }

    #[test]
    fn eight_bits_hold_what_is_needed() {
        for (mss, v4, v6) in [
            (0, Some(536), Some(1220)),
            (535, None, None),
            (536, Some(536), None),
            (1219, Some(536), None),
            (1459, Some(1440), Some(1440)),
            (1460, Some(1460), Some(1460)),
            (65495, Some(8960), Some(8960)),
        ] {
            let offer = Offer { mss, window_scale: 15, sack: false };
            let kept = |family| Negotiated::new(family, &offer, u16::MAX).map(Negotiated::mss);
            assert_eq!((kept(Family::V4), kept(Family::V6)), (v4, v6), "offered {mss}");
        }
        // A client's jumbo frames do not fit an Ethernet of ours.
        let jumbo = Offer { mss: 8960, window_scale: 15, sack: false };
        let kept = |mss_max| Negotiated::new(Family::V6, &jumbo, mss_max).map(Negotiated::mss);
        assert_eq!((kept(1440), kept(1219)), (Some(1440), None));
        for scale in 0..=14 {
            let offer = Offer { mss: 1460, window_scale: scale, sack: scale % 2 == 0 };
            let kept = Negotiated::new(Family::V4, &offer, u16::MAX).expect("kept");
            assert_eq!(kept.window_scale(), Some(scale));
            assert_eq!(kept.sack(), scale % 2 == 0);
            assert_eq!(kept.window(), 512);
        }
        let plain = Offer { mss: 1460, window_scale: 15, sack: true };
        let plain = Negotiated::new(Family::V4, &plain, u16::MAX).expect("kept");
        assert_eq!((plain.window_scale(), plain.window()), (None, 65535));
        assert_eq!(read(&[3, 3, 200, 0]).map(|o| o.window_scale), Ok(14));
    }

    #[test]
    fn what_the_host_declines_is_not_kept() {
        let usual = Negotiated(6 | 9 << 3 | 0x80);
        for (sack, window_scale) in [(false, false), (true, false), (false, true), (true, true)] {
            let kept = usual.without(Declined { sack, window_scale });
            assert_eq!(kept.mss(), 1460);
            assert_eq!(kept.sack(), !sack);
            assert_eq!(kept.window_scale(), if window_scale { None } else { Some(9) });
        }
    }

    #[test]
    fn answers_only_what_was_offered() {
        let options = |sack, window_scale| {
            let offer = Offer { mss: 1460, window_scale, sack };
            let kept = Negotiated::new(Family::V4, &offer, u16::MAX).expect("kept");
            let (words, n) = syn_ack_options(kept, 1460);
            let bytes: std::vec::Vec<u8> =
                words[..n].iter().flat_map(|w| w.to_ne_bytes()).collect();
            bytes
        };
        assert_eq!(options(false, 15), [2, 4, 5, 0xb4]);
        assert_eq!(options(true, 15), [2, 4, 5, 0xb4, 1, 1, 4, 2]);
        assert_eq!(options(false, 0), [2, 4, 5, 0xb4, 1, 3, 3, 7]);
        assert_eq!(options(true, 3), [2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7]);
    }
}
