//! The names of the agent's counters that tests look at: here and nowhere else.

use std::collections::BTreeMap;

/// A preflight answered.
pub const ANSWERED: &str = "answered";
/// A preflight answered, and the connection closed as the request asked.
pub const ANSWERED_CLOSE: &str = "answered_close";
/// A retransmitted preflight answered again.
pub const ANSWERED_AGAIN: &str = "answered_again";
/// A preflight that would have been answered, had the agent not been measuring.
pub const WOULD_ANSWER: &str = "would_answer";
/// A SYN answered with a cookie.
pub const SYN_ACK: &str = "syn_ack";
/// A SYN to a port that nothing listens on.
pub const SYN_NO_LISTENER: &str = "syn_no_listener";
/// A SYN for a tuple that the kernel has a socket for.
pub const SYN_SOCKET: &str = "syn_socket";
/// A SYN to an MPTCP listener.
pub const SYN_MPTCP: &str = "syn_mptcp";
/// A SYN whose handshake is left to the kernel.
pub const SYN_KERNEL: &str = "syn_kernel";
/// A SYN with a payload or a Fast Open cookie.
pub const SYN_DATA: &str = "syn_data";
/// The last segment of a handshake.
pub const HANDSHAKE_ACK: &str = "handshake_ack";
/// A client's FIN answered with FIN.
pub const FIN_ACK: &str = "fin_ack";
/// A keep-alive probe, acknowledged.
pub const PROBE_ACK: &str = "probe_ack";
/// A reset of a connection of tier 1.
pub const RESET: &str = "reset";
/// A request that does not acknowledge all that was sent.
pub const UNACKNOWLEDGED: &str = "unacknowledged";
/// The head ends in another segment.
pub const HEAD_INCOMPLETE: &str = "head_incomplete";
/// Not to a protected address and port.
pub const NOT_PROTECTED: &str = "not_protected";
/// An origin that the policy does not allow.
pub const ORIGIN_DENIED: &str = "origin_denied";
/// A connection handed to the kernel's TCP.
pub const HANDED_OVER: &str = "handed_over";
/// The kernel refused the hand-over.
pub const HANDOVER_REFUSED: &str = "handover_refused";

/// Totals by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(pub BTreeMap<String, u64>);

impl Counters {
    /// One counter. Panics where there is none of that name, since a test that reads 0 from a
    /// misspelt counter proves nothing.
    pub fn get(&self, name: &str) -> u64 {
        *self.0.get(name).unwrap_or_else(|| panic!("the agent has no counter `{name}`"))
    }

    /// Preflights answered in whichever way.
    pub fn all_answered(&self) -> u64 {
        self.get(ANSWERED) + self.get(ANSWERED_CLOSE) + self.get(ANSWERED_AGAIN)
    }

    /// What was counted after `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let earlier = |name: &str| before.0.get(name).copied().unwrap_or(0);
        Self(self.0.iter().map(|(name, n)| (name.clone(), n - earlier(name))).collect())
    }

    /// Those that counted something, for messages.
    pub fn nonzero(&self) -> Vec<(&str, u64)> {
        self.0.iter().filter(|(_, n)| **n > 0).map(|(name, n)| (name.as_str(), *n)).collect()
    }
}
/// Tier 1 has no lease.
pub const LEASE_EXPIRED: &str = "lease_expired";
/// A SYN in a frame for another host, or of a VLAN that this one is not in.
pub const SYN_ELSEWHERE: &str = "syn_elsewhere";
/// Two VLAN tags.
pub const TWO_TAGS: &str = "two_tags";
/// A segment of a connection that is being handed over.
pub const LEAVING: &str = "leaving";
/// A reply for which the packet's buffer has no room.
pub const NO_ROOM: &str = "no_room";
/// A preflight answered on a connection that the kernel owns.
pub const TRACKED_ANSWERED: &str = "tracked_answered";
/// The same, answered again.
pub const TRACKED_AGAIN: &str = "tracked_again";
/// A request in front of which another is not over.
pub const PIPELINED: &str = "pipelined";
/// A connection handed to the kernel's TCP, for which there was no room to be tracked.
pub const HANDED_OVER_UNTRACKED: &str = "handed_over_untracked";
