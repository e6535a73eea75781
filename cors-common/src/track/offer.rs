//! What a client has offered whose SYN went up: `edge` sees that, and `outward`, which follows the
//! connection from the kernel's SYN-ACK on, has to know.
//!
//! Kept for each CPU, as a SYN-ACK leaves on the one on which its SYN came in. Where it does not, or
//! others came between, only what every client takes is known.

use super::sack::Found;
use crate::{
    tcp::recent::{self, Recent},
    wire::{
        Frame,
        options::{Declined, Negotiated},
        segment::{Segment, Tuple, flags},
    },
};

/// How many are kept for each CPU.
pub const SLOTS: u32 = recent::SLOTS;

/// Whether a SYN-ACK of the kernel's begins a connection on which the driver can say what the kernel
/// would say.
///
/// Not where Multipath TCP counts the bytes by itself, and not where each segment's flags count
/// congestion marks (AccECN, RFC 9768 §3.1.1: AE or CWR is set).
#[inline(always)]
pub fn is_plain<F: Frame + ?Sized>(frame: &F, syn_ack: &Segment, found: &Found) -> bool {
    // Masked, so that the verifier knows how far it is.
    let counts = match frame.load((syn_ack.tcp_at & 0x7f) + 12) {
        Some([offset_and_ae]) => offset_and_ae & 1 != 0 || syn_ack.has(flags::CWR),
        None => true,
    };
    found.mptcp == 0 && !counts
}

/// One SYN, 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Offer {
    /// Whose it is.
    tuple: Tuple,
    /// Its sequence number.
    isn: u32,
    /// What it offers, see [`Negotiated`].
    kept: u32,
    /// Zero.
    pad: u32,
}

const _: () = assert!(size_of::<Offer>() == 48);

impl Offer {
    /// Nobody's.
    pub const NONE: Self = Self { tuple: Tuple::ZERO, isn: 0, kept: 0, pad: 0 };

    /// Where a connection's is kept, below [`SLOTS`].
    #[inline(always)]
    pub const fn slot(tuple: &Tuple) -> u32 {
        Recent::slot(tuple)
    }

    /// A SYN goes up that offers this.
    #[inline(always)]
    pub const fn note(&mut self, syn: &Segment, offers: Negotiated) {
        self.tuple = syn.tuple;
        self.isn = syn.seq;
        self.kept = offers.0 as u32;
    }

    /// What the kernel's SYN-ACK agrees on. Its tuple is the client's; `found` is what there is in
    /// its options.
    #[inline(always)]
    pub fn agreed(&self, syn_ack: &Segment, found: &Found) -> Negotiated {
        let is_answer = syn_ack.ack.wrapping_sub(1) == self.isn && self.tuple == syn_ack.tuple;
        let offered =
            if is_answer { Negotiated(self.kept as u8) } else { Negotiated::least(syn_ack.family) };
        // Windows are scaled where both sides say so (RFC 7323 §2.2); with a SYN cookie Linux may
        // not.
        offered.without(Declined { sack: false, window_scale: found.scales == 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::segment::Family;

    const OFFERED: Negotiated = Negotiated(6 | 10 << 3 | 0x80);

    fn segment(bits: u8, seq: u32, ack: u32) -> Segment {
        Segment { flags: bits, seq, ack, options_len: 20, window: 0xffff, ..Segment::EXAMPLE }
    }

    #[test]
    fn the_answer_to_a_syn_agrees_on_what_that_offers() {
        let mut offer = Offer::NONE;
        offer.note(&segment(flags::SYN, u32::MAX, 0), OFFERED);
        let syn_ack = segment(flags::SYN | flags::ACK, 7, 0);
        let scales = Found { scales: 1, ..Found::default() };
        assert_eq!(offer.agreed(&syn_ack, &scales), OFFERED);
        let plain = offer.agreed(&syn_ack, &Found::default());
        assert_eq!((plain.mss(), plain.window_scale()), (1460, None));
    }

    #[test]
    fn of_another_connection_only_the_least_is_known() {
        let mut offer = Offer::NONE;
        offer.note(&segment(flags::SYN, 99, 0), OFFERED);
        let scales = Found { scales: 1, ..Found::default() };
        let mut other_tuple = segment(flags::SYN | flags::ACK, 7, 100);
        other_tuple.tuple.client_port = 1;
        for other in [other_tuple, segment(flags::SYN | flags::ACK, 7, 101)] {
            assert_eq!(offer.agreed(&other, &scales), Negotiated::least(Family::V4));
        }
    }
}
