//! The decisions on a tracked connection, one at a time: what each side's numbers become, and when
//! nothing is answered.

use cors_common::{
    exit::Exit,
    track::{
        Said, Track, flag,
        inward::{self, Inward, Read, Request},
        outward::{self, Outward},
    },
    wire::{
        options::Negotiated,
        segment::{Family, Segment, flags},
    },
};

use crate::{segment, tuple};

/// The client's first byte, and the kernel's.
const CLIENT: u32 = u32::MAX - 50;
const KERNEL: u32 = 7_000;

const GET: u32 = 100;
const PREFLIGHT: u32 = 400;
const RESPONSE: u32 = 300;
const ANSWER: u32 = 200;

fn framed(end: u32, body: u32) -> Request {
    Request { framed: Ok(()), end, body, is_head: false }
}

/// A connection with its two ends, each of which counts for itself.
struct Conn {
    track: Track,
    /// The client's next byte, and what it has of the other side.
    seq: u32,
    ack: u32,
    /// The kernel's.
    snd: u32,
    rcv: u32,
}

impl Conn {
    fn new() -> Self {
        let mut track = Track::NONE;
        // MSS 1460, window scale 7, SACK.
        track.begin(&tuple(), CLIENT, KERNEL, Negotiated(6 | 7 << 3 | 0x80), 1);
        Self { track, seq: CLIENT, ack: KERNEL, snd: KERNEL, rcv: CLIENT }
    }

    fn pass(&mut self, segment: &Segment, request: &Request) -> Inward {
        let mut out = Inward::NONE;
        inward::pass(&mut self.track, segment, request, 2, &mut out);
        out
    }

    /// A request that is passed up, and arrives where the kernel expects it.
    fn ask(&mut self, len: u32) {
        let out = self.pass(&segment(self.seq, self.ack, len), &framed(len, 0));
        assert_eq!((out.exit, out.seq, out.ack), (Exit::Tracked, self.rcv, self.snd));
        self.seq = self.seq.wrapping_add(len);
        self.rcv = self.rcv.wrapping_add(len);
    }

    fn send(&mut self, segment: &Segment) -> Outward {
        let mut out = Outward::NONE;
        let said = Said { furthest: segment.ack, ..Said::default() };
        let len = segment.payload_len as u32;
        outward::send(&mut self.track, segment, len, &said, true, 2, &mut out);
        out
    }

    /// A whole response, which arrives where the client expects it.
    fn respond(&mut self, len: u32) {
        let response = segment(self.snd, self.rcv, len);
        // What following it would do.
        self.track.parsed = self.snd.wrapping_add(len);
        self.track.given += 1;
        let out = self.send(&response);
        assert_eq!((out.exit, out.seq, out.ack), (Exit::OutTracked, self.ack, self.seq));
        self.snd = self.snd.wrapping_add(len);
        self.ack = self.ack.wrapping_add(len);
    }

    fn preflight(&self) -> Segment {
        segment(self.seq, self.ack, PREFLIGHT)
    }

    /// One that is answered; the client gets the answer with `arrives`.
    fn answer(&mut self, arrives: bool) {
        let preflight = self.preflight();
        assert_eq!(inward::peek(&self.track, &preflight), Read::Preflight);
        assert!(self.takes_out(&preflight));
        self.seq = self.seq.wrapping_add(PREFLIGHT);
        if arrives {
            self.ack = self.ack.wrapping_add(ANSWER);
        }
    }

    /// The reply is written, and then the request is to be taken out.
    fn takes_out(&mut self, preflight: &Segment) -> bool {
        let mut written = Inward::NONE;
        inward::answer_fields(&self.track, preflight, &Said::default(), &mut written);
        inward::answer(&mut self.track, preflight, ANSWER as usize, &written)
    }

    fn is_answerable(&self) -> bool {
        inward::peek(&self.track, &self.preflight()) == Read::Preflight
    }
}

/// A request and its response, then an answer.
fn shifted(arrives: bool) -> Conn {
    let mut conn = Conn::new();
    conn.ask(GET);
    conn.respond(RESPONSE);
    conn.answer(arrives);
    conn
}

