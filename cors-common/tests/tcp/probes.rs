//! Keep-alive probes: one byte before the next, with that byte or without it (RFC 9293 §3.8.4,
//! RFC 1122 §4.2.3.6).

use cors_common::{
    exit::{Action, Exit},
    tcp::{Owner, verdict::Change},
    wire::segment::flags,
};

use crate::{
    client::Client,
    support::{FAMILIES, OWNERS, answer, assert_exit},
};

/// One byte before the client's place.
const BEFORE: u32 = u32::MAX;

#[test]
fn a_probe_of_an_open_connection_is_acknowledged() {
    for family in FAMILIES {
        for make in [Client::open, Client::told_to_close] {
            for len in [0, 1] {
                let mut client = make(family);
                let before = client.edge.flow;
                let probe = client.at(flags::ACK, BEFORE, 0, len);
                let verdict = client.edge.give(&probe);
                assert_exit(&verdict, Exit::ProbeAck, Action::Transmit);
                assert_eq!((verdict.tcp.flags, verdict.body), (flags::ACK, false));
                // RFC 9293 §3.10.7.4: <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>.
                assert_eq!((verdict.tcp.seq, verdict.tcp.ack), (client.ack, client.seq));
                assert_eq!(verdict.tcp.window, 512);
                assert_eq!((verdict.change, client.edge.flow), (Change::Keep, before));
            }
        }
    }
}

/// Acknowledged, the client would never send the whole request again, and never get the answer.
#[test]
fn the_end_of_a_request_is_no_probe() {
    for family in FAMILIES {
        let mut client = Client::open(family);
        let before = client.edge.flow;
        for behind in [1, before.expect("an entry").reply_len.into()] {
            let end = client.at(flags::ACK, BEFORE, 0u32.wrapping_sub(behind), 1);
            assert_exit(&client.edge.give(&end), Exit::Stale, Action::Drop);
            assert_eq!(client.edge.flow, before);
        }
    }
}

/// A byte that starts like nothing must not make the connection leave.
#[test]
fn the_byte_of_a_probe_is_not_read() {
    for family in FAMILIES {
        let mut client = Client::open(family);
        client.edge.world.preflight = false;
        client.edge.count_again();
        let probe = client.at(flags::ACK, BEFORE, 0, 1);
        assert_eq!(client.edge.give(&probe).exit, Exit::ProbeAck);
        assert_eq!(client.edge.world.asked.text, 0);
        client.edge.world.preflight = true;
        client.preflight(300, 100);
    }
}

#[test]
fn a_probe_of_a_silent_connection_is_acknowledged_from_the_cookie() {
    for family in FAMILIES {
        let mut client = Client::connected(family);
        let probe = client.at(flags::ACK, BEFORE, 0, 0);
        // In both epochs of the cookie.
        for _ in 0..2 {
            let verdict = client.edge.give(&probe);
            assert_exit(&verdict, Exit::ProbeAck, Action::Transmit);
            assert_eq!(
                (verdict.tcp.seq, verdict.tcp.ack, verdict.tcp.flags),
                (client.ack, client.seq, flags::ACK)
            );
            assert_eq!(client.edge.flow, None);
            client.edge.world.epoch += 1;
        }
        assert_exit(&client.edge.give(&probe), Exit::NotOurs, Action::Pass);
    }
}

#[test]
fn a_silent_connection_that_the_kernel_owns_is_probed_there() {
    for family in FAMILIES {
        for owner in OWNERS {
            let mut client = Client::connected(family);
            client.edge.world.owner = owner;
            let probe = client.at(flags::ACK, BEFORE, 0, 0);
            let exit = if owner == Owner::Listener { Exit::ProbeAck } else { Exit::NotOurs };
            assert_eq!(client.edge.give(&probe).exit, exit, "{owner:?}");
        }
    }
}

