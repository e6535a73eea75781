//! What is counted.

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $kind:ident;)+) => {
        /// A counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Count { $($(#[$doc])* $name,)+ }

        impl Count {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What it says.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)+ }
            }
        }
    };
}

/// What a counter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Work that was done.
    Work,
    /// Something that may happen between honest peers.
    Note,
    /// Something that must not happen: a figure from a run with one is worth nothing.
    Anomaly,
}

counts! {
    /// A SYN was sent for a new connection.
    Opened, "opened", Work;
    /// A SYN-ACK came.
    Established, "established", Work;
    /// A request was sent.
    Asked, "asked", Work;
    /// A whole reply came, every byte as expected.
    Replied, "replied", Work;
    /// Bytes of replies.
    Bytes, "reply_bytes", Work;
    /// A connection was closed by both sides.
    Closed, "closed", Work;
    /// Packets that came for a client.
    Packets, "packets_in", Work;
    /// Packets that left in the frame of one that came.
    Turned, "packets_turned", Work;
    /// Packets that left in a new frame.
    Seeded, "packets_seeded", Work;
    /// Something was sent again, since nothing came.
    Retransmitted, "retransmitted", Note;
    /// Bytes came that had come before.
    Duplicate, "duplicate", Note;
    /// A segment of a connection that is over.
    Stale, "stale", Note;
    /// The server closed the connection first.
    ServerClosed, "server_closed", Note;
    /// A checksum was only begun: the server is on this machine.
    PartialChecksum, "checksum_partial", Note;
    /// A checksum was verified.
    FullChecksum, "checksum_full", Note;
    /// A frame that came had no room for what was to leave in it.
    NoRoom, "no_room", Note;
    /// An arrival had to wait for a millisecond or more, because no client was free.
    Late, "late", Note;
    /// The server reset the connection.
    Reset, "reset", Anomaly;
    /// A reply differs from the expected one.
    WrongBytes, "wrong_bytes", Anomaly;
    /// A reply is longer than the expected one, or data came unasked.
    WrongLength, "wrong_length", Anomaly;
    /// The server closed in the middle of a reply.
    CutShort, "cut_short", Anomaly;
    /// Bytes came before those that are next.
    Gap, "gap", Anomaly;
    /// An acknowledgement of something that was not sent, or a reply that does not acknowledge
    /// its request.
    WrongAck, "wrong_ack", Anomaly;
    /// A checksum is wrong.
    BadChecksum, "bad_checksum", Anomaly;
    /// A segment that says nothing in this state.
    Unexpected, "unexpected", Anomaly;
    /// Nothing came however often it was sent.
    TimedOut, "timed_out", Anomaly;
    /// The programs failed themselves.
    Internal, "internal", Anomaly;
}

impl Count {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
}

/// Where is counted.
pub trait Tally {
    /// One more.
    fn one(&mut self, count: Count) {
        self.add(count, 1);
    }

    /// So many more.
    fn add(&mut self, count: Count, more: u64);

    /// An answer took so long.
    fn latency(&mut self, ns: u64);
}
