//! What an answered preflight costs in the `edge` program, with one origin and with 100,000, and
//! what a packet costs in a program that only bounces it.
//!
//! The time is the kernel's own (`run_time_ns` over `run_cnt`), under real clients on kept-alive
//! connections, so that nearly every packet is a preflight.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
};

use anyhow::{Context as _, Result, ensure};
use cors_tests::{
    Family, PATIENCE, Random,
    agent::{Agent, Setup},
    bounce,
    topology::{CLIENT, Pair, VethOptions, address, server_at},
    xdp::{self, Attached, Mode, Runs},
};
use serde_json::{Value, json};

use super::{
    Outcome, Plan, Row,
    policy::{Size, origin, preflight, preflight_about},
    samples::Samples,
};

/// Connections of a client. It sends on all of them, and then reads from all.
const CONNECTIONS: usize = 32;
/// Packets beside the preflights: the last acknowledgement on each connection, now and then one
/// that could not wait for the next request.
const OTHERS: f64 = 1.02;

pub(super) fn run(plan: &Plan) -> Result<Outcome> {
    let _counting = xdp::count_runs();
    let mut one = Preflights::prepare(plan, Size::ONE)?;
    let mut large = Preflights::prepare(plan, Size::LARGE)?;
    let mut bounce = Bounce::prepare()?;
    let (mut of_one, mut of_large, mut of_same, mut of_bounce) =
        <(Samples, Samples, Samples, Samples)>::default();
    let packets = plan.pick(200_000, 20_000);
    for _ in 0..plan.pick(7, 3) {
        of_one.push(one.round(packets, Heads::Different)?);
        of_large.push(large.round(packets, Heads::Different)?);
        of_same.push(one.round(packets, Heads::Alike)?);
        of_bounce.push(bounce.round(packets)?);
    }
    let ratio = of_large.over(&of_one);
    let bounces = |samples: &Samples| samples.over(&of_bounce).show(1, " bounces");
    let shown = |samples: &Samples| format!("{} = {}", samples.show(0, " ns"), bounces(samples));
    Ok(Outcome {
        rows: vec![
            Row::new("`edge` per answered preflight, one origin", shown(&of_one)).headline(),
            Row::new("… 100,000 origins over 1,000 policies", shown(&of_large)).headline(),
            Row::new("… the second over the first", ratio.show(2, "×"))
                .goal("≤ 1.3×", ratio.median() <= 1.3)
                .headline(),
            Row::new("… one origin, every head the same", shown(&of_same)).headline(),
            Row::new("bare bounce (swap addresses, `XDP_TX`)", of_bounce.show(0, " ns")).headline(),
        ],
        notes: vec![format!(
            "cost: native XDP on veth; the kernel's run_time_ns over run_cnt, {packets} packets a \
             run on {CONNECTIONS} kept-alive connections, requests of {} bytes; every answer was \
             checked. Every head is \
             a new one, so that none is recalled, but where it says the same; with the large policy each \
             is for another host, origin and policy.",
            preflight_about(0, &origin(0, 0), 0).len(),
        )],
        charts: Vec::new(),
        samples: json!({
            "one_ns": Value::from(&of_one),
            "large_ns": Value::from(&of_large),
            "same_ns": Value::from(&of_same),
            "bounce_ns": Value::from(&of_bounce),
        }),
    })
}

/// How the heads of a round differ.
#[derive(Clone, Copy)]
enum Heads {
    /// Each asks about something else, as the pages of a site do.
    Different,
    /// Only origin and policy differ, where there are several.
    Alike,
}

/// An agent with a policy, and a client that asks for what the policy allows.
struct Preflights {
    size: Size,
    random: Random,
    connections: Vec<TcpStream>,
    agent: Agent,
    // Never reached, but without it the driver makes no connection.
    _listener: TcpListener,
    _pair: Pair,
}

impl Preflights {
    fn prepare(plan: &Plan, size: Size) -> Result<Self> {
        let pair = Pair::with(VethOptions { peer_pass: true });
        let at = server_at(Family::V4);
        let agent = Setup::new(&pair.server, size.file(at))
            .program(plan.agent.clone())
            .interface(Pair::INTERFACE)
            .xdp("native")
            .start();
        poll_in_a_thread(&pair)?;
        let listener = pair.server.enter(|| TcpListener::bind(at))?;
        let connections = pair.client.enter(|| {
            (0..CONNECTIONS).map(|_| TcpStream::connect(at)).collect::<Result<Vec<_>, _>>()
        })?;
        for connection in &connections {
            connection.set_nodelay(true)?;
            connection.set_read_timeout(Some(PATIENCE))?;
        }
        let random = Random::new(1);
        let mut preflights =
            Self { size, random, connections, agent, _listener: listener, _pair: pair };
        // The first preflight on a connection makes the flow entry.
        preflights.ask(10 * CONNECTIONS, Heads::Alike)?;
        Ok(preflights)
    }

