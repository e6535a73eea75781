//! How connections end: FIN from either side, retransmitted ones, and resets.

use cors_common::{
    exit::{Action, Exit},
    policy::Answer,
    tcp::{Owner, flow::phase, handover::Handover, verdict::Change},
    wire::segment::{Family, flags},
};

use crate::{
    client::Client,
    support::{Edge, FAMILIES, answer, assert_exit, last_answer, segment},
};

/// A connection, and how far from its next byte something is tried.
type Places = (fn(Family) -> Client, [u32; 4]);

/// A connection, what its last request was answered with, and how it closes.
type Answered = (fn(Family) -> Client, Answer, Exit);

const FIN_ACK: u8 = flags::FIN | flags::ACK;

#[test]
fn a_fin_is_answered_with_a_fin() {
    for family in FAMILIES {
        let mut client = Client::open(family);
        let fin = client.bare(FIN_ACK);
        let verdict = client.edge.give(&fin);
        assert_exit(&verdict, Exit::FinAck, Action::Transmit);
        assert_eq!((verdict.tcp.flags, verdict.body), (FIN_ACK, false));
        assert_eq!((verdict.tcp.seq, verdict.tcp.ack), (client.ack, client.seq.wrapping_add(1)));
        assert_eq!(verdict.tcp.window, 512);
        assert_eq!(client.edge.entry().phase, phase::LAST_ACK);
        // Lost: the same once more, as often as it takes.
        for _ in 0..3 {
            let again = client.edge.give(&fin);
            assert_eq!((again.exit, again.tcp), (Exit::FinAck, verdict.tcp));
        }
        // The client's kernel acknowledges it, and nothing is left.
        let last = client.at(flags::ACK, 1, 1, 0);
        assert_exit(&client.edge.give(&last), Exit::LastAck, Action::Drop);
        assert_eq!(client.edge.flow, None);
    }
}

#[test]
fn only_the_acknowledgement_of_our_fin_is_the_last_one() {
    for family in FAMILIES {
        for (seq, ack) in [(1, 0), (0, 1), (0, 0), (2, 1), (1, 2), (u32::MAX, 1)] {
            let mut client = Client::open(family);
            let fin = client.bare(FIN_ACK);
            client.edge.give(&fin);
            let early = client.at(flags::ACK, seq, ack, 0);
            assert_exit(&client.edge.give(&early), Exit::ReplyAck, Action::Drop);
            assert_eq!(client.edge.entry().phase, phase::LAST_ACK, "{seq}, {ack}");
        }
    }
}

#[test]
fn a_connection_without_a_request_is_closed_from_the_cookie() {
    for family in FAMILIES {
        let mut client = Client::connected(family);
        let fin = client.bare(FIN_ACK);
        for _ in 0..3 {
            let verdict = client.edge.give(&fin);
            assert_exit(&verdict, Exit::FinAck, Action::Transmit);
            assert_eq!(verdict.change, Change::Keep);
            assert_eq!(verdict.tcp.flags, FIN_ACK);
            assert_eq!(
                (verdict.tcp.seq, verdict.tcp.ack),
                (client.ack, client.seq.wrapping_add(1))
            );
        }
        let last = client.at(flags::ACK, 1, 1, 0);
        assert_exit(&client.edge.give(&last), Exit::LastAck, Action::Drop);
        // One further on either side is nobody's.
        for (seq, ack) in [(1, 2), (2, 1), (2, 2)] {
            let other = client.at(flags::ACK, seq, ack, 0);
            let exit = client.edge.give(&other).exit;
            assert_ne!(exit, Exit::LastAck, "{seq}, {ack}");
            assert_ne!(exit.action(), Action::Transmit, "{seq}, {ack}");
        }
        // Nor is a FIN there: there is one of each side.
        let other = client.at(FIN_ACK, 1, 1, 0);
        assert_exit(&client.edge.give(&other), Exit::NotOurs, Action::Pass);
    }
}