#[test]
fn numbers_go_on_at_both_ends_after_any_number_of_answers() {
    let mut conn = Conn::new();
    for round in 0..50 {
        conn.ask(GET);
        conn.respond(RESPONSE);
        for _ in 0..round % 4 {
            conn.answer(true);
        }
    }
    assert_eq!(conn.track.shift_in, 73 * PREFLIGHT);
    assert_eq!(conn.track.shift_out, 73 * ANSWER);
}

#[test]
fn nothing_is_answered_while_anything_is_pending() {
    let mut conn = Conn::new();
    assert!(!conn.is_answerable(), "the kernel was not heard yet");
    conn.ask(GET);
    assert!(!conn.is_answerable(), "the response is to come");
    conn.respond(RESPONSE);
    assert!(conn.is_answerable());

    let mut not_parsed = conn.track;
    not_parsed.snd_nxt = not_parsed.snd_nxt.wrapping_add(1);
    assert_eq!(inward::peek(&not_parsed, &conn.preflight()), Read::Request);
    let not_acknowledged = Segment { ack: conn.ack.wrapping_sub(1), ..conn.preflight() };
    assert_eq!(inward::peek(&conn.track, &not_acknowledged), Read::Request);
    let mut behind = conn.track;
    behind.acked = behind.acked.wrapping_sub(1);
    assert_eq!(inward::peek(&behind, &conn.preflight()), Read::Request);
    let mut later_bytes = conn.track;
    later_bytes.top_in = later_bytes.top_in.wrapping_add(1);
    assert_eq!(inward::peek(&later_bytes, &conn.preflight()), Read::Request);
    for bit in [flag::CLIENT_FIN, flag::SERVER_FIN, flag::RESET] {
        let closing = Track { flags: conn.track.flags | bit, ..conn.track };
        assert_eq!(inward::peek(&closing, &conn.preflight()), Read::Request);
    }
    let opaque = Track { flags: conn.track.flags | flag::OPAQUE, ..conn.track };
    assert_eq!(inward::peek(&opaque, &conn.preflight()), Read::Nothing);
    for bit in [flags::FIN, flags::URG, flags::CWR] {
        let other = Segment { flags: flags::ACK | bit, ..conn.preflight() };
        assert_eq!(inward::peek(&conn.track, &other), Read::Request, "{bit:#x}");
    }
    // In a body, or where nobody knows.
    for by in [1, u32::MAX] {
        let elsewhere = Segment { seq: conn.seq.wrapping_add(by), ..conn.preflight() };
        assert_eq!(inward::peek(&conn.track, &elsewhere), Read::Nothing);
    }
}

#[test]
fn what_the_kernel_sends_meanwhile_overtakes_an_answer() {
    let mut conn = Conn::new();
    conn.ask(GET);
    conn.respond(RESPONSE);
    let preflight = conn.preflight();
    assert_eq!(inward::peek(&conn.track, &preflight), Read::Preflight);
    // The server closes, while the answer is written.
    let fin = Segment { flags: flags::ACK | flags::FIN, ..segment(conn.snd, conn.rcv, 0) };
    conn.send(&fin);
    let before = conn.track;
    assert!(!conn.takes_out(&preflight));
    assert_eq!(conn.track, before);
}

