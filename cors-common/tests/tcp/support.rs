//! The surroundings of a decision, scripted, and the driver's side of one tuple.

use std::cell::Cell;

use cors_common::{
    cookie::Keys,
    exit::{Action, Exit},
    policy::Answer,
    tcp::{
        Arrival, Env, Owner,
        flow::Flow,
        handover::{Handover, hand_over},
        handshake::Maker,
        step::step,
        verdict::{Ask, Change, Verdict},
    },
    wire::{
        options::{Declined, OptionBytes},
        segment::{Address, Family, Segment, Tuple},
    },
};

pub(crate) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
pub(crate) const OWNERS: [Owner; 4] =
    [Owner::Nobody, Owner::Listener, Owner::MptcpListener, Owner::Connection];

/// A SYN as Linux sends it: MSS 1460, SACK, timestamps, window scale 7.
pub(crate) const LINUX: &[u8] =
    &[2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];

const KEYS: Keys = Keys {
    v4: [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210],
    v6: [0x0f1e_2d3c_4b5a_6978, 0x8796_a5b4_c3d2_e1f0],
};

/// How often each question was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) keys: Cell<u32>,
    pub(crate) owner: u32,
    pub(crate) options: u32,
    pub(crate) arrival: u32,
    pub(crate) text: u32,
}

/// What a decision sees of the world, and what it looked at.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) keys: Keys,
    pub(crate) epoch: u32,
    pub(crate) owner: Owner,
    pub(crate) arrival: Arrival,
    pub(crate) declined: Declined,
    /// Who makes handshakes.
    pub(crate) maker: Maker,
    /// Whether the agent has stopped renewing the lease.
    pub(crate) lapsed: bool,
    pub(crate) preflight: bool,
    pub(crate) syn_options: Vec<u8>,
    /// Whether the options can be copied out at all.
    pub(crate) readable: bool,
    pub(crate) asked: Asked,
    /// Where the options are copied to.
    pub(crate) options: OptionBytes,
}

impl World {
    /// A plain listener, and a payload that starts like a preflight.
    pub(crate) fn new() -> Self {
        Self {
            keys: KEYS,
            epoch: 7,
            owner: Owner::Listener,
            arrival: Arrival { for_us: true, mss: 1460 },
            declined: Declined::default(),
            maker: Maker::Driver,
            lapsed: false,
            preflight: true,
            syn_options: LINUX.to_vec(),
            readable: true,
            asked: Asked::default(),
            options: OptionBytes::EMPTY,
        }
    }
}

impl Env for World {
    fn keys(&self) -> &Keys {
        self.asked.keys.set(self.asked.keys.get() + 1);
        &self.keys
    }

    fn epoch(&self) -> u32 {
        self.epoch
    }

    fn lapsed(&mut self) -> bool {
        self.lapsed
    }

    fn owner(&mut self, _: &Segment) -> Owner {
        self.asked.owner += 1;
        self.owner
    }

    fn listener(&mut self, segment: &Segment) -> Owner {
        self.owner(segment)
    }

    fn declined(&self) -> Declined {
        self.declined
    }

    fn leaves_handshakes(&self) -> bool {
        self.maker == Maker::Kernel
    }

    fn options(&mut self, _: &Segment) -> &mut OptionBytes {
        self.asked.options += 1;
        let len = self.syn_options.len();
        self.options.clear(len)[..len].copy_from_slice(&self.syn_options);
        if !self.readable {
            self.options.set_unreadable();
        }
        &mut self.options
    }

    fn arrival(&mut self, _: &Segment) -> Arrival {
        self.asked.arrival += 1;
        self.arrival
    }

    fn starts_like_a_preflight(&mut self, _: &Segment) -> bool {
        self.asked.text += 1;
        self.preflight
    }
}