#[test]
fn an_answer_that_closes_carries_a_fin() {
    for family in FAMILIES {
        for answered_before in [false, true] {
            let mut client = Client::connected(family);
            if answered_before {
                client.preflight(400, 200);
            }
            let verdict = client.send(300, Ok(&last_answer(100)));
            assert_exit(&verdict, Exit::AnsweredClose, Action::Transmit);
            assert_eq!(verdict.tcp.flags, flags::ACK | flags::PSH | flags::FIN);
            let entry = client.edge.entry();
            assert_eq!((entry.phase, entry.reply_len), (phase::FIN_SENT, 101));
            assert_eq!(entry.snd_nxt, client.ack.wrapping_add(101), "FIN takes a number");
        }
    }
}

#[test]
fn the_client_closes_behind_ours() {
    for family in FAMILIES {
        let mut client = Client::told_to_close(family);
        assert_exit(&client.edge.give(&client.bare(flags::ACK)), Exit::ReplyAck, Action::Drop);
        let fin = client.bare(FIN_ACK);
        let verdict = client.edge.give(&fin);
        assert_exit(&verdict, Exit::CloseAck, Action::Transmit);
        assert_eq!(verdict.tcp.flags, flags::ACK);
        assert_eq!((verdict.tcp.seq, verdict.tcp.ack), (client.ack, client.seq.wrapping_add(1)));
        assert_eq!(client.edge.entry().phase, phase::CLOSED);
        // Where the acknowledgement was lost, the FIN comes again.
        for _ in 0..3 {
            let again = client.edge.give(&fin);
            assert_eq!((again.exit, again.tcp), (Exit::CloseAck, verdict.tcp));
            assert_eq!(again.change, Change::Keep);
        }
    }
}

/// A FIN behind bytes that have not arrived yet says nothing: both will come again.
#[test]
fn a_fin_elsewhere_closes_nothing() {
    for family in FAMILIES {
        let cases: [Places; 4] = [
            (Client::open, [1, 400, u32::MAX, 0u32.wrapping_sub(400)]),
            (Client::told_to_close, [1, 400, u32::MAX, 0u32.wrapping_sub(400)]),
            (Client::last_ack, [0, 1, 400, u32::MAX - 1]),
            (Client::closed, [0, 1, 400, u32::MAX - 1]),
        ];
        for (make, places) in cases {
            for seq in places {
                let mut client = make(family);
                let before = client.edge.flow;
                let fin = client.at(FIN_ACK, seq, 0, 0);
                let verdict = client.edge.give(&fin);
                assert_eq!(verdict.exit.action(), Action::Drop, "{seq:#x}");
                // While ours is not answered yet, it may be waiting for bytes before it.
                let late = make(family).edge.entry().phase > phase::FIN_SENT;
                let exit = if late { Exit::Stale } else { Exit::OutOfOrder };
                assert_eq!(verdict.exit, exit, "{seq:#x}");
                assert_eq!(client.edge.flow, before, "{seq:#x}");
            }
        }
    }
}

#[test]
fn a_reset_is_believed_at_the_next_byte_only() {
    for family in FAMILIES {
        for bits in [flags::RST, flags::RST | flags::ACK] {
            for make in [Client::open, Client::told_to_close] {
                // RFC 5961 §3.2: elsewhere in the window it may be a guess.
                for seq in [1, 100, 0xffff, 0x1_0000, 0x8000_0000, u32::MAX] {
                    let mut client = make(family);
                    let before = client.edge.flow;
                    let reset = client.at(bits, seq, 0, 0);
                    assert_exit(&client.edge.give(&reset), Exit::NotOurs, Action::Pass);
                    assert_eq!(client.edge.flow, before, "{seq:#x}");
                }
                // What it acknowledges says nothing: a closed socket's reset has none.
                for ack in [0, 1, 0x8000_0000] {
                    let mut client = make(family);
                    let reset = client.at(bits, 0, ack, 0);
                    assert_exit(&client.edge.give(&reset), Exit::Reset, Action::Drop);
                    assert_eq!(client.edge.flow, None);
                }
            }
        }
    }
}

