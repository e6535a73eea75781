//! What holds for every segment on every connection, whatever the numbers are.

use cors_common::{
    cookie,
    exit::{Action, Exit},
    tcp::{
        Owner,
        flow::{Flow, phase},
        handover::Handover,
        step::step,
        verdict::{Ask, Change, Verdict},
    },
    wire::{
        options::Negotiated,
        reply::TcpFields,
        segment::{Family, Segment, flags},
    },
};
use proptest::{collection::vec, prelude::*};

use crate::{
    client::Client,
    exits,
    meeting::{Meeting, meeting},
    support::{Edge, World},
};

/// Whether the segment is the first byte behind a SYN-ACK of ours, by the function that issues
/// cookies and not by the one that reads them.
fn proven(world: &World, segment: &Segment) -> bool {
    let (isn, iss) = (segment.seq.wrapping_sub(1), segment.ack.wrapping_sub(1));
    [world.epoch, world.epoch.wrapping_sub(1)].into_iter().any(|epoch| {
        let kept = Negotiated(iss as u8);
        cookie::issue(&world.keys, segment.family, &segment.tuple, epoch, isn, kept) == iss
    })
}

/// The entry, where tier 1 still holds the connection.
fn held(edge: &Edge) -> Option<Flow> {
    edge.flow.filter(|flow| (phase::OPEN..=phase::CLOSED).contains(&flow.phase))
}

/// Whether a cookie is the very one that an entry with an answer on it came from.
fn starts_over(edge: &Edge, iss: u32) -> bool {
    let known = edge.flow.filter(|flow| (phase::OPEN..=phase::LEAVING).contains(&flow.phase));
    known.is_some_and(|flow| flow.iss == iss)
}

