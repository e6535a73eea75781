//! How long a policy of 100,000 origins over 1,000 policies takes to check, and how long an agent
//! with it takes to start, beside one with a single origin.

use std::{
    io::{BufRead as _, BufReader, pipe},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use cors_tests::{
    Family,
    scratch::Scratch,
    topology::{Pair, VethOptions, server_at},
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
    validate: Samples,
    start: Samples,
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
            let begin = Instant::now();
            output(Command::new(&plan.agent).arg("validate").arg(&file))?;
            policy.validate.push(begin.elapsed().as_secs_f64());
            policy.start(&plan.agent, &file, &pair, &scratch)?;
        }
    }
    let samples = [&one, &large].map(|policy| (policy.name.to_owned(), policy.json()));
    Ok(Outcome {
        rows: rows(&one, &large),
        notes: Vec::new(),
        samples: Value::Object(samples.into_iter().collect()),
    })
}

impl Measured {
    /// From the command to the line that says `ready`.
    fn start(&mut self, agent: &Path, file: &Path, pair: &Pair, scratch: &Scratch) -> Result<()> {
        let (reader, writer) = pipe()?;
        let directory = scratch.path("run");
        let mut command = Command::new(agent);
        command.args(["run", "--xdp", "native", "--interface", Pair::INTERFACE, "--config"]);
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
        self.start.push(begin.elapsed().as_secs_f64());

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
            "validate_s": Value::from(&self.validate),
            "start_s": Value::from(&self.start),
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

fn rows(one: &Measured, large: &Measured) -> Vec<Row> {
    let within = |samples: &Samples| samples.median() <= 1.0;
    vec![
        Row::new("`validate`, 100,000 origins over 1,000 policies", large.validate.show(2, " s"))
            .goal("≤ 1 s", within(&large.validate)),
        Row::new("start → ready, the same policy", large.start.show(2, " s"))
            .goal("≤ 1 s", within(&large.start)),
        Row::new("… of which", large.breakdown()),
        Row::new("start → ready, one origin", one.start.show(2, " s")),
        Row::new("… of which", one.breakdown()),
    ]
}
