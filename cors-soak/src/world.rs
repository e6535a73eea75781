//! One simulated world: a host, a few clients, the way between them, and a clock.
//!
//! Everything follows from the seed. What happens at one moment happens in this order: frames
//! arrive, what passed goes behind the interface, the kernel's timers, the servers, the clients.

use std::collections::BTreeMap;

use cors_common::{
    exit::Exit,
    tcp::Owner,
    wire::segment::{Segment, Tuple},
};

use crate::{
    client::Client,
    driver::{Driver, Ingress, Tc},
    kernel::{Kernel, socket::State},
    network::Link,
    packet::{CLIENT_MAC, Packet, SERVER_MAC, flag},
    rng::Rng,
    server::Conversation,
    stamps::Stamps,
    talk::Talk,
    tally::Tally,
    trace::{Trace, show},
};

/// After so long in virtual time every connection must have ended, in microseconds.
const BOUND: u64 = 1_500_000_000;
/// How long a tuple rests before another client has it: longer than any frame is on its way.
const REST: u64 = 2_000_000;

/// What was wrong, and where.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed of the world.
    pub seed: u64,
    /// The connection, where it was one.
    pub tuple: Option<Tuple>,
    /// What was wrong.
    pub what: String,
    /// What happened before.
    pub trace: String,
}

enum Event {
    /// At the interface.
    Up(Vec<u8>),
    /// At a client.
    Down(Vec<u8>),
}

/// What a client has sent and got, by sequence numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    /// Behind the last byte that it ever sent.
    sent: Option<u32>,
}

/// A world.
pub struct World {
    pub(crate) seed: u64,
    pub(crate) now: u64,
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) kernel: Kernel,
    pub(crate) clients: Vec<Client>,
    pub(crate) talks: Vec<Talk>,
    /// Of each client: whose tuple it has after that one, and how long after.
    pub(crate) follows: Vec<Option<(usize, u64)>>,
    servers: Vec<(u64, Option<Conversation>)>,
    pub(crate) up: Link,
    pub(crate) down: Link,
    pub(crate) rng: Rng,
    /// Servers close connections that are idle for so long.
    pub(crate) patience: u64,
    /// In so many of a thousand cases a server does not read for a while.
    pub(crate) sleeps: u64,
    /// In so many of a thousand cases the interface joins what it may join.
    pub(crate) joins: u64,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    passed: Vec<Vec<u8>>,
    passed_at: Option<u64>,
    numbers: Vec<Numbers>,
    stamps: Vec<Stamps>,
    failure: Option<(Option<Tuple>, String)>,
    pub(crate) trace: Trace,
    tally: Tally,
}

/// What a world is made of.
pub(crate) struct Parts {
    pub(crate) seed: u64,
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) kernel: Kernel,
    pub(crate) clients: Vec<Client>,
    pub(crate) talks: Vec<Talk>,
    pub(crate) follows: Vec<Option<(usize, u64)>>,
    pub(crate) up: Link,
    pub(crate) down: Link,
    pub(crate) rng: Rng,
    pub(crate) patience: u64,
    pub(crate) sleeps: u64,
    pub(crate) joins: u64,
}

