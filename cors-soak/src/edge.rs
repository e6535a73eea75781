//! The two kernel programs as far as they decide: `cors-ebpf/src/edge.rs` and `handover.rs`, step for
//! step, with memory in the place of maps and packet buffers.

use cors_common::{
    checksum::Sum,
    cookie::{EPOCH_SECONDS, Keys},
    exit::{Action, Exit},
    head::{HEAD_MAX, Head},
    policy::{self, Answer, memo::Memo},
    state::Date,
    tcp::{
        Arrival, Env, Owner,
        flow::Flow,
        handover::{Handover, hand_over},
        recent::{self, Recent, SLOTS},
        step::step,
        verdict::{Ask, Change, Verdict},
    },
    wire::{
        options::{Declined, OptionBytes},
        reply::Reply,
        segment::{Endpoint, Family, Segment, Tuple},
    },
};

use crate::{
    driver::{Driver, Host, Ingress, Tc},
    flows::Flows,
    image::{Compiled, DATE},
    packet::SERVER_MAC,
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
}

/// The programs and their maps.
pub struct Edge {
    setting: Setting,
    image: Compiled,
    date: Date,
    now: u64,
    flows: Flows<Flow>,
    recent: Vec<Recent>,
    memo: Vec<Memo>,
    head: Box<Head>,
    reply: Box<Reply>,
    options: OptionBytes,
    grown: u64,
}

/// What the decisions ask of their surroundings.
struct Kernel<'a> {
    frame: &'a [u8],
    host: &'a dyn Host,
    setting: &'a Setting,
    epoch: u32,
    second: u64,
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
        if owner == Owner::Connection {
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
            recent: vec![Recent::NONE; SLOTS as usize],
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
        self.now / 1_000_000 + 10
    }

    /// The cookie's epoch.
    pub fn epoch(&self) -> u32 {
        (self.now / 1_000_000 / EPOCH_SECONDS) as u32
    }

    fn goes_on(&self, frame: &[u8]) -> bool {
        recent::goes_on(frame, self.second(), |slot| self.recent.get(slot as usize))
    }

    fn env<'a>(&'a mut self, frame: &'a [u8], host: &'a dyn Host) -> Kernel<'a> {
        let (epoch, second) = (self.epoch(), self.second());
        let Self { setting, recent, options, .. } = self;
        Kernel { frame, host, setting, epoch, second, recent, options }
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
            let out = self.transmit(frame, &segment, &verdict, &answer);
            if out.len() > frame.len() && self.has_no_room() {
                verdict.no_room();
            } else {
                reply = Some(out);
            }
        }
        match verdict.change {
            Change::Keep => {}
            Change::Forget => self.flows.forget(&segment.tuple),
            Change::Put => self.flows.put(segment.tuple, verdict.flow),
        }
        Ok((verdict.exit, reply))
    }

    /// Whether this packet's buffer is one that cannot grow.
    const fn has_no_room(&mut self) -> bool {
        self.grown += 1;
        self.setting.no_room != 0 && self.grown.is_multiple_of(self.setting.no_room)
    }

    fn look_up(&mut self, frame: &[u8], segment: &Segment, len: usize) -> Result<Answer, Exit> {
        if len == 0 || len > HEAD_MAX {
            return Err(Exit::HeadTooLong);
        }
        let at = segment.payload_at();
        let text = frame.get(at..at + len).ok_or(Exit::Truncated)?;
        self.head.buffer()[..len].copy_from_slice(text);
        let slot = self.image.slot;
        self.head.seal(len);
        let mut place = None;
        if Memo::holds(len) {
            let fold = Memo::fold(&self.head, len);
            self.head.mark = (fold >> 32) as u32;
            let first = fold as usize & (self.memo.len() - 1);
            let (a, b) = (&self.memo[first], &self.memo[first ^ 1]);
            let mut answer = Answer::NONE;
            let mark = self.head.mark;
            if a.recall(&self.head, len, slot.generation, mark, &mut answer)
                || b.recall(&self.head, len, slot.generation, mark, &mut answer)
            {
                return Ok(answer);
            }
            let is_first =
                !a.is_of(slot.generation) || (b.is_of(slot.generation) && self.head.mark & 1 == 0);
            place = Some(if is_first { first } else { first ^ 1 });
        }
        self.head.read(len)?;
        let answer = policy::decide(&self.image, &slot, &mut self.head)?;
        if let Some(place) = place
            && self.memo[place].is_missed_again(self.head.mark)
        {
            let mark = self.head.mark;
            self.memo[place].note(&self.head, len, slot.generation, mark, &answer);
        }
        Ok(answer)
    }

    fn transmit(
        &mut self,
        frame: &[u8],
        segment: &Segment,
        verdict: &Verdict,
        answer: &Answer,
    ) -> Vec<u8> {
        let (body_len, body_sum) = if verdict.body {
            let template = self.image.entry(answer.template);
            (answer.len, answer.write(template, &self.date, &self.head, &mut self.reply))
        } else {
            (0, Sum::ZERO)
        };
        let headers = self.reply.write_headers(segment, &verdict.tcp, body_len, body_sum);
        let mut out = Vec::with_capacity(segment.ip_at + headers + body_len);
        out.extend_from_slice(&frame[6..12]);
        out.extend_from_slice(&frame[..6]);
        out.extend_from_slice(&frame[12..segment.ip_at]);
        let bytes = bytemuck::bytes_of(&*self.reply);
        let start = Reply::start(segment.family);
        out.extend_from_slice(&bytes[start..start + headers + body_len]);
        out
    }

    fn handover(&mut self, frame: &[u8], host: &dyn Host) -> Result<Handover, Exit> {
        if self.goes_on(frame) {
            return Err(Exit::TcNotOurs);
        }
        let segment = Segment::read(frame).map_err(|_| Exit::TcNotOurs)?;
        if !self.is_protected(&segment) {
            return Err(Exit::TcNotOurs);
        }
        let flow = self.flows.get(&segment.tuple).copied();
        Ok(hand_over(&segment, flow.as_ref(), &mut self.env(frame, host)))
    }
}

impl Driver for Edge {
    fn set_now(&mut self, now: u64) {
        self.now = now;
    }

    fn ingress(&mut self, frame: Vec<u8>, host: &dyn Host) -> (Exit, Ingress) {
        let (exit, reply) = self.edge(&frame, host).unwrap_or_else(|exit| (exit, None));
        let ingress = match (exit.action(), reply) {
            (Action::Pass, _) => Ingress::Pass(frame),
            (Action::Transmit, Some(reply)) => Ingress::Transmit(reply),
            (Action::Drop, _) | (Action::Transmit, None) => Ingress::Drop,
        };
        (exit, ingress)
    }

    fn tc_ingress(&mut self, frame: Vec<u8>, host: &dyn Host) -> (Exit, Tc) {
        match self.handover(&frame, host) {
            Ok(Handover::Assign(kept)) => (Exit::HandedOver, Tc::Assign(frame, kept)),
            Ok(Handover::Leave(exit)) | Err(exit) => match exit.action() {
                Action::Drop => (exit, Tc::Drop),
                Action::Pass | Action::Transmit => (exit, Tc::Pass(frame)),
            },
        }
    }

    fn egress(&mut self, frame: Vec<u8>, _: &dyn Host) -> Option<Vec<u8>> {
        Some(frame)
    }

    fn remembered(&self) -> Vec<Tuple> {
        self.flows.keys()
    }

    fn evicted(&mut self) -> Vec<Tuple> {
        self.flows.take_evicted()
    }
}