#[test]
fn until_the_answer_arrives_nothing_goes_up() {
    let mut conn = shifted(false);
    let (seq, ack) = (conn.seq, conn.ack);
    for late in [segment(seq, ack, 0), segment(seq, ack, GET)] {
        assert_eq!(conn.pass(&late, &framed(GET, 0)).exit, Exit::Unacknowledged);
    }
    let fin = Segment { flags: flags::ACK | flags::FIN, ..segment(seq, ack, 0) };
    assert_eq!(conn.pass(&fin, &Request::UNREAD).exit, Exit::Unacknowledged);

    // The request once more, also with what was before and behind it.
    let start = seq.wrapping_sub(PREFLIGHT);
    for (before, behind) in [(0, 0), (GET, 0), (0, 7), (GET, 7)] {
        let again = segment(start.wrapping_sub(before), ack, before + PREFLIGHT + behind);
        assert_eq!(inward::peek(&conn.track, &again), Read::Again);
        assert_eq!(inward::again_at(&conn.track, &again), before as usize);
    }
    let mut out = Inward::NONE;
    inward::again_fields(&conn.track, &mut out);
    assert_eq!((out.tcp.seq, out.tcp.ack), (ack, seq));
    // Bytes that the kernel has: acknowledged up to the request, so that the client comes to it.
    let old = conn.pass(&segment(start.wrapping_sub(GET), ack, GET), &Request::UNREAD);
    assert_eq!((old.exit, old.tcp.seq, old.tcp.ack), (Exit::TrackedAck, ack, start));

    // The kernel does not know that the client has its response, and sends it again.
    let again = segment(conn.snd.wrapping_sub(RESPONSE), conn.rcv, RESPONSE);
    assert_eq!(conn.send(&again).exit, Exit::OutHeld);

    // It arrives.
    let acknowledged = conn.pass(&segment(seq, ack.wrapping_add(ANSWER), 0), &Request::UNREAD);
    assert_eq!(acknowledged.exit, Exit::Tracked);
    assert_eq!((acknowledged.seq, acknowledged.ack), (conn.rcv, conn.snd));
    // Now the client can see by itself that it has this, and says so.
    assert_eq!(conn.send(&again).exit, Exit::OutTracked);
}

#[test]
fn late_copies_of_what_was_taken_out_do_not_go_up() {
    let mut conn = shifted(true);
    conn.ask(GET);
    let start = conn.seq.wrapping_sub(GET + PREFLIGHT);
    for (seq, len) in [(start, PREFLIGHT), (start.wrapping_sub(5), 5), (start, PREFLIGHT + GET)] {
        let out = conn.pass(&segment(seq, conn.ack, len), &Request::UNREAD);
        assert_eq!(out.exit, Exit::Stale);
    }
    let old = conn.pass(&segment(conn.seq, conn.ack.wrapping_sub(1), 0), &Request::UNREAD);
    assert_eq!(old.exit, Exit::Stale);
}

#[test]
fn keep_alive_probes_are_the_kernels_to_acknowledge() {
    let mut conn = shifted(true);
    conn.pass(&segment(conn.seq, conn.ack, 0), &Request::UNREAD);
    for len in [0, 1] {
        let probe = segment(conn.seq.wrapping_sub(1), conn.ack, len);
        let out = conn.pass(&probe, &Request::UNREAD);
        assert_eq!((out.exit, out.seq), (Exit::Tracked, conn.rcv.wrapping_sub(1)));
    }
    // And the kernel's are the client's.
    let out = conn.send(&segment(conn.snd.wrapping_sub(1), conn.rcv, 0));
    assert_eq!((out.exit, out.seq), (Exit::OutTracked, conn.ack.wrapping_sub(1)));
}

#[test]
fn a_body_moves_the_next_request() {
    let mut conn = Conn::new();
    let head = segment(conn.seq, conn.ack, GET);
    assert_eq!(conn.pass(&head, &framed(GET, 1_000)).exit, Exit::Tracked);
    for (at, len) in [(GET, 600), (GET + 600, 400)] {
        let body = segment(conn.seq.wrapping_add(at), conn.ack, len);
        assert_eq!(inward::peek(&conn.track, &body), Read::Nothing);
        assert_eq!(conn.pass(&body, &Request::UNREAD).exit, Exit::Tracked);
    }
    assert_eq!(conn.track.next_in, conn.seq.wrapping_add(GET + 1_000));
    assert!(!conn.track.is(flag::OPAQUE));
}

/// As far as nothing is to be read of a body its segments need no look-up: never to its end, and
/// only on numbers that nobody moves.
#[test]
fn a_long_body_need_not_be_looked_at() {
    const BODY: u32 = 100_000;
    const LONGEST: u32 = 20_000;
    let mut conn = Conn::new();
    let ahead = |conn: &Conn, at: u32| {
        let segment = segment(conn.seq.wrapping_add(at), conn.ack, 600);
        inward::unread_ahead(&conn.track, &segment, LONGEST)
    };
    conn.pass(&segment(conn.seq, conn.ack, GET), &framed(GET, BODY));
    // A kernel that was not heard of may have refused the hand-over.
    assert_eq!(ahead(&conn, GET), 0);
    conn.send(&segment(conn.snd, conn.rcv.wrapping_add(GET), 0));
    assert_eq!(ahead(&conn, GET), BODY - LONGEST);
    assert_eq!(ahead(&conn, GET + 1000), BODY - LONGEST - 1000);
    for at in [GET + BODY - LONGEST, GET + BODY, GET + BODY + 1] {
        assert_eq!(ahead(&conn, at), 0, "{at}");
    }

    let mut shifted = shifted(true);
    shifted.pass(&segment(shifted.seq, shifted.ack, GET), &framed(GET, BODY));
    shifted.send(&segment(shifted.snd, shifted.rcv.wrapping_add(GET), 0));
    assert_eq!(ahead(&shifted, GET), 0);
}

