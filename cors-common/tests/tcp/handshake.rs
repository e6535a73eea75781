//! The handshake: which SYNs are answered, with what, and how long the cookie in it lives.

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
        segment::{Family, flags},
    },
};

use crate::{
    client::Client,
    support::{Edge, FAMILIES, LINUX, answer, assert_exit, segment},
};

/// Segment size, window scale, and whether there is SACK.
type Agreed = (u16, Option<u8>, bool);

#[test]
fn a_syn_is_answered_with_a_cookie_and_nothing_is_stored() {
    for family in FAMILIES {
        for isn in [0, 1, 0x00ff_ffff, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let mut edge = Edge::new();
            edge.world.arrival.mss = 1400;
            let verdict = edge.give(&segment(family, flags::SYN, isn, 0, 0));
            assert_exit(&verdict, Exit::SynAck, Action::Transmit);
            assert_eq!(verdict.change, Change::Keep);
            assert!(!verdict.body);
            let tcp = verdict.tcp;
            assert_eq!(tcp.flags, flags::SYN | flags::ACK);
            assert_eq!(tcp.ack, isn.wrapping_add(1));
            // RFC 7323 §2.2: the window of a SYN segment is never scaled.
            assert_eq!(tcp.window, u16::MAX);
            let mut options = Vec::new();
            for word in &tcp.options[..tcp.option_words] {
                options.extend(word.to_ne_bytes());
            }
            assert_eq!(options, [2, 4, 0x05, 0x78, 1, 1, 4, 2, 1, 3, 3, 7]);
            let kept = Negotiated(tcp.seq as u8);
            // What the interface cannot send is not sent to a client that could take it.
            assert_eq!((kept.mss(), kept.window_scale(), kept.sack()), (1400, Some(7), true));
        }
    }
}

#[test]
fn a_syn_is_answered_alike_until_the_epoch_turns() {
    let syn = segment(Family::V4, flags::SYN, 77, 0, 0);
    let mut edge = Edge::new();
    let first = edge.give(&syn);
    assert_eq!(edge.give(&syn), first, "a retransmission gets the same cookie");
    edge.world.epoch += 1;
    let later = edge.give(&syn);
    assert_ne!(later.tcp.seq >> 8, first.tcp.seq >> 8, "another epoch, another proof");
}

#[test]
fn congestion_bits_and_push_do_not_make_another_syn() {
    let plain = Edge::new().give(&segment(Family::V6, flags::SYN, 77, 0, 0));
    for bits in [flags::PSH, flags::ECE | flags::CWR, flags::PSH | flags::ECE | flags::CWR] {
        let verdict = Edge::new().give(&segment(Family::V6, flags::SYN | bits, 77, 0, 0));
        // RFC 3168 §6.1.1: no ECE in the SYN-ACK, no congestion notification on the connection.
        assert_eq!(verdict, plain);
    }
}

#[test]
fn options_decide_what_is_offered_and_kept() {
    const CASES: &[(&str, &[u8], Agreed, usize)] = &[
        ("none at all", &[], (536, None, false), 1),
        ("a segment size", &[2, 4, 0x05, 0xb4], (1460, None, false), 1),
        ("and SACK", &[2, 4, 0x05, 0xb4, 1, 1, 4, 2], (1460, None, true), 2),
        ("and a window scale", &[2, 4, 0x05, 0xb4, 1, 3, 3, 0], (1460, Some(0), false), 2),
        ("as Linux", LINUX, (1460, Some(7), true), 3),
        ("MPTCP, which is not ours to answer", &[30, 4, 0, 1, 4, 2, 0, 0], (536, None, true), 2),
        ("a scale that is too large", &[3, 3, 15, 0], (536, Some(14), false), 2),
    ];
    for (name, options, agreed, words) in CASES {
        let mut edge = Edge::new();
        edge.world.syn_options = options.to_vec();
        let verdict = edge.give(&segment(Family::V4, flags::SYN, 77, 0, 0));
        assert_eq!(verdict.exit, Exit::SynAck, "{name}");
        let kept = Negotiated(verdict.tcp.seq as u8);
        assert_eq!((kept.mss(), kept.window_scale(), kept.sack()), *agreed, "{name}");
        assert_eq!(verdict.tcp.option_words, *words, "{name}");
        // Every later segment of the connection announces 64 KiB, in what was agreed on.
        let iss = verdict.tcp.seq.wrapping_add(1);
        let fin = edge.give(&segment(Family::V4, flags::FIN | flags::ACK, 78, iss, 0));
        let window = if agreed.1.is_some() { 512 } else { u16::MAX };
        assert_eq!((fin.exit, fin.tcp.window), (Exit::FinAck, window), "{name}");
    }
}

