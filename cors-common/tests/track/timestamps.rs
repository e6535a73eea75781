//! Tracked connections with timestamps (RFC 7323): what the driver's segments carry, and which of the
//! client's are old.

use cors_common::{
    exit::Exit,
    track::{
        Said, Track, flag,
        inward::{self, Inward, Read, Request},
        outward::{Outward, send},
    },
    wire::{
        options::Negotiated,
        segment::{Family, Segment},
    },
};

use crate::tuple;

/// The client's first byte, and the kernel's.
const CLIENT: u32 = 1_000;
const KERNEL: u32 = 0xffff_ff00;
/// What the clocks show first. The client's wraps around.
const CLIENT_CLOCK: u32 = u32::MAX - 20;
const KERNEL_CLOCK: u32 = 5_000;

const GET: usize = 100;
const PREFLIGHT: usize = 200;
const RESPONSE: u32 = 50;
const ANSWER: usize = 250;

/// A segment with the twelve bytes of a timestamp.
fn segment(seq: u32, ack: u32, payload_len: usize) -> Segment {
    Segment { options_len: 12, ..super::segment(seq, ack, payload_len as u32) }
}

fn said(tsval: u32, tsecr: u32) -> Said {
    Said { is_stamped: true, tsval, tsecr, ..Said::default() }
}

/// What the kernel sends when its clock shows `tsval` and it has seen `tsecr` of the client's.
fn sent(track: &mut Track, seq: u32, len: u32, [tsval, tsecr]: [u32; 2]) -> Outward {
    let mut outward = Outward::NONE;
    let mut segment = segment(seq, CLIENT + GET as u32, 0);
    segment.payload_len = len as usize;
    let said = Said { furthest: segment.ack, ..said(tsval, tsecr) };
    send(track, &segment, len, &said, true, 5, &mut outward);
    outward
}

/// A request that the kernel has answered, on a connection whose handshake it made.
fn served() -> Track {
    let mut track = Track::NONE;
    let kept = Negotiated::least(Family::V4);
    track.begin(&tuple(), CLIENT, KERNEL, kept, 5);
    let request = Request { framed: Ok(()), end: GET as u32, body: 0, is_head: false };
    inward::pass(&mut track, &segment(CLIENT, KERNEL, GET), &request, 5, &mut Inward::NONE.clone());
    track.given = track.asked;
    track.parsed = KERNEL.wrapping_add(RESPONSE);
    sent(&mut track, KERNEL, RESPONSE, [KERNEL_CLOCK, CLIENT_CLOCK]);
    track
}

fn preflight() -> Segment {
    segment(CLIENT + GET as u32, KERNEL.wrapping_add(RESPONSE), PREFLIGHT)
}

/// The header of the answer to a preflight that was sent at `tsval`.
fn written(track: &Track, tsval: u32) -> Inward {
    let mut written = Inward::NONE;
    assert_eq!(inward::peek(track, &preflight()), Read::Preflight);
    assert!(inward::is_current(track, &said(tsval, 0)));
    inward::answer_fields(track, &preflight(), &said(tsval, 0), &mut written);
    written
}

/// A connection on which a preflight was answered that was sent at `tsval`.
fn answered(tsval: u32) -> Track {
    let mut track = served();
    let written = written(&track, tsval);
    assert!(inward::answer(&mut track, &preflight(), ANSWER, &written));
    track
}

/// NOP NOP, kind and length, TSval, TSecr.
fn option(tsval: u32, tsecr: u32) -> Vec<u8> {
    [&[1, 1, 8, 10][..], &tsval.to_be_bytes(), &tsecr.to_be_bytes()].concat()
}