#[test]
fn what_cannot_be_told_apart_is_opaque() {
    // On a connection whose numbers are the same, that is the end of tracking it.
    type Break = fn(&mut Conn) -> Inward;
    let breaks: [(Break, Exit); 5] = [
        (
            |conn| conn.pass(&segment(conn.seq, conn.ack, 50), &Request::unframed(Exit::Upgrade)),
            Exit::Upgrade,
        ),
        (|conn| conn.pass(&segment(conn.seq, conn.ack, GET + 1), &framed(GET, 0)), Exit::Pipelined),
        (
            |conn| {
                conn.pass(&segment(conn.seq, conn.ack, GET), &framed(GET, 0));
                conn.pass(&segment(conn.seq.wrapping_add(GET), conn.ack, GET), &framed(GET, 0))
            },
            Exit::Pipelined,
        ),
        (
            |conn| {
                conn.pass(&segment(conn.seq, conn.ack, GET), &framed(GET, 10));
                conn.pass(&segment(conn.seq.wrapping_add(GET), conn.ack, 11), &Request::UNREAD)
            },
            Exit::Pipelined,
        ),
        (
            |conn| {
                // The second overtakes the first.
                conn.pass(&segment(conn.seq.wrapping_add(GET), conn.ack, 9), &Request::UNREAD);
                conn.pass(&segment(conn.seq, conn.ack, GET), &framed(GET, 0))
            },
            Exit::Pipelined,
        ),
    ];
    for (number, (act, exit)) in breaks.into_iter().enumerate() {
        let mut conn = Conn::new();
        assert_eq!(act(&mut conn).exit, exit, "{number}");
        assert!(!conn.track.is(flag::ALIVE), "{number}: forgotten");
        let mut conn = shifted(true);
        assert_eq!(act(&mut conn).exit, exit, "{number}");
        assert!(conn.track.is(flag::ALIVE) && conn.track.is(flag::OPAQUE), "{number}");
        // Its numbers are moved for as long as it lives.
        let out = conn.pass(&segment(conn.seq, conn.ack, 0), &Request::UNREAD);
        assert_eq!((out.exit, out.seq, out.ack), (Exit::Opaque, conn.rcv, conn.snd));
    }
}

#[test]
fn an_even_connection_is_forgotten_when_both_sides_have_closed_it() {
    let mut conn = Conn::new();
    conn.ask(GET);
    conn.respond(RESPONSE);
    let fin = Segment { flags: flags::ACK | flags::FIN, ..segment(conn.seq, conn.ack, 0) };
    conn.pass(&fin, &Request::UNREAD);
    assert!(conn.track.is(flag::ALIVE));
    let answer = Segment { flags: flags::ACK | flags::FIN, ..segment(conn.snd, conn.rcv, 0) };
    conn.send(&answer);
    assert!(!conn.track.is(flag::ALIVE));
}

#[test]
fn an_answer_must_fit_what_the_client_takes() {
    let mut conn = Conn::new();
    conn.ask(GET);
    conn.respond(RESPONSE);
    let preflight = conn.preflight();
    assert!(inward::fits(&conn.track, &preflight, 1460));
    assert!(!inward::fits(&conn.track, &preflight, 1461));
    let narrow = Segment { window: 1, ..preflight };
    assert!(inward::fits(&conn.track, &narrow, 128) && !inward::fits(&conn.track, &narrow, 129));
    conn.track.kept = Negotiated::least(Family::V4).0;
    assert!(
        inward::fits(&conn.track, &preflight, 512) && !inward::fits(&conn.track, &preflight, 513)
    );
}