#[test]
fn syns_that_tier_1_cannot_keep_are_the_kernels() {
    const CASES: &[(&str, &[u8], Exit)] = &[
        ("a Fast Open cookie", &[34, 6, 1, 2, 3, 4, 0, 0], Exit::SynData),
        ("a request for one", &[34, 2, 1, 1], Exit::SynData),
        ("the Fast Open experiment", &[254, 4, 0xf9, 0x89], Exit::SynOptions),
        ("an option without length", &[2, 0, 0, 0], Exit::SynOptions),
        ("an option behind the header", &[2, 4, 5, 0xb4, 1, 1, 3, 3], Exit::SynOptions),
        ("a small segment size", &[2, 4, 0, 88], Exit::SynOptions),
        ("a segment size of the wrong length", &[2, 3, 5, 0], Exit::SynOptions),
    ];
    for family in FAMILIES {
        for (name, options, exit) in CASES {
            let mut edge = Edge::new();
            edge.world.syn_options = options.to_vec();
            let verdict = edge.give(&segment(family, flags::SYN, 77, 0, 0));
            assert_exit(&verdict, *exit, Action::Pass);
            assert_eq!(edge.world.asked.owner, 0, "{name}: no look-up for it");
        }
        let mut edge = Edge::new();
        edge.world.readable = false;
        let verdict = edge.give(&segment(family, flags::SYN, 77, 0, 0));
        assert_exit(&verdict, Exit::SynOptions, Action::Pass);
    }
    // The least of IPv6 is more than that of IPv4.
    for (family, exit) in [(Family::V4, Exit::SynAck), (Family::V6, Exit::SynOptions)] {
        let mut edge = Edge::new();
        edge.world.syn_options = vec![2, 4, 0x04, 0xc3];
        assert_eq!(edge.give(&segment(family, flags::SYN, 77, 0, 0)).exit, exit, "{family:?}");
    }
}

#[test]
fn a_syn_with_data_is_not_even_looked_at() {
    let mut edge = Edge::new();
    let verdict = edge.give(&segment(Family::V4, flags::SYN, 77, 0, 1));
    assert_exit(&verdict, Exit::SynData, Action::Pass);
    assert_eq!((edge.world.asked.options, edge.world.asked.owner), (0, 0));
}

#[test]
fn only_a_plain_listener_gets_a_handshake() {
    for (owner, exit) in [
        (Owner::Nobody, Exit::SynNoListener),
        (Owner::MptcpListener, Exit::SynMptcp),
        (Owner::Connection, Exit::SynSocket),
    ] {
        for family in FAMILIES {
            let mut edge = Edge::new();
            edge.world.owner = owner;
            let verdict = edge.give(&segment(family, flags::SYN, 77, 0, 0));
            assert_exit(&verdict, exit, Action::Pass);
            assert_eq!(edge.world.asked.keys.get(), 0, "no cookie is made for it");
        }
    }
}

