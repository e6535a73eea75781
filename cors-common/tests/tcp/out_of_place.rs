//! Data that is not at the next byte: dropped, so that the client sends it again in its order.

use cors_common::{
    exit::{Action, Exit},
    tcp::{Owner, handover::Handover, verdict::Change},
    wire::segment::{Segment, flags},
};

use crate::{
    client::Client,
    support::{FAMILIES, OWNERS, assert_exit},
};

const DATA: u8 = flags::ACK | flags::PSH;

/// Each case: how far `seq` and `ack` are from the client's place, and how many bytes there are.
const CASES: &[(&str, u32, u32, usize, Exit)] = &[
    ("one byte ahead", 1, 0, 300, Exit::OutOfOrder),
    ("a segment ahead", 1460, 0, 300, Exit::OutOfOrder),
    ("as far ahead as there is", 0x7fff_ffff, 0, 300, Exit::OutOfOrder),
    ("as far behind as there is", 0x8000_0000, 0, 300, Exit::Stale),
    ("one byte behind", u32::MAX, 0, 300, Exit::Stale),
    ("two bytes behind, with one", u32::MAX - 1, 0, 1, Exit::Stale),
    ("one byte behind, with two", u32::MAX, 0, 2, Exit::Stale),
    (
        "the last request, cut short",
        0u32.wrapping_sub(400),
        0u32.wrapping_sub(200),
        399,
        Exit::Stale,
    ),
    ("the last request, with the answer acknowledged", 0u32.wrapping_sub(400), 0, 400, Exit::Stale),
    (
        "next, with no acknowledgement of the answer",
        0,
        0u32.wrapping_sub(200),
        300,
        Exit::Unacknowledged,
    ),
    ("next, with half of the answer", 0, 0u32.wrapping_sub(100), 300, Exit::Unacknowledged),
    ("next, with all but a byte", 0, u32::MAX, 300, Exit::Unacknowledged),
    ("next, with more than was sent", 0, 1, 300, Exit::Unacknowledged),
];

fn place(client: &Client, flags: u8, (seq, ack, len): (u32, u32, usize)) -> Segment {
    client.at(flags, seq, ack, len)
}

#[test]
fn it_is_dropped_and_nothing_changes() {
    for family in FAMILIES {
        for (name, seq, ack, len, exit) in CASES {
            for extra in [0, flags::FIN] {
                let mut client = Client::open(family);
                let before = client.edge.flow;
                let segment = place(&client, DATA | extra, (*seq, *ack, *len));
                let verdict = client.edge.give(&segment);
                assert_eq!(verdict.exit, *exit, "{name}");
                assert_eq!(verdict.exit.action(), Action::Drop, "{name}");
                assert_eq!((verdict.change, client.edge.flow), (Change::Keep, before), "{name}");
            }
        }
    }
}

/// The text is no reason to let it through: its bytes would be lost, or sent twice.
#[test]
fn it_is_dropped_whatever_it_says() {
    for family in FAMILIES {
        for (name, seq, ack, len, exit) in CASES {
            let mut client = Client::open(family);
            client.edge.world.preflight = false;
            client.edge.count_again();
            let segment = place(&client, DATA, (*seq, *ack, *len));
            assert_exit(&client.edge.give(&segment), *exit, Action::Drop);
            assert_eq!(client.edge.world.asked.text, 0, "{name}: it is not even read");
        }
    }
}

/// An entry may be left over from a connection that ended unseen, and the tuple the kernel's by
/// now: then the segment is the kernel's, and the entry goes.
#[test]
fn it_is_the_kernels_where_the_kernel_has_the_connection() {
    for family in FAMILIES {
        for (name, seq, ack, len, _) in CASES {
            for make in [Client::open, Client::told_to_close] {
                let mut client = make(family);
                client.edge.world.owner = Owner::Connection;
                let segment = place(&client, DATA, (*seq, *ack, *len));
                let verdict = client.edge.give(&segment);
                assert_eq!(verdict.exit, Exit::NotOurs, "{name}");
                assert_eq!(client.edge.flow, None, "{name}");
            }
        }
    }
}