/// The tuple that all the tests use.
pub(crate) fn tuple(family: Family) -> Tuple {
    let (client, server) = match family {
        Family::V4 => (
            Address::v4(u32::from_ne_bytes([10, 0, 0, 2])),
            Address::v4(u32::from_ne_bytes([10, 0, 0, 1])),
        ),
        Family::V6 => (Address::from_bytes([0xfd; 16]), Address::from_bytes([0x20; 16])),
    };
    Tuple { client, server, client_port: 40_000u16.to_be(), server_port: 80u16.to_be() }
}

/// A segment from the client.
pub(crate) fn segment(
    family: Family,
    flags: u8,
    seq: u32,
    ack: u32,
    payload_len: usize,
) -> Segment {
    let tcp_at = match family {
        Family::V4 => 34,
        Family::V6 => 54,
    };
    Segment {
        tuple: tuple(family),
        family,
        tag: 0,
        ip_at: 14,
        tcp_at,
        options_len: 0,
        payload_len,
        seq,
        ack,
        window: u16::MAX,
        flags,
    }
}

/// An answer of `len` bytes.
pub(crate) fn answer(len: usize) -> Answer {
    Answer { len, ..Answer::NONE }
}

/// An answer of `len` bytes, behind which the connection closes.
pub(crate) fn last_answer(len: usize) -> Answer {
    Answer { close: true, ..answer(len) }
}

/// The driver's side of one tuple: its surroundings, and the entry in the flow map.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) world: World,
    pub(crate) flow: Option<Flow>,
}

impl Edge {
    /// Nothing is remembered yet.
    pub(crate) fn new() -> Self {
        Self { world: World::new(), flow: None }
    }

    /// Decides on a segment that asks for no request to be read.
    #[track_caller]
    pub(crate) fn give(&mut self, segment: &Segment) -> Verdict {
        let verdict = self.step(segment);
        assert_eq!(verdict.ask, Ask::Nothing, "a request was asked for");
        self.apply(&verdict);
        verdict
    }

    /// Decides on a segment whose request, if one is asked for, is decided on like this.
    pub(crate) fn ask(&mut self, segment: &Segment, decision: Result<&Answer, Exit>) -> Verdict {
        let mut verdict = self.step(segment);
        if verdict.ask != Ask::Nothing {
            verdict.answered(segment, self.looked_up(decision));
        }
        self.apply(&verdict);
        verdict
    }

    /// The shell looks nothing up while the lease is lapsed.
    pub(crate) const fn looked_up<'a>(
        &self,
        decision: Result<&'a Answer, Exit>,
    ) -> Result<&'a Answer, Exit> {
        if self.world.lapsed { Err(Exit::LeaseExpired) } else { decision }
    }

    /// What `step` says; nothing changes.
    pub(crate) fn step(&mut self, segment: &Segment) -> Verdict {
        let mut verdict = Verdict::NONE;
        step(segment, self.flow.as_ref(), &mut self.world, &mut verdict);
        verdict
    }

    /// Changes the flow map, as the shell does it behind a verdict.
    pub(crate) fn apply(&mut self, verdict: &Verdict) {
        match verdict.change {
            Change::Keep => {}
            Change::Put => self.flow = Some(verdict.flow),
            Change::Forget => self.flow = None,
        }
    }

    /// What the hook behind the driver says.
    pub(crate) fn hand_over(&mut self, segment: &Segment) -> Handover {
        hand_over(segment, self.flow.as_ref(), &mut self.world)
    }

    /// The entry, which must be there.
    #[track_caller]
    pub(crate) fn entry(&self) -> Flow {
        self.flow.expect("a flow entry")
    }

    /// Starts to count the questions anew.
    pub(crate) fn count_again(&mut self) {
        self.world.asked = Asked::default();
    }
}

/// Exit and action in one assertion: the action is what the network sees.
#[track_caller]
pub(crate) fn assert_exit(verdict: &Verdict, exit: Exit, action: Action) {
    assert_eq!(verdict.exit, exit);
    assert_eq!(verdict.exit.action(), action, "{exit:?}");
}
