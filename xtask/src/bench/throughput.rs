//! Bulk transfers over a connection that was handed over, beside the same transfers where no agent
//! is running, and where an XDP program is that passes everything.
//!
//! The third shows what is not ours: on a veth any XDP program makes the other end send single
//! segments, where it would have sent 64 KiB at once.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use cors_tests::{
    Family, PATIENCE, Random,
    agent::{Agent, Setup},
    counter, policy,
    server::Server,
    topology::{Pair, SERVER, VethOptions, address, server_at},
    xdp::{self, Attached, Mode},
};
use serde_json::{Map, Value, json};

use super::{Outcome, Plan, Row, samples::Samples, sink};

/// Bytes of a transfer.
const LARGE: usize = 64 << 20;
/// What part of the throughput must be left.
const GOAL: f64 = 0.95;

pub(super) fn run(plan: &Plan) -> Result<Outcome> {
    let content = Arc::new(Random::new(64).bytes(LARGE));
    let mut rows = Vec::new();
    let mut samples = Map::new();
    for (mode, name) in [(Mode::Native, "native"), (Mode::Generic, "generic")] {
        let site = |on| Site::prepare(plan, mode, on, &content);
        let mut sites = [site(On::Nothing)?, site(On::PassAll)?, site(On::Agent)?];
        for direction in [Direction::Download, Direction::Upload] {
            let mut rates = <[Samples; 3]>::default();
            // The first of each warms up.
            for run in 0..=plan.pick(25, 3) {
                for (site, rates) in sites.iter_mut().zip(&mut rates) {
                    let rate = site.transfers(direction, &content, plan.pick(3, 2))?;
                    if run > 0 {
                        rates.push(rate);
                    }
                }
            }
            rows.extend(compare(direction, mode, name, &rates));
            let [nothing, pass_all, agent] = rates.each_ref().map(Value::from);
            let key = format!("{}_{name}", direction.name());
            let rates = json!({ "without": nothing, "pass_all": pass_all, "cors_edge": agent });
            samples.insert(key + "_mb_per_s", rates);
        }
    }
    Ok(Outcome {
        rows,
        notes: vec![
            "throughput: 64 MiB over veth, several times in a row, nginx to a client and a client to a sink, a new \
             connection for each transfer, byte-exact. \"A pass-all program\" has one in cors-edge's \
             place and mode: on a veth, and not on a card, any XDP program ends the exchange of \
             64 KiB packets. Rates of a veth are no card's."
                .to_owned(),
        ],
        charts: Vec::new(),
        samples: Value::Object(samples),
    })
}

/// The goal is for what is ours. In the driver of a veth that is the difference to any other
/// program; behind the driver, where a card without XDP has it too, the difference to none.
fn compare(direction: Direction, mode: Mode, name: &str, rates: &[Samples; 3]) -> [Row; 2] {
    let [nothing, pass_all, agent] = rates;
    let row = |what: String, other: &Samples, has_goal: bool| {
        let ratio = agent.over(other);
        let (with, without) = (agent.median(), other.median());
        let shown = format!("{} ({with:.0} / {without:.0} MB/s)", ratio.show(2, ""));
        let row = Row::new(what, shown).headline();
        let reached = ratio.median() >= GOAL;
        if has_goal { row.goal(&format!("≥ {GOAL}"), reached) } else { row }
    };
    let direction = direction.name();
    [
        row(
            format!("{direction} handed over, {name} XDP: with / without cors-edge"),
            nothing,
            mode == Mode::Generic,
        ),
        row(
            "… with cors-edge / with a pass-all program".to_owned(),
            pass_all,
            mode == Mode::Native,
        ),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Download,
    Upload,
}

impl Direction {
    const fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
        }
    }
}

/// What is on the server's interface.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Nothing,
    PassAll,
    Agent,
}

/// A client and a server with one of them in between.
struct Site {
    agent: Option<Agent>,
    _pass_all: Option<Attached>,
    _nginx: Server,
    pair: Pair,
}