#[test]
fn a_cookie_lives_for_its_epoch_and_the_next() {
    for family in FAMILIES {
        for (start, turns, good) in
            [(7u32, 0u32, true), (7, 1, true), (7, 2, false), (7, 3, false), (7, u32::MAX, false)]
                .into_iter()
                // The counter may turn over like any other.
                .chain([(u32::MAX, 0, true), (u32::MAX, 1, true), (u32::MAX, 2, false)])
        {
            let mut edge = Edge::new();
            edge.world.epoch = start;
            let iss = edge.give(&segment(family, flags::SYN, 77, 0, 0)).tcp.seq;
            edge.world.epoch = start.wrapping_add(turns);
            let at = |flags, len| segment(family, flags, 78, iss.wrapping_add(1), len);
            let name = format!("{family:?}, {turns} epochs after {start}");
            let ack = if good { Exit::HandshakeAck } else { Exit::NotOurs };
            assert_eq!(edge.give(&at(flags::ACK, 0)).exit, ack, "{name}");
            let fin = if good { Exit::FinAck } else { Exit::NotOurs };
            assert_eq!(edge.give(&at(flags::ACK | flags::FIN, 0)).exit, fin, "{name}");
            let ask = if good { Ask::First } else { Ask::Nothing };
            assert_eq!(edge.step(&at(flags::ACK, 300)).ask, ask, "{name}");
            let handed = edge.hand_over(&at(flags::ACK, 300));
            let expected = if good {
                Handover::Assign(Negotiated(iss as u8))
            } else {
                Handover::Leave(Exit::Orphan)
            };
            assert_eq!(handed, expected, "{name}");
        }
    }
}

#[test]
fn an_open_connection_does_not_age() {
    let mut client = Client::open(Family::V4);
    client.edge.world.epoch += 1000;
    client.preflight(300, 100);
    let data = client.leave(50);
    let kept = Negotiated(client.iss as u8);
    assert_eq!(client.edge.hand_over(&data), Handover::Assign(kept));
}

#[test]
fn a_proof_is_of_one_tuple_one_family_and_one_offer() {
    let client = Client::connected(Family::V4);
    let good = client.data(300);
    let asked = |segment| client.edge.clone().step(&segment).ask;
    assert_eq!(asked(good), Ask::First);
    let mut other = good;
    other.tuple.client_port ^= 1;
    assert_eq!(asked(other), Ask::Nothing, "port");
    let mut other = good;
    other.tuple.server.0[3] ^= 1;
    assert_eq!(asked(other), Ask::Nothing, "address");
    let other = segment(Family::V6, good.flags, good.seq, good.ack, 300);
    assert_eq!(asked(other), Ask::Nothing, "family");
    for bit in 0..32 {
        // The low byte is hashed, the rest is the proof: no bit may be turned.
        let ack = (good.ack.wrapping_sub(1) ^ 1 << bit).wrapping_add(1);
        let other = segment(Family::V4, good.flags, good.seq, ack, 300);
        assert_eq!(asked(other), Ask::Nothing, "bit {bit} of the cookie");
    }
    for bit in 0..24 {
        let other = segment(Family::V4, good.flags, good.seq ^ 1 << bit, good.ack, 300);
        assert_eq!(asked(other), Ask::Nothing, "bit {bit} of the sequence number");
    }
}

/// Both sequence spaces turn over in the middle of the handshake.
#[test]
fn numbers_turn_over() {
    for family in FAMILIES {
        let world = Edge::new().world;
        let kept = Negotiated(0xff);
        let hash = cookie::issue(
            &world.keys,
            family,
            &crate::support::tuple(family),
            world.epoch,
            0,
            kept,
        ) >> 8;
        let isn = 0x00ff_ffffu32.wrapping_sub(hash);
        let mut edge = Edge::new();
        // A jumbo frame's segment size, SACK and no window scale: all eight bits set.
        edge.world.syn_options = vec![2, 4, 0x23, 0x28, 4, 2, 0, 0];
        edge.world.arrival.mss = 8960;
        let iss = edge.give(&segment(family, flags::SYN, isn, 0, 0)).tcp.seq;
        assert_eq!(iss, u32::MAX);
        let seq = isn.wrapping_add(1);
        assert_eq!(edge.give(&segment(family, flags::ACK, seq, 0, 0)).exit, Exit::HandshakeAck);
        let verdict = edge.ask(&segment(family, flags::ACK, seq, 0, 300), Ok(&answer(100)));
        assert_eq!((verdict.exit, verdict.tcp.seq), (Exit::Answered, 0));
        assert_eq!((edge.entry().snd_nxt, edge.entry().iss), (100, u32::MAX));
        // And the client's own.
        let mut client = Client::connected_from(family, u32::MAX - 100);
        client.preflight(300, 100);
        assert_eq!(client.edge.entry().rcv_nxt, 200);
        client.preflight(300, 100);
        client.finish();
        assert_eq!(client.edge.give(&client.bare(flags::ACK)).exit, Exit::LastAck);
    }
}
