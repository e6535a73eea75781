//! Requests at the next byte, and the last one once more: what is read, and what follows from it.

use cors_common::{
    exit::{Action, Exit},
    tcp::{
        Owner,
        flow::{Flow, phase},
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
    support::{FAMILIES, answer, assert_exit, last_answer},
};

#[test]
fn the_first_answer_makes_the_entry() {
    for family in FAMILIES {
        let mut client = Client::connected(family);
        let data = client.data(400);
        let verdict = client.edge.ask(&data, Ok(&answer(200)));
        assert_exit(&verdict, Exit::Answered, Action::Transmit);
        assert!(verdict.body);
        let tcp = verdict.tcp;
        assert_eq!((tcp.seq, tcp.ack), (client.ack, client.seq.wrapping_add(400)));
        assert_eq!((tcp.flags, tcp.option_words), (flags::ACK | flags::PSH, 0));
        // 64 KiB at a scale of 7, which the handshake agreed on.
        assert_eq!(tcp.window, 512);
        let entry = Flow {
            rcv_nxt: client.isn.wrapping_add(401),
            snd_nxt: client.iss.wrapping_add(201),
            iss: client.iss,
            request_len: 400,
            reply_len: 200,
            phase: phase::OPEN,
            sockets: 0,
        };
        assert_eq!(client.edge.entry(), entry);
    }
}

#[test]
fn a_first_request_that_is_refused_leaves_nothing_behind() {
    for family in FAMILIES {
        let mut client = Client::connected(family);
        let data = client.data(400);
        let verdict = client.edge.ask(&data, Err(Exit::OriginDenied));
        assert_exit(&verdict, Exit::OriginDenied, Action::Pass);
        assert_eq!((verdict.change, client.edge.flow), (Change::Keep, None));
        let kept = Negotiated(client.iss as u8);
        assert_eq!(client.edge.hand_over(&data), Handover::Assign(kept));
    }
}

#[test]
fn the_next_one_is_read_where_the_last_one_ended() {
    for family in FAMILIES {
        let mut client = Client::open(family);
        let verdict = client.edge.step(&client.data(77));
        assert_eq!((verdict.ask, verdict.request_len), (Ask::Next, 77));
        let verdict = client.preflight(77, 33);
        assert_eq!(verdict.tcp.flags, flags::ACK | flags::PSH);
        let entry = client.edge.entry();
        assert_eq!((entry.request_len, entry.reply_len), (77, 33));
        assert_eq!((entry.rcv_nxt, entry.snd_nxt), (client.seq, client.ack));
    }
}

#[test]
fn what_is_not_answered_is_handed_over_at_that_very_byte() {
    for family in FAMILIES {
        let kept = |client: &Client| Negotiated(client.iss as u8);
        for refusal in [Exit::OriginDenied, Exit::HeadTrailing, Exit::HeadIncomplete] {
            let mut client = Client::open(family);
            let data = client.data(90);
            let verdict = client.send(90, Err(refusal));
            assert_exit(&verdict, refusal, Action::Pass);
            assert_eq!(client.edge.entry().phase, phase::LEAVING);
            assert_eq!(client.edge.hand_over(&data), Handover::Assign(kept(&client)));
        }
        let mut client = Client::open(family);
        let data = client.leave(90);
        assert_eq!(client.edge.hand_over(&data), Handover::Assign(kept(&client)));
        // With a FIN behind the data the kernel must see both, even if it is a preflight.
        let mut client = Client::open(family);
        let data = client.at(flags::ACK | flags::FIN, 0, 0, 90);
        assert_exit(&client.edge.give(&data), Exit::NotOptions, Action::Pass);
        assert_eq!(client.edge.hand_over(&data), Handover::Assign(kept(&client)));
    }
}

#[test]
fn an_answer_must_fit_one_segment_of_the_client() {
    for (mss, options) in [(536u16, [2, 4, 0x02, 0x18]), (1460, [2, 4, 0x05, 0xb4])] {
        for (len, fits) in [(usize::from(mss), true), (usize::from(mss) + 1, false)] {
            let mut client = Client::connected(Family::V4);
            client.edge.world.syn_options = options.to_vec();
            client.connect(5);
            let data = client.data(100);
            let verdict = client.send(100, Ok(&answer(len)));
            let exit = if fits { Exit::Answered } else { Exit::ReplyTooLong };
            assert_eq!(verdict.exit, exit, "{len} bytes for {mss}");
            if !fits {
                assert_exit(&verdict, Exit::ReplyTooLong, Action::Pass);
                assert_eq!(client.edge.flow, None);
                assert!(matches!(client.edge.hand_over(&data), Handover::Assign(_)));
            }
        }
        // Later on the connection as well.
        let mut client = Client::connected(Family::V4);
        client.edge.world.syn_options = options.to_vec();
        client.connect(5);
        client.preflight(100, 100);
        let data = client.data(100);
        assert_eq!(client.send(100, Ok(&answer(usize::from(mss) + 1))).exit, Exit::ReplyTooLong);
        assert_eq!(client.edge.entry().phase, phase::LEAVING);
        assert!(matches!(client.edge.hand_over(&data), Handover::Assign(_)));
    }
    // A FIN takes a sequence number, and no room.
    let mut client = Client::connected(Family::V4);
    assert_eq!(client.send(100, Ok(&last_answer(1460))).exit, Exit::AnsweredClose);
    assert_eq!(client.edge.entry().reply_len, 1461);
}

#[test]
fn the_window_of_an_answer_is_scaled_only_where_that_was_agreed_on() {
    for (options, window) in [(&[2u8, 4, 0x05, 0xb4][..], u16::MAX), (&[3, 3, 0, 0], 512)] {
        let mut client = Client::connected(Family::V4);
        client.edge.world.syn_options = options.to_vec();
        client.connect(5);
        assert_eq!(client.preflight(100, 100).tcp.window, window);
        let again = client.again();
        assert_eq!(client.edge.ask(&again, Ok(&answer(100))).tcp.window, window);
    }
}

#[test]
fn a_request_whose_answer_was_lost_gets_it_again() {
    for family in FAMILIES {
        let mut client = Client::open(family);
        let first = client.preflight(300, 120);
        let before = client.edge.entry();
        let again = client.again();
        for _ in 0..3 {
            let verdict = client.edge.step(&again);
            assert_eq!((verdict.ask, verdict.request_len), (Ask::Again, 300));
            let verdict = client.edge.ask(&again, Ok(&answer(120)));
            assert_exit(&verdict, Exit::AnsweredAgain, Action::Transmit);
            assert_eq!((verdict.tcp, verdict.body), (first.tcp, true));
            assert_eq!(client.edge.entry(), before, "nothing moves on");
        }
        client.preflight(300, 120);
    }
}

#[test]
fn only_the_request_itself_is_read_again_and_not_what_came_with_it() {
    for family in FAMILIES {
        for more in [1, 500, 1100] {
            let mut client = Client::open(family);
            let mut again = client.again();
            again.payload_len += more;
            let verdict = client.edge.step(&again);
            assert_eq!((verdict.ask, verdict.request_len), (Ask::Again, 400));
            let verdict = client.edge.ask(&again, Ok(&answer(200)));
            assert_eq!(verdict.exit, Exit::AnsweredAgain);
            assert_eq!(verdict.tcp.ack, client.seq, "what came with it is to be sent again");
            // So is a FIN behind it.
            again.flags |= flags::FIN;
            let verdict = client.edge.ask(&again, Ok(&answer(200)));
            assert_eq!((verdict.exit, verdict.tcp.ack), (Exit::AnsweredAgain, client.seq));
        }
    }
}

#[test]
fn a_last_answer_is_repeated_with_its_fin() {
    for family in FAMILIES {
        let mut client = Client::told_to_close(family);
        let again = client.again();
        let verdict = client.edge.ask(&again, Ok(&last_answer(200)));
        assert_exit(&verdict, Exit::AnsweredAgain, Action::Transmit);
        assert_eq!(verdict.tcp.flags, flags::ACK | flags::PSH | flags::FIN);
        assert_eq!(verdict.tcp.seq, client.iss.wrapping_add(1));
        assert_eq!(verdict.tcp.ack, client.seq);
        assert_eq!(client.edge.entry().phase, phase::FIN_SENT);
    }
}

#[test]
fn an_answer_that_changed_its_length_is_not_sent() {
    for family in FAMILIES {
        for changed in [answer(199), answer(201), last_answer(200)] {
            let mut client = Client::open(family);
            let (before, again) = (client.edge.entry(), client.again());
            let verdict = client.edge.ask(&again, Ok(&changed));
            assert_exit(&verdict, Exit::AnswerChanged, Action::Pass);
            assert_eq!(client.edge.entry(), before);
        }
        // Nor one that there is no longer. The refusal's own name would count it twice.
        let mut client = Client::open(family);
        let (before, again) = (client.edge.entry(), client.again());
        let verdict = client.edge.ask(&again, Err(Exit::OriginDenied));
        assert_exit(&verdict, Exit::AnswerChanged, Action::Pass);
        assert_eq!(client.edge.entry(), before);
    }
}

/// The kernel resets it: better than bytes that differ. From its cookie the first request would
/// start the connection over; that the entry stays is what says that it must not.
#[test]
fn a_connection_whose_answer_changed_is_nobodys() {
    for family in FAMILIES {
        for requests in 0..3 {
            let mut client = Client::open(family);
            for _ in 0..requests {
                client.preflight(400, 200);
            }
            let again = client.again();
            for _ in 0..2 {
                let verdict = client.edge.ask(&again, Ok(&answer(201)));
                assert_exit(&verdict, Exit::AnswerChanged, Action::Pass);
                assert_eq!(client.edge.hand_over(&again), Handover::Leave(Exit::Orphan));
            }
            // The policy is what it was before.
            let verdict = client.edge.ask(&again, Ok(&answer(200)));
            assert_exit(&verdict, Exit::AnsweredAgain, Action::Transmit);
        }
    }
}

#[test]
fn a_listener_that_went_away_takes_its_connections_with_it() {
    for family in FAMILIES {
        for owner in [Owner::Nobody, Owner::MptcpListener] {
            for again in [false, true] {
                let mut client = Client::open(family);
                client.edge.world.owner = owner;
                let segment = if again { client.again() } else { client.data(300) };
                let verdict = client.edge.give(&segment);
                assert_exit(&verdict, Exit::ListenerGone, Action::Pass);
                assert_eq!(client.edge.flow, None);
                // The kernel must be the one that refuses it.
                assert!(matches!(client.edge.hand_over(&segment), Handover::Leave(exit)
                    if exit.action() == Action::Pass));
            }
        }
    }
}
