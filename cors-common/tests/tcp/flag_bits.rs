//! All 256 combinations of flag bits, in every state that a connection can have.

use cors_common::{
    exit::{Action, Exit},
    tcp::{
        Owner,
        handover::Handover,
        verdict::{Ask, Change},
    },
    wire::segment::{Family, Segment, flags},
};

use crate::{
    client::Client,
    support::{Edge, FAMILIES, OWNERS, assert_exit},
};

/// What a connection does with its next segment, where that is ACK, FIN and ACK, or either with
/// data. Everything else follows from the flags alone.
struct State {
    name: &'static str,
    make: fn(Family) -> Client,
    /// Whether an entry is remembered that a reset ends.
    remembered: bool,
    ack: Exit,
    fin: Exit,
    data: Result<Ask, Exit>,
    data_fin: Exit,
}

fn unknown(family: Family) -> Client {
    Client { edge: Edge::new(), family, isn: 1, iss: 5, seq: 2, ack: 6 }
}

const STATES: &[State] = &[
    State {
        name: "nothing is known",
        make: unknown,
        remembered: false,
        ack: Exit::NotOurs,
        fin: Exit::NotOurs,
        data: Err(Exit::NotOurs),
        data_fin: Exit::NotOptions,
    },
    State {
        name: "the handshake is done",
        make: Client::connected,
        remembered: false,
        ack: Exit::HandshakeAck,
        fin: Exit::FinAck,
        data: Ok(Ask::First),
        data_fin: Exit::NotOptions,
    },
    State {
        name: "open",
        make: Client::open,
        remembered: true,
        ack: Exit::ReplyAck,
        fin: Exit::FinAck,
        data: Ok(Ask::Next),
        data_fin: Exit::NotOptions,
    },
    State {
        name: "our FIN was sent",
        make: Client::told_to_close,
        remembered: true,
        ack: Exit::ReplyAck,
        fin: Exit::CloseAck,
        data: Err(Exit::AfterClose),
        data_fin: Exit::AfterClose,
    },
    State {
        name: "the last acknowledgement is missing",
        make: Client::last_ack,
        remembered: true,
        ack: Exit::LastAck,
        fin: Exit::Stale,
        data: Err(Exit::AfterClose),
        data_fin: Exit::AfterClose,
    },
    State {
        name: "closed",
        make: Client::closed,
        remembered: true,
        ack: Exit::ReplyAck,
        fin: Exit::Stale,
        data: Err(Exit::AfterClose),
        data_fin: Exit::AfterClose,
    },
    State {
        name: "on its way to the kernel",
        make: Client::leaving,
        remembered: true,
        ack: Exit::ReplyAck,
        fin: Exit::Leaving,
        data: Err(Exit::Leaving),
        data_fin: Exit::Leaving,
    },
];

/// What RFC 9293 §3.10.7 makes of the flags, in its order: a reset is looked at before SYN and
/// ACK, and a segment that has no ACK then is dropped. Tier 1 leaves it to the kernel to do so.
fn expected(state: &State, bits: u8, len: usize) -> Result<Ask, Exit> {
    let has = |bit| bits & bit != 0;
    // PSH, and the two bits of RFC 3168, change nothing.
    let plain = bits & !(flags::PSH | flags::ECE | flags::CWR);
    if plain == flags::SYN {
        return Err(if len == 0 { Exit::SynAck } else { Exit::SynData });
    }
    if state.data == Err(Exit::Leaving) {
        // It is the kernel's but for what the kernel would reset; what the flags are is its
        // business.
        let bare = len == 0 && !has(flags::FIN) && !has(flags::RST);
        return Err(if bare { Exit::ReplyAck } else { Exit::Leaving });
    }
    if has(flags::RST) {
        return Err(if state.remembered { Exit::Reset } else { Exit::NotOurs });
    }
    if has(flags::SYN) || has(flags::URG) || !has(flags::ACK) {
        return Err(Exit::Flags);
    }
    match (has(flags::FIN), len) {
        (false, 0) => Err(state.ack),
        (true, 0) => Err(state.fin),
        (false, _) => state.data,
        (true, _) => Err(state.data_fin),
    }
}

/// A segment at the connection's next byte.
fn next(client: &Client, bits: u8, len: usize) -> Segment {
    client.at(bits, 0, 0, len)
}

#[test]
fn every_combination_in_every_state() {
    for family in FAMILIES {
        for state in STATES {
            for len in [0, 300] {
                for bits in 0..=u8::MAX {
                    let leaves = state.data == Err(Exit::Leaving);
                    if leaves && bits & flags::RST != 0 {
                        // `closing` says what a reset does there.
                        continue;
                    }
                    let mut client = (state.make)(family);
                    let before = client.edge.flow;
                    let verdict = client.edge.step(&next(&client, bits, len));
                    let got = match verdict.ask {
                        Ask::Nothing => Err(verdict.exit),
                        ask => Ok(ask),
                    };
                    let at = format!("{}, flags {bits:#04x}, {len} bytes", state.name);
                    assert_eq!(got, expected(state, bits, len), "{at}");
                    // A segment that passes untouched must not have changed anything either,
                    // unless it is the one to hand over.
                    let leaves = got == Err(Exit::NotOptions) && state.remembered;
                    if got.is_err() && verdict.exit.action() == Action::Pass && !leaves {
                        assert_eq!(verdict.change, Change::Keep, "{at}");
                        client.edge.apply(&verdict);
                        assert_eq!(client.edge.flow, before, "{at}");
                    }
                }
            }
        }
    }
}

