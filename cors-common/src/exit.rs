//! Every way out of the two kernel programs, each with its one counter.
//!
//! The counter's index is the variant's number; its name is what `cors-edge status` prints. What
//! the shell does with the packet follows from the variant alone ([`Exit::action`]), so a verdict
//! cannot be counted as one thing and carried out as another.

/// What becomes of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Unchanged to the kernel (`XDP_PASS`, `TC_ACT_UNSPEC`).
    Pass,
    /// Dropped (`XDP_DROP`, `TC_ACT_SHOT`).
    Drop,
    /// A reply leaves on the interface it came in on (`XDP_TX`).
    Transmit,
}

macro_rules! exits {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $action:ident;)+) => {
        /// Why a packet left a program the way it did. Numbers are per build, names are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Exit {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Exit {
            /// Every variant, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// How many counters there are.
            pub const COUNT: usize = Self::ALL.len();

            /// What becomes of the packet.
            #[inline(always)]
            pub const fn action(self) -> Action {
                match self {
                    $(Self::$variant => Action::$action,)+
                }
            }

            /// The counter's name, in the form of a metric's label value.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// One line on what is counted.
            pub const fn help(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

exits! {
    // ---- edge: the frame is not for tier 1 (design: rule 1)
    /// Not Ethernet carrying IPv4 or IPv6.
    NotIp = "not_ip", Pass;
    /// The frame ends before the headers it announces.
    Truncated = "truncated", Pass;
    /// An IPv4 header with options.
    IpOptions = "ip_options", Pass;
    /// A fragment of an IPv4 packet.
    Fragment = "fragment", Pass;
    /// Not TCP directly behind the IP header (IPv6 extension headers included).
    NotTcp = "not_tcp", Pass;
    /// Two VLAN tags, of which the hook behind the driver would see one.
    TwoTags = "two_tags", Pass;
    /// An IPv4 header whose checksum is wrong.
    BadChecksum = "bad_checksum", Pass;
    /// Addresses that no connection has: a group, the unspecified one, an IPv4-mapped one.
    BadAddress = "bad_address", Pass;
    /// Lengths of the IP and TCP headers that disagree.
    BadLength = "bad_length", Pass;
    /// Not to a protected address and port.
    NotProtected = "not_protected", Pass;

    // ---- edge: tier 1 is out of work
    /// No policy is loaded.
    NoPolicy = "no_policy", Pass;
    /// The agent has stopped renewing its lease.
    LeaseExpired = "lease_expired", Pass;
    /// A helper or a map refused what it always grants.
    Internal = "internal", Pass;
    /// A helper or a map failed when the packet had been rewritten already.
    Broken = "broken", Drop;
    /// A reply for which the packet's buffer has no room.
    NoRoom = "no_room", Pass;
    /// The same for an answer that is given again: the client sends the request once more.
    NoRoomAgain = "no_room_again", Drop;

    // ---- edge: the handshake
    /// A SYN answered with a cookie.
    SynAck = "syn_ack", Transmit;
    /// A SYN to a socket that nothing listens on.
    SynNoListener = "syn_no_listener", Pass;
    /// A SYN for a tuple that the kernel has a socket for, such as one in TIME_WAIT.
    SynSocket = "syn_socket", Pass;
    /// A SYN to an MPTCP listener, which cannot take a handed-over connection.
    SynMptcp = "syn_mptcp", Pass;
    /// A SYN whose handshake is left to the kernel, by `handshake` or because it takes none over.
    SynKernel = "syn_kernel", Pass;
    /// A SYN in a frame for another host, or of a VLAN that this one is not in.
    SynElsewhere = "syn_elsewhere", Pass;
    /// A SYN with a payload or a Fast Open cookie.
    SynData = "syn_data", Pass;
    /// A SYN whose options or segment size tier 1 does not keep.
    SynOptions = "syn_options", Pass;
    /// The last segment of a handshake of ours; nothing is stored.
    HandshakeAck = "handshake_ack", Drop;

    // ---- edge: segments of connections
    /// Flags that no open connection of ours sends (URG, SYN with others, none at all).
    Flags = "flags", Pass;
    /// A segment of a connection that tier 1 does not own.
    NotOurs = "not_ours", Pass;
    /// A reset of a connection of ours: forgotten.
    Reset = "reset", Drop;
    /// A client's FIN answered with FIN.
    FinAck = "fin_ack", Transmit;
    /// A client's FIN after ours, acknowledged.
    CloseAck = "close_ack", Transmit;
    /// The last acknowledgement of a closed connection: forgotten.
    LastAck = "last_ack", Drop;
    /// A keep-alive probe, acknowledged.
    ProbeAck = "probe_ack", Transmit;
    /// An acknowledgement of a reply of ours.
    ReplyAck = "reply_ack", Drop;
    /// A segment that starts behind the next expected byte: the client sends it again.
    OutOfOrder = "out_of_order", Drop;
    /// A segment that starts before the next expected byte and is no retransmission of ours.
    Stale = "stale", Drop;
    /// A request that does not acknowledge all that was sent: the client sends it again.
    Unacknowledged = "unacknowledged", Drop;
    /// Data on a connection that tier 1 has closed.
    AfterClose = "after_close", Pass;
    /// A segment of a connection that is being handed over.
    Leaving = "leaving", Pass;
    /// The listener went away under an open connection of ours.
    ListenerGone = "listener_gone", Pass;

    // ---- edge: answers
    /// A preflight answered.
    Answered = "answered", Transmit;
    /// A preflight answered, and the connection closed as the request asked.
    AnsweredClose = "answered_close", Transmit;
    /// A retransmitted preflight answered again.
    AnsweredAgain = "answered_again", Transmit;
    /// A retransmitted preflight whose answer has changed in between.
    AnswerChanged = "answer_changed", Pass;
    /// A preflight that would have been answered (measuring).
    WouldAnswer = "would_answer", Pass;

    // ---- edge: the payload is no request that tier 1 reads (rule 4)
    /// Not an `OPTIONS` request, or one with the client's FIN.
    NotOptions = "not_options", Pass;
    /// A head of more bytes or lines than tier 1 reads.
    HeadTooLong = "head_too_long", Pass;
    /// The head ends in another segment.
    HeadIncomplete = "head_incomplete", Pass;
    /// Bytes after the head: a body or a pipelined request.
    HeadTrailing = "head_trailing", Pass;
    /// A target that is not in origin form, or has bytes a path does not have.
    Target = "target", Pass;
    /// Not `HTTP/1.1`.
    HttpVersion = "http_version", Pass;
    /// A line that does not start with a plain header name and a colon.
    HeaderName = "header_name", Pass;
    /// A control character, a bare CR or LF, or a byte of 0x7f or above.
    HeaderByte = "header_byte", Pass;
    /// A value with spaces around it, or none, where tier 1 reads it.
    HeaderValue = "header_value", Pass;
    /// A header that must be single is there twice.
    Duplicate = "duplicate", Pass;
    /// A `Content-Length` other than 0.
    ContentLength = "content_length", Pass;
    /// A `Transfer-Encoding`.
    TransferEncoding = "transfer_encoding", Pass;
    /// A `TE` other than `trailers`.
    Te = "te", Pass;
    /// An `Upgrade`.
    Upgrade = "upgrade", Pass;
    /// An `Expect`.
    Expect = "expect", Pass;
    /// A `Connection` other than `keep-alive` or `close`.
    Connection = "connection", Pass;
    /// No `Host`, or one that is not a plain lower-case host and port.
    Host = "host", Pass;
    /// No `Origin`: not a preflight.
    NoOrigin = "no_origin", Pass;
    /// An `Origin` with bytes that no serialized origin has.
    Origin = "origin", Pass;
    /// No `Access-Control-Request-Method`: not a preflight.
    NoRequestMethod = "no_request_method", Pass;
    /// `Access-Control-Request-Headers` not in the browsers' form: lower case, sorted, no space.
    RequestHeaders = "request_headers", Pass;

    // ---- edge: the policy (rule 5)
    /// No policy for the host and path.
    Unmatched = "unmatched", Pass;
    /// A path that a server may read as another one (`..`, `//`, an escaped separator).
    AmbiguousPath = "ambiguous_path", Pass;
    /// An origin that the policy does not allow.
    OriginDenied = "origin_denied", Pass;
    /// A method that the policy does not allow.
    MethodDenied = "method_denied", Pass;
    /// A header that the policy does not allow.
    HeaderDenied = "header_denied", Pass;
    /// A reply that does not fit one segment of this client, or its window.
    ReplyTooLong = "reply_too_long", Pass;

    // ---- edge: connections that the kernel owns
    /// A segment of a tracked connection.
    Tracked = "tracked", Pass;
    /// A segment of a connection on which answers were given, and whose requests cannot be told
    /// apart any more.
    Opaque = "opaque", Pass;
    /// A request, or a part of one, in front of which another is not over: from here on nothing is
    /// answered.
    Pipelined = "pipelined", Pass;
    /// A method that is not three to seven capital letters.
    Method = "method", Pass;
    /// A preflight answered on a connection that the kernel owns.
    TrackedAnswered = "tracked_answered", Transmit;
    /// The same, answered again.
    TrackedAgain = "tracked_again", Transmit;
    /// Bytes that the kernel has long had, acknowledged once more.
    TrackedAck = "tracked_ack", Transmit;
    /// A retransmitted preflight to which there is no such answer any more: reset.
    TrackedReset = "tracked_reset", Transmit;
    /// The kernel sent something while an answer was being written: the client asks again.
    Overtaken = "overtaken", Drop;
    /// Another CPU did not let go of the connection: what comes again is looked at again.
    Busy = "busy", Drop;

    // ---- handover
    /// A segment for which the kernel has a socket, or that is not for a protected one.
    TcNotOurs = "tc_not_ours", Pass;
    /// A connection handed to the kernel's TCP.
    HandedOver = "handed_over", Pass;
    /// The same for one that cannot be tracked, because the table is full.
    HandedOverUntracked = "handed_over_untracked", Pass;
    /// No proof that the connection is ours: the kernel refuses it.
    Orphan = "orphan", Pass;
    /// A later segment that overtook the one to hand over: the client sends it again.
    Early = "early", Drop;
    /// Nothing listens any more.
    HandoverNoListener = "handover_no_listener", Pass;
    /// The listener is an MPTCP socket, which cannot take the connection.
    HandoverMptcp = "handover_mptcp", Pass;
    /// The kernel refused the hand-over.
    HandoverRefused = "handover_refused", Pass;

    // ---- outward
    /// A packet of the host that is of no tracked connection.
    OutNotTracked = "out_not_tracked", Pass;
    /// A handshake that the kernel made: the connection is tracked.
    OutBegun = "out_begun", Pass;
    /// A segment to the client of a tracked connection.
    OutTracked = "out_tracked", Pass;
    /// A response whose end cannot be told: from here on nothing is answered.
    OutOpaque = "out_opaque", Pass;
    /// Sent again by the kernel, which does not know yet that the client has it, while an answer is on its
    /// way.
    OutHeld = "out_held", Drop;
}

/// Every variant at its number, and [`Exit::Internal`] up to a power of two.
static TABLE: [Exit; 128] = {
    let mut table = [Exit::Internal; 128];
    let mut i = 0;
    while i < Exit::COUNT {
        table[i] = Exit::ALL[i];
        i += 1;
    }
    table
};

impl Exit {
    /// The variant with this number; [`Exit::Internal`] where there is none.
    #[inline(always)]
    pub fn from_number(number: u32) -> Self {
        TABLE[number as usize % TABLE.len()]
    }

    /// The variant with this number.
    pub fn from_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_fit_for_a_label() {
        let names: BTreeSet<_> = Exit::ALL.iter().map(|e| e.name()).collect();
        assert_eq!(names.len(), Exit::COUNT);
        for name in names {
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
        }
    }

    #[test]
    fn numbers_are_indexes() {
        for (i, exit) in Exit::ALL.iter().enumerate() {
            assert_eq!(*exit as usize, i);
            assert_eq!(Exit::from_index(i), Some(*exit));
            assert!(exit.help().ends_with('.'), "{}", exit.help());
        }
        assert_eq!(Exit::from_index(Exit::COUNT), None);
    }
}
