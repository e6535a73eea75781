//! What the interface says of a SYN, and what this host's TCP does not do.

use cors_common::{
    exit::{Action, Exit},
    tcp::Owner,
    wire::{
        options::{Declined, Negotiated},
        segment::{Family, flags},
    },
};

use crate::{
    client::Client,
    support::{Edge, FAMILIES, LINUX, assert_exit, segment},
};

/// In promiscuous mode, or of a VLAN that the host is not in: the kernel would drop what a
/// hand-over gives to it.
#[test]
fn a_syn_for_somebody_else_is_left_alone() {
    for family in FAMILIES {
        let mut edge = Edge::new();
        edge.world.arrival.for_us = false;
        let verdict = edge.give(&segment(family, flags::SYN, 77, 0, 0));
        assert_exit(&verdict, Exit::SynElsewhere, Action::Pass);
        let asked = &edge.world.asked;
        assert_eq!((asked.arrival, asked.options, asked.owner, asked.keys.get()), (1, 0, 0, 0));
    }
}

/// Without a SYN-ACK of ours there is no proof for anything else, so nothing else asks.
#[test]
fn only_a_syn_asks_where_it_came_from() {
    for family in FAMILIES {
        for make in [Client::connected, Client::open, Client::told_to_close, Client::leaving] {
            for bits in (0..=u8::MAX).filter(|bits| bits & flags::SYN == 0) {
                for len in [0, 1, 300] {
                    let mut client = make(family);
                    client.edge.world.arrival.for_us = false;
                    client.edge.count_again();
                    client.edge.step(&client.at(bits, 0, 0, len));
                    assert_eq!(client.edge.world.asked.arrival, 0, "{bits:#x}");
                }
            }
        }
    }
}

/// What a SYN-ACK offers and what it keeps of the client's offer.
fn agreed(family: Family, offered: u16, ours: u16) -> Option<(u16, u16)> {
    let mut edge = Edge::new();
    let [high, low] = offered.to_be_bytes();
    edge.world.syn_options = vec![2, 4, high, low];
    edge.world.arrival.mss = ours;
    let verdict = edge.give(&segment(family, flags::SYN, 77, 0, 0));
    if verdict.exit != Exit::SynAck {
        assert_exit(&verdict, Exit::SynOptions, Action::Pass);
        return None;
    }
    let [_, _, high, low] = verdict.tcp.options[0].to_ne_bytes();
    Some((u16::from_be_bytes([high, low]), Negotiated(verdict.tcp.seq as u8).mss()))
}

#[test]
fn our_own_segments_are_no_longer_than_the_interface_takes() {
    for family in FAMILIES {
        for (offered, ours, kept) in [
            (1460, 1460, 1460),
            (1460, 8960, 1460),
            (8960, 8960, 8960),
            (8960, 1440, 1440),
            (8960, 1439, 1400),
            (1460, 1220, 1220),
            (1300, 1220, 1220),
            (65_495, 65_495, 8960),
        ] {
            assert_eq!(agreed(family, offered, ours), Some((ours, kept)), "{offered}, {ours}");
        }
    }
    // Below the least of the family there is no size to keep.
    assert_eq!(agreed(Family::V4, 1460, 1219), Some((1219, 536)));
    assert_eq!(agreed(Family::V6, 1460, 1219), None);
    assert_eq!(agreed(Family::V4, 1460, 536), Some((536, 536)));
    assert_eq!(agreed(Family::V4, 1460, 535), None);
    assert_eq!(agreed(Family::V4, 1460, 0), None);
}

/// The kernel refuses a connection on which it was promised, so it is not offered either.
#[test]
fn what_the_host_declines_is_neither_kept_nor_offered() {
    for family in FAMILIES {
        for (sack, window_scale) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut edge = Edge::new();
            edge.world.declined = Declined { sack, window_scale };
            let verdict = edge.give(&segment(family, flags::SYN, 77, 0, 0));
            assert_exit(&verdict, Exit::SynAck, Action::Transmit);
            let kept = Negotiated(verdict.tcp.seq as u8);
            assert_eq!(kept.sack(), !sack);
            assert_eq!(kept.window_scale(), if window_scale { None } else { Some(7) });
            assert_eq!(verdict.tcp.option_words, 3 - usize::from(sack) - usize::from(window_scale));
            // And the windows that follow are to be read as they are.
            let ack = verdict.tcp.seq.wrapping_add(1);
            let fin = edge.give(&segment(family, flags::FIN | flags::ACK, 78, ack, 0));
            assert_eq!(fin.tcp.window, if window_scale { u16::MAX } else { 512 });
        }
    }
}

/// In this order, since each costs more than the one before.
#[test]
fn what_comes_first_is_said_first() {
    let mut edge = Edge::new();
    edge.world.lapsed = true;
    edge.world.arrival.for_us = false;
    edge.world.syn_options = vec![2, 0, 0, 0];
    edge.world.owner = Owner::Nobody;
    let syn = |len| segment(Family::V4, flags::SYN, 77, 0, len);
    assert_eq!(edge.give(&syn(1)).exit, Exit::LeaseExpired);
    edge.world.lapsed = false;
    assert_eq!(edge.give(&syn(1)).exit, Exit::SynData);
    assert_eq!(edge.give(&syn(0)).exit, Exit::SynElsewhere);
    edge.world.arrival.for_us = true;
    assert_eq!(edge.give(&syn(0)).exit, Exit::SynOptions);
    edge.world.syn_options = LINUX.to_vec();
    assert_eq!(edge.give(&syn(0)).exit, Exit::SynNoListener);
}
