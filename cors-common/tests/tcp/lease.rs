//! A lapsed lease: nothing is begun or answered, and what is open comes to its end.

use cors_common::{
    exit::{Action, Exit},
    tcp::{flow::phase, handover::Handover, verdict::Change},
    wire::{
        options::Negotiated,
        segment::{Family, flags},
    },
};

use crate::{
    client::Client,
    support::{Edge, FAMILIES, answer, assert_exit, last_answer, segment},
};

/// A connection, and the flags and the place of a segment on it.
type Case = (fn(Family) -> Client, u8, u32, Exit);

fn lapsed(mut client: Client) -> Client {
    client.edge.world.lapsed = true;
    client
}

fn kept(client: &Client) -> Handover {
    Handover::Assign(Negotiated(client.iss as u8))
}

#[test]
fn a_syn_is_the_kernels_and_nothing_is_asked() {
    for family in FAMILIES {
        for len in [0, 1] {
            let mut edge = Edge::new();
            edge.world.lapsed = true;
            let verdict = edge.give(&segment(family, flags::SYN, 77, 0, len));
            assert_exit(&verdict, Exit::LeaseExpired, Action::Pass);
            assert_eq!(edge.world.asked, crate::support::Asked::default());
        }
    }
}

#[test]
fn a_handshake_of_before_is_handed_over_with_its_request() {
    for family in FAMILIES {
        let mut client = lapsed(Client::connected(family));
        assert_exit(&client.edge.give(&client.bare(flags::ACK)), Exit::HandshakeAck, Action::Drop);
        let verdict = client.send(300, Ok(&answer(100)));
        assert_exit(&verdict, Exit::LeaseExpired, Action::Pass);
        assert_eq!((verdict.change, client.edge.flow), (Change::Keep, None));
        let data = client.data(300);
        assert_eq!(client.edge.hand_over(&data), kept(&client));
    }
}

#[test]
fn an_open_connection_is_handed_over_at_that_very_byte() {
    for family in FAMILIES {
        let mut client = lapsed(Client::open(family));
        let data = client.data(300);
        let before = client.edge.entry();
        let verdict = client.edge.ask(&data, Ok(&answer(100)));
        assert_exit(&verdict, Exit::LeaseExpired, Action::Pass);
        assert_eq!(client.edge.entry(), before.in_phase(phase::LEAVING));
        assert_eq!(client.edge.hand_over(&data), kept(&client));
        for (seq, ack) in [(1, 0), (u32::MAX, 0), (0, 1), (0, u32::MAX)] {
            let other = client.at(flags::ACK, seq, ack, 300);
            assert!(matches!(client.edge.hand_over(&other), Handover::Leave(_)), "{seq}, {ack}");
        }
        // The kernel did not take it, and the lease is renewed: it has gone up, and stays there.
        client.edge.world.lapsed = false;
        assert_exit(&client.edge.give(&data), Exit::Leaving, Action::Pass);
        assert_eq!(client.edge.hand_over(&data), kept(&client));
    }
}

/// The answer is gone with the lease. Handed over from its cookie the first request would be
/// answered in the place of bytes that the client may have.
#[test]
fn an_answered_request_is_neither_answered_again_nor_handed_over() {
    for family in FAMILIES {
        for requests in 1..4 {
            let mut client = Client::connected(family);
            for _ in 0..requests {
                client.preflight(400, 200);
            }
            let mut client = lapsed(client);
            let (before, again) = (client.edge.entry(), client.again());
            for more in [0, 100] {
                let mut again = again;
                again.payload_len += more;
                let verdict = client.edge.ask(&again, Ok(&answer(200)));
                assert_exit(&verdict, Exit::AnswerChanged, Action::Pass);
                assert_eq!(client.edge.entry(), before);
                assert_eq!(client.edge.hand_over(&again), Handover::Leave(Exit::Orphan));
            }
            // A client that has the answer goes on all the same.
            let data = client.data(300);
            client.edge.ask(&data, Ok(&answer(100)));
            assert_eq!(client.edge.hand_over(&data), kept(&client));
        }
    }
}

#[test]
fn a_last_answer_that_was_lost_is_lost() {
    for family in FAMILIES {
        let mut client = lapsed(Client::told_to_close(family));
        let (before, again) = (client.edge.entry(), client.again());
        let verdict = client.edge.ask(&again, Ok(&last_answer(200)));
        assert_exit(&verdict, Exit::AnswerChanged, Action::Pass);
        assert_eq!(client.edge.entry(), before);
        assert_eq!(client.edge.hand_over(&again), Handover::Leave(Exit::Orphan));
        client.finish_second();
    }
}

/// Nobody but tier 1 knows of these connections.
#[test]
fn probes_closes_and_resets_go_on() {
    const FIN_ACK: u8 = flags::FIN | flags::ACK;
    let cases: [Case; 8] = [
        (Client::connected, flags::ACK, u32::MAX, Exit::ProbeAck),
        (Client::connected, FIN_ACK, 0, Exit::FinAck),
        (Client::open, flags::ACK, u32::MAX, Exit::ProbeAck),
        (Client::open, FIN_ACK, 0, Exit::FinAck),
        (Client::told_to_close, FIN_ACK, 0, Exit::CloseAck),
        (Client::closed, FIN_ACK, u32::MAX, Exit::CloseAck),
        (Client::last_ack, flags::ACK, 0, Exit::LastAck),
        (Client::open, flags::RST, 0, Exit::Reset),
    ];
    for family in FAMILIES {
        for (make, bits, seq, exit) in cases {
            let mut with = lapsed(make(family));
            let mut without = make(family);
            let segment = with.at(bits, seq, 0, 0);
            let verdict = with.edge.give(&segment);
            assert_eq!(verdict.exit, exit);
            assert_eq!(verdict, without.edge.give(&segment), "{exit:?}");
            assert_eq!(with.edge.flow, without.edge.flow, "{exit:?}");
        }
    }
}
