//! `cargo xtask demo`: the product at work, with nothing at stake.
//!
//! Everything happens in a network namespace and a mount namespace that have no name: they end
//! with the last process in them, and every process that is started here dies with this one. So
//! there is nothing to clean up, also after Ctrl-C or a kill.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::{
    setup::{self, Purpose},
    shell::{agent, build_agent, is_root, say, workspace},
};

mod agent_process;
mod child;
mod client;
mod namespace;
mod origin;
mod policy;
mod report;

use agent_process::{Agent, Counters};
use client::{Exchange, Request};
use origin::Origin;
use policy::Policy;
use report::Report;

/// A tmpfs of the mount namespace is mounted here.
const SCRATCH: &str = "/run";
const ADDRESS: &str = "127.0.0.1:80";

#[derive(Args)]
pub(crate) struct Options {
    /// Show this agent, which is built already, instead of building one
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
}

/// Who answered a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answerer {
    /// The XDP program; the origin server never saw the request.
    Driver,
    /// The origin server, through the kernel's TCP.
    Socket,
}

/// Requests that share one connection, and what is to come of each.
struct Scene {
    title: &'static str,
    requests: Vec<(Request, Answerer)>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !is_root() {
        bail!(
            "the demonstration makes a network namespace and loads programs into the kernel, \
             which only root may do. Please run\n    sudo env \"PATH=$PATH\" cargo xtask demo"
        );
    }
    let program = if let Some(built) = &options.agent {
        built.canonicalize().with_context(|| format!("there is no agent at {}", built.display()))?
    } else {
        setup::prepare(Purpose::Demo)?;
        build_agent()?;
        agent()
    };
    let policy = Policy::example(&workspace().join("cors-user/src/config/example.toml"), ADDRESS)?;

    say("a network namespace of its own: nothing of this reaches your interfaces");
    namespace::enter(SCRATCH)?;
    let origin = Origin::listen(ADDRESS)?;
    let agent = Agent::start(&program, &policy, Path::new(SCRATCH))?;

    let mut report = Report::new();
    report.opening(&policy, ADDRESS);
    let before = agent.counters()?;
    for scene in scenes(&policy) {
        play(&scene, &agent, &origin, &mut report)?;
    }
    report.closing(&agent.counters()?.since(&before));
    agent.stop()?;
    ensure!(report.surprises() == 0, "{} answers were not as expected", report.surprises());
    Ok(())
}

fn scenes(policy: &Policy) -> Vec<Scene> {
    use Answerer::{Driver, Socket};
    let mut number = 0;
    let mut request = |method: &str, origin: Option<&str>, answerer| {
        number += 1;
        (policy.request(number, method, origin), answerer)
    };
    let friend = Some(policy.origin.as_str());
    vec![
        Scene { title: "A preflight", requests: vec![request("OPTIONS", friend, Driver)] },
        Scene {
            title: "Two preflights and a GET, all on one connection",
            requests: vec![
                request("OPTIONS", friend, Driver),
                request("OPTIONS", friend, Driver),
                request("GET", friend, Socket),
            ],
        },
        Scene {
            title: "A preflight from an origin that the policy does not know",
            requests: vec![request("OPTIONS", Some("https://evil.example"), Socket)],
        },
        Scene { title: "A plain GET", requests: vec![request("GET", None, Socket)] },
    ]
}

fn play(scene: &Scene, agent: &Agent, origin: &Origin, report: &mut Report) -> Result<()> {
    report.scene(scene.title);
    let before = agent.counters()?;
    let requests: Vec<_> = scene.requests.iter().map(|(request, _)| request).collect();
    let exchanges = client::ask(&requests, ADDRESS, Path::new(SCRATCH))?;
    let counted = agent.counters()?.since(&before);

    let seen = origin.take_record();
    let mut by_driver = 0;
    for ((request, expected), exchange) in scene.requests.iter().zip(&exchanges) {
        let answerer = if seen.contains(&request.line()) {
            Answerer::Socket
        } else {
            by_driver += 1;
            Answerer::Driver
        };
        report.exchange(request, exchange, answerer, is_expected(*expected, answerer, exchange));
    }
    report.check(
        counted.answered() == by_driver,
        &format!("the driver counts {} answers, {by_driver} were expected", counted.answered()),
    );
    report.check(
        exchanges.iter().map(|exchange| exchange.new_connections).sum::<u32>() == 1,
        "the client opened more than one connection",
    );
    Ok(())
}

fn is_expected(expected: Answerer, answerer: Answerer, exchange: &Exchange) -> bool {
    let allowed = exchange.header("access-control-allow-origin").is_some();
    answerer == expected
        && (200..300).contains(&exchange.status)
        && allowed == (answerer == Answerer::Driver)
}

impl Counters {
    /// Preflights that the driver answered, in whichever way.
    fn answered(&self) -> u64 {
        ["answered", "answered_close", "answered_again"].iter().map(|name| self.get(name)).sum()
    }
}
