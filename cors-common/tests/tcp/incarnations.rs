//! A tuple that is used again while something of its last connection is remembered.
//!
//! There is no TIME_WAIT here: a handshake with a cookie of its own tells the new connection
//! from late segments of the old one.

use cors_common::{
    exit::{Action, Exit},
    tcp::{
        flow::{Flow, phase},
        handover::Handover,
        verdict::Ask,
    },
    wire::{
        options::Negotiated,
        segment::{Family, flags},
    },
};

use crate::{
    client::Client,
    support::{FAMILIES, answer, assert_exit},
};

const BEFORE: [fn(Family) -> Client; 5] =
    [Client::open, Client::told_to_close, Client::last_ack, Client::closed, Client::leaving];

/// The initial sequence numbers of the new connection; the old one had 0x12345678.
const ISNS: [u32; 5] = [0, 0x1234_0000, 0x2000_0000, 0x9999_9999, u32::MAX];

#[test]
fn a_handshake_on_a_used_tuple_leaves_the_entry_alone() {
    for family in FAMILIES {
        for make in BEFORE {
            for isn in ISNS {
                let mut client = make(family);
                let before = client.edge.flow;
                // Asserts that the SYN is answered and its acknowledgement is taken as such.
                client.connect(isn);
                assert_eq!(client.edge.flow, before, "a SYN may be anybody's");
            }
        }
    }
}

#[test]
fn its_first_answer_replaces_the_entry() {
    for family in FAMILIES {
        for make in BEFORE {
            for isn in ISNS {
                let mut client = make(family);
                client.connect(isn);
                assert_eq!(client.edge.step(&client.data(300)).ask, Ask::First);
                client.preflight(300, 100);
                let entry = client.edge.entry();
                assert_eq!((entry.iss, entry.phase), (client.iss, phase::OPEN));
                assert_eq!(entry.rcv_nxt, isn.wrapping_add(301));
                client.preflight(300, 100);
            }
        }
    }
}

#[test]
fn its_first_segment_is_handed_over_from_its_own_cookie() {
    for family in FAMILIES {
        for make in BEFORE {
            let mut client = make(family);
            client.edge.world.syn_options = vec![2, 4, 0x04, 0xc4];
            client.connect(0x7777_7777);
            let data = client.data(300);
            client.edge.world.preflight = false;
            assert_exit(&client.edge.give(&data), Exit::NotOptions, Action::Pass);
            // With what the new handshake agreed on, not the old one.
            let kept = Negotiated(client.iss as u8);
            assert_eq!((kept.mss(), kept.sack()), (1220, false));
            assert_eq!(client.edge.hand_over(&data), Handover::Assign(kept));
        }
    }
}

#[test]
fn it_can_end_without_a_request() {
    for family in FAMILIES {
        for make in BEFORE {
            let mut client = make(family);
            client.connect(0x7777_7777);
            let verdict = client.edge.give(&client.bare(flags::FIN | flags::ACK));
            assert_exit(&verdict, Exit::FinAck, Action::Transmit);
            assert_eq!(
                (verdict.tcp.seq, verdict.tcp.ack),
                (client.ack, client.seq.wrapping_add(1))
            );
            // What ends it goes no further than the driver, entry or no entry.
            let last = client.at(flags::ACK, 1, 1, 0);
            assert_eq!(client.edge.give(&last).exit.action(), Action::Drop);
        }
    }
}

/// Late segments of the old connection meet the new one's entry.
#[test]
fn late_segments_of_the_old_connection_change_nothing() {
    for family in FAMILIES {
        let mut client = Client::open(family);
        client.preflight(300, 100);
        let late = [
            client.data(300),
            client.bare(flags::ACK),
            client.bare(flags::FIN | flags::ACK),
            client.again(),
            client.bare(flags::RST),
        ];
        client.connect(0x7777_7777);
        client.preflight(350, 150);
        let before = client.edge.flow;
        for segment in late {
            let verdict = client.edge.ask(&segment, Ok(&answer(100)));
            assert_ne!(verdict.exit.action(), Action::Transmit, "{segment:?}");
            assert_eq!(client.edge.flow, before, "{segment:?}");
        }
        client.preflight(350, 150);
    }
}