/// Data behind a close has nobody to read it (RFC 9293 §3.6.1), and the kernel's reset says so.
#[test]
fn data_after_the_close_is_reset_by_the_kernel() {
    for family in FAMILIES {
        for make in [Client::told_to_close, Client::closed, Client::last_ack] {
            for (seq, len) in [(0, 300), (1, 1), (5000, 300)] {
                let mut client = make(family);
                // The last acknowledgement comes with it, where one is missing.
                client.ack = client.edge.entry().snd_nxt;
                let before = client.edge.flow;
                let segment = client.at(DATA, seq, 0, len);
                assert_exit(&client.edge.give(&segment), Exit::AfterClose, Action::Pass);
                assert_eq!(client.edge.flow, before);
                assert_eq!(client.edge.hand_over(&segment), Handover::Leave(Exit::Orphan));
            }
        }
    }
}

/// A request behind the one that says `Connection: close`, sent before there was an answer: the
/// reset would come before it.
#[test]
fn data_that_does_not_acknowledge_the_close_is_not_reset() {
    for family in FAMILIES {
        for ahead in [0, 300, 0xffff] {
            let mut client = Client::told_to_close(family);
            let segment = client.at(DATA, ahead, 0u32.wrapping_sub(201), 300);
            assert_exit(&client.edge.give(&segment), Exit::AfterClose, Action::Pass);
            assert_eq!(client.edge.hand_over(&segment), Handover::Leave(Exit::Early));
        }
    }
}

/// Copies of what was answered, and pieces of it where the client sends it again in smaller ones.
/// A reset would be at the very number that a client waits at which has not got the answer.
#[test]
fn what_was_there_before_the_close_is_dropped() {
    for family in FAMILIES {
        for make in [Client::told_to_close, Client::closed, Client::last_ack] {
            for (seq, ack, len) in
                [(400, 201, 100), (300, 201, 300), (200, 100, 200), (400, 0, 400), (1, 0, 2)]
            {
                let mut client = make(family);
                let before = client.edge.flow;
                let (seq, ack) = (0u32.wrapping_sub(seq), 0u32.wrapping_sub(ack));
                let segment = client.at(DATA, seq, ack, len);
                assert_exit(&client.edge.give(&segment), Exit::Stale, Action::Drop);
                assert_eq!(client.edge.flow, before);
            }
        }
    }
}

/// The next request may overtake the acknowledgement that it needs. Handing it over would make
/// the kernel send from a byte that the client does not expect yet.
#[test]
fn a_request_without_its_acknowledgement_is_never_handed_over() {
    for family in FAMILIES {
        for owner in OWNERS {
            for requests in 1..4 {
                let mut client = Client::connected(family);
                for _ in 0..requests {
                    client.preflight(400, 200);
                }
                client.edge.world.owner = owner;
                let segment = client.at(DATA, 0, 0u32.wrapping_sub(200), 300);
                let handed = client.edge.hand_over(&segment);
                assert!(matches!(handed, Handover::Leave(_)), "{owner:?}, {requests}: {handed:?}");
            }
        }
    }
}

/// Before the first answer the cookie tells what was overtaken.
#[test]
fn data_that_overtakes_the_first_request_is_dropped_behind_the_driver() {
    for family in FAMILIES {
        for (ahead, exit) in [
            (1, Exit::Early),
            (1460, Exit::Early),
            (0x3fff, Exit::Early),
            (0x4000, Exit::Orphan),
            (u32::MAX - 1, Exit::Orphan),
        ] {
            let mut client = Client::connected(family);
            client.edge.world.preflight = false;
            let segment = client.at(DATA, ahead, 0, 300);
            assert_exit(&client.edge.give(&segment), Exit::NotOptions, Action::Pass);
            assert_eq!(client.edge.hand_over(&segment), Handover::Leave(exit), "{ahead} ahead");
            // Without data it goes no further than the driver.
            if exit == Exit::Early {
                for bits in [flags::ACK, flags::ACK | flags::FIN] {
                    let bare = client.at(bits, ahead, 0, 0);
                    assert_exit(&client.edge.give(&bare), Exit::OutOfOrder, Action::Drop);
                }
            }
        }
    }
}
