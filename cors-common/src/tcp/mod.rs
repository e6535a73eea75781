//! What happens to a segment: TCP as tier 1 speaks it, without timers and without buffers.
//!
//! [`step::step`] decides for the driver, [`handover::hand_over`] for the hook behind it, and
//! [`measure::measure`] counts without deciding. All three ask an [`Env`] for what they do not
//! have, and only when they need it, because a look-up costs more than the decision.

pub mod flow;
pub mod handover;
pub mod handshake;
pub mod measure;
pub mod recent;
pub mod step;
pub mod verdict;

use crate::{
    cookie::{self, Keys},
    wire::{
        options::{Declined, OptionBytes},
        segment::Segment,
    },
};

/// Who, in the kernel, would take a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody: the kernel answers with a reset.
    Nobody,
    /// A listening TCP socket.
    Listener,
    /// A listening MPTCP socket: `bpf_sk_assign_tcp_reqsk` refuses it.
    MptcpListener,
    /// A connection, a request in its handshake, or one in TIME_WAIT.
    Connection,
}

/// What the interface says of a frame that came in on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The frame is addressed to this host, in a network that it is in.
    pub for_us: bool,
    /// The largest segment to announce, by the interface's MTU.
    pub mss: u16,
}

/// What the decisions ask of their surroundings.
pub trait Env {
    /// The cookie's keys.
    fn keys(&self) -> &Keys;

    /// The cookie's epoch.
    fn epoch(&self) -> u32;

    /// Whether the agent has stopped renewing the lease: nothing new is begun or answered.
    fn lapsed(&mut self) -> bool;

    /// Who has the segment's tuple (`bpf_skc_lookup_tcp`).
    fn owner(&mut self, segment: &Segment) -> Owner;

    /// Who would take a segment that both its numbers prove to be the next one of an open
    /// connection of tier 1's: [`Owner::Listener`], as long as there is one.
    ///
    /// The kernel has no socket for such a tuple but by a chance of one in 2^64, so this is about
    /// the listener alone, and may be as old as one tick of the kernel's clock.
    fn listener(&mut self, segment: &Segment) -> Owner;

    /// What this host's TCP does not do.
    fn declined(&self) -> Declined;

    /// Whether every handshake is the kernel's, see [`handshake`].
    fn leaves_handshakes(&self) -> bool;

    /// The TCP options, copied out. Where that fails, they are one that no SYN has.
    fn options(&mut self, segment: &Segment) -> &mut OptionBytes;

    /// What the interface says of the frame.
    fn arrival(&mut self, segment: &Segment) -> Arrival;

    /// Whether the payload starts like an `OPTIONS` request.
    fn starts_like_a_preflight(&mut self, segment: &Segment) -> bool;
}

/// How far `seq` is behind the first byte after the SYN whose cookie was `cookie`, where the
/// distance is one that a handshake of ours explains.
///
/// Tries the current epoch and the one before. An exact match wins over a near one.
#[inline(always)]
fn cookie_distance<E: Env>(env: &E, segment: &Segment, cookie: u32, seq: u32) -> Distance {
    let at = |epoch| {
        Distance(cookie::distance(env.keys(), segment.family, &segment.tuple, epoch, cookie, seq))
    };
    let now = at(env.epoch());
    if now.is_first() {
        return now;
    }
    let before = at(env.epoch().wrapping_sub(1));
    if before.is_first() || before.is_probe() {
        return before;
    }
    if now.is_probe() || now.is_early() { now } else { before }
}

/// A distance from the first byte of a connection, modulo 2^24. Most of them prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Distance(u32);

impl Distance {
    /// The first byte.
    const fn is_first(self) -> bool {
        self.0 == 0
    }

    /// One byte before: where a keep-alive probe of a silent connection starts.
    const fn is_probe(self) -> bool {
        self.0 == 0x00ff_ffff
    }

    /// Later, inside the first window.
    const fn is_early(self) -> bool {
        self.0 != 0 && self.0 <= cookie::EARLY_MAX
    }
}