impl World {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            seed,
            driver,
            kernel,
            clients,
            talks,
            follows,
            up,
            down,
            rng,
            patience,
            sleeps,
            joins,
        } = parts;
        let numbers = vec![Numbers::default(); talks.len()];
        let stamps = vec![Stamps::default(); talks.len()];
        Self {
            seed,
            now: 0,
            driver,
            kernel,
            clients,
            talks,
            follows,
            servers: Vec::new(),
            up,
            down,
            rng,
            patience,
            sleeps,
            joins,
            events: BTreeMap::new(),
            scheduled: 0,
            passed: Vec::new(),
            passed_at: None,
            numbers,
            stamps,
            failure: None,
            trace: Trace::default(),
            tally: Tally::default(),
        }
    }

    /// Lets it run to its end.
    pub fn run(mut self) -> (Tally, Option<Failure>) {
        while self.failure.is_none() {
            let Some(next) = self.next_at() else { break };
            if next > BOUND {
                self.fail(None, "a connection does not end".to_owned());
                break;
            }
            self.now = self.now.max(next);
            self.turn();
        }
        if self.failure.is_none() {
            self.judge_the_end();
        }
        self.count();
        let Self { seed, trace, failure, tally, .. } = self;
        let failure = failure.map(|(tuple, what)| Failure {
            seed,
            tuple,
            what,
            trace: trace.last(tuple, 400),
        });
        (tally, failure)
    }

    pub(crate) fn fail(&mut self, tuple: Option<Tuple>, what: String) {
        if self.failure.is_none() {
            self.failure = Some((tuple, what));
        }
    }

    fn next_at(&self) -> Option<u64> {
        let event = self.events.keys().next().map(|(at, _)| *at);
        let clients = self.clients.iter().filter_map(Client::next_at).min();
        let servers = self.servers.iter().filter_map(|(number, server)| {
            let socket = self.kernel.sockets.iter().find(|socket| socket.number == *number)?;
            server.as_ref()?.next_at(socket)
        });
        [event, self.passed_at, self.kernel.next_at(), clients, servers.min()]
            .into_iter()
            .flatten()
            .min()
    }

    fn turn(&mut self) {
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= self.now
        {
            match entry.remove() {
                Event::Up(frame) => self.arrive_up(frame),
                Event::Down(frame) => self.arrive_down(&frame),
            }
        }
        if self.passed_at.is_some_and(|at| at <= self.now) {
            self.behind_the_interface();
        }
        self.kernel.run_timers(self.now);
        self.run_kernel();
        self.run_clients();
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((at, self.scheduled), event);
    }

    /// A frame that is on its way to the interface from nobody.
    pub(crate) fn forge(&mut self, at: u64, frame: Vec<u8>) {
        self.schedule(at, Event::Up(frame));
    }

    fn send_down(&mut self, packet: &Packet) {
        let of = self.talk_of(&packet.tuple);
        if let Some(Err(what)) = of.map(|talk| self.stamps[talk].host_sends(packet)) {
            self.fail(Some(packet.tuple), what);
        }
        let mut arrive = Vec::new();
        self.down.carry(packet.frame(), self.now, &mut arrive);
        for (at, frame) in arrive {
            self.schedule(at, Event::Down(frame));
        }
    }

    // === The interface ===

    fn arrive_up(&mut self, frame: Vec<u8>) {
        self.driver.set_now(self.now);
        let copy = frame.clone();
        let (exit, ingress) = self.driver.ingress(frame, &self.kernel);
        self.tally.frames += 1;
        self.tally.exits[exit as usize] += 1;
        let tuple = Segment::read(&copy[..]).ok().map(|segment| segment.tuple);
        self.trace.note(self.now, tuple, || format!("edge {:16} {}", exit.name(), show(&copy)));
        self.judge_ingress(&copy, exit);
        match ingress {
            Ingress::Drop => {}
            Ingress::Transmit(reply) => {
                self.trace.note(self.now, tuple, || format!("  reply {:14} {}", "", show(&reply)));
                match Packet::read(&reply) {
                    Ok(reply) => {
                        self.judge_echo(&copy, exit, &reply);
                        self.send_down(&reply);
                    }
                    Err(what) => self.fail(tuple, format!("the driver sends {what}")),
                }
            }
            Ingress::Pass(frame) => {
                self.passed.push(frame);
                if self.passed_at.is_none() {
                    self.passed_at = Some(self.now + self.rng.pick(&[0, 0, 10, 60]));
                }
            }
        }
        self.note_evictions();
    }

    fn note_evictions(&mut self) {
        for tuple in self.driver.evicted() {
            if let Some(at) = self.talk_of(&tuple) {
                self.talks[at].cut("its flow was evicted");
            }
        }
    }

    /// What passed is joined as GRO joins it, and goes to the hook behind.
    fn behind_the_interface(&mut self) {
        self.passed_at = None;
        let mut held: Option<Packet> = None;
        let mut frames = Vec::new();
        for frame in std::mem::take(&mut self.passed) {
            let Ok(packet) = Packet::read(&frame) else {
                frames.push(frame);
                continue;
            };
            if let Some(before) = &mut held
                && self.rng.permille(self.joins)
                && before.join(&packet)
            {
                continue;
            }
            frames.extend(held.replace(packet).map(|packet| packet.frame()));
        }
        frames.extend(held.map(|packet| packet.frame()));
        for frame in frames {
            self.give_to_kernel(frame);
        }
        self.run_kernel();
    }

    fn give_to_kernel(&mut self, frame: Vec<u8>) {
        let copy = if self.trace.keep > 0 { frame.clone() } else { Vec::new() };
        let (exit, tc) = self.driver.tc_ingress(frame, &self.kernel);
        self.tally.exits[exit as usize] += 1;
        let tuple = Packet::read(&copy).ok().map(|packet| packet.tuple);
        self.trace.note(self.now, tuple, || format!("  tc {:18} {}", exit.name(), show(&copy)));
        let (frame, kept) = match tc {
            Tc::Drop => return,
            Tc::Pass(frame) => (frame, None),
            Tc::Assign(frame, kept) => (frame, Some(kept)),
        };
        match Packet::read(&frame) {
            Ok(packet) => self.kernel.receive(&packet, kept, self.now),
            Err(what) => self.fail(tuple, format!("the kernel gets {what}")),
        }
        self.note_evictions();
    }

    // === The host ===

    fn run_kernel(&mut self) {
        for index in 0..self.kernel.sockets.len() {
            self.run_socket(index);
        }
        self.kernel.sockets.retain(|socket| !socket.is_over() || !socket.out.is_empty());
        self.servers.retain(|(number, _)| {
            self.kernel.sockets.iter().any(|socket| socket.number == *number)
        });
        let out = self.kernel.take_out();
        self.kernel.sockets.retain(|socket| !socket.is_over());
        for (packet, len) in out {
            self.driver.set_now(self.now);
            let tuple = Some(packet.tuple);
            self.trace
                .note(self.now, tuple, || format!("kernel {:14} {}", "", show(&packet.frame())));
            let (exit, frame) = self.driver.egress(packet.frame(), &self.kernel);
            self.tally.exits[exit as usize] += 1;
            let Some(frame) = frame else { continue };
            match Packet::read(&frame) {
                Ok(packet) => {
                    for piece in packet.split(len) {
                        self.send_down(&piece);
                    }
                }
                Err(what) => self.fail(tuple, format!("behind the egress there is {what}")),
            }
        }
        self.note_evictions();
    }

    fn run_socket(&mut self, index: usize) {
        let socket = &mut self.kernel.sockets[index];
        let tuple = socket.tuple;
        if let Some(complaint) = socket.complaint.take() {
            return self.fail(Some(tuple), complaint);
        }
        if socket.state == State::SynReceived {
            return;
        }
        let number = socket.number;
        if !self.servers.iter().any(|(of, _)| *of == number) {
            let accepted = self.accept(tuple);
            self.servers.push((number, accepted));
        }
        let socket = &mut self.kernel.sockets[index];
        let Some((_, server)) = self.servers.iter_mut().find(|(of, _)| *of == number) else {
            return;
        };
        let Some(server) = server else {
            // A replay: nobody is at the other end.
            socket.read();
            return socket.abort();
        };
        if self.rng.permille(self.sleeps) {
            server.sleep_until(self.now + self.rng.range(1000, 3_000_000));
        }
        let before = server.received;
        let result = server.run(socket, &mut self.talks[server.talk], self.now);
        self.tally.received += server.received - before;
        if let Err(what) = result {
            self.fail(Some(tuple), what);
        }
    }

    /// Who a new connection belongs to; `None` where its client is gone.
    fn accept(&mut self, tuple: Tuple) -> Option<Conversation> {
        // A copy of the first segment that comes when both sides have closed: its cookie is as good
        // as ever.
        let talk = self.talk_of(&tuple).filter(|talk| !self.talks[*talk].is_waiting);
        let Some(talk) = talk else {
            self.tally.replays += 1;
            return None;
        };
        let seen = self.talks[talk].exchanges.iter().any(|exchange| exchange.is_seen);
        if seen {
            if self.talks[talk].cut.is_none() {
                self.fail(Some(tuple), "the server accepts a connection twice".to_owned());
            }
            self.tally.replays += 1;
            return None;
        }
        Some(Conversation::new(tuple, talk, self.patience, self.now))
    }

    // === The clients ===

    /// The talk that goes on on a tuple.
    pub(crate) fn talk_of(&self, tuple: &Tuple) -> Option<usize> {
        self.talks.iter().position(|talk| talk.is_open && talk.tuple == *tuple)
    }

    fn arrive_down(&mut self, frame: &[u8]) {
        let packet = match Packet::read(frame) {
            Ok(packet) => packet,
            Err(what) => return self.fail(None, format!("a client gets {what}")),
        };
        let tuple = packet.tuple;
        self.trace.note(self.now, Some(tuple), || format!("client {:14} {}", "", show(frame)));
        if let Some(at) = self.talk_of(&tuple)
            && self.talks[at].is_validated
            && packet.has(flag::ACK)
            && let Some(sent) = self.numbers[at].sent
            && packet.ack.wrapping_sub(sent).cast_signed() > 0
        {
            let ahead = packet.ack.wrapping_sub(sent);
            self.fail(Some(tuple), format!("acknowledges {ahead} bytes that were not sent"));
        }
        if let Some(at) = self.talk_of(&tuple)
            && !self.stamps[at].client_takes(&packet)
        {
            return;
        }
        let now = self.now;
        let last = self
            .clients
            .iter_mut()
            .rev()
            .find(|client| *client.tuple() == tuple && client.has_started());
        if let Some(client) = last {
            client.receive(frame[14..].to_vec());
            let talk = client.talk;
            self.run_client(talk, now);
        }
    }

    fn run_clients(&mut self) {
        for index in 0..self.clients.len() {
            if self.clients[index].next_at().is_some_and(|at| at <= self.now) {
                self.run_client(index, self.now);
            }
        }
    }

    fn run_client(&mut self, index: usize, now: u64) {
        let was_over = self.talks[index].ended_at.is_some();
        let packets = match self.clients[index].run(&mut self.talks[index], now) {
            Ok(packets) => packets,
            Err(what) => {
                let tuple = self.talks[index].tuple;
                return self.fail(Some(tuple), what);
            }
        };
        let mut arrive = Vec::new();
        for packet in packets {
            let is_v4 = packet.first().is_some_and(|first| first >> 4 == 4);
            let mut frame = Vec::with_capacity(14 + packet.len());
            frame.extend(SERVER_MAC);
            frame.extend(CLIENT_MAC);
            frame.extend(if is_v4 { [0x08, 0x00] } else { [0x86, 0xdd] });
            frame.extend(packet);
            self.note_sent(index, &frame);
            self.up.carry(frame, now, &mut arrive);
        }
        for (at, frame) in arrive {
            self.schedule(at, Event::Up(frame));
        }
        if !was_over && self.talks[index].ended_at.is_some() {
            self.start_followers(index);
        }
    }

    fn note_sent(&mut self, index: usize, frame: &[u8]) {
        let Ok(packet) = Packet::read(frame) else { return };
        self.stamps[index].client_sends(&packet);
        if !packet.has(flag::RST) {
            let sent = &mut self.numbers[index].sent;
            let end = packet.end();
            if sent.is_none_or(|sent| end.wrapping_sub(sent).cast_signed() > 0) {
                *sent = Some(end);
            }
        }
    }

    fn start_followers(&mut self, index: usize) {
        for follower in 0..self.clients.len() {
            if let Some((of, after)) = self.follows[follower]
                && of == index
            {
                self.clients[follower].start_at(self.now + REST + after);
            }
        }
    }

    // === What must hold ===

    fn judge_ingress(&mut self, frame: &[u8], exit: Exit) {
        if matches!(
            exit,
            Exit::Answered
                | Exit::AnsweredClose
                | Exit::AnsweredAgain
                | Exit::TrackedAnswered
                | Exit::TrackedAgain
        ) && let Err((tuple, what)) = self.judge_answer(frame, exit)
        {
            self.fail(tuple, what);
        }
        for tuple in self.driver.remembered() {
            let is_known = self.talks.iter().any(|talk| talk.tuple == tuple && talk.is_validated);
            if !is_known {
                self.fail(Some(tuple), "an entry without a client".to_owned());
            }
        }
    }

    /// An answer is to a whole request of the client's, at its place, and to no other bytes.
    fn judge_answer(&mut self, frame: &[u8], exit: Exit) -> Result<(), (Option<Tuple>, String)> {
        let packet = Packet::read(frame).map_err(|what| (None, what.to_owned()))?;
        let tuple = Some(packet.tuple);
        let wrong = |what: String| Err((tuple, what));
        let is_ours = |talk: &&mut Talk| talk.tuple == packet.tuple && talk.is_validated;
        let is_nobodys = self.kernel.sockets.iter().all(|socket| socket.tuple != packet.tuple);
        // The request may be one of a connection that is over.
        let found = self.talks.iter_mut().filter(is_ours).find_map(|talk| {
            let index = talk
                .exchanges
                .iter()
                .position(|exchange| is_asked(exit, &packet.payload, &exchange.request.bytes))?;
            Some((talk, index))
        });
        let Some((talk, index)) = found else {
            return wrong("the driver answers what is no request of this client".to_owned());
        };
        let completed = talk.completed;
        let (is_open, is_cut) = (talk.is_open, talk.cut.is_some());
        let exchange = &mut talk.exchanges[index];
        if exchange.request.driver.is_none() {
            return wrong(format!("request {index} is not allowed"));
        }
        // Of a connection that it has reset, the kernel knows nothing any more: the request comes
        // again with a cookie that is as good as ever, and who asks again gets this answer alone.
        if is_cut && is_nobodys {
            exchange.is_seen = false;
        }
        if exchange.is_seen {
            return wrong(format!("the server has request {index} already"));
        }
        let is_again = matches!(exit, Exit::AnsweredAgain | Exit::TrackedAgain);
        if is_again && is_open && !exchange.is_answered {
            return wrong(format!("request {index} was not answered before"));
        }
        if !is_again && packet.payload.len() != exchange.request.bytes.len() {
            return wrong(format!("there is more behind request {index}"));
        }
        if !exchange.is_answered && is_open {
            if completed != index {
                return wrong(format!("the response to request {completed} is pending"));
            }
            exchange.is_answered = true;
        }
        Ok(())
    }

    /// An answer echoes the timestamp of its request.
    fn judge_echo(&mut self, frame: &[u8], exit: Exit, reply: &Packet) {
        let asked = Packet::read(frame).ok().and_then(|packet| packet.timestamps());
        let (asked, echo) = (asked.map(|stamps| stamps.0), reply.timestamps().map(|s| s.1));
        if exit == Exit::TrackedAnswered && asked != echo {
            self.fail(Some(reply.tuple), format!("echoes {echo:?}, and not {asked:?}"));
        }
        self.tally.stamped += u64::from(exit == Exit::TrackedAnswered && echo.is_some());
    }

    fn judge_the_end(&mut self) {
        for index in 0..self.talks.len() {
            let talk = &self.talks[index];
            let what = if talk.ended_at.is_none() {
                "a client does not end".to_owned()
            } else if talk.cut.is_none() && talk.completed < talk.exchanges.len() {
                format!("{} of {} responses came", talk.completed, talk.exchanges.len())
            } else {
                continue;
            };
            let tuple = talk.tuple;
            return self.fail(Some(tuple), what);
        }
        if let Some(socket) = self.kernel.sockets.first() {
            let (tuple, state) = (socket.tuple, socket.state);
            self.fail(Some(tuple), format!("the kernel's connection stays in {state:?}"));
        }
    }

    fn count(&mut self) {
        let tally = &mut self.tally;
        for talk in &self.talks {
            tally.connections += 1;
            tally.responses += talk.completed as u64;
            tally.cut += u64::from(talk.completed < talk.exchanges.len());
            for exchange in talk.exchanges.iter().filter(|exchange| exchange.is_sent) {
                tally.requests += 1;
                tally.allowed += u64::from(exchange.request.driver.is_some());
                tally.answered += u64::from(exchange.is_answered);
            }
        }
    }
}

/// Nobody listens on such a host.
pub(crate) const fn refuses(listener: Owner) -> bool {
    matches!(listener, Owner::Nobody)
}

/// Whether a payload asks with this request. On a tracked connection an answered one may come again
/// behind other bytes.
fn is_asked(exit: Exit, payload: &[u8], request: &[u8]) -> bool {
    payload.starts_with(request)
        || (exit == Exit::TrackedAgain
            && payload.windows(request.len()).any(|bytes| bytes == request))
}
