//! From which segments the kernel goes on, and what becomes of the others behind the driver.

use cors_common::{
    exit::{Action, Exit},
    tcp::{Owner, flow::phase, handover::Handover, verdict::Ask},
    wire::{
        options::Negotiated,
        segment::{Family, flags},
    },
};

use crate::{
    client::Client,
    support::{FAMILIES, OWNERS},
};

const DATA: u8 = flags::ACK | flags::PSH;
const FIN_ACK: u8 = flags::FIN | flags::ACK;

fn kept(client: &Client) -> Negotiated {
    Negotiated(client.iss as u8)
}

#[test]
fn data_at_the_next_byte_is_handed_over() {
    for family in FAMILIES {
        for requests in 0..4 {
            let mut client = Client::connected(family);
            for _ in 0..requests {
                client.preflight(400, 200);
            }
            if requests > 0 {
                client.leave(100);
            }
            // Urgent data is data.
            for bits in [flags::ACK, DATA, DATA | flags::FIN, DATA | flags::URG, FIN_ACK] {
                for len in [1, 100, 1460] {
                    let segment = client.at(bits, 0, 0, len);
                    let handed = client.edge.hand_over(&segment);
                    assert_eq!(handed, Handover::Assign(kept(&client)), "{requests}, {bits:#x}");
                }
            }
            // A FIN alone can only come up while nothing is answered.
            let fin = client.at(FIN_ACK, 0, 0, 0);
            assert_eq!(client.edge.hand_over(&fin), Handover::Assign(kept(&client)));
        }
    }
}

/// What the handshake agreed on is in the cookie's low byte, and reaches the kernel as it was.
#[test]
fn what_was_agreed_on_is_repeated() {
    for family in FAMILIES {
        for options in [&[2u8, 4, 0x05, 0xb4][..], &[2, 4, 0x23, 0x28, 4, 2, 0, 0], &[3, 3, 9, 0]] {
            for answered in [false, true] {
                let mut client = Client::connected(family);
                client.edge.world.syn_options = options.to_vec();
                client.connect(1000);
                if answered {
                    client.preflight(400, 200);
                }
                let data = client.data(100);
                let Handover::Assign(kept) = client.edge.hand_over(&data) else {
                    panic!("not handed over");
                };
                assert_eq!(kept.0, client.iss as u8);
                assert_eq!(kept.sack(), options.contains(&4) && options.len() == 8);
            }
        }
    }
}

/// Each number one off, by a little and by much.
#[test]
fn nothing_else_is_handed_over_from_an_entry() {
    for family in FAMILIES {
        for owner in OWNERS {
            for leave in [false, true] {
                for (seq, ack, exit) in [
                    (1, 0, Exit::Early),
                    (0x1_0000, 0, Exit::Early),
                    (0x1_0001, 0, Exit::Orphan),
                    (u32::MAX, 0, Exit::Orphan),
                    (0x8000_0000, 0, Exit::Orphan),
                    (0, 1, Exit::Orphan),
                    (0, 0x4000_0000, Exit::Orphan),
                    // Without the last answer, or with a part of it: the client must have it
                    // before the next request can be anybody's.
                    (0, u32::MAX, Exit::Early),
                    (0, 0u32.wrapping_sub(200), Exit::Early),
                    (0x1_0000, 0u32.wrapping_sub(200), Exit::Early),
                    (0x1_0001, 0u32.wrapping_sub(200), Exit::Orphan),
                    (u32::MAX, 0u32.wrapping_sub(200), Exit::Orphan),
                    // The last request and, by its own cookie, the first.
                    (0u32.wrapping_sub(400), 0u32.wrapping_sub(200), Exit::Orphan),
                    (0u32.wrapping_sub(800), 0u32.wrapping_sub(400), Exit::Orphan),
                ] {
                    let mut client = Client::open(family);
                    client.preflight(400, 200);
                    if leave {
                        client.leave(100);
                    }
                    client.edge.world.owner = owner;
                    let segment = client.at(DATA, seq, ack, 100);
                    let expected = match owner {
                        Owner::Connection => Exit::TcNotOurs,
                        Owner::Nobody => Exit::HandoverNoListener,
                        Owner::MptcpListener if exit == Exit::Early => Exit::HandoverMptcp,
                        _ => exit,
                    };
                    let handed = client.edge.hand_over(&segment);
                    assert_eq!(handed, Handover::Leave(expected), "{owner:?}, {seq:#x}, {ack:#x}");
                }
            }
        }
    }
}