#[test]
fn a_reset_of_what_is_not_remembered_is_the_kernels() {
    for family in FAMILIES {
        let mut client = Client::connected(family);
        let reset = client.bare(flags::RST);
        assert_exit(&client.edge.give(&reset), Exit::NotOurs, Action::Pass);
        let mut edge = Edge::new();
        let reset = segment(family, flags::RST, 5, 0, 0);
        assert_exit(&edge.give(&reset), Exit::NotOurs, Action::Pass);
    }
}

/// A connection that is being handed over is reset where it is by then.
#[test]
fn a_reset_of_a_connection_that_is_leaving_is_the_kernels() {
    for family in FAMILIES {
        for bits in [flags::RST, flags::RST | flags::ACK] {
            for ahead in [0, 100] {
                let mut client = Client::leaving(family);
                let reset = client.at(bits, ahead, 0, 0);
                assert_exit(&client.edge.give(&reset), Exit::Leaving, Action::Pass);
                assert_eq!(client.edge.hand_over(&reset), Handover::Leave(Exit::TcNotOurs));
                client.edge.world.owner = Owner::Connection;
                assert_exit(&client.edge.give(&reset), Exit::NotOurs, Action::Pass);
                assert_eq!(client.edge.flow, None);
            }
        }
    }
}

/// Acknowledged, it would leave the client nothing to send again, and the answer would be lost.
#[test]
fn a_fin_that_does_not_acknowledge_the_answer_closes_nothing() {
    for family in FAMILIES {
        let answers: [Answered; 2] = [
            (Client::open, answer(200), Exit::FinAck),
            (Client::told_to_close, last_answer(200), Exit::CloseAck),
        ];
        for (make, decision, closed) in answers {
            let mut client = make(family);
            let before = client.edge.entry();
            // All, half or one byte of the answer is missing, or more than was sent is not.
            for missing in [u32::from(before.reply_len), 100, 1, u32::MAX] {
                let fin = client.at(FIN_ACK, 0, 0u32.wrapping_sub(missing), 0);
                let verdict = client.edge.give(&fin);
                assert_exit(&verdict, Exit::Unacknowledged, Action::Drop);
                assert_eq!(client.edge.entry(), before, "{missing} bytes missing");
            }
            // The client's timer sends the request once more, with the FIN perhaps.
            for bits in [0, flags::FIN] {
                let mut again = client.again();
                again.flags |= bits;
                let verdict = client.edge.ask(&again, Ok(&decision));
                assert_exit(&verdict, Exit::AnsweredAgain, Action::Transmit);
                assert_eq!(verdict.tcp.ack, client.seq, "the FIN is to be sent again");
            }
            let fin = client.bare(FIN_ACK);
            assert_exit(&client.edge.give(&fin), closed, Action::Transmit);
        }
    }
}

/// The entry may be of a connection that is gone, and the FIN one of the kernel's.
#[test]
fn a_fin_on_the_kernels_connection_is_the_kernels() {
    for family in FAMILIES {
        for make in [Client::open, Client::told_to_close] {
            let mut client = make(family);
            client.edge.world.owner = Owner::Connection;
            let fin = client.at(FIN_ACK, 0, u32::MAX, 0);
            assert_exit(&client.edge.give(&fin), Exit::NotOurs, Action::Pass);
            assert_eq!(client.edge.flow, None);
        }
    }
}

#[test]
fn after_a_reset_nothing_is_answered() {
    for family in FAMILIES {
        let mut client = Client::open(family);
        let again = client.again();
        client.preflight(300, 100);
        let reset = client.bare(flags::RST);
        client.edge.give(&reset);
        // Late segments of the connection, all but its first request, which the cookie proves.
        for segment in [client.data(300), client.bare(flags::ACK), client.bare(FIN_ACK)] {
            assert_exit(&client.edge.give(&segment), Exit::NotOurs, Action::Pass);
        }
        assert_eq!(again.seq, client.isn.wrapping_add(1));
    }
}