impl Site {
    fn prepare(plan: &Plan, mode: Mode, on: On, content: &Arc<Vec<u8>>) -> Result<Self> {
        // Native XDP on a veth sends only where the peer has a program, too; then it has one
        // whatever is on the server's side.
        let pair = Pair::with(VethOptions { peer_pass: mode == Mode::Native });
        if mode == Mode::Native {
            like_a_card(&pair);
        }
        let at = server_at(Family::V4);
        let nginx = Server::nginx(&pair.server, &[at]);
        nginx.put_file("large", content);
        let nginx = nginx.ready(&pair.server, at);
        sink::listen(&pair.server, sink_at(), Arc::clone(content))?;
        let agent = (on == On::Agent).then(|| {
            Setup::new(&pair.server, policy::file(&[at, sink_at()]))
                .program(plan.agent.clone())
                .interface(Pair::INTERFACE)
                .xdp(if mode == Mode::Native { "native" } else { "generic" })
                .start()
        });
        let pass_all = (on == On::PassAll)
            .then(|| xdp::attach(&pair.server, Pair::INTERFACE, &xdp::PASS_ALL, mode));
        Ok(Self { agent, _pass_all: pass_all, _nginx: nginx, pair })
    }

    /// Megabytes in a second over some transfers in a row, since one is over in a moment.
    fn transfers(&mut self, direction: Direction, content: &[u8], count: usize) -> Result<f64> {
        let mut seconds = 0.0;
        for _ in 0..count {
            seconds += self.transfer(direction, content)?;
        }
        Ok(count as f64 * LARGE as f64 / 1e6 / seconds)
    }

    /// The seconds of a transfer over a new connection, which was handed over where it can be.
    fn transfer(&mut self, direction: Direction, content: &[u8]) -> Result<f64> {
        let handed_over = |agent: &Agent| agent.counters().get(counter::HANDED_OVER);
        let before = self.agent.as_ref().map(handed_over);
        let to = match direction {
            Direction::Download => server_at(Family::V4),
            Direction::Upload => sink_at(),
        };
        let stream = self.pair.client.enter(|| TcpStream::connect(to))?;
        let mut connection = Connection::over(stream)?;
        // The first request on a connection is what hands it over.
        connection.ask(&policy::get("/v1/hello"))?;
        let begin = Instant::now();
        match direction {
            Direction::Download => connection.download(content)?,
            Direction::Upload => connection.upload(content)?,
        }
        let seconds = begin.elapsed().as_secs_f64();
        if let (Some(agent), Some(before)) = (&self.agent, before) {
            ensure!(handed_over(agent) == before + 1, "the connection was not handed over");
        }
        Ok(seconds)
    }
}

/// What comes in are single segments, and they are joined behind the driver's program, as from a
/// card. On a veth as it is, both ends exchange 64 KiB at once until one has an XDP program.
fn like_a_card(pair: &Pair) {
    pair.client.run("ethtool", &["-K", Pair::CLIENT_INTERFACE, "tso", "off", "gso", "off"]);
    pair.server.run("ethtool", &["-K", Pair::INTERFACE, "gro", "on"]);
}

/// Where uploads go, on the server's host.
fn sink_at() -> SocketAddr {
    SocketAddr::new(address(Family::V4, SERVER), 81)
}

/// The client's end of a connection.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn over(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::with_capacity(sink::BLOCK, stream)))
    }

    /// Sends a request and reads a response of 200 with its body.
    fn ask(&mut self, request: &[u8]) -> Result<()> {
        self.0.get_mut().write_all(request)?;
        let mut body = vec![0; self.head()?];
        Ok(self.0.read_exact(&mut body)?)
    }

    fn download(&mut self, content: &[u8]) -> Result<()> {
        self.0.get_mut().write_all(&policy::get("/v1/large"))?;
        let length = self.head()?;
        ensure!(sink::is_next(&mut self.0, length, content)?, "the download differs");
        Ok(())
    }

    fn upload(&mut self, content: &[u8]) -> Result<()> {
        let length = content.len().to_string();
        let headers = [("Host", policy::HOST), ("Content-Length", &*length)];
        self.0.get_mut().write_all(&policy::head("PUT /v1/large HTTP/1.1", &headers))?;
        self.ask(content)
    }

    /// Reads the head of a response of 200, and returns the length of its body.
    fn head(&mut self) -> Result<usize> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            ensure!(self.0.read_line(&mut head)? != 0, "the connection ended:\n{head}");
        }
        ensure!(head.starts_with("HTTP/1.1 200 "), "not what was asked for:\n{head}");
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok())
            .with_context(|| format!("a response of unknown length:\n{head}"))
    }
}
