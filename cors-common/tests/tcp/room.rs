//! The client's window: an answer is sent only where there is room for all of it.

use cors_common::{
    exit::{Action, Exit},
    policy::Answer,
    tcp::{Owner, flow::phase, handover::Handover},
    wire::segment::Family,
};

use crate::{
    client::Client,
    support::{FAMILIES, answer, assert_exit, last_answer},
};

/// A connection on which `scale` was agreed, with `answered` answers behind it.
fn client(family: Family, scale: Option<u8>, answered: usize) -> Client {
    let mut client = Client::connected(family);
    client.edge.world.syn_options = vec![2, 4, 0x05, 0xb4];
    if let Some(scale) = scale {
        client.edge.world.syn_options.extend([1, 3, 3, scale]);
    }
    client.connect(5);
    for _ in 0..answered {
        client.preflight(400, 200);
    }
    client
}

fn exit(client: &mut Client, window: u16, decision: &Answer) -> Exit {
    let mut data = client.data(300);
    data.window = window;
    let verdict = client.edge.ask(&data, Ok(decision));
    if verdict.exit == Exit::ReplyTooLong {
        // The kernel has a buffer, and time.
        assert_exit(&verdict, Exit::ReplyTooLong, Action::Pass);
        assert!(matches!(client.edge.hand_over(&data), Handover::Assign(_)));
    }
    verdict.exit
}

#[test]
fn an_answer_that_does_not_fit_the_window_is_the_kernels() {
    for family in FAMILIES {
        for answered in 0..3 {
            for (scale, window, room) in [
                (None, 0, 0),
                (None, 200, 200),
                (Some(0), 200, 200),
                (Some(3), 25, 200),
                (Some(7), 1, 128),
                (Some(7), 2, 256),
                (Some(14), 0, 0),
                (Some(14), 1, 1460),
                (Some(14), u16::MAX, 1460),
                (None, u16::MAX, 1460),
            ] {
                let name = format!("{answered} answered, {window} at {scale:?}");
                if room > 0 {
                    let mut client = client(family, scale, answered);
                    assert_eq!(exit(&mut client, window, &answer(room)), Exit::Answered, "{name}");
                }
                let mut client = client(family, scale, answered);
                let long = answer(room + 1);
                assert_eq!(exit(&mut client, window, &long), Exit::ReplyTooLong, "{name}");
                let phase = client.edge.flow.map(|flow| flow.phase);
                assert_eq!(phase, (answered > 0).then_some(phase::LEAVING), "{name}");
            }
        }
    }
}

/// A FIN beyond the window is not taken (RFC 9293 §3.10.7.4), and is not sent again: the client
/// would wait for it, and its own would never acknowledge it.
#[test]
fn a_fin_needs_room_as_well() {
    for family in FAMILIES {
        let mut fits = client(family, None, 1);
        assert_eq!(exit(&mut fits, 201, &last_answer(200)), Exit::AnsweredClose);
        let mut full = client(family, None, 1);
        assert_eq!(exit(&mut full, 200, &last_answer(200)), Exit::ReplyTooLong);
        assert_eq!(exit(&mut client(family, None, 1), 200, &answer(200)), Exit::Answered);
    }
}

/// Of two copies of a request, one may find no room in its packet and the other some: where the one
/// went up, the other must not be answered.
#[test]
fn a_request_that_found_no_room_is_not_answered_in_a_copy() {
    for family in FAMILIES {
        for answered in 0..3 {
            let mut client = client(family, Some(7), answered);
            let data = client.data(300);
            let mut verdict = client.edge.step(&data);
            verdict.answered(&data, Ok(&answer(200)));
            verdict.no_room();
            client.edge.apply(&verdict);
            assert_exit(&verdict, Exit::NoRoom, Action::Pass);
            assert_exit(&client.edge.give(&data), Exit::Leaving, Action::Pass);
            assert!(matches!(client.edge.hand_over(&data), Handover::Assign(_)));
            // The kernel has it; the copy finds that.
            client.edge.world.owner = Owner::Connection;
            assert_exit(&client.edge.give(&data), Exit::NotOurs, Action::Pass);
            assert_eq!(client.edge.flow, None);
        }
    }
}

/// What was answered once is not the kernel's to answer: the client sends it again.
#[test]
fn an_answered_request_that_finds_no_room_is_dropped() {
    for family in FAMILIES {
        let mut client = Client::open(family);
        let before = client.edge.flow;
        let again = client.again();
        let mut verdict = client.edge.step(&again);
        verdict.answered(&again, Ok(&answer(200)));
        verdict.no_room();
        client.edge.apply(&verdict);
        assert_exit(&verdict, Exit::NoRoomAgain, Action::Drop);
        assert_eq!(client.edge.flow, before);
    }
}

/// The same answer once more needs no more room than before, and there is no other way to it.
#[test]
fn an_answer_is_repeated_whatever_the_window() {
    for family in FAMILIES {
        for window in [0, 1, u16::MAX] {
            let mut client = Client::open(family);
            let mut again = client.again();
            again.window = window;
            let verdict = client.edge.ask(&again, Ok(&answer(200)));
            assert_exit(&verdict, Exit::AnsweredAgain, Action::Transmit);
        }
    }
}
