//! How long a policy of 100,000 origins over 1,000 policies takes to check, and how long an agent
//! with it takes to start, beside one with a single origin.

use std::{
    fs,
    io::{BufRead as _, BufReader, pipe},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use cors_tests::{
    Family,
    scratch::Scratch,
    topology::{Pair, VethOptions, server_at},
};
use nix::{
    sys::{
        resource::{UsageWho, getrusage},
        time::TimeValLike as _,
    },
    unistd::Pid,
};
use serde_json::{Map, Value, json};

use super::{Outcome, Plan, Row, policy::Size, samples::Samples};
use crate::shell::output;

/// The steps of a start in the agent's status, and what they are called here.
const STEPS: [(&str, &str); 5] = [
    ("file_us", "policy file"),
    ("compile_us", "compiling"),
    ("programs_us", "programs and maps"),
    ("policy_us", "filling the maps"),
    ("other_us", "the rest"),
];

/// What is measured of one policy.
struct Measured {
    name: &'static str,
    size: Size,
    validate: Timed,
    start: Timed,
    steps: [Samples; STEPS.len()],
}

pub(super) fn run(plan: &Plan) -> Result<Outcome> {
    let pair = Pair::with(VethOptions { peer_pass: true });
    let scratch = Scratch::new("capacity");
    let measured = |name, size: Size| {
        scratch.write(name, size.file(server_at(Family::V4)));
        let (validate, start, steps) = Default::default();
        Measured { name, size, validate, start, steps }
    };
    let (mut one, mut large) = (measured("one", Size::ONE), measured("large", Size::LARGE));
    for _ in 0..plan.pick(5, 3) {
        for policy in [&mut one, &mut large] {
            let file = scratch.path(policy.name);
            let (begin, cpu) = (Instant::now(), cpu_of_children()?);
            output(Command::new(&plan.agent).arg("validate").arg(&file))?;
            policy.validate.push(begin.elapsed(), cpu_of_children()? - cpu);
            policy.start(&plan.agent, &file, &pair, &scratch)?;
        }
    }
    let samples = [&one, &large].map(|policy| (policy.name.to_owned(), policy.json()));
    Ok(Outcome {
        rows: rows(&one, &large),
        notes: Vec::new(),
        charts: Vec::new(),
        samples: Value::Object(samples.into_iter().collect()),
    })
}

impl Measured {
    /// From the command to the line that says `ready`.
    fn start(&mut self, agent: &Path, file: &Path, pair: &Pair, scratch: &Scratch) -> Result<()> {
        let (reader, writer) = pipe()?;
        let directory = scratch.path("run");
        let mut command = Command::new(agent);
        command.args(["--log-format", "text", "run", "--xdp", "native"]);
        command.args(["--interface", Pair::INTERFACE, "--config"]);
        command.arg(file).arg("--runtime-dir").arg(&directory);
        command.stdout(Stdio::null()).stderr(writer);
        let begin = Instant::now();
        let process = pair.server.spawn(command);
        let mut log = String::new();
        let mut lines = BufReader::new(reader).lines();
        loop {
            let Some(line) = lines.next() else { bail!("the agent does not start:\n{log}") };
            let line = line?;
            if line.ends_with(" ready") {
                break;
            }
            log += &line;
            log.push('\n');
        }
        self.start.push(begin.elapsed(), cpu_of(process.pid())?);

        let mut status = Command::new(agent);
        status.args(["status", "--json", "--runtime-dir"]).arg(&directory);
        let status: Value = serde_json::from_str(&output(&mut status)?)?;
        let origins = self.size.policies * self.size.origins;
        ensure!(status["policy"]["origins"] == origins, "not the policy that was meant: {status}");
        ensure!(
            status["interfaces"][0]["xdp"] == "native",
            "not the mode that was meant: {status}"
        );
        for (samples, (key, _)) in self.steps.iter_mut().zip(STEPS) {
            let us = status["startup"][key].as_f64().with_context(|| format!("no {key}"))?;
            samples.push(us / 1e3);
        }
        let ended = process.terminate();
        ensure!(ended.success(), "the agent stopped with {ended}");
        Ok(())
    }

    fn json(&self) -> Value {
        let name = |(key, _): (&str, _)| key.replace("_us", "_ms");
        let steps: Map<_, _> =
            STEPS.map(name).into_iter().zip(self.steps.iter().map(Value::from)).collect();
        json!({
            "validate": self.validate.json(),
            "start": self.start.json(),
            "steps": steps,
        })
    }

    /// What a start is made of.
    fn breakdown(&self) -> String {
        let steps = STEPS.iter().zip(&self.steps);
        let step = |((_, name), samples): (&(_, &str), &Samples)| {
            format!("{name} {:.0} ms", samples.median())
        };
        steps.map(step).collect::<Vec<_>>().join(", ")
    }
}

/// How long something took, and how long of that it had a processor: on a machine with other work
/// the second is what is its own.
#[derive(Default)]
struct Timed {
    wall: Samples,
    cpu: Samples,
}

impl Timed {
    fn push(&mut self, wall: Duration, cpu: f64) {
        self.wall.push(wall.as_secs_f64());
        self.cpu.push(cpu);
    }

    fn show(&self) -> String {
        format!("{}, on a processor {:.2} s", self.wall.show(2, " s"), self.cpu.median())
    }

    fn json(&self) -> Value {
        json!({ "wall_s": Value::from(&self.wall), "cpu_s": Value::from(&self.cpu) })
    }
}

/// Processor time of all children that have ended, in seconds.
fn cpu_of_children() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6)
}

/// Processor time of a process of one thread, in seconds.
fn cpu_of(process: Pid) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/schedstat"))?;
    let ns: Option<f64> = text.split(' ').next().and_then(|ns| ns.parse().ok());
    Ok(ns.context("no processor time in schedstat")? / 1e9)
}

fn rows(one: &Measured, large: &Measured) -> Vec<Row> {
    let within = |timed: &Timed| timed.wall.median() <= 1.0;
    vec![
        Row::new("`validate`, 100,000 origins over 1,000 policies", large.validate.show())
            .goal("≤ 1 s", within(&large.validate))
            .headline(),
        Row::new("start → ready, the same policy", large.start.show())
            .goal("≤ 1 s", within(&large.start))
            .headline(),
        Row::new("… of which", large.breakdown()).headline(),
        Row::new("start → ready, one origin", one.start.show()),
        Row::new("… of which", one.breakdown()),
    ]
}