#[test]
fn what_only_looks_like_a_probe_is_not_acknowledged() {
    for family in FAMILIES {
        // Two bytes before, one byte too many, or an answer that did not arrive.
        for (seq, ack, len) in [(BEFORE - 1, 0, 0), (BEFORE - 1, 0, 1), (BEFORE, 0, 2)]
            .into_iter()
            .chain([(BEFORE, BEFORE, 0), (BEFORE, 1, 0)])
        {
            let mut client = Client::open(family);
            let segment = client.at(flags::ACK, seq, ack, len);
            let verdict = client.edge.give(&segment);
            assert_eq!(verdict.exit.action(), Action::Drop, "{seq:#x}, {ack}, {len}");
        }
    }
}

/// A request of one byte does not exist, but the check that comes first must win: the last
/// request once more starts at its own place, and a probe one byte before the next.
#[test]
fn the_last_request_once_more_is_no_probe() {
    for family in FAMILIES {
        let mut client = Client::connected(family);
        client.preflight(1, 100);
        let again = client.again();
        assert_eq!((again.seq, again.payload_len), (client.seq.wrapping_sub(1), 1));
        let verdict = client.edge.ask(&again, Ok(&answer(100)));
        assert_exit(&verdict, Exit::AnsweredAgain, Action::Transmit);
        // With the answer acknowledged it is a probe.
        let probe = client.at(flags::ACK, BEFORE, 0, 1);
        assert_exit(&client.edge.give(&probe), Exit::ProbeAck, Action::Transmit);
    }
}

/// The byte may be anything, the first of a request as well; it was never sent before.
#[test]
fn a_byte_before_the_first_is_acknowledged_from_the_cookie() {
    for family in FAMILIES {
        for preflight in [false, true] {
            let mut client = Client::connected(family);
            client.edge.world.preflight = preflight;
            let probe = client.at(flags::ACK, BEFORE, 0, 1);
            // In both epochs of the cookie.
            for _ in 0..2 {
                let verdict = client.edge.give(&probe);
                assert_exit(&verdict, Exit::ProbeAck, Action::Transmit);
                let tcp = verdict.tcp;
                assert_eq!((tcp.seq, tcp.ack, tcp.flags), (client.ack, client.seq, flags::ACK));
                assert_eq!((tcp.window, client.edge.flow), (512, None));
                client.edge.world.epoch += 1;
            }
            assert_eq!(client.edge.give(&probe).exit.action(), Action::Pass);
        }
    }
}

#[test]
fn a_byte_before_the_first_is_the_kernels_where_it_has_the_connection() {
    for family in FAMILIES {
        for owner in OWNERS {
            let mut client = Client::connected(family);
            client.edge.world.owner = owner;
            let probe = client.at(flags::ACK, BEFORE, 0, 1);
            let action = if owner == Owner::Listener { Action::Transmit } else { Action::Pass };
            assert_eq!(client.edge.give(&probe).exit.action(), action, "{owner:?}");
        }
    }
}

/// An entry of the last connection says nothing about a probe of the next one.
#[test]
fn a_silent_connection_is_probed_on_a_used_tuple() {
    for family in FAMILIES {
        for make in [Client::open, Client::told_to_close, Client::last_ack, Client::closed] {
            for len in [0, 1] {
                let mut client = make(family);
                let before = client.edge.flow;
                client.connect(0x7777_7777);
                let probe = client.at(flags::ACK, BEFORE, 0, len);
                for _ in 0..2 {
                    let verdict = client.edge.give(&probe);
                    assert_exit(&verdict, Exit::ProbeAck, Action::Transmit);
                    assert_eq!((verdict.tcp.seq, verdict.tcp.ack), (client.ack, client.seq));
                    assert_eq!(client.edge.flow, before, "a probe proves no more than a SYN");
                    client.edge.world.epoch += 1;
                }
            }
        }
        // Nor does one that waits for the kernel.
        let mut client = Client::leaving(family);
        client.connect(0x7777_7777);
        let probe = client.at(flags::ACK, BEFORE, 0, 1);
        assert_exit(&client.edge.give(&probe), Exit::ProbeAck, Action::Transmit);
    }
}