    /// Nanoseconds of a run, in a round of so many preflights.
    fn round(&mut self, preflights: usize, heads: Heads) -> Result<f64> {
        let (counters, runs) = (self.agent.counters(), self.agent.runs("edge"));
        let asked = self.ask(preflights, heads)?;
        let runs = self.agent.runs("edge").since(runs);
        let answered = self.agent.counters().since(&counters).all_answered();
        ensure!(answered == asked, "{answered} of {asked} preflights were answered in the driver");
        mean(runs, asked)
    }

    /// Asks at least so many preflights and checks every answer. Returns how many it asked.
    fn ask(&mut self, preflights: usize, heads: Heads) -> Result<u64> {
        let mut asked = 0;
        let mut answer = [0; 2048];
        while asked < preflights as u64 {
            let mut origins = Vec::with_capacity(CONNECTIONS);
            for connection in &mut self.connections {
                let policy = self.random.next() % self.size.policies;
                let origin = origin(policy, self.random.next() % self.size.origins);
                let thing = match heads {
                    Heads::Different => self.random.next(),
                    Heads::Alike => 17,
                };
                connection.write_all(&preflight_about(policy, &origin, thing))?;
                origins.push(origin);
            }
            for (connection, origin) in self.connections.iter_mut().zip(&origins) {
                let mut len = 0;
                while !answer[..len].ends_with(b"\r\n\r\n") {
                    let read = connection.read(&mut answer[len..])?;
                    ensure!(read != 0, "the connection ended");
                    len += read;
                }
                let text = str::from_utf8(&answer[..len])?;
                let end = format!("\r\nAccess-Control-Allow-Origin: {origin}\r\n\r\n");
                ensure!(
                    text.starts_with("HTTP/1.1 204 No Content\r\n") && text.ends_with(&end),
                    "not the answer for {origin}:\n{text}"
                );
            }
            asked += CONNECTIONS as u64;
        }
        Ok(asked)
    }
}

/// The bare bounce, and a client that sends it datagrams as long as a preflight.
struct Bounce {
    sockets: Vec<UdpSocket>,
    random: Random,
    program: Attached,
    _pair: Pair,
}

impl Bounce {
    fn prepare() -> Result<Self> {
        let pair = Pair::with(VethOptions { peer_pass: true });
        let program = xdp::attach(&pair.server, Pair::INTERFACE, &bounce::PROGRAM, Mode::Native);
        poll_in_a_thread(&pair)?;
        let sockets = pair.client.enter(|| {
            let socket = |_| {
                let socket = UdpSocket::bind(SocketAddr::new(address(Family::V4, CLIENT), 0))?;
                socket.connect(server_at(Family::V4))?;
                socket.set_read_timeout(Some(PATIENCE))?;
                Ok(socket)
            };
            (0..CONNECTIONS).map(socket).collect::<std::io::Result<Vec<_>>>()
        })?;
        let mut bounce = Self { sockets, random: Random::new(2), program, _pair: pair };
        bounce.send(10 * CONNECTIONS)?;
        Ok(bounce)
    }

    fn round(&mut self, datagrams: usize) -> Result<f64> {
        let before = self.program.runs();
        let sent = self.send(datagrams)?;
        mean(self.program.runs().since(before), sent)
    }

    /// Sends at least so many datagrams, and checks that each comes back as it was.
    fn send(&mut self, datagrams: usize) -> Result<u64> {
        let mut datagram = preflight(0, &origin(0, 0));
        let mut answer = vec![0; datagram.len() + 1];
        let mut sent = 0;
        while sent < datagrams as u64 {
            let first = self.random.next();
            let mark = |number: usize| first.wrapping_add(number as u64).to_le_bytes();
            for (number, socket) in self.sockets.iter().enumerate() {
                datagram[..8].copy_from_slice(&mark(number));
                socket.send(&datagram)?;
            }
            for (number, socket) in self.sockets.iter().enumerate() {
                datagram[..8].copy_from_slice(&mark(number));
                let len = socket.recv(&mut answer).context("a datagram did not come back")?;
                ensure!(answer[..len] == datagram, "a datagram came back as another one");
            }
            sent += CONNECTIONS as u64;
        }
        Ok(sent)
    }
}

/// Lets a thread of the kernel take packets in, several at a time, as from a busy card. By itself a
/// veth runs the program inside each sender's system call, where everything else that sending takes
/// has just displaced it from the caches.
fn poll_in_a_thread(pair: &Pair) -> Result<()> {
    let path = format!("/sys/class/net/{}/threaded", Pair::INTERFACE);
    pair.server.enter(|| fs::write(&path, "1")).with_context(|| path)
}

/// The mean time of runs of which nearly all are for one of the packets that were meant.
fn mean(runs: Runs, packets: u64) -> Result<f64> {
    let Runs { count, time_ns } = runs;
    ensure!(
        count >= packets && count as f64 <= packets as f64 * OTHERS + CONNECTIONS as f64,
        "{count} runs of the program for {packets} packets"
    );
    Ok(time_ns as f64 / count as f64)
}
