//! Every exit that the decisions have, each with a way to it, and none besides.

use std::collections::BTreeSet;

use cors_common::{
    exit::Exit,
    tcp::{Owner, handover::Handover, handshake::Maker, measure::measure},
    wire::segment::{Family, flags},
};

use crate::{
    client::Client,
    support::{Edge, FAMILIES, World, answer, segment},
};

/// What `step` ends with where no request has to be read.
pub(crate) const STEP: &[Exit] = &[
    Exit::LeaseExpired,
    Exit::SynAck,
    Exit::SynNoListener,
    Exit::SynSocket,
    Exit::SynMptcp,
    Exit::SynKernel,
    Exit::SynElsewhere,
    Exit::SynData,
    Exit::SynOptions,
    Exit::HandshakeAck,
    Exit::Flags,
    Exit::NotOurs,
    Exit::Reset,
    Exit::FinAck,
    Exit::CloseAck,
    Exit::LastAck,
    Exit::ProbeAck,
    Exit::ReplyAck,
    Exit::OutOfOrder,
    Exit::Stale,
    Exit::Unacknowledged,
    Exit::AfterClose,
    Exit::Leaving,
    Exit::ListenerGone,
    Exit::NotOptions,
];

/// What `answered` ends with; a refusal keeps its own name besides.
pub(crate) const ANSWERED: &[Exit] = &[
    Exit::Answered,
    Exit::AnsweredClose,
    Exit::AnsweredAgain,
    Exit::AnswerChanged,
    Exit::ReplyTooLong,
];

/// What `hand_over` leaves a segment with.
pub(crate) const HAND_OVER: &[Exit] =
    &[Exit::TcNotOurs, Exit::Orphan, Exit::Early, Exit::HandoverNoListener, Exit::HandoverMptcp];

/// What `measure` ends with where it does not read.
pub(crate) const MEASURE: &[Exit] = &[Exit::NotOurs, Exit::NotOptions];

type Way = fn(Family) -> Exit;

fn syn(family: Family, change: impl Fn(&mut World)) -> Exit {
    let mut edge = Edge::new();
    change(&mut edge.world);
    edge.give(&segment(family, flags::SYN, 9, 0, 0)).exit
}

fn on(mut client: Client, flags: u8, seq: u32, ack: u32, len: usize) -> Exit {
    let segment = client.at(flags, seq, ack, len);
    client.edge.give(&segment).exit
}

const WAYS_OF_STEP: &[(Exit, Way)] = &[
    (Exit::LeaseExpired, |f| syn(f, |w| w.lapsed = true)),
    (Exit::SynAck, |f| syn(f, |_| {})),
    (Exit::SynNoListener, |f| syn(f, |w| w.owner = Owner::Nobody)),
    (Exit::SynSocket, |f| syn(f, |w| w.owner = Owner::Connection)),
    (Exit::SynMptcp, |f| syn(f, |w| w.owner = Owner::MptcpListener)),
    (Exit::SynKernel, |f| syn(f, |w| w.maker = Maker::Kernel)),
    (Exit::SynElsewhere, |f| syn(f, |w| w.arrival.for_us = false)),
    (Exit::SynData, |f| Edge::new().give(&segment(f, flags::SYN, 9, 0, 1)).exit),
    (Exit::SynOptions, |f| syn(f, |w| w.syn_options = vec![2, 4, 0, 100])),
    (Exit::HandshakeAck, |f| on(Client::connected(f), flags::ACK, 0, 0, 0)),
    (Exit::Flags, |f| on(Client::open(f), flags::ACK | flags::URG, 0, 0, 9)),
    (Exit::NotOurs, |f| Edge::new().give(&segment(f, flags::ACK, 9, 9, 0)).exit),
    (Exit::Reset, |f| on(Client::open(f), flags::RST, 0, 0, 0)),
    (Exit::FinAck, |f| on(Client::open(f), flags::FIN | flags::ACK, 0, 0, 0)),
    (Exit::CloseAck, |f| on(Client::told_to_close(f), flags::FIN | flags::ACK, 0, 0, 0)),
    (Exit::LastAck, |f| {
        let mut client = Client::open(f);
        client.finish();
        on(client, flags::ACK, 0, 0, 0)
    }),
    (Exit::ProbeAck, |f| on(Client::open(f), flags::ACK, u32::MAX, 0, 0)),
    (Exit::ReplyAck, |f| on(Client::open(f), flags::ACK, 0, 0, 0)),
    (Exit::OutOfOrder, |f| on(Client::open(f), flags::ACK, 1, 0, 9)),
    (Exit::Stale, |f| on(Client::open(f), flags::ACK, u32::MAX, 0, 9)),
    (Exit::Unacknowledged, |f| on(Client::open(f), flags::ACK, 0, u32::MAX, 9)),
    (Exit::AfterClose, |f| on(Client::told_to_close(f), flags::ACK, 0, 0, 9)),
    (Exit::Leaving, |f| on(Client::leaving(f), flags::ACK, 0, 0, 9)),
    (Exit::ListenerGone, |f| {
        let mut client = Client::open(f);
        client.edge.world.owner = Owner::Nobody;
        on(client, flags::ACK, 0, 0, 9)
    }),
    (Exit::NotOptions, |f| {
        let mut client = Client::open(f);
        client.edge.world.preflight = false;
        on(client, flags::ACK, 0, 0, 9)
    }),
];

