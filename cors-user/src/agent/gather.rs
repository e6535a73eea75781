//! Gathers what the status tells.

use std::collections::BTreeMap;

use cors_common::{exit::Exit, tally::KINDS, tcp::handshake::Maker};
use thiserror::Error;

use super::{
    live::Agent,
    reload,
    status::{Interface, Kernel, Map, Policy, Program, Proxy, Status},
};
use crate::kernel::{
    Counts, Programs, features::Features, maps::MapsError, statistics::StatisticsError,
};

/// Why a status cannot be told.
#[derive(Debug, Error)]
pub(super) enum StatusError {
    /// A map.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// The kernel's numbers on the programs.
    #[error(transparent)]
    Statistics(#[from] StatisticsError),
}

/// The status.
pub(super) fn status(agent: &Agent) -> Result<Status, StatusError> {
    let Agent { network, programs, policy, .. } = agent;
    let summary = &policy.summary;
    let interfaces = network.attachments().iter().map(|on| Interface {
        name: on.interface.clone(),
        index: on.index,
        xdp: on.mode.to_string(),
    });
    let statistics = programs.statistics()?.into_iter().map(|program| Program {
        name: program.name.to_owned(),
        id: program.id,
        run_count: program.run_count,
        run_time_ns: program.run_time_ns,
        verified_instructions: program.verified_instructions,
    });
    let map =
        |(name, entries, room): (&str, u64, u64)| Map { name: name.to_owned(), entries, room };
    let maps: Vec<_> = programs.fill()?.into_iter().map(map).collect();
    let flows = maps.iter().find(|map| map.name == "flows").map_or(0, |map| map.entries);
    let names = Exit::ALL.iter().map(|exit| exit.name().to_owned());
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        mode: if agent.proxy.is_some() { "proxy" } else { "sidecar" }.to_owned(),
        measure: agent.measure,
        started_at: reload::seconds(agent.born),
        uptime_seconds: agent.started.elapsed().as_secs(),
        startup: agent.startup.clone(),
        policy: Policy {
            generation: policy.generation,
            digest: format!("{:016x}", summary.digest),
            loaded_at: reload::seconds(policy.loaded),
            policies: summary.policies as u64,
            origins: summary.origins as u64,
            source: agent.source.display().to_string(),
        },
        idle: agent.idle(),
        reload: agent.reloads.last.clone(),
        reloads: agent.reloads.counts,
        interfaces: interfaces.collect(),
        programs: statistics.collect(),
        kernel: kernel(programs),
        protected: programs.protected().iter().map(ToString::to_string).collect(),
        tracers: agent.tracing.listeners() as u64,
        flows,
        flows_evicted: programs.evicted()?,
        maps,
        counters: names.zip(programs.counters()?).collect(),
        by_policy: by_policy(agent)?,
        proxy: agent.proxy.as_ref().map(|proxy| Proxy {
            connections: proxy.connections() as u64,
            counters: proxy.counted(),
            own_cors: proxy.own_cors(),
            requests: proxy.requests(),
            upstreams: proxy.upstreams(),
            by_policy: proxy.by_policy(),
        }),
    })
}

fn kernel(programs: &Programs) -> Kernel {
    let Features { release, tcx, reset, .. } = programs.features();
    Kernel {
        release: release.clone(),
        handshake: match programs.state.handshake() {
            Maker::Driver => "driver",
            Maker::Kernel => "kernel",
        }
        .to_owned(),
        hand_over: programs.features().hands_over(),
        tcx: *tcx,
        reset: *reset,
    }
}

/// What the driver counted for each policy, by the reason.
fn by_policy(agent: &Agent) -> Result<BTreeMap<String, BTreeMap<String, u64>>, MapsError> {
    let reasons = KINDS.map(|exit| match exit {
        Exit::Answered if agent.measure => Exit::WouldAnswer,
        exit => exit,
    });
    let named = |counts: Counts| reasons.iter().map(|exit| exit.name().to_owned()).zip(counts);
    let tallies = agent.programs.tallies()?.into_iter();
    Ok(tallies.map(|(policy, counts)| (policy, named(counts).collect())).collect())
}
