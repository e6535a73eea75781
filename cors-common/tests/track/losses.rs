//! Tracked connections on which something is lost, late, refused or forged.

use cors_common::{
    exit::{Action, Exit},
    tcp::recent::{self, Recent},
    track::{
        Said, Track, flag,
        inward::{self, Inward, Read, Request},
        outward::{Outward, send},
    },
    wire::{
        options::Negotiated,
        segment::{Segment, flags},
    },
};

use crate::{segment, tuple};

/// The client's first byte, and the kernel's.
const CLIENT: u32 = 0xffff_ff00;
const KERNEL: u32 = 0x7000_0000;

fn begun() -> Track {
    let mut track = Track::NONE;
    track.begin(&tuple(), CLIENT, KERNEL, Negotiated(0xb6), 5);
    track
}

fn pass(track: &mut Track, segment: &Segment, request: &Request) -> Inward {
    let mut inward = Inward::NONE;
    inward::pass(track, segment, request, 5, &mut inward);
    inward
}

fn sent(track: &mut Track, bits: u8, seq: u32, ack: u32, len: u32) -> Outward {
    let mut outward = Outward::NONE;
    let said = Said { furthest: ack, ..Said::default() };
    let segment = Segment { flags: flags::ACK | bits, ..segment(seq, ack, len) };
    send(track, &segment, len, &said, true, 5, &mut outward);
    outward
}

/// A request of 100 bytes that the kernel has answered with 50.
fn served() -> Track {
    let mut track = begun();
    let request = Request { framed: Ok(()), end: 100, body: 0, is_head: false };
    pass(&mut track, &segment(CLIENT, KERNEL, 100), &request);
    track.given = track.asked;
    track.parsed = KERNEL + 50;
    sent(&mut track, 0, KERNEL, CLIENT.wrapping_add(100), 50);
    track
}

/// The same, and a preflight of 200 bytes was answered with 250.
fn answered() -> (Track, Segment) {
    let mut track = served();
    let asks = segment(CLIENT.wrapping_add(100), KERNEL + 50, 200);
    assert_eq!(inward::peek(&track, &asks), Read::Preflight);
    let mut written = Inward::NONE;
    inward::answer_fields(&track, &asks, &Said::default(), &mut written);
    assert!(inward::answer(&mut track, &asks, 250, &written));
    (track, asks)
}

/// Whatever the kernel sends meanwhile, the client must send the request again if the answer was lost.
#[test]
fn a_request_is_not_acknowledged_before_its_answer() {
    let (mut track, asks) = answered();
    for (bits, seq) in [(0, KERNEL + 50), (flags::FIN, KERNEL + 50)] {
        let out = sent(&mut track, bits, seq, CLIENT.wrapping_add(100), 0);
        assert_eq!(out.seq, seq + 250);
        assert_eq!(out.ack, asks.seq, "the request is not acknowledged");
    }
    assert_eq!(inward::peek(&track, &asks), Read::Again);
    // The client has the answer: now it is.
    let behind = segment(CLIENT.wrapping_add(300), KERNEL + 300, 0);
    assert_eq!(pass(&mut track, &behind, &Request::UNREAD).exit, Exit::Tracked);
    let out = sent(&mut track, 0, KERNEL + 51, CLIENT.wrapping_add(100), 0);
    assert_eq!(out.ack, CLIENT.wrapping_add(300));
}

/// For a full queue, for instance: the segment comes again, and until then nothing must be reset.
#[test]
fn until_the_kernel_is_heard_of_it_may_have_refused_a_hand_over() {
    let mut track = begun();
    track.flags |= flag::HANDED;
    let request = Request { framed: Ok(()), end: 100, body: 0, is_head: false };
    let first = segment(CLIENT, KERNEL, 100);
    assert_eq!(pass(&mut track, &first, &request).exit, Exit::Tracked);
    let bare = segment(CLIENT, KERNEL, 0);
    let probe = segment(CLIENT.wrapping_sub(1), KERNEL, 1);
    for late in [&bare, &probe] {
        let passed = pass(&mut track, late, &Request::UNREAD);
        assert_eq!(passed.exit.action(), Action::Drop);
    }
    assert_eq!(pass(&mut track, &first, &request).exit.action(), Action::Pass);
    sent(&mut track, 0, KERNEL, CLIENT.wrapping_add(100), 0);
    let bare = segment(CLIENT.wrapping_add(100), KERNEL, 0);
    assert_eq!(pass(&mut track, &bare, &Request::UNREAD).exit, Exit::Tracked);
}

/// The kernel's own handshake: what still waits for the client's acknowledgement would send its
/// SYN-ACK again, and the connection would begin once more.
#[test]
fn an_acknowledgement_of_the_handshake_says_nothing_of_a_socket() {
    let mut track = begun();
    sent(&mut track, 0, KERNEL, CLIENT, 0);
    let asks = segment(CLIENT, KERNEL, 200);
    assert_eq!(inward::peek(&track, &asks), Read::Request);
    for (seq, ack, len) in [(KERNEL, CLIENT.wrapping_add(1), 0), (KERNEL, CLIENT, 10)] {
        let mut track = begun();
        sent(&mut track, 0, seq, ack, len);
        assert!(track.is(flag::HEARD));
    }
}

/// Anybody may send one who knows the tuple, with numbers as he likes.
#[test]
fn a_syn_does_not_make_a_connection_recent() {
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x26, 0xce]);
    frame.extend([10, 0, 0, 2, 10, 0, 0, 1, 0x9c, 0x40, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8]);
    frame.extend([0x50, 0x10, 2, 0, 0, 0, 0, 0]);
    let goes_on = |bits| {
        let mut recent = Recent::NONE;
        recent.note(&Segment { flags: bits, ..segment(0x0102_0304, 0x0506_0708, 0) }, 9);
        recent::goes_on(&frame[..], 9, |_| Some(&recent))
    };
    assert!(goes_on(flags::ACK));
    assert!(!goes_on(flags::SYN));
    assert!(!goes_on(flags::SYN | flags::ACK));
}
