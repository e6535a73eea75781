//! The two kernel programs as far as they decide: `cors-ebpf/src/edge.rs` and `handover.rs`, step
//! for step, with memory in the place of maps and packet buffers.

use cors_common::{
    cookie::{EPOCH_SECONDS, Keys},
    exit::{Action, Exit},
    head::Head,
    policy::{Answer, memo::Memo},
    state::Date,
    tcp::{
        Arrival, Env, Owner,
        flow::{Flow, phase},
        handover::{Handover, hand_over},
        recent::{self, Recent, SLOTS},
        step::step,
        verdict::{Ask, Change, Verdict},
    },
    track::{
        flag,
        offer::{self, Offer},
    },
    wire::{
        options::{Declined, Negotiated, OptionBytes},
        reply::Reply,
        segment::{Endpoint, Family, Segment, Tuple, flags},
    },
};

use crate::{
    driver::{Driver, Host, Ingress, Tc},
    flows::Flows,
    image::{Compiled, DATE},
    packet::SERVER_MAC,
    tracks::Tracks,
};

/// What the agent tells the programs, and what the machine is like.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The cookie's keys.
    pub keys: Keys,
    /// The protected sockets.
    pub protected: Vec<Endpoint>,
    /// What the host's TCP does not do.
    pub declined: Declined,
    /// The largest segments of IPv4 and IPv6.
    pub mss: [u16; 2],
    /// Connections that are remembered.
    pub flows: usize,
    /// Places for recent answers, a power of two.
    pub memos: usize,
    /// One of so many replies that are longer than the frame has no room in its buffer; 0: none.
    pub no_room: u64,
    /// Whether connections that the kernel owns are tracked.
    pub tracks: bool,
    /// Entries for those, a power of two.
    pub entries: usize,
}

/// The programs and their maps.
pub struct Edge {
    pub(crate) setting: Setting,
    pub(crate) image: Compiled,
    pub(crate) date: Date,
    now: u64,
    pub(crate) flows: Flows<Flow>,
    pub(crate) tracks: Tracks,
    recent: Vec<Recent>,
    pub(crate) offers: Vec<Offer>,
    pub(crate) memo: Vec<Memo>,
    pub(crate) head: Box<Head>,
    pub(crate) reply: Box<Reply>,
    options: OptionBytes,
    pub(crate) grown: u64,
}

/// What the decisions ask of their surroundings.
struct Kernel<'a> {
    frame: &'a [u8],
    host: &'a dyn Host,
    setting: &'a Setting,
    epoch: u32,
    second: u64,
    /// The connection is tracked: segments that go on must be looked at all the same.
    is_tracked: bool,
    recent: &'a mut Vec<Recent>,
    options: &'a mut OptionBytes,
}

impl Env for Kernel<'_> {
    fn keys(&self) -> &Keys {
        &self.setting.keys
    }

    fn epoch(&self) -> u32 {
        self.epoch
    }

    fn lapsed(&mut self) -> bool {
        false
    }

    fn owner(&mut self, segment: &Segment) -> Owner {
        let owner = self.host.owner(segment);
        if owner == Owner::Connection && !self.is_tracked {
            self.recent[Recent::slot(&segment.tuple) as usize].note(segment, self.second);
        }
        owner
    }

    fn listener(&mut self, segment: &Segment) -> Owner {
        self.owner(segment)
    }

    fn declined(&self) -> Declined {
        self.setting.declined
    }

    fn leaves_handshakes(&self) -> bool {
        false
    }

    fn options(&mut self, segment: &Segment) -> &mut OptionBytes {
        let (at, len) = (segment.options_at(), segment.options_len);
        let to = self.options.clear(len);
        match self.frame.get(at..at + len) {
            Some(bytes) => to[..len].copy_from_slice(bytes),
            None => self.options.set_unreadable(),
        }
        self.options
    }

    fn arrival(&mut self, segment: &Segment) -> Arrival {
        let mss = self.setting.mss[usize::from(segment.family == Family::V6)];
        Arrival { for_us: self.frame[..6] == SERVER_MAC, mss }
    }

    fn starts_like_a_preflight(&mut self, segment: &Segment) -> bool {
        self.frame.get(segment.payload_at()..).is_some_and(|text| text.starts_with(b"OPTIONS "))
    }
}

impl Edge {
    /// Programs that were just loaded.
    pub fn new(setting: Setting) -> Self {
        Self {
            image: Compiled::new(),
            date: Date::new(DATE),
            now: 0,
            flows: Flows::new(setting.flows),
            tracks: Tracks::new(setting.entries),
            recent: vec![Recent::NONE; SLOTS as usize],
            offers: vec![Offer::NONE; offer::SLOTS as usize],
            memo: vec![Memo::NONE; setting.memos],
            head: Box::default(),
            reply: Box::new(Reply::EMPTY),
            options: OptionBytes::EMPTY,
            grown: 0,
            setting,
        }
    }

    /// The lease's end, which the agent moves on every second.
    fn second(&self) -> u64 {
        (self.now / 1_000_000 + 10) * 1_000_000_000
    }

    /// When it is, as entries of tracked connections say it.
    pub(crate) fn seen(&self) -> u32 {
        (self.second() >> 30) as u32
    }

    /// The cookie's epoch.
    pub fn epoch(&self) -> u32 {
        (self.now / 1_000_000 / EPOCH_SECONDS) as u32
    }

    /// So far nothing is left to be read of the connection.
    pub(crate) fn note_until(&mut self, segment: &Segment, ahead: u32) {
        let second = self.second();
        self.recent[Recent::slot(&segment.tuple) as usize].note_until(segment, ahead, second);
    }