/// The other way round: data of the new connection that overtook its first segment.
#[test]
fn data_that_overtakes_the_first_of_a_new_connection_is_dropped() {
    for family in FAMILIES {
        for make in [Client::open, Client::told_to_close, Client::last_ack, Client::closed] {
            let mut client = make(family);
            client.connect(0x7777_7777);
            let before = client.edge.flow;
            let ahead = client.at(flags::ACK, 300, 0, 300);
            // By the driver, or by the hook behind it where the entry is of a closed connection.
            let verdict = client.edge.give(&ahead);
            if verdict.exit.action() != Action::Drop {
                assert_exit(&verdict, Exit::AfterClose, Action::Pass);
                assert_eq!(client.edge.hand_over(&ahead), Handover::Leave(Exit::Early));
            }
            assert_eq!(client.edge.flow, before);
            client.preflight(300, 100);
        }
    }
}

/// A hash is due only where a segment acknowledges what the entry's connection never sent.
#[test]
fn segments_of_the_connection_itself_cost_no_hash() {
    for family in FAMILIES {
        let mut client = Client::open(family);
        client.preflight(300, 100);
        for segment in [
            client.data(300),
            client.bare(flags::ACK),
            client.bare(flags::FIN | flags::ACK),
            client.again(),
            client.at(flags::ACK, 0, 0u32.wrapping_sub(300), 10),
        ] {
            client.edge.count_again();
            client.edge.step(&segment);
            assert_eq!(client.edge.world.asked.keys.get(), 0, "{segment:?}");
        }
    }
}

/// The cookie of the first request is as good as on the day it was made; the entry is what says
/// that it is a copy.
#[test]
fn a_late_copy_of_its_own_first_segments_starts_nothing_over() {
    for family in FAMILIES {
        for answers in 1..5u32 {
            let mut client = Client::connected(family);
            let (first, shake) = (client.data(400), client.bare(flags::ACK));
            for _ in 0..answers {
                client.preflight(400, 200);
            }
            for _ in 0..2 {
                let before = client.edge.entry();
                if answers > 1 {
                    let verdict = client.edge.ask(&first, Ok(&answer(200)));
                    assert_exit(&verdict, Exit::Stale, Action::Drop);
                }
                assert_exit(&client.edge.give(&shake), Exit::ReplyAck, Action::Drop);
                assert_eq!(client.edge.entry(), before);
                assert_eq!(client.edge.hand_over(&first), Handover::Leave(Exit::Orphan));
                client.edge.world.epoch += 1;
            }
            client.preflight(400, 200);
        }
    }
}

/// As if hundreds of megabytes had been answered, with the new cookie among their numbers.
#[test]
fn a_long_life_does_not_hide_the_next_connection() {
    for family in FAMILIES {
        for make in [Client::open, Client::told_to_close, Client::last_ack, Client::closed] {
            for sent in [1000, 400_000_000, 0xffff_0000u32] {
                let mut client = make(family);
                let old = client.edge.entry();
                client.connect(0x7777_7777);
                let snd_nxt = client.iss.wrapping_add(sent / 2 + 201);
                let iss = snd_nxt.wrapping_sub(sent);
                client.edge.flow = Some(Flow { snd_nxt, iss, ..old });
                let kept = Handover::Assign(Negotiated(client.iss as u8));
                let data = client.data(300);
                assert_eq!(client.edge.step(&data).ask, Ask::First, "{sent} bytes");
                client.edge.world.preflight = false;
                assert_exit(&client.edge.give(&data), Exit::NotOptions, Action::Pass);
                assert_eq!(client.edge.hand_over(&data), kept, "{sent} bytes");
                client.edge.world.preflight = true;
                client.preflight(300, 100);
                assert_eq!(client.edge.entry().iss, client.iss);
            }
        }
    }
}
