//! The status as metrics, in the text format of OpenMetrics.
//!
//! Names are `cors_edge_` and what is counted, in base units. A label has few values, all known
//! beforehand or named by whoever set the agent up: a reason is the name of an [`Exit`], an
//! interface one that the policy file names. Never an origin, a path or an address.

use std::fmt;

use cors_common::exit::{Action, Exit};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::{slow_path, status::Status};

/// What a metric is encoded with.
type Encoder<'a> = MetricEncoder<'a>;

/// The content type of the text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one status.
pub(super) fn text(status: Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("cors_edge");
    registry.register_collector(Box::new(Snapshot(status)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// The status when it was asked for: the programs' counters are read for each scrape.
#[derive(Debug)]
struct Snapshot(Status);

impl Collector for Snapshot {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        self.agent(&mut to)?;
        self.policy(&mut to)?;
        self.reloads(&mut to)?;
        self.packets(&mut to)?;
        self.by_policy(&mut to)?;
        self.host(&mut to)?;
        self.programs(&mut to)?;
        self.maps(&mut to)?;
        match &self.0.proxy {
            Some(proxy) => slow_path::encode(proxy, &mut to),
            None => Ok(()),
        }
    }
}

impl Snapshot {
    fn agent(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Status { version, mode, idle, measure, started_at, startup, .. } = &self.0;
        let mut info = to.encode_descriptor("build", "The agent.", None, MetricType::Info)?;
        info.encode_info(&[("version", version.as_str()), ("mode", mode.as_str())])?;
        let answers = u64::from(idle.is_none() && !*measure);
        gauge(to, "answering", "Whether preflights are answered.", None, &answers)?;
        let help = "Whether it is only counted what would be answered.";
        gauge(to, "measuring", help, None, &u64::from(*measure))?;
        let help = "When the agent was started, since 1970.";
        gauge(to, "start_timestamp", help, Some(&Unit::Seconds), started_at)?;
        let help = "How long the start took.";
        gauge(to, "startup", help, Some(&Unit::Seconds), &seconds(startup.total_us() * 1000))
    }

    fn policy(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let policy = &self.0.policy;
        let help = "The policy that is in use; the hash is the same for the same policy.";
        let mut info = to.encode_descriptor("policy", help, None, MetricType::Info)?;
        info.encode_info(&[("hash", policy.digest.as_str())])?;
        let help = "Counts up with every policy that is put in use.";
        gauge(to, "policy_generation", help, None, &u64::from(policy.generation))?;
        gauge(to, "policy_policies", "Policies in the file.", None, &policy.policies)?;
        gauge(to, "policy_origins", "Origin patterns in the file.", None, &policy.origins)?;
        let help = "When the policy was put in use, since 1970.";
        gauge(to, "policy_load_timestamp", help, Some(&Unit::Seconds), &policy.loaded_at)
    }

    fn reloads(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Status { reload, reloads, policy, started_at, .. } = &self.0;
        let help = "Policies that were to be put in use while the agent ran.";
        let mut counter = to.encode_descriptor("reloads", help, None, MetricType::Counter)?;
        for (result, count) in [("done", reloads.done), ("refused", reloads.refused)] {
            count_one(&mut counter, &[("result", result)], count)?;
        }
        let successful = reload.as_ref().is_none_or(|reload| reload.error.is_none());
        let help = "Whether the last reload put its policy in use; 1 if there was none.";
        gauge(to, "last_reload_successful", help, None, &u64::from(successful))?;
        let help = "When the last reload ended or the agent was started, since 1970.";
        let at = reload.as_ref().map_or(*started_at, |reload| reload.at);
        gauge(to, "last_reload_timestamp", help, Some(&Unit::Seconds), &at)?;
        let help = "When a policy was last put in use, since 1970.";
        gauge(to, "last_reload_success_timestamp", help, Some(&Unit::Seconds), &policy.loaded_at)
    }

    fn packets(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Packets in the driver and behind it, by the reason for what became of them.";
        let mut counter = to.encode_descriptor("packets", help, None, MetricType::Counter)?;
        for exit in Exit::ALL {
            let action = match exit.action() {
                Action::Pass => "pass",
                Action::Drop => "drop",
                Action::Transmit => "transmit",
            };
            let count = self.0.counters.get(exit.name()).copied().unwrap_or(0);
            count_one(&mut counter, &[("reason", exit.name()), ("action", action)], count)?;
        }
        Ok(())
    }

    fn by_policy(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help =
            "Preflights that were decided on, by policy, by who did, and by what was decided.";
        let name = "policy_preflights";
        let mut counter = to.encode_descriptor(name, help, None, MetricType::Counter)?;
        let tiers = [
            ("driver", Some(&self.0.by_policy)),
            ("proxy", self.0.proxy.as_ref().map(|proxy| &proxy.by_policy)),
        ];
        for (tier, by_policy) in tiers {
            for (policy, reasons) in by_policy.into_iter().flatten() {
                for (reason, count) in reasons {
                    let labels =
                        [("policy", policy.as_str()), ("tier", tier), ("reason", reason.as_str())];
                    count_one(&mut counter, &labels, *count)?;
                }
            }
        }
        Ok(())
    }

    fn host(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Interfaces that the programs are on, and how the driver's one is attached.";
        let mut info = to.encode_descriptor("interface", help, None, MetricType::Info)?;
        for interface in &self.0.interfaces {
            let labels = [("interface", interface.name.as_str()), ("xdp", interface.xdp.as_str())];
            info.encode_info(&labels)?;
        }
        let protected = self.0.protected.len() as u64;
        gauge(to, "protected_sockets", "Sockets that are protected.", None, &protected)
    }

    fn programs(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let programs = &self.0.programs;
        let help = "Runs of a program, while kernel.bpf_stats_enabled is 1.";
        let mut counter = to.encode_descriptor("program_runs", help, None, MetricType::Counter)?;
        for program in programs {
            count_one(&mut counter, &[("program", program.name.as_str())], program.run_count)?;
        }
        let help = "How long these runs took.";
        let unit = Some(&Unit::Seconds);
        let mut counter = to.encode_descriptor("program_run", help, unit, MetricType::Counter)?;
        for program in programs {
            let seconds = seconds(program.run_time_ns);
            counter
                .encode_family(&[("program", program.name.as_str())])?
                .encode_counter::<NoLabelSet, f64, f64>(&seconds, None)?;
        }
        let help = "Instructions that the kernel's verifier went through.";
        let name = "program_verified_instructions";
        let mut gauge = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for program in programs {
            if let Some(instructions) = program.verified_instructions {
                let labels = [("program", program.name.as_str())];
                gauge.encode_family(&labels)?.encode_gauge(&u64::from(instructions))?;
            }
        }
        Ok(())
    }

    fn maps(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Entries of the kernel's tables; of the policy's those of the one in use.";
        let mut gauge = to.encode_descriptor("map_entries", help, None, MetricType::Gauge)?;
        for map in &self.0.maps {
            gauge.encode_family(&[("map", map.name.as_str())])?.encode_gauge(&map.entries)?;
        }
        let help = "Entries for which the kernel's tables have room.";
        let mut gauge = to.encode_descriptor("map_room", help, None, MetricType::Gauge)?;
        for map in &self.0.maps {
            gauge.encode_family(&[("map", map.name.as_str())])?.encode_gauge(&map.room)?;
        }
        let help = "Entries that were forgotten because there were too many; of connections, whose \
                    next segment is then reset.";
        let mut counter = to.encode_descriptor("map_evictions", help, None, MetricType::Counter)?;
        count_one(&mut counter, &[("map", "flows")], self.0.flows_evicted)
    }
}

pub(super) fn gauge(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: &impl EncodeGaugeValue,
) -> fmt::Result {
    to.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(value)
}

pub(super) fn count_one<const N: usize>(
    to: &mut Encoder<'_>,
    labels: &[(&str, &str); N],
    count: u64,
) -> fmt::Result {
    to.encode_family(labels)?.encode_counter::<NoLabelSet, u64, f64>(&count, None)
}

/// Of nanoseconds.
fn seconds(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64()
}
