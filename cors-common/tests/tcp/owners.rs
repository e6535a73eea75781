//! Who is asked for the socket of a tuple, when, and what follows from it.

use cors_common::{
    cookie,
    exit::{Action, Exit},
    tcp::{
        Owner,
        handover::Handover,
        verdict::{Ask, Change},
    },
    wire::{
        options::Negotiated,
        segment::{Segment, flags},
    },
};

use crate::{
    client::Client,
    support::{Edge, FAMILIES, OWNERS, assert_exit, segment},
};

/// A segment whose numbers happen to be those of a cookie, as one in 2^23 does by chance.
fn by_chance(edge: &Edge, bits: u8, len: usize, like: &Segment) -> Segment {
    let world = &edge.world;
    let isn = like.seq.wrapping_sub(1);
    let kept = Negotiated(0xbe);
    let iss = cookie::issue(
        &world.keys,
        like.family,
        &like.tuple,
        world.epoch.wrapping_sub(1),
        isn,
        kept,
    );
    segment(like.family, bits, like.seq, iss.wrapping_add(1), len)
}

/// A cookie is a proof of 24 bits. On a busy host an unrelated segment meets one by chance many
/// times a day, and an answer in the middle of somebody's connection would break it.
#[test]
fn a_match_by_chance_is_never_acted_on() {
    for family in FAMILIES {
        for seq in [0u32, 1, 0x0102_0304, 0xffff_ffff] {
            let mut edge = Edge::new();
            let like = segment(family, flags::ACK, seq, 0, 0);
            for (bits, len) in [
                (flags::ACK | flags::PSH, 300),
                (flags::ACK, 1),
                (flags::ACK, 0),
                (flags::ACK | flags::FIN, 0),
                (flags::ACK | flags::FIN, 300),
            ] {
                let segment = by_chance(&edge, bits, len, &like);
                edge.world.owner = Owner::Listener;
                let verdict = edge.step(&segment);
                let acted = verdict.ask == Ask::First || verdict.exit.action() != Action::Pass;
                let plain = segment.has(flags::FIN) || len == 1;
                assert!(acted || plain || len == 0, "the numbers do meet a cookie");

                edge.world.owner = Owner::Connection;
                let verdict = edge.step(&segment);
                assert_eq!((verdict.ask, verdict.change), (Ask::Nothing, Change::Keep));
                assert_eq!(verdict.exit.action(), Action::Pass, "{bits:#x}, {len}");
                assert_eq!(edge.hand_over(&segment), Handover::Leave(Exit::TcNotOurs));
            }
        }
    }
}

#[test]
fn a_first_request_needs_a_plain_listener() {
    for family in FAMILIES {
        for owner in OWNERS {
            let mut client = Client::connected(family);
            client.edge.world.owner = owner;
            let verdict = client.edge.step(&client.data(300));
            if owner == Owner::Listener {
                assert_eq!(verdict.ask, Ask::First);
            } else {
                assert_eq!(verdict.ask, Ask::Nothing, "{owner:?}");
                assert_exit(&verdict, Exit::NotOurs, Action::Pass);
            }
        }
    }
}

#[test]
fn segments_without_data_and_entry_need_a_plain_listener() {
    for family in FAMILIES {
        for owner in OWNERS {
            for (bits, seq, ack, exit) in [
                (flags::ACK, 0, 0, Exit::HandshakeAck),
                (flags::ACK, 1, 1, Exit::LastAck),
                (flags::ACK, u32::MAX, 0, Exit::ProbeAck),
                (flags::ACK, 300, 0, Exit::OutOfOrder),
                (flags::ACK | flags::FIN, 0, 0, Exit::FinAck),
            ] {
                let mut client = Client::connected(family);
                client.edge.world.owner = owner;
                client.edge.count_again();
                let segment = client.at(bits, seq, ack, 0);
                let exit = if owner == Owner::Listener { exit } else { Exit::NotOurs };
                assert_eq!(client.edge.give(&segment).exit, exit, "{owner:?}");
                // For the kernel's connections this is all that an acknowledgement costs.
                if owner != Owner::Listener {
                    assert_eq!(client.edge.world.asked.keys.get(), 0, "{owner:?}");
                }
                assert_eq!(client.edge.world.asked.owner, 1);
            }
        }
    }
}

/// On most connections most data is the kernel's, so its price is eight bytes and a comparison.
#[test]
fn data_that_starts_like_no_preflight_asks_nobody() {
    for family in FAMILIES {
        for owner in OWNERS {
            let mut client = Client::connected(family);
            client.edge.world.owner = owner;
            client.edge.world.preflight = false;
            client.edge.count_again();
            let data = client.data(1460);
            assert_eq!(client.edge.give(&data).exit, Exit::NotOptions);
            let asked = &client.edge.world.asked;
            assert_eq!((asked.text, asked.owner, asked.keys.get()), (1, 0, 0));
        }
    }
}

/// And where it starts like one, the hash comes before the look-up, which costs more.
#[test]
fn data_without_a_proof_asks_for_no_socket() {
    for family in FAMILIES {
        let mut edge = Edge::new();
        assert_eq!(edge.give(&segment(family, flags::ACK, 9, 9, 300)).exit, Exit::NotOurs);
        assert_eq!((edge.world.asked.owner, edge.world.asked.text), (0, 1));
        assert!(edge.world.asked.keys.get() > 0);
    }
}

/// A FIN in the segment is told by a bit, before anything is read.
#[test]
fn data_with_a_fin_is_not_read() {
    for family in FAMILIES {
        let mut client = Client::connected(family);
        client.edge.count_again();
        let data = client.at(flags::ACK | flags::FIN, 0, 0, 300);
        assert_eq!(client.edge.give(&data).exit, Exit::NotOptions);
        let asked = &client.edge.world.asked;
        assert_eq!((asked.text, asked.owner, asked.keys.get()), (0, 0, 0));
    }
}

/// Whatever it is that would be read on an open connection, the socket is asked for before.
#[test]
fn an_entry_is_no_proof_against_a_socket() {
    for family in FAMILIES {
        for again in [false, true] {
            for preflight in [false, true] {
                let mut client = Client::open(family);
                client.edge.world.owner = Owner::Connection;
                client.edge.world.preflight = preflight;
                let segment = if again { client.again() } else { client.data(300) };
                let verdict = client.edge.give(&segment);
                assert_exit(&verdict, Exit::NotOurs, Action::Pass);
                assert_eq!(client.edge.flow, None, "the entry is of a connection that is gone");
                assert_eq!(client.edge.hand_over(&segment), Handover::Leave(Exit::TcNotOurs));
            }
        }
    }
}

/// The one question of a preflight on an open connection is for its socket.
#[test]
fn an_answer_on_an_open_connection_costs_one_look_up_and_no_hash() {
    for family in FAMILIES {
        let mut client = Client::open(family);
        client.edge.count_again();
        client.preflight(300, 100);
        let asked = &client.edge.world.asked;
        assert_eq!((asked.owner, asked.text, asked.keys.get()), (1, 1, 0));
        assert_eq!((asked.arrival, asked.options), (0, 0));
    }
}
