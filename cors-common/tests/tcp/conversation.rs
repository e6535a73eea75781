//! Whole conversations through a bad network: each preflight is answered once, at its byte, or
//! the connection is the kernel's from exactly the byte that is next.
//!
//! The client's retransmission is the only timer, so the conversations end only if every answer
//! that was lost can be had again.

use cors_common::wire::segment::Family;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    network::Network,
    plan::{Ending, Plan},
};

/// What happens next to what is on its way.
#[derive(Clone, Copy, Debug)]
enum Event {
    Up(usize),
    Down(usize),
    RepeatUp(usize),
    RepeatDown(usize),
    LoseUp(usize),
    LoseDown(usize),
    Timer,
    TimerInPieces(usize),
    Probe(bool),
    /// A copy of anything that was ever sent.
    Late(usize),
    /// The listener's queue is full, or no longer.
    Queue(bool),
}

fn event() -> impl Strategy<Value = Event> {
    // Mostly in order: a network that only reorders never gets anywhere.
    let at = prop_oneof![3 => Just(0usize), 1 => 0usize..8];
    prop_oneof![
        6 => at.clone().prop_map(Event::Up),
        6 => at.clone().prop_map(Event::Down),
        1 => at.clone().prop_map(Event::RepeatUp),
        1 => at.clone().prop_map(Event::RepeatDown),
        1 => at.clone().prop_map(Event::LoseUp),
        1 => at.prop_map(Event::LoseDown),
        2 => Just(Event::Timer),
        1 => (1usize..200).prop_map(Event::TimerInPieces),
        1 => any::<bool>().prop_map(Event::Probe),
        2 => any::<usize>().prop_map(Event::Late),
        1 => any::<bool>().prop_map(Event::Queue),
    ]
}

/// One in six conversations loses its lease somewhere, and most of those for good.
fn lease() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![5 => Just(Vec::new()), 1 => vec(0usize..120, 1..3)]
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        any::<bool>(),
        prop_oneof![any::<u32>(), u32::MAX - 500..=u32::MAX],
        vec((0usize..120, 1usize..300), 1..5),
        select(&[Ending::Fin, Ending::Close, Ending::HalfClose, Ending::Get][..]),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(v6, isn, preflights, ending, pipelines, pauses)| Plan {
            family: if v6 { Family::V6 } else { Family::V4 },
            isn,
            preflights,
            ending,
            pipelines,
            pauses,
        })
}

fn happen(network: &mut Network, event: Event) {
    match event {
        Event::Up(at) => network.deliver_up(at, false),
        Event::Down(at) => network.deliver_down(at, false),
        Event::RepeatUp(at) => network.deliver_up(at, true),
        Event::RepeatDown(at) => network.deliver_down(at, true),
        Event::LoseUp(at) => network.lose_up(at),
        Event::LoseDown(at) => network.lose_down(at),
        Event::Timer => network.retransmit(usize::MAX),
        Event::TimerInPieces(len) => network.retransmit(len),
        Event::Probe(byte) => network.probe(byte),
        Event::Late(at) => network.deliver_late(at),
        Event::Queue(full) => network.fill_queue(full),
    }
}

/// From here on the network is a good one: it must come to an end.
fn settle(network: &mut Network) -> Result<(), TestCaseError> {
    network.fill_queue(false);
    for _ in 0..2000 {
        match network.in_flight() {
            (0, 0) if network.is_done() => return Ok(()),
            (0, 0) => network.retransmit(usize::MAX),
            (0, _) => network.deliver_down(0, false),
            _ => network.deliver_up(0, false),
        }
    }
    Err(TestCaseError::fail(format!("stuck: {network:?}")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_answer_arrives_once_or_the_kernel_goes_on(
        plan in plan(),
        events in vec(event(), 0..120),
        turn in 0usize..240,
        lease in lease(),
        late in vec(any::<usize>(), 0..40),
    ) {
        let wanted = plan.preflights.len();
        let bytes: usize = plan.preflights.iter().map(|(_, len)| len).sum();
        let ending = plan.ending;
        let mut network = Network::new(plan);
        for (at, event) in events.iter().enumerate() {
            if at == turn {
                network.turn_epoch();
            }
            if lease.contains(&at) {
                network.toggle_lease();
            }
            happen(&mut network, *event);
        }
        settle(&mut network)?;
        if network.was_reset() {
            prop_assert!(!lease.is_empty(), "only a lapsed lease costs a connection");
        } else if network.handed_over() {
            prop_assert!(network.answered() <= wanted);
        } else {
            prop_assert_ne!(ending, Ending::Get, "a GET is the kernel's");
            prop_assert_eq!(network.answered(), wanted);
            prop_assert_eq!(network.received(), bytes);
        }
        // When all is over, whatever comes late still breaks nothing.
        for at in late {
            network.deliver_late(at);
            while network.in_flight().1 > 0 {
                network.deliver_down(0, false);
            }
        }
    }

    /// Without loss, reordering or requests that come too early nothing is handed over before it
    /// must be: the test above cannot be satisfied by handing everything over.
    #[test]
    fn on_a_good_network_every_preflight_is_answered(plan in plan()) {
        let plan = Plan { pipelines: false, ..plan };
        let (wanted, ending) = (plan.preflights.len(), plan.ending);
        let mut network = Network::new(plan);
        settle(&mut network)?;
        prop_assert_eq!(network.answered(), wanted);
        prop_assert_eq!(network.handed_over(), ending == Ending::Get);
    }
}