    fn goes_on(&self, frame: &[u8]) -> bool {
        recent::goes_on(frame, self.second(), |slot| self.recent.get(slot as usize))
    }

    fn env<'a>(&'a mut self, frame: &'a [u8], host: &'a dyn Host) -> Kernel<'a> {
        let (epoch, second) = (self.epoch(), self.second());
        let Self { setting, recent, options, .. } = self;
        Kernel { frame, host, setting, epoch, second, is_tracked: false, recent, options }
    }

    fn is_protected(&self, segment: &Segment) -> bool {
        self.setting.protected.contains(&segment.endpoint())
    }

    fn edge(&mut self, frame: &[u8], host: &dyn Host) -> Result<(Exit, Option<Vec<u8>>), Exit> {
        if self.goes_on(frame) {
            return Err(Exit::NotOurs);
        }
        let segment = Segment::read(frame)?;
        let flow = self.flows.get(&segment.tuple).copied();
        let is_syn = segment.flags & flags::KIND == flags::SYN;
        if !is_syn
            && flow.is_none_or(|flow| flow.phase == phase::LEAVING)
            && let Some(place) = self.tracks.find(&segment.tuple)
        {
            return self.tracked(frame, &segment, place);
        }
        if flow.is_none() && !self.is_protected(&segment) {
            return Err(Exit::NotProtected);
        }
        let mut verdict = Verdict::NONE;
        step(&segment, flow.as_ref(), &mut self.env(frame, host), &mut verdict);
        let mut answer = Answer::NONE;
        if verdict.ask != Ask::Nothing {
            let found = self.look_up(frame, &segment, verdict.request_len);
            if let Ok(found) = &found {
                answer = *found;
            }
            verdict.answered(&segment, found.as_ref().map_err(|exit| *exit));
        }
        let mut reply = None;
        if verdict.exit.action() == Action::Transmit {
            let out = self.transmit(frame, &segment, &verdict.tcp, verdict.body.then_some(&answer));
            if out.len() > frame.len() && self.has_no_room() {
                verdict.no_room();
            } else {
                reply = Some(out);
            }
        }
        match verdict.exit {
            Exit::SynAck => {
                self.tracks.forget(&segment.tuple);
                self.recent[Recent::slot(&segment.tuple) as usize].forget(&segment.tuple);
            }
            Exit::SynMptcp | Exit::SynSocket => {
                self.recent[Recent::slot(&segment.tuple) as usize].forget(&segment.tuple);
                let kept = self.options.kept();
                self.offers[Offer::slot(&segment.tuple) as usize].note(&segment, kept);
            }
            _ => {}
        }
        match verdict.change {
            Change::Keep => {}
            Change::Forget => self.flows.forget(&segment.tuple),
            Change::Put => self.flows.put(segment.tuple, verdict.flow),
        }
        Ok((verdict.exit, reply))
    }

    fn handover(
        &mut self,
        frame: &[u8],
        host: &dyn Host,
    ) -> Result<(Exit, Option<Negotiated>), Exit> {
        if self.goes_on(frame) {
            return Err(Exit::TcNotOurs);
        }
        let segment = Segment::read(frame).map_err(|_| Exit::TcNotOurs)?;
        let track = self.tracks.find(&segment.tuple).map(|place| self.tracks.entries[place]);
        if track.is_some_and(|track| track.is(flag::HEARD)) || !self.is_protected(&segment) {
            return Err(Exit::TcNotOurs);
        }
        let flow = self.flows.get(&segment.tuple).copied();
        let mut env = Kernel { is_tracked: track.is_some(), ..self.env(frame, host) };
        match hand_over(&segment, flow.as_ref(), &mut env) {
            Handover::Leave(exit) => Err(exit),
            Handover::Assign(kept) => {
                let exit = self.track_from(frame, &segment, kept);
                if let Some(flow) = self.flows.get(&segment.tuple) {
                    flow.phase = phase::LEAVING;
                }
                Ok((exit, Some(kept)))
            }
        }
    }
}

impl Driver for Edge {
    fn set_now(&mut self, now: u64) {
        self.now = now;
    }

    fn ingress(&mut self, frame: Vec<u8>, host: &dyn Host) -> (Exit, Ingress) {
        let (exit, reply) = self.edge(&frame, host).unwrap_or_else(|exit| (exit, None));
        let ingress = match (exit.action(), reply) {
            (Action::Pass, rewritten) => Ingress::Pass(rewritten.unwrap_or(frame)),
            (Action::Transmit, Some(reply)) => Ingress::Transmit(reply),
            (Action::Drop, _) | (Action::Transmit, None) => Ingress::Drop,
        };
        (exit, ingress)
    }

    fn tc_ingress(&mut self, frame: Vec<u8>, host: &dyn Host) -> (Exit, Tc) {
        let (exit, kept) = self.handover(&frame, host).unwrap_or_else(|exit| (exit, None));
        let tc = match (exit.action(), kept) {
            (Action::Drop, _) => Tc::Drop,
            (Action::Pass | Action::Transmit, Some(kept)) => Tc::Assign(frame, kept),
            (Action::Pass | Action::Transmit, None) => Tc::Pass(frame),
        };
        (exit, tc)
    }

    fn egress(&mut self, frame: Vec<u8>, _: &dyn Host) -> (Exit, Option<Vec<u8>>) {
        self.outward(frame)
    }

    fn remembered(&self) -> Vec<Tuple> {
        self.flows.keys()
    }

    fn evicted(&mut self) -> Vec<Tuple> {
        self.flows.take_evicted()
    }
}
