//! The status document: what the agent tells about itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::startup::Startup;
use crate::proxy::{Requests, UpstreamHealth};

/// What the agent tells about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the agent.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// How it is deployed: `sidecar` or `proxy`.
    pub mode: String,
    /// Whether it only counts what it would answer.
    pub measure: bool,
    /// When it was started, in seconds since 1970.
    pub started_at: u64,
    /// For how long it has been running, in seconds.
    pub uptime_seconds: u64,
    /// How long its start took.
    pub startup: Startup,
    /// The active policy.
    pub policy: Policy,
    /// Why nothing is answered at the moment; absent: it is.
    pub idle: Option<String>,
    /// The last reload; absent: there was none.
    pub reload: Option<Reload>,
    /// How many reloads there were.
    pub reloads: Reloads,
    /// The interfaces that it is on.
    pub interfaces: Vec<Interface>,
    /// Its programs.
    pub programs: Vec<Program>,
    /// What the kernel has of what the agent makes use of.
    #[serde(default)]
    pub kernel: Kernel,
    /// The sockets that are protected at the moment.
    pub protected: Vec<String>,
    /// How many are following its decisions.
    #[serde(default)]
    pub tracers: u64,
    /// How full the maps are.
    pub maps: Vec<Map>,
    /// Connections that are remembered.
    pub flows: u64,
    /// Connections that were forgotten since the table was made because there were too many: their
    /// next segment is reset.
    #[serde(default)]
    pub flows_evicted: u64,
    /// The total of every counter, by the name of the exit that it counts.
    pub counters: BTreeMap<String, u64>,
    /// What the driver counted for each policy since the agent was started, by its name and by the
    /// reason: requests that were answered, and those that were denied.
    #[serde(default)]
    pub by_policy: BTreeMap<String, BTreeMap<String, u64>>,
    /// The slow path; absent in sidecar mode.
    pub proxy: Option<Proxy>,
}

/// The slow path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// Connections of clients that are open.
    pub connections: u64,
    /// Totals by name; where the driver counts the same thing the name is the same.
    pub counters: BTreeMap<String, u64>,
    /// Of each upstream, how many responses came with CORS headers of its own.
    pub own_cors: BTreeMap<String, u64>,
    /// Requests as a whole.
    #[serde(default)]
    pub requests: Requests,
    /// How each upstream is, by its name.
    #[serde(default)]
    pub upstreams: BTreeMap<String, UpstreamHealth>,
    /// How preflights ended here, by policy and by the reason.
    #[serde(default)]
    pub by_policy: BTreeMap<String, BTreeMap<String, u64>>,
}

/// The active policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Counts up with every policy loaded.
    pub generation: u32,
    /// The same for the same policy, and for no other in practice: 16 hexadecimal digits.
    pub digest: String,
    /// When it was put in use, in seconds since 1970.
    pub loaded_at: u64,
    /// How many policies it has.
    pub policies: u64,
    /// How many origin patterns they have together.
    pub origins: u64,
    /// The file that it was read from.
    pub source: String,
}

/// How many reloads there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloads {
    /// After which the policy was in use.
    pub done: u64,
    /// That changed nothing.
    pub refused: u64,
}

/// How full a map is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// What is in it.
    pub name: String,
    /// How many entries it has; of the policy's maps the generation that is in use.
    pub entries: u64,
    /// For how many there is room.
    pub room: u64,
}

/// What a reload came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// When it ended, in seconds since 1970.
    pub at: u64,
    /// What it was wanted by: `reload`, `rollback`, `SIGHUP` or `file`.
    pub by: String,
    /// Why the policy was refused; absent: it is in use.
    pub error: Option<String>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// How the XDP program is attached: `native`, `generic` or `off`.
    pub xdp: String,
}

/// What the kernel has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Its release.
    pub release: String,
    /// Who makes the handshakes: `driver` or `kernel`.
    pub handshake: String,
    /// Whether it takes over connections that the driver accepted (Linux 6.9).
    pub hand_over: bool,
    /// Whether links hold programs on traffic control's hooks (Linux 6.6), and not filters, which
    /// outlive an agent that is killed.
    pub tcx: bool,
    /// Whether connections can be reset that would not go on without the agent.
    pub reset: bool,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Its id, as `bpftool prog` shows it.
    pub id: u32,
    /// How often it ran; 0 unless `kernel.bpf_stats_enabled` is 1.
    pub run_count: u64,
    /// How long that took altogether, in nanoseconds; 0 likewise.
    pub run_time_ns: u64,
    /// How many instructions the verifier went through; absent where the kernel does not say.
    pub verified_instructions: Option<u32>,
}
