//! Random segments that meet random connections, mostly near the numbers that mean something.

use cors_common::{
    cookie,
    exit::Exit,
    policy::Answer,
    tcp::flow::{Flow, phase},
    wire::{
        options::Negotiated,
        segment::{Family, Segment, flags},
    },
};
use proptest::{prelude::*, sample::select};

use crate::support::{Edge, OWNERS, World, answer, last_answer, segment, tuple};

/// The numbers of a flow, of the segment that meets it, and of their surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Meeting {
    pub(crate) edge: Edge,
    pub(crate) segment: Segment,
    pub(crate) decision: Result<Answer, Exit>,
}

fn flow() -> impl Strategy<Value = Flow> {
    let phases = prop_oneof![8 => phase::OPEN..=phase::LEAVING, 1 => any::<u32>()];
    (any::<[u32; 3]>(), 1..1500u16, 1..1500u16, phases, any::<bool>()).prop_map(
        |([rcv_nxt, snd_nxt, iss], request_len, reply_len, phase, near)| {
            // Most connections have sent some thousand bytes since their cookie.
            let iss = if near { snd_nxt.wrapping_sub(1 + iss % 5000) } else { iss };
            Flow { rcv_nxt, snd_nxt, iss, request_len, reply_len, phase, sockets: 0 }
        },
    )
}

fn bits() -> impl Strategy<Value = u8> {
    const USUAL: &[u8] = &[
        flags::ACK,
        flags::ACK | flags::PSH,
        flags::ACK | flags::FIN,
        flags::SYN,
        flags::RST,
        flags::RST | flags::ACK,
    ];
    prop_oneof![8 => select(USUAL), 1 => any::<u8>()]
}

/// Where a number is: at one of the places that mean something, a little beside, or anywhere.
#[derive(Clone, Copy, Debug)]
enum Place {
    Next(i32),
    Last(i32),
    Cookie(i32),
    Any(u32),
}

fn place() -> impl Strategy<Value = Place> {
    let beside = prop_oneof![6 => Just(0), 3 => -2..=2, 1 => -70_000..=70_000];
    prop_oneof![
        6 => beside.clone().prop_map(Place::Next),
        3 => beside.clone().prop_map(Place::Last),
        4 => beside.prop_map(Place::Cookie),
        1 => any::<u32>().prop_map(Place::Any),
    ]
}

/// A connection, a segment and a decision on the request in it.
pub(crate) fn meeting() -> impl Strategy<Value = Meeting> {
    let decision = prop_oneof![
        4 => (0usize..1600, any::<bool>()).prop_map(|(len, close)| {
            Ok(if close { last_answer(len) } else { answer(len) })
        }),
        2 => Just(Err(Exit::OriginDenied)),
        // The very length of the answer before.
        3 => Just(Err(Exit::Internal)),
    ];
    let surroundings = (
        select(&OWNERS[..]),
        prop_oneof![3 => Just(true), 1 => Just(false)],
        any::<bool>(),
        0..4u32,
        any::<u32>(),
        any::<u8>(),
        prop_oneof![3 => Just(u16::MAX), 1 => any::<u16>()],
    );
    let numbers = (place(), place(), prop_oneof![Just(0), Just(1), Just(400), 0usize..1600]);
    (proptest::option::of(flow()), bits(), numbers, surroundings, decision).prop_map(
        |(
            flow,
            bits,
            (seq, ack, len),
            (owner, preflight, v6, age, isn, kept, window),
            decision,
        )| {
            let family = if v6 { Family::V6 } else { Family::V4 };
            let world = World { owner, preflight, ..World::new() };
            let iss = cookie::issue(
                &world.keys,
                family,
                &tuple(family),
                world.epoch.wrapping_sub(age),
                isn,
                Negotiated(kept),
            );
            let known = flow.unwrap_or(Flow::EMPTY);
            let at = |place, next: u32, last: u32, first: u32| match place {
                Place::Next(beside) => next.wrapping_add_signed(beside),
                Place::Last(beside) => last.wrapping_add_signed(beside),
                Place::Cookie(beside) => first.wrapping_add_signed(beside),
                Place::Any(number) => number,
            };
            let seq = at(seq, known.rcv_nxt, known.request_seq(), isn.wrapping_add(1));
            let ack = at(ack, known.snd_nxt, known.reply_seq(), iss.wrapping_add(1));
            let decision = match decision {
                Err(Exit::Internal) => Ok(answer(usize::from(known.reply_len))),
                other => other,
            };
            let segment = Segment { window, ..segment(family, bits, seq, ack, len) };
            Meeting { edge: Edge { world, flow }, segment, decision }
        },
    )
}