/// Whether a segment without a question is exactly where the entry expects one: 32 bits, and not
/// the 24 of a cookie. Such a one is answered without a look-up.
fn exact(flow: &Flow, segment: &Segment) -> bool {
    let behind = segment.seq == flow.rcv_nxt.wrapping_sub(1);
    let there = segment.seq == flow.rcv_nxt;
    match (segment.flags & (flags::RST | flags::FIN), segment.payload_len) {
        (flags::FIN, 0) => behind || there,
        (0, 0) => (behind || there) && segment.ack == flow.snd_nxt,
        (0 | flags::FIN, 1) => behind,
        (0 | flags::FIN, _) => false,
        _ => there,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_exit_is_one_that_is_known(mut meeting in meeting()) {
        let Meeting { edge, segment, decision } = &mut meeting;
        let verdict = edge.step(segment);
        if verdict.ask == Ask::Nothing {
            prop_assert!(exits::STEP.contains(&verdict.exit), "{:?}", verdict.exit);
            prop_assert!(!verdict.body);
            return Ok(());
        }
        prop_assert_eq!(edge.world.owner, Owner::Listener);
        prop_assert_eq!(verdict.change, Change::Keep, "nothing changes before it is read");
        let decision = decision.as_ref().map_err(|exit| *exit);
        let mut answered = verdict;
        answered.answered(segment, decision);
        match decision {
            Err(refused) if verdict.ask != Ask::Again => prop_assert_eq!(answered.exit, refused),
            _ => prop_assert!(exits::ANSWERED.contains(&answered.exit), "{:?}", answered.exit),
        }
        prop_assert_eq!(answered.body, answered.exit.action() == Action::Transmit);
    }

    /// A question is a promise that the numbers fit: nothing checks them again behind it.
    #[test]
    fn a_request_is_read_only_where_one_is_due(mut meeting in meeting()) {
        let Meeting { edge, segment, .. } = &mut meeting;
        let verdict = edge.step(segment);
        match verdict.ask {
            Ask::Nothing => return Ok(()),
            Ask::First => {
                prop_assert!(proven(&edge.world, segment));
                prop_assert_eq!(verdict.flow.rcv_nxt, segment.seq);
                prop_assert_eq!(verdict.flow.snd_nxt, segment.ack);
                prop_assert_eq!(verdict.flow.iss, segment.ack.wrapping_sub(1));
                prop_assert_eq!(verdict.request_len, segment.payload_len);
                prop_assert!(!starts_over(edge, verdict.flow.iss));
            }
            Ask::Next => {
                let flow = held(edge).expect("an entry");
                prop_assert_eq!(flow.phase, phase::OPEN);
                prop_assert_eq!((segment.seq, segment.ack), (flow.rcv_nxt, flow.snd_nxt));
                prop_assert_eq!((verdict.flow, verdict.request_len), (flow, segment.payload_len));
            }
            Ask::Again => {
                let flow = held(edge).expect("an entry");
                prop_assert!(flow.phase <= phase::FIN_SENT);
                prop_assert_eq!((segment.seq, segment.ack), (flow.request_seq(), flow.reply_seq()));
                prop_assert_eq!(verdict.flow, flow);
                prop_assert_eq!(verdict.request_len, usize::from(flow.request_len));
            }
        }
        prop_assert!(verdict.request_len > 0 && verdict.request_len <= segment.payload_len);
        let plain = segment.flags & !(flags::PSH | flags::ECE | flags::CWR | flags::FIN);
        prop_assert_eq!(plain, flags::ACK);
    }

    /// Where the kernel has a socket, a cookie is no reason to act, and an entry only where all
    /// 32 bits of a number agree.
    #[test]
    fn the_kernels_connections_are_left_alone(mut meeting in meeting()) {
        let Meeting { edge, segment, .. } = &mut meeting;
        edge.world.owner = Owner::Connection;
        let verdict = edge.step(segment);
        prop_assert_eq!(verdict.ask, Ask::Nothing);
        let exact = held(edge).is_some_and(|flow| exact(&flow, segment));
        prop_assert!(exact || verdict.exit.action() == Action::Pass, "{:?}", verdict.exit);
        prop_assert_eq!(edge.hand_over(segment), Handover::Leave(Exit::TcNotOurs));
    }

    #[test]
    fn the_kernel_goes_on_at_the_next_byte_only(mut meeting in meeting()) {
        let Meeting { edge, segment, .. } = &mut meeting;
        let Handover::Assign(kept) = edge.hand_over(segment) else { return Ok(()) };
        prop_assert_eq!(edge.world.owner, Owner::Listener);
        prop_assert_eq!(segment.flags & (flags::SYN | flags::RST), 0);
        prop_assert!(segment.has(flags::ACK));
        prop_assert!(segment.payload_len > 0 || segment.has(flags::FIN));
        let at_entry = edge.flow.filter(|flow| {
            [phase::OPEN, phase::LEAVING].contains(&flow.phase)
                && (segment.seq, segment.ack) == (flow.rcv_nxt, flow.snd_nxt)
        });
        if let Some(flow) = at_entry {
            prop_assert_eq!(kept, flow.negotiated());
        } else {
            prop_assert!(proven(&edge.world, segment));
            prop_assert_eq!(kept.0, segment.ack.wrapping_sub(1) as u8);
            prop_assert!(!starts_over(edge, segment.ack.wrapping_sub(1)));
        }
    }

    /// What the driver passes up at the next byte is what the hook behind it takes: a connection
    /// of ours is reset by the kernel where the two disagree.
    #[test]
    fn what_the_driver_does_not_answer_the_kernel_takes(mut meeting in meeting()) {
        let Meeting { edge, segment, .. } = &mut meeting;
        edge.world.owner = Owner::Listener;
        let verdict = edge.step(segment);
        let due = matches!(verdict.ask, Ask::First | Ask::Next)
            || verdict.change == Change::Put && verdict.flow.phase == phase::LEAVING;
        if due {
            let mut refused = verdict;
            if verdict.ask != Ask::Nothing {
                refused.answered(segment, Err(Exit::MethodDenied));
            }
            prop_assert_eq!(refused.exit.action(), Action::Pass);
            edge.apply(&refused);
            let kept = verdict.flow.negotiated();
            prop_assert_eq!(edge.hand_over(segment), Handover::Assign(kept));
        }
    }

    /// A reply acknowledges what it answers, and not a byte that did not arrive.
    #[test]
    fn a_reply_acknowledges_its_segment(mut meeting in meeting()) {
        let Meeting { edge, segment, decision } = &mut meeting;
        let verdict = edge.ask(segment, decision.as_ref().map_err(|exit| *exit));
        if verdict.exit.action() != Action::Transmit {
            return Ok(());
        }
        let taken = match verdict.exit {
            Exit::Answered | Exit::AnsweredClose | Exit::AnsweredAgain => verdict.request_len,
            _ => 1,
        };
        let ack = segment.seq.wrapping_add(u32::try_from(taken).expect("short"));
        prop_assert_eq!(verdict.tcp.ack, ack, "{:?}", verdict.exit);
        prop_assert!(verdict.tcp.flags & flags::ACK != 0);
        prop_assert_eq!(verdict.tcp.flags & (flags::RST | flags::URG), 0);
        prop_assert_eq!(verdict.tcp.flags & flags::SYN != 0, verdict.exit == Exit::SynAck);
    }

    /// The verdict lies in memory that the packet before has used.
    #[test]
    fn what_the_packet_before_left_changes_nothing(
        mut before in meeting(),
        mut meeting in meeting(),
    ) {
        let mut used = before.edge.ask(&before.segment, before.decision.as_ref().map_err(|e| *e));
        let Meeting { edge, segment, decision } = &mut meeting;
        let mut fresh = Verdict::NONE;
        for verdict in [&mut used, &mut fresh] {
            step(segment, edge.flow.as_ref(), &mut edge.world, verdict);
            if verdict.ask != Ask::Nothing {
                verdict.answered(segment, decision.as_ref().map_err(|exit| *exit));
            }
        }
        prop_assert_eq!((used.exit, used.ask, used.change), (fresh.exit, fresh.ask, fresh.change));
        prop_assert_eq!(used.body, fresh.body);
        if fresh.exit.action() == Action::Transmit {
            // Nobody looks at options that are none.
            let read = |tcp: TcpFields| match tcp.option_words {
                0 => TcpFields { options: [0; 3], ..tcp },
                _ => tcp,
            };
            prop_assert_eq!(read(used.tcp), read(fresh.tcp));
        }
        if fresh.change == Change::Put {
            prop_assert_eq!(used.flow, fresh.flow);
        }
    }

    /// Without the lease nothing is begun and nothing answered, whoever asks.
    #[test]
    fn a_lapsed_lease_answers_nothing(mut meeting in meeting()) {
        let Meeting { edge, segment, decision } = &mut meeting;
        edge.world.lapsed = true;
        let before = edge.flow;
        let asked = edge.step(segment).ask;
        let verdict = edge.ask(segment, decision.as_ref().map_err(|exit| *exit));
        prop_assert!(!verdict.body);
        prop_assert_ne!(verdict.exit, Exit::SynAck);
        match asked {
            Ask::Nothing => {}
            Ask::First => prop_assert_eq!((verdict.exit, edge.flow), (Exit::LeaseExpired, before)),
            Ask::Next => {
                let leaving = before.map(|flow| flow.in_phase(phase::LEAVING));
                prop_assert_eq!((verdict.exit, edge.flow), (Exit::LeaseExpired, leaving));
            }
            Ask::Again => prop_assert_eq!((verdict.exit, edge.flow), (Exit::AnswerChanged, before)),
        }
    }

    /// After any number of answers both sequence spaces are where counting says.
    #[test]
    fn answers_add_up(
        isn in prop_oneof![any::<u32>(), u32::MAX - 5000..=u32::MAX],
        v6: bool,
        lengths in vec((1usize..=1024, 1usize..=1460), 1..40),
    ) {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let mut client = Client::connected_from(family, isn);
        let (mut rcv_nxt, mut snd_nxt) = (isn.wrapping_add(1), client.iss.wrapping_add(1));
        for (request, reply) in lengths {
            let verdict = client.preflight(request, reply);
            prop_assert_eq!(verdict.tcp.seq, snd_nxt);
            rcv_nxt = rcv_nxt.wrapping_add(u32::try_from(request).expect("short"));
            snd_nxt = snd_nxt.wrapping_add(u32::try_from(reply).expect("short"));
            prop_assert_eq!(verdict.tcp.ack, rcv_nxt);
            let entry = client.edge.entry();
            prop_assert_eq!((entry.rcv_nxt, entry.snd_nxt), (rcv_nxt, snd_nxt));
            prop_assert_eq!((entry.phase, entry.iss), (phase::OPEN, client.iss));
        }
        client.finish();
        prop_assert_eq!(client.edge.entry().rcv_nxt, rcv_nxt.wrapping_add(1));
    }
}
