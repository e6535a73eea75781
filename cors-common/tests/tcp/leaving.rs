//! Connections whose last segment went up, and that the kernel has or has not taken.

use cors_common::{
    exit::{Action, Exit},
    tcp::{
        Owner,
        flow::{Flow, phase},
        handover::Handover,
        verdict::Ask,
    },
    wire::{
        options::Negotiated,
        segment::{Segment, flags},
    },
};

use crate::{
    client::Client,
    support::{FAMILIES, OWNERS, answer, assert_exit},
};

const DATA: u8 = flags::ACK | flags::PSH;
const FIN_ACK: u8 = flags::FIN | flags::ACK;

fn kept(client: &Client) -> Handover {
    Handover::Assign(Negotiated(client.iss as u8))
}

#[test]
fn what_the_kernel_has_taken_is_forgotten() {
    for family in FAMILIES {
        for (bits, seq, ack, len) in [
            (flags::ACK, 100, 500, 0),
            (DATA, 100, 500, 300),
            (DATA, 0, 0, 100),
            (flags::ACK, 0, 0, 0),
            (FIN_ACK, 100, 500, 0),
            (flags::RST, 100, 0, 0),
            (DATA, 0u32.wrapping_sub(400), 0u32.wrapping_sub(200), 400),
        ] {
            let mut client = Client::leaving(family);
            let taken = client.data(100);
            client.edge.world.owner = Owner::Connection;
            let segment = client.at(bits, seq, ack, len);
            assert_exit(&client.edge.give(&segment), Exit::NotOurs, Action::Pass);
            assert_eq!(client.edge.flow, None);
            // A late copy of what was handed over, when the kernel's connection has ended.
            client.edge.world.owner = Owner::Listener;
            let verdict = client.edge.give(&taken);
            assert_exit(&verdict, Exit::NotOurs, Action::Pass);
            assert_eq!(client.edge.hand_over(&taken), Handover::Leave(Exit::Orphan));
        }
    }
}

/// A full accept queue: the kernel has dropped the segment, and the client's timer is running.
#[test]
fn what_the_kernel_has_not_taken_is_handed_over_once_more() {
    for family in FAMILIES {
        let mut client = Client::leaving(family);
        let before = client.edge.entry();
        for (bits, len) in [(DATA, 100), (DATA, 50), (DATA | flags::FIN, 1460), (flags::ACK, 1)] {
            let segment = client.at(bits, 0, 0, len);
            for preflight in [false, true] {
                client.edge.world.preflight = preflight;
                assert_exit(&client.edge.give(&segment), Exit::Leaving, Action::Pass);
                assert_eq!(client.edge.hand_over(&segment), kept(&client));
            }
        }
        assert_eq!(client.edge.entry(), before);
    }
}

/// What is behind it waits, and goes no further than the hook behind the driver.
#[test]
fn nothing_overtakes_it() {
    for family in FAMILIES {
        let mut client = Client::leaving(family);
        for (bits, ahead, len) in [(DATA, 100, 300), (FIN_ACK, 100, 0), (DATA, 0xfffe, 1)] {
            let segment = client.at(bits, ahead, 0, len);
            assert_exit(&client.edge.give(&segment), Exit::Leaving, Action::Pass);
            assert_eq!(client.edge.hand_over(&segment), Handover::Leave(Exit::Early));
        }
    }
}

/// The kernel knows of no connection yet and would answer them with a reset.
#[test]
fn acknowledgements_in_the_meantime_are_dropped() {
    for family in FAMILIES {
        for bits in [flags::ACK, DATA] {
            // The last answer's, one with the request behind it, and a keep-alive probe.
            for seq in [0, 100, u32::MAX] {
                let mut client = Client::leaving(family);
                let before = client.edge.flow;
                let bare = client.at(bits, seq, 0, 0);
                assert_exit(&client.edge.give(&bare), Exit::ReplyAck, Action::Drop);
                assert_eq!(client.edge.flow, before);
            }
        }
    }
}

/// One that was sent while the connection was silent, and overtaken.
#[test]
fn a_late_probe_with_its_byte_is_not_reset() {
    for family in FAMILIES {
        let mut client = Client::leaving(family);
        let probe = client.at(flags::ACK, u32::MAX, 0, 1);
        let verdict = client.edge.give(&probe);
        assert_eq!(verdict.exit.action(), Action::Drop, "{:?}", verdict.exit);
        assert_eq!(client.edge.hand_over(&client.data(100)), kept(&client));
    }
}

/// Where nobody listens any more, nothing is held back: the kernel says so.
#[test]
fn without_a_listener_the_kernel_resets_it() {
    for family in FAMILIES {
        for owner in [Owner::Nobody, Owner::MptcpListener] {
            for len in [0, 100] {
                let mut client = Client::leaving(family);
                client.edge.world.owner = owner;
                let segment = client.at(DATA, 0, 0, len);
                assert_exit(&client.edge.give(&segment), Exit::Leaving, Action::Pass);
                let Handover::Leave(exit) = client.edge.hand_over(&segment) else {
                    panic!("handed over to {owner:?}");
                };
                assert_eq!(exit.action(), Action::Pass);
            }
        }
    }
}

fn copies(client: &Client, requests: u32) -> Vec<Segment> {
    (1..=requests)
        .flat_map(|back| {
            let (seq, ack) = (0u32.wrapping_sub(400 * back), 0u32.wrapping_sub(200 * back));
            [client.at(DATA, seq, ack, 400), client.at(flags::ACK, seq, ack, 0)]
        })
        .collect()
}

/// The first one has its cookie, and the connection would start over.
#[test]
fn copies_of_answered_requests_are_dropped() {
    for family in FAMILIES {
        for requests in 1..4 {
            let mut client = Client::connected(family);
            for _ in 0..requests {
                client.preflight(400, 200);
            }
            client.leave(100);
            for owner in OWNERS.into_iter().filter(|owner| *owner != Owner::Connection) {
                client.edge.world.owner = owner;
                let before = client.edge.flow;
                for copy in copies(&client, requests) {
                    let verdict = client.edge.ask(&copy, Ok(&answer(200)));
                    assert_exit(&verdict, Exit::Stale, Action::Drop);
                    assert_eq!(client.edge.flow, before);
                    let handed = client.edge.hand_over(&copy);
                    assert!(matches!(handed, Handover::Leave(_)), "{handed:?}");
                }
            }
        }
    }
}

/// Whatever is left of the old one: the cookie of the new one decides.
#[test]
fn a_new_connection_starts_from_its_own_cookie() {
    for family in FAMILIES {
        for sent in [200, 400_000_000, 0xffff_0000] {
            let mut client = Client::leaving(family);
            let old = client.edge.entry();
            client.connect(0x7777_7777);
            // As if the old one had sent as much, and the new cookie were among it.
            let snd_nxt = client.iss.wrapping_add(sent / 2).wrapping_add(1000);
            let entry =
                Flow { snd_nxt, iss: snd_nxt.wrapping_sub(sent), phase: phase::LEAVING, ..old };
            client.edge.flow = Some(entry);
            assert_eq!(client.edge.step(&client.data(300)).ask, Ask::First, "{sent} bytes");
            let data = client.data(300);
            let verdict = client.edge.ask(&data, Err(Exit::OriginDenied));
            assert_exit(&verdict, Exit::OriginDenied, Action::Pass);
            assert_eq!(client.edge.hand_over(&data), kept(&client), "{sent} bytes");
            client.preflight(300, 100);
            assert_eq!(client.edge.entry().iss, client.iss);
        }
    }
}