fn options(inward: &Inward) -> Vec<u8> {
    let words = &inward.tcp.options[..inward.tcp.option_words];
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

#[test]
fn an_answer_says_what_the_kernel_said_last_and_echoes_the_request() {
    for later in [0, 1, 100] {
        let tsval = CLIENT_CLOCK.wrapping_add(later);
        assert_eq!(options(&written(&served(), tsval)), option(KERNEL_CLOCK, tsval));
    }
    // A number that is no more than another.
    let mut track = served();
    let end = KERNEL.wrapping_add(RESPONSE);
    sent(&mut track, end, 0, [0, CLIENT_CLOCK]);
    assert_eq!(options(&written(&track, CLIENT_CLOCK)), option(0, CLIENT_CLOCK));
}

#[test]
fn without_timestamps_there_are_none() {
    let track = Track { flags: served().flags & !flag::STAMPED, ..served() };
    assert_eq!(written(&track, 7).tcp.option_words, 0);
    assert!(inward::is_current(&track, &Said::default()));
}

#[test]
fn old_segments_and_those_without_timestamps_are_not_answered() {
    let track = served();
    assert!(!inward::is_current(&track, &Said::default()));
    for (by, is_current) in [(0, true), (i32::MAX, true), (-1, false), (i32::MIN, false)] {
        let tsval = CLIENT_CLOCK.wrapping_add_signed(by);
        assert_eq!(inward::is_current(&track, &said(tsval, 0)), is_current, "{by}");
    }
    // After an answer, what was sent before its request is old, too.
    let track = answered(CLIENT_CLOCK.wrapping_add(50));
    assert!(!inward::is_current(&track, &said(CLIENT_CLOCK.wrapping_add(49), 0)));
    assert!(inward::is_current(&track, &said(CLIENT_CLOCK.wrapping_add(50), 0)));
}

/// The client may have a later time of the kernel's by then, and would drop the answer.
#[test]
fn an_answer_that_the_kernel_has_overtaken_does_not_leave() {
    let mut track = served();
    let old = written(&track, CLIENT_CLOCK);
    let end = KERNEL.wrapping_add(RESPONSE);
    sent(&mut track, end, 0, [KERNEL_CLOCK + 1, CLIENT_CLOCK]);
    let before = track;
    assert!(!inward::answer(&mut track, &preflight(), ANSWER, &old));
    assert_eq!(track, before);
    let new = written(&track, CLIENT_CLOCK);
    assert!(inward::answer(&mut track, &preflight(), ANSWER, &new));
}

#[test]
fn the_answer_again_is_as_new_as_what_the_kernel_sent_meanwhile() {
    let tsval = CLIENT_CLOCK.wrapping_add(50);
    let mut track = answered(tsval);
    let end = KERNEL.wrapping_add(RESPONSE);
    // The kernel has not seen the request, and echoes an older time.
    sent(&mut track, end, 0, [KERNEL_CLOCK + 9, CLIENT_CLOCK]);
    let mut again = Inward::NONE;
    inward::again_fields(&track, &mut again);
    assert_eq!(options(&again), option(KERNEL_CLOCK + 9, tsval));
    assert_eq!((again.tcp.seq, again.tcp.ack), (end, preflight().seq + PREFLIGHT as u32));
}

#[test]
fn acknowledgements_and_resets_have_timestamps() {
    let tsval = CLIENT_CLOCK.wrapping_add(50);
    let mut track = answered(tsval);
    let behind = KERNEL.wrapping_add(RESPONSE);
    let old = segment(CLIENT, behind, GET);
    let mut ack = Inward::NONE;
    inward::pass(&mut track, &old, &Request::UNREAD, 5, &mut ack);
    assert_eq!(ack.exit, Exit::TrackedAck);
    assert_eq!(options(&ack), option(KERNEL_CLOCK, tsval));
    let mut reset = Inward::NONE;
    assert!(inward::reset(&mut track, &preflight(), &mut reset));
    assert_eq!(options(&reset), option(KERNEL_CLOCK, tsval));
}

#[test]
fn a_client_that_has_its_answer_is_not_reset() {
    let mut track = answered(CLIENT_CLOCK);
    let ack = KERNEL.wrapping_add(RESPONSE + ANSWER as u32);
    let has_it = segment(preflight().seq + PREFLIGHT as u32, ack, 0);
    inward::pass(&mut track, &has_it, &Request::UNREAD, 5, &mut Inward::NONE.clone());
    let before = track;
    assert!(!inward::reset(&mut track, &preflight(), &mut Inward::NONE.clone()));
    assert_eq!(track, before);
}

/// A segment size counts the options, and 536 bytes are what every client takes.
#[test]
fn an_answer_leaves_room_for_the_option() {
    let track = served();
    let asks = Segment { window: u16::MAX, ..preflight() };
    assert!(inward::fits(&track, &asks, 524) && !inward::fits(&track, &asks, 525));
}

/// After so long a time that its echoes are no measure any more, the kernel's word counts.
#[test]
fn what_the_kernel_echoes_is_recent() {
    let mut track = served();
    let end = KERNEL.wrapping_add(RESPONSE);
    let much_later = CLIENT_CLOCK.wrapping_add(3 << 30);
    assert!(!inward::is_current(&track, &said(much_later, 0)));
    sent(&mut track, end, 0, [KERNEL_CLOCK, much_later]);
    assert!(inward::is_current(&track, &said(much_later, 0)));
}
