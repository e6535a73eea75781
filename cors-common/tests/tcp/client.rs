//! A client that keeps its sequence numbers, and nothing else of TCP.

use cors_common::{
    exit::Exit,
    policy::Answer,
    tcp::verdict::Verdict,
    wire::segment::{Family, Segment, flags},
};

use crate::support::{Edge, answer, last_answer, segment};

/// The client of one connection, in front of the driver.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) edge: Edge,
    pub(crate) family: Family,
    /// The sequence number of its SYN.
    pub(crate) isn: u32,
    /// The sequence number of the SYN-ACK.
    pub(crate) iss: u32,
    /// The next byte that it sends.
    pub(crate) seq: u32,
    /// The next byte that it expects.
    pub(crate) ack: u32,
}

impl Client {
    /// A client whose handshake is done; the driver has stored nothing for it.
    pub(crate) fn connected(family: Family) -> Self {
        Self::connected_from(family, 0x1234_5678)
    }

    /// The same from a given initial sequence number.
    pub(crate) fn connected_from(family: Family, isn: u32) -> Self {
        let mut client = Self { edge: Edge::new(), family, isn, iss: 0, seq: 0, ack: 0 };
        client.connect(isn);
        client
    }

    /// A handshake on the same tuple; whatever was remembered of it is kept.
    pub(crate) fn connect(&mut self, isn: u32) {
        self.isn = isn;
        let reply = self.edge.give(&segment(self.family, flags::SYN, isn, 0, 0));
        assert_eq!(reply.exit, Exit::SynAck);
        assert_eq!(reply.tcp.flags, flags::SYN | flags::ACK);
        assert_eq!(reply.tcp.ack, isn.wrapping_add(1));
        self.iss = reply.tcp.seq;
        self.seq = isn.wrapping_add(1);
        self.ack = reply.tcp.seq.wrapping_add(1);
        let done = self.edge.give(&self.bare(flags::ACK));
        assert_eq!(done.exit, Exit::HandshakeAck);
    }

    /// A client that had one answer and acknowledged it: the flow entry is open.
    pub(crate) fn open(family: Family) -> Self {
        let mut client = Self::connected(family);
        client.preflight(400, 200);
        client
    }

    /// A client that had one answer with `Connection: close`, and has not closed yet.
    pub(crate) fn told_to_close(family: Family) -> Self {
        let mut client = Self::connected(family);
        let data = client.data(400);
        let reply = client.edge.ask(&data, Ok(&last_answer(200)));
        assert_eq!(reply.exit, Exit::AnsweredClose);
        client.seq = client.seq.wrapping_add(400);
        client.ack = client.ack.wrapping_add(201);
        client
    }

    /// A client that closed an open connection, and has not acknowledged our FIN yet.
    pub(crate) fn last_ack(family: Family) -> Self {
        let mut client = Self::open(family);
        client.finish();
        client
    }

    /// A client that closed behind our FIN.
    pub(crate) fn closed(family: Family) -> Self {
        let mut client = Self::told_to_close(family);
        client.finish_second();
        client
    }

    /// A client whose next request went up.
    pub(crate) fn leaving(family: Family) -> Self {
        let mut client = Self::open(family);
        client.leave(100);
        client
    }

    /// A segment at the client's place, without data.
    pub(crate) fn bare(&self, flags: u8) -> Segment {
        segment(self.family, flags, self.seq, self.ack, 0)
    }

    /// `len` bytes at the client's place.
    pub(crate) fn data(&self, len: usize) -> Segment {
        segment(self.family, flags::ACK | flags::PSH, self.seq, self.ack, len)
    }

    /// A preflight that is answered, and its answer received.
    #[track_caller]
    pub(crate) fn preflight(&mut self, request: usize, reply: usize) -> Verdict {
        let data = self.data(request);
        let verdict = self.edge.ask(&data, Ok(&answer(reply)));
        assert_eq!(verdict.exit, Exit::Answered);
        assert_eq!(verdict.tcp.seq, self.ack, "the answer starts where the client waits");
        self.seq = self.seq.wrapping_add(u32::try_from(request).expect("short"));
        self.ack = self.ack.wrapping_add(u32::try_from(reply).expect("short"));
        assert_eq!(verdict.tcp.ack, self.seq, "the answer acknowledges the request");
        verdict
    }

    /// A FIN that is answered with FIN; its last acknowledgement is still to be sent.
    #[track_caller]
    pub(crate) fn finish(&mut self) {
        let fin = self.bare(flags::FIN | flags::ACK);
        assert_eq!(self.edge.give(&fin).exit, Exit::FinAck);
        self.seq = self.seq.wrapping_add(1);
        self.ack = self.ack.wrapping_add(1);
    }

    /// A FIN after ours, which is acknowledged.
    #[track_caller]
    pub(crate) fn finish_second(&mut self) {
        let fin = self.bare(flags::FIN | flags::ACK);
        assert_eq!(self.edge.give(&fin).exit, Exit::CloseAck);
        self.seq = self.seq.wrapping_add(1);
    }

    /// A request that goes up, and leaves the entry waiting for its hand-over.
    #[track_caller]
    pub(crate) fn leave(&mut self, len: usize) -> Segment {
        let data = self.data(len);
        self.edge.world.preflight = false;
        assert_eq!(self.edge.give(&data).exit, Exit::NotOptions);
        self.edge.world.preflight = true;
        data
    }

    /// The last request once more, as if its answer had not arrived.
    pub(crate) fn again(&self) -> Segment {
        let flow = self.edge.entry();
        let len = usize::from(flow.request_len);
        let flags = flags::ACK | flags::PSH;
        segment(self.family, flags, flow.request_seq(), flow.reply_seq(), len)
    }

    /// A segment this far from the client's place.
    pub(crate) fn at(&self, flags: u8, seq: u32, ack: u32, len: usize) -> Segment {
        let (seq, ack) = (self.seq.wrapping_add(seq), self.ack.wrapping_add(ack));
        segment(self.family, flags, seq, ack, len)
    }

    /// Data at the client's place, decided on like this.
    pub(crate) fn send(&mut self, len: usize, decision: Result<&Answer, Exit>) -> Verdict {
        let data = self.data(len);
        self.edge.ask(&data, decision)
    }
}