const WAYS_OF_ANSWERED: &[(Exit, Way)] = &[
    (Exit::Answered, |f| Client::open(f).send(9, Ok(&answer(9))).exit),
    (Exit::AnsweredClose, |f| Client::open(f).send(9, Ok(&crate::support::last_answer(9))).exit),
    (Exit::AnsweredAgain, |f| {
        let mut client = Client::open(f);
        let again = client.again();
        client.edge.ask(&again, Ok(&answer(200))).exit
    }),
    (Exit::AnswerChanged, |f| {
        let mut client = Client::open(f);
        let again = client.again();
        client.edge.ask(&again, Ok(&answer(201))).exit
    }),
    (Exit::ReplyTooLong, |f| Client::open(f).send(9, Ok(&answer(1461))).exit),
];

fn left(mut client: Client, owner: Owner, seq: u32, ack: u32, len: usize) -> Exit {
    client.edge.world.owner = owner;
    let segment = client.at(flags::ACK, seq, ack, len);
    match client.edge.hand_over(&segment) {
        Handover::Leave(exit) => exit,
        Handover::Assign(kept) => panic!("handed over with {kept:?}"),
    }
}

const WAYS_OF_HAND_OVER: &[(Exit, Way)] = &[
    (Exit::TcNotOurs, |f| left(Client::connected(f), Owner::Connection, 0, 0, 9)),
    (Exit::Orphan, |f| left(Client::connected(f), Owner::Listener, 0, 0x4000, 9)),
    (Exit::Early, |f| left(Client::connected(f), Owner::Listener, 1, 0, 9)),
    (Exit::HandoverNoListener, |f| left(Client::connected(f), Owner::Nobody, 0, 0, 9)),
    (Exit::HandoverMptcp, |f| left(Client::connected(f), Owner::MptcpListener, 0, 0, 9)),
];

fn measured(family: Family, len: usize, preflight: bool) -> Exit {
    let mut world = World { preflight, ..World::new() };
    measure(&segment(family, flags::ACK, 9, 9, len), &mut world).expect_err("not read")
}

const WAYS_OF_MEASURE: &[(Exit, Way)] =
    &[(Exit::NotOurs, |f| measured(f, 0, true)), (Exit::NotOptions, |f| measured(f, 9, false))];

#[test]
fn every_exit_is_reached() {
    for (what, exits, ways) in [
        ("step", STEP, WAYS_OF_STEP),
        ("answered", ANSWERED, WAYS_OF_ANSWERED),
        ("hand_over", HAND_OVER, WAYS_OF_HAND_OVER),
        ("measure", MEASURE, WAYS_OF_MEASURE),
    ] {
        let listed: BTreeSet<_> = exits.iter().collect();
        let reached: BTreeSet<_> = ways.iter().map(|(exit, _)| exit).collect();
        assert_eq!(listed, reached, "{what}: each exit has a way to it");
        for family in FAMILIES {
            for (exit, way) in ways {
                assert_eq!(way(family), *exit, "{what} {family:?}");
            }
        }
    }
}

/// The exits that no decision on a connection ends with, and who does.
const ELSEWHERE: &[(&str, &[Exit])] = &[
    (
        "the reader of the frame; its own tests have a way to each",
        &[
            Exit::NotIp,
            Exit::Truncated,
            Exit::IpOptions,
            Exit::Fragment,
            Exit::NotTcp,
            Exit::TwoTags,
            Exit::BadChecksum,
            Exit::BadAddress,
            Exit::BadLength,
        ],
    ),
    (
        "the shells: what they find in the maps, and what helpers and the kernel say to them",
        &[
            Exit::NotProtected,
            Exit::NoPolicy,
            Exit::Internal,
            Exit::Broken,
            Exit::NoRoom,
            Exit::NoRoomAgain,
            Exit::WouldAnswer,
            Exit::HandedOver,
            Exit::HandoverRefused,
        ],
    ),
    (
        "the reader of the head",
        &[
            Exit::HeadTooLong,
            Exit::HeadIncomplete,
            Exit::HeadTrailing,
            Exit::Target,
            Exit::HttpVersion,
            Exit::HeaderName,
            Exit::HeaderByte,
            Exit::HeaderValue,
            Exit::Duplicate,
            Exit::ContentLength,
            Exit::TransferEncoding,
            Exit::Te,
            Exit::Upgrade,
            Exit::Expect,
            Exit::Connection,
            Exit::Host,
            Exit::NoOrigin,
            Exit::Origin,
            Exit::NoRequestMethod,
            Exit::RequestHeaders,
        ],
    ),
    (
        "connections that the kernel owns",
        &[
            Exit::Tracked,
            Exit::Opaque,
            Exit::Pipelined,
            Exit::Method,
            Exit::TrackedAnswered,
            Exit::TrackedAgain,
            Exit::TrackedAck,
            Exit::TrackedReset,
            Exit::Overtaken,
            Exit::Busy,
            Exit::HandedOverUntracked,
            Exit::OutNotTracked,
            Exit::OutBegun,
            Exit::OutTracked,
            Exit::OutOpaque,
            Exit::OutHeld,
        ],
    ),
    (
        "the policy",
        &[
            Exit::Unmatched,
            Exit::AmbiguousPath,
            Exit::OriginDenied,
            Exit::MethodDenied,
            Exit::HeaderDenied,
        ],
    ),
];

/// A new exit must get a way here, or a reason why there is none.
#[test]
fn no_exit_is_left_out() {
    let ours: BTreeSet<_> = [STEP, ANSWERED, HAND_OVER].concat().into_iter().collect();
    let mut known = ours.clone();
    for (who, exits) in ELSEWHERE {
        for exit in *exits {
            assert!(known.insert(*exit), "{exit:?} is listed twice: {who}");
        }
    }
    let missing: Vec<_> = Exit::ALL.iter().filter(|exit| !known.contains(exit)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