/// The well-known ones by name, so that the oracle above has something to agree with.
#[test]
fn scans_are_passed_in_every_state() {
    const SCANS: &[(&str, u8)] = &[
        ("null", 0),
        ("SYN and FIN", flags::SYN | flags::FIN),
        ("xmas", flags::FIN | flags::PSH | flags::URG),
        ("all but RST", !flags::RST),
        ("FIN without ACK", flags::FIN),
        ("SYN and ACK", flags::SYN | flags::ACK),
        ("urgent data", flags::ACK | flags::PSH | flags::URG),
        ("an urgent SYN", flags::SYN | flags::URG),
    ];
    for family in FAMILIES {
        for state in STATES {
            for (name, bits) in SCANS {
                for len in [0, 300] {
                    let mut client = (state.make)(family);
                    let segment = next(&client, *bits, len);
                    let verdict = client.edge.give(&segment);
                    let name = format!("{name}, {}, {len} bytes", state.name);
                    assert_eq!(Err(verdict.exit), expected(state, *bits, len), "{name}");
                    if state.data != Err(Exit::Leaving) {
                        assert_exit(&verdict, Exit::Flags, Action::Pass);
                    }
                    assert_eq!(verdict.change, Change::Keep);
                    // Nor is it the segment from which the kernel goes on, unless it has data:
                    // urgent data is data.
                    let handed = client.edge.hand_over(&segment);
                    if len == 0 || *bits != flags::ACK | flags::PSH | flags::URG {
                        assert_eq!(handed, Handover::Leave(Exit::TcNotOurs), "{name}");
                    } else if matches!(state.data, Ok(_) | Err(Exit::Leaving)) {
                        assert!(matches!(handed, Handover::Assign(_)), "{name}: {handed:?}");
                    } else {
                        assert_ne!(handed, Handover::Leave(Exit::TcNotOurs), "{name}");
                        assert!(matches!(handed, Handover::Leave(_)), "{name}: {handed:?}");
                    }
                }
            }
        }
    }
}

/// None of them costs a look-up: a scan is no lever on the kernel.
#[test]
fn flags_that_nobody_sends_ask_nothing() {
    // On an entry that waits for the kernel the socket is the question, whatever the flags.
    for state in STATES.iter().filter(|state| state.data != Err(Exit::Leaving)) {
        let mut client = (state.make)(Family::V4);
        for bits in 0..=u8::MAX {
            let segment = next(&client, bits, 300);
            if expected(state, bits, 300) == Err(Exit::Flags) || segment.has(flags::RST) {
                client.edge.count_again();
                client.edge.step(&segment);
                assert_eq!(client.edge.world.asked, crate::support::Asked::default(), "{bits:#x}");
            }
        }
    }
}

/// A tuple that the kernel has a socket for, and of which nothing is remembered: whatever the
/// flags, the segment is the kernel's, even if its numbers meet a cookie.
#[test]
fn the_kernels_connections_are_left_alone_whatever_the_flags() {
    for family in FAMILIES {
        for make in [unknown as fn(Family) -> Client, Client::connected, Client::leaving] {
            for len in [0, 1, 300] {
                for bits in 0..=u8::MAX {
                    let mut client = make(family);
                    client.edge.world.owner = Owner::Connection;
                    let segment = next(&client, bits, len);
                    let verdict = client.edge.give(&segment);
                    assert_eq!(verdict.exit.action(), Action::Pass, "{bits:#x}, {len} bytes");
                    // The kernel has it: nothing of the entry is needed any more.
                    let gone = client.edge.flow.is_none();
                    assert!(gone || segment.has(flags::SYN), "{bits:#x}, {len} bytes");
                    let handed = client.edge.hand_over(&segment);
                    assert_eq!(handed, Handover::Leave(Exit::TcNotOurs), "{bits:#x}");
                }
            }
        }
    }
}

/// A phase that is no phase is as good as no entry: from another version, or torn.
#[test]
fn an_entry_in_an_unknown_phase_is_no_entry() {
    for unknown in [0, 6, 7, 0x81, u32::MAX] {
        for owner in OWNERS {
            for bits in 0..=u8::MAX {
                for len in [0, 1, 300] {
                    let mut client = Client::open(Family::V6);
                    client.edge.world.owner = owner;
                    let flow = client.edge.entry();
                    let segment = next(&client, bits, len);
                    client.edge.flow = Some(flow.in_phase(unknown));
                    let with = client.edge.step(&segment);
                    client.edge.flow = None;
                    assert_eq!(with, client.edge.step(&segment), "phase {unknown}, {bits:#x}");
                }
            }
        }
    }
}
