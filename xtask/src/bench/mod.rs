//! `cargo xtask bench`: what the product costs, measured. One module a scenario.
//!
//! Everything happens in network namespaces that the harness of the end-to-end tests makes, and
//! that end with this process. Like the tests, the harness panics where a step fails: there is no
//! figure then.
//!
//! What is compared is measured in turn (A, B, A, B …) in the same run, and every answer is
//! checked. Figures are medians, with the least and the largest of the runs.

#![allow(clippy::cast_precision_loss, reason = "what is counted here is far below 2^52")]

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::{
    setup::{self, Purpose},
    shell::{agent, build_agent, is_root, say},
};

mod capacity;
mod chart;
mod cost;
pub(crate) mod hyper_peer;
mod machine;
mod peer;
mod peers;
mod policy;
mod programs;
mod progress;
mod report;
mod rig;
mod samples;
mod shares;
mod sink;
mod throughput;

use chart::Chart;
use machine::Machine;
use peer::Peer;
use report::{Report, Row};

#[derive(Args)]
pub(crate) struct Options {
    /// Run only this scenario; may be repeated
    #[arg(long = "scenario", value_enum, value_name = "NAME")]
    scenarios: Vec<Scenario>,
    /// Of the servers that are compared only this one, besides cors-edge; may be repeated
    #[arg(long = "peer", value_enum, value_name = "NAME")]
    peers: Vec<Peer>,
    /// Fewer and shorter runs: to see that it works, not for figures
    #[arg(long)]
    quick: bool,
    /// Measure this build of the agent, instead of building one
    #[arg(long, value_name = "PROGRAM")]
    agent: Option<PathBuf>,
    /// Write every sample into this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write README.md's table, docs/benchmarks.md with its plots, and every sample into docs/bench
    #[arg(long)]
    write_docs: bool,
    /// Measure nothing: make those pages again, of the samples that are kept
    #[arg(long, conflicts_with_all = ["scenarios", "peers", "quick", "agent", "json", "write_docs"])]
    render: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Rates, costs and waiting beside other servers
    Peers,
    /// The time in the driver's program, beside that of a bare bounce
    Programs,
    /// Rates by the share of preflights among GETs, with cors-edge before nginx and without
    Shares,
    /// How long a policy of 100,000 origins takes to check and to load
    Capacity,
    /// What a preflight costs in the driver, with a small and with a large policy
    Cost,
    /// Bulk transfers over handed-over connections, against those without cors-edge
    Throughput,
}

/// What a scenario has to know.
struct Plan {
    quick: bool,
    agent: PathBuf,
    /// Besides cors-edge; none: all.
    peers: Vec<Peer>,
}

impl Plan {
    /// One number for a real run, and one for a quick one.
    const fn pick(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// The product, and whom it is compared with.
    fn peers(&self) -> Vec<Peer> {
        let chosen = |peer: &Peer| *peer == Peer::CorsEdge || self.peers.contains(peer);
        let all = Peer::value_variants().iter().copied();
        if self.peers.is_empty() { all.collect() } else { all.filter(chosen).collect() }
    }
}

/// What a scenario found.
#[derive(Default)]
struct Outcome {
    /// For the table.
    rows: Vec<Row>,
    /// What a reader of the rows must know.
    notes: Vec<String>,
    /// Plots.
    charts: Vec<Chart>,
    /// Every sample.
    samples: Value,
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Programs => "programs",
            Self::Shares => "shares",
            Self::Capacity => "capacity",
            Self::Cost => "cost",
            Self::Throughput => "throughput",
        }
    }

    fn play(self, plan: &Plan) -> Result<Outcome> {
        match self {
            Self::Peers => peers::run(plan),
            Self::Programs => programs::run(plan),
            Self::Shares => shares::run(plan),
            Self::Capacity => capacity::run(plan),
            Self::Cost => cost::run(plan),
            Self::Throughput => throughput::run(plan),
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.render {
        return Report::kept()?.render();
    }
    if !is_root() {
        bail!(
            "the benchmarks make network namespaces and load programs into the kernel, which only \
             root may do. Please run\n    sudo env \"PATH=$PATH\" cargo xtask bench"
        );
    }
    setup::prepare(Purpose::Bench)?;
    let agent = if let Some(program) = &options.agent {
        program.canonicalize().with_context(|| program.display().to_string())?
    } else {
        build_agent()?;
        agent()
    };
    let plan = Plan { quick: options.quick, agent, peers: options.peers.clone() };
    let scenarios = match &*options.scenarios {
        [] => Scenario::value_variants(),
        some => some,
    };
    // Before the load that is made here.
    let mut report = Report::new(Machine::read(), options.quick);
    for scenario in scenarios {
        say(&format!("scenario {}", scenario.name()));
        let outcome = scenario.play(&plan).with_context(|| scenario.name())?;
        report.add(scenario.name(), outcome);
    }
    println!("{}", report.markdown(false));
    if let Some(path) = &options.json {
        fs::write(path, report.json()?).with_context(|| path.display().to_string())?;
    }
    if options.write_docs {
        report.keep()?;
    }
    Ok(())
}
