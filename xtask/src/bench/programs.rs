//! The time in the `edge` program, beside that of a bare bounce in the same run: of an answered
//! preflight, and of one whole connection with one preflight.
//!
//! The time is the kernel's own (`run_time_ns` over `run_cnt`). All frames come the same way: several at
//! a time, from a program in the driver of the other end, to a thread that polls.

use std::thread;

use anyhow::{Result, ensure};
use cors_tests::{
    agent::Agent,
    bounce, counter,
    xdp::{self, Attached, Mode, Runs},
};
use serde_json::{Value, json};

use super::{
    Outcome, Plan, Row,
    peer::{Peer, Site},
    policy::{self, Size},
    progress::Progress,
    rig::{Load, Rig, Side, number},
    samples::Samples,
};

/// Bytes of a preflight.
const HEAD: usize = 519;
/// Ethernet, IPv4 and UDP, in front of as many bytes.
const UDP_HEADERS: usize = 42;

pub(super) fn run(plan: &Plan) -> Result<Outcome> {
    let size = Size::THOUSAND;
    let _counting = xdp::count_runs();
    let ours = Peer::CorsEdge.start(plan, size)?;
    let bounce = Bounce::prepare(plan)?;
    let load = Load::new(plan, policy::preflights(size, HEAD)?);
    let once = load.clone().one_shot();
    let (mut preflight, mut connection, mut floor, mut runs) =
        <(Samples, Samples, Samples, Samples)>::default();
    let rounds = plan.pick(7, 3);
    let progress = Progress::new("programs", rounds * 3);
    for _ in 0..rounds {
        floor.push(progress.step("bounce", || bounce.round(plan))?);
        preflight.push(progress.step("kept alive", || kept_alive(&ours, &load))?);
        let (ns, count) = progress.step("one-shot", || whole(&ours, &once))?;
        connection.push(ns);
        runs.push(count);
    }
    progress.done();
    let row = |what: &str, samples: &Samples, goal: f64| {
        let ratio = samples.over(&floor);
        let shown = format!("{} = {}", samples.show(0, " ns"), ratio.show(1, " bounces"));
        Row::new(what, shown).goal(&format!("≤ {goal:.0}"), ratio.median() <= goal).headline()
    };
    Ok(Outcome {
        rows: vec![
            row("program time per answered preflight", &preflight, 8.0),
            row("all runs of one whole connection", &connection, 20.0),
            Row::new("bare bounce (swap addresses, `XDP_TX`)", floor.show(0, " ns")),
        ],
        notes: vec![format!(
            "programs: native XDP on veth, {HEAD}-byte preflights for 1,000 origins; the kernel's \
             run_time_ns, its own reading of the clock included, on both sides of the ratio. A whole \
             connection is SYN, request with ACK, FIN, last ACK: {} runs.",
            runs.show(2, ""),
        )],
        charts: Vec::new(),
        samples: json!({
            "preflight_ns": Value::from(&preflight),
            "connection_ns": Value::from(&connection),
            "connection_runs": Value::from(&runs),
            "bounce_ns": Value::from(&floor),
        }),
    })
}

/// Nanoseconds of a run, where nearly all are for a preflight.
fn kept_alive(site: &Site, load: &Load) -> Result<f64> {
    let agent = agent(site)?;
    let before = (agent.runs("edge"), agent.counters());
    let report = site.rig.play(load)?;
    let runs = agent.runs("edge").since(before.0);
    let answered = agent.counters().since(&before.1).get(counter::ANSWERED);
    ensure!(
        answered as f64 >= number(&report, "/totals/replied")?,
        "{answered} preflights were answered in the driver: {report}"
    );
    ensure!(
        runs.count as f64 <= answered as f64 * 1.05 + 5_000.0,
        "{} runs for {answered} preflights",
        runs.count
    );
    Ok(mean(runs))
}

/// Nanoseconds of all runs of a connection, and how many they are.
fn whole(site: &Site, load: &Load) -> Result<(f64, f64)> {
    let agent = agent(site)?;
    let before = agent.runs("edge");
    let report = site.rig.play(load)?;
    let runs = agent.runs("edge").since(before);
    // The first ordinary connections, each with its own SYN and FIN, are a part of it.
    let connections = number(&report, "/totals/closed")? + 2.0 * load.requests.len() as f64;
    Ok((runs.time_ns as f64 / connections, runs.count as f64 / connections))
}

fn agent(site: &Site) -> Result<&Agent> {
    site.agent.as_ref().ok_or_else(|| anyhow::anyhow!("no agent runs there"))
}

fn mean(Runs { count, time_ns }: Runs) -> f64 {
    time_ns as f64 / count as f64
}

/// The bare bounce, and frames for it.
struct Bounce {
    program: Attached,
    _end: Attached,
    frame: Vec<u8>,
    rig: Rig,
}

impl Bounce {
    fn prepare(plan: &Plan) -> Result<Self> {
        let rig = Rig::new(plan, Side::Native)?;
        let program = xdp::attach(&rig.server, &rig.interface, &bounce::PROGRAM, Mode::Native);
        let end = xdp::attach(&rig.client, &rig.client_interface, &xdp::DROP_ALL, Mode::Native);
        Ok(Self { program, _end: end, frame: frame(), rig })
    }

    fn round(&self, plan: &Plan) -> Result<f64> {
        let before = self.program.runs();
        let Rig { client, client_interface, .. } = &self.rig;
        for _ in 0..plan.pick(40, 10) {
            xdp::send(client, client_interface, &self.frame, 50_000);
            thread::yield_now();
        }
        let runs = self.program.runs().since(before);
        ensure!(runs.count > 10_000, "only {} frames arrived at the bounce", runs.count);
        Ok(mean(runs))
    }
}

/// UDP over IPv4, as long as a preflight with its headers.
fn frame() -> Vec<u8> {
    // TCP's header is 12 bytes longer.
    let len = HEAD + 12;
    let mut frame = vec![0; UDP_HEADERS + len];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&(28 + len as u16).to_be_bytes());
    frame[22] = 64;
    frame[23] = 17;
    frame[26..34].copy_from_slice(&[10, 0, 0, 2, 10, 0, 0, 1]);
    frame[34..42].copy_from_slice(&[0x10, 0, 0, 7, 0, 0, 0, 0]);
    frame
}