#[test]
fn only_a_plain_listener_takes_a_connection() {
    for family in FAMILIES {
        for answered in [false, true] {
            for owner in OWNERS {
                let mut client = Client::connected(family);
                if answered {
                    client.preflight(400, 200);
                }
                client.edge.world.owner = owner;
                let data = client.data(100);
                let expected = match owner {
                    Owner::Nobody => Handover::Leave(Exit::HandoverNoListener),
                    Owner::Listener => Handover::Assign(kept(&client)),
                    Owner::MptcpListener => Handover::Leave(Exit::HandoverMptcp),
                    Owner::Connection => Handover::Leave(Exit::TcNotOurs),
                };
                assert_eq!(client.edge.hand_over(&data), expected, "{answered}");
            }
        }
    }
}

/// A connection that one side has closed is never the kernel's: it would not know of the FIN.
#[test]
fn a_closed_connection_is_not_handed_over() {
    for family in FAMILIES {
        for closed in [phase::FIN_SENT, phase::LAST_ACK, phase::CLOSED, 0, 6, u32::MAX] {
            let mut client = Client::open(family);
            let flow = client.edge.entry();
            client.edge.flow = Some(flow.in_phase(closed));
            for (bits, len) in [(DATA, 100), (flags::ACK | flags::FIN, 0)] {
                let segment = client.at(bits, 0, 0, len);
                let handed = client.edge.hand_over(&segment);
                assert_eq!(handed, Handover::Leave(Exit::Orphan), "phase {closed}");
            }
        }
    }
}

/// A full accept queue: the kernel drops the segment, and the client sends it again.
#[test]
fn a_segment_that_the_kernel_dropped_is_handed_over_again() {
    for family in FAMILIES {
        for answered in [false, true] {
            for preflight in [false, true] {
                let mut client = Client::connected(family);
                if answered {
                    client.preflight(400, 200);
                }
                let data = client.data(100);
                client.edge.world.preflight = preflight;
                for _ in 0..3 {
                    let verdict = client.edge.ask(&data, Err(Exit::OriginDenied));
                    assert_eq!(verdict.exit.action(), Action::Pass);
                    assert_eq!(client.edge.hand_over(&data), Handover::Assign(kept(&client)));
                }
                // More may be in the segment then.
                let more = client.at(DATA, 0, 0, 1460);
                client.edge.ask(&more, Err(Exit::HeadTrailing));
                assert_eq!(client.edge.hand_over(&more), Handover::Assign(kept(&client)));
            }
        }
    }
}

/// What ends in the driver, and what the kernel knows best, costs no look-up here.
#[test]
fn bare_acknowledgements_and_resets_are_not_looked_at() {
    let mut client = Client::open(Family::V4);
    client.edge.count_again();
    for (bits, len) in [
        (flags::ACK, 0),
        (DATA, 0),
        (flags::RST, 0),
        (flags::RST | flags::ACK, 100),
        (flags::SYN, 0),
        (flags::SYN | flags::ACK, 100),
        (flags::FIN, 100),
        (0, 100),
    ] {
        let segment = client.at(bits, 0, 0, len);
        let handed = client.edge.hand_over(&segment);
        assert_eq!(handed, Handover::Leave(Exit::TcNotOurs), "{bits:#x}");
    }
    assert_eq!(client.edge.world.asked, crate::support::Asked::default());
}

/// From another version, or torn: it says nothing, here as in the driver.
#[test]
fn an_entry_in_an_unknown_phase_is_no_entry() {
    for family in FAMILIES {
        for unknown in [0, 6, 0x81, u32::MAX] {
            let mut client = Client::connected(family);
            let data = client.data(400);
            client.preflight(400, 200);
            let flow = client.edge.entry();
            client.edge.flow = Some(flow.in_phase(unknown));
            assert_eq!(client.edge.step(&data).ask, Ask::First);
            assert_eq!(client.edge.hand_over(&data), Handover::Assign(kept(&client)));
        }
    }
}
