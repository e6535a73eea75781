//! A server and a load on one machine: two hosts, a cable, and a core for each side.
//!
//! Whatever a packet costs is paid where it belongs: each end of the cable is polled by a thread of
//! the kernel, pinned to its side's core. Without that a veth runs the receiver's work in the sender's
//! system call.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::{self, Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use cors_tests::{
    Family,
    netns::Netns,
    scratch::Scratch,
    topology::{CLIENT, SERVER, Veth, VethOptions, add_addresses, address},
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use serde_json::Value;

use super::Plan;

/// The load's core.
pub(super) const LOAD_CORE: usize = 0;
/// The server's core.
pub(super) const SERVER_CORE: usize = 1;

/// What XDP there is on the server's end of the cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// A native program.
    Native,
    /// None, or a generic one.
    Plain,
}

/// Two hosts, and a load for one of them.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) server: Netns,
    pub(super) client: Netns,
    /// The server's end of the cable.
    pub(super) interface: String,
    /// The other one.
    pub(super) client_interface: String,
    side: Side,
    program: PathBuf,
    scratch: Scratch,
    _cable: Veth,
}

/// How to play.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// What to ask, in turn.
    pub(super) requests: Vec<Vec<u8>>,
    /// Requests on a connection; 0: any number.
    pub(super) per_connection: u32,
    pub(super) connections: u32,
    /// Arrivals in a second; `None`: as fast as it goes.
    pub(super) rate: Option<f64>,
    pub(super) family: Family,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
}

impl Load {
    /// Kept-alive connections, as fast as it goes.
    pub(super) fn new(plan: &Plan, requests: Vec<Vec<u8>>) -> Self {
        Self {
            requests,
            per_connection: 0,
            connections: 64,
            rate: None,
            family: Family::V4,
            warm_up: Duration::from_millis(plan.pick(500, 200) as u64),
            duration: Duration::from_millis(plan.pick(2000, 700) as u64),
        }
    }

    /// A connection for each request.
    pub(super) fn one_shot(self) -> Self {
        Self { per_connection: 1, ..self }
    }

    /// At this rate.
    pub(super) fn at(self, rate: f64) -> Self {
        Self { rate: Some(rate), ..self }
    }
}

impl Rig {
    /// With nothing on the server's host yet.
    pub(super) fn new(plan: &Plan, side: Side) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Names of their own: the threads of the kernel are found by them.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{:x}{number}", process::id() & 0xffff);
        let (interface, client_interface) = (format!("s{unique}"), format!("c{unique}"));
        let (server, client) = (Netns::new("server"), Netns::new("client"));
        let cable =
            Veth::join((&server, &interface), (&client, &client_interface), VethOptions::default());
        add_addresses(&server, &interface, 0, SERVER);
        add_addresses(&client, &client_interface, 0, CLIENT);
        for (family, clients) in [(Family::V4, "10.64.0.0/16"), (Family::V6, "fd64::/112")] {
            let via = address(family, CLIENT).to_string();
            server.ip(&["route", "add", clients, "via", &via]);
        }
        for (host, name) in [(&server, &interface), (&client, &client_interface)] {
            // NAPI exists from here on, whatever programs come and go.
            host.run("ethtool", &["-K", name, "gro", "on"]);
            let path = format!("/sys/class/net/{name}/threaded");
            host.enter(|| fs::write(&path, "1")).with_context(|| path.clone())?;
        }
        // The load's end looks by itself for what came, every so often: to be woken for each packet
        // would cost the server's core, on a virtual machine more than the packet.
        for (name, value) in [("napi_defer_hard_irqs", "1000000"), ("gro_flush_timeout", "10000")] {
            let path = format!("/sys/class/net/{client_interface}/{name}");
            client.enter(|| fs::write(&path, value)).with_context(|| path.clone())?;
        }
        pin_poller(&interface, SERVER_CORE)?;
        let poller = pin_poller(&client_interface, LOAD_CORE)?;
        // What came goes before what is to be sent anew, and both before everything else there.
        let pid = poller.to_string();
        client.run("chrt", &["--fifo", "--pid", "2", &pid]);
        Ok(Self {
            server,
            client,
            interface,
            client_interface,
            side,
            program: plan.agent.clone(),
            scratch: Scratch::new("load"),
            _cable: cable,
        })
    }

    /// The server's socket.
    pub(super) fn at(family: Family) -> SocketAddr {
        SocketAddr::new(address(family, SERVER), 80)
    }

    /// Plays, and returns the report. An anomaly is an error: nothing that was measured then counts.
    pub(super) fn play(&self, load: &Load) -> Result<Value> {
        let Output { status, stdout, stderr } = self.try_play(load)?;
        let said = String::from_utf8_lossy(&stderr);
        ensure!(!stdout.is_empty(), "the load: {status}\n{said}");
        let report: Value = serde_json::from_slice(&stdout).context("the load's report")?;
        if report["anomalies"] != 0 {
            bail!("replies or segments that must not be: {}", report["totals"]);
        }
        ensure!(status.success(), "the load: {status}\n{said}");
        Ok(report)
    }

    fn try_play(&self, load: &Load) -> Result<Output> {
        let requests = self.scratch.write("requests", load.requests.concat());
        let clients: IpAddr = match load.family {
            Family::V4 => [10, 64, 0, 0].into(),
            Family::V6 => [0xfd64, 0, 0, 0, 0, 0, 0, 0].into(),
        };
        let mut command = Command::new(&self.program);
        command.args(["bench", "--json", "--interface", &self.client_interface]);
        command.arg("--target").arg(Self::at(load.family).to_string());
        command.arg("--clients").arg(clients.to_string());
        command.arg("--requests").arg(requests);
        command.arg("--connections").arg(load.connections.to_string());
        command.arg("--per-connection").arg(load.per_connection.to_string());
        command.arg("--warm-up").arg(load.warm_up.as_secs_f64().to_string());
        command.arg("--seconds").arg(load.duration.as_secs_f64().to_string());
        command.arg("--realtime").arg("--pin").arg(LOAD_CORE.to_string());
        command.arg("--watch").arg(SERVER_CORE.to_string());
        if let Some(rate) = load.rate {
            command.arg("--rate").arg(rate.to_string());
        }
        if self.side == Side::Plain {
            command.arg("--redirect");
        }
        self.client.prepare(&mut command);
        command.output().with_context(|| format!("cannot run {command:?}"))
    }
}

/// Pins the thread of the kernel that polls an interface.
fn pin_poller(interface: &str, core: usize) -> Result<Pid> {
    let name = format!("napi/{interface}-");
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let (Some(pid), Ok(comm)) = (pid, fs::read_to_string(entry.path().join("comm"))) else {
            continue;
        };
        if comm.starts_with(&name) {
            let pid = Pid::from_raw(pid);
            pin(pid, core)?;
            return Ok(pid);
        }
    }
    bail!("there is no thread of the kernel that polls {interface}")
}

/// Lets a process run on one core alone.
pub(super) fn pin(pid: Pid, core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(pid, &set).with_context(|| format!("pin process {pid} to core {core}"))
}

/// A number of a report.
pub(super) fn number(report: &Value, path: &str) -> Result<f64> {
    report.pointer(path).and_then(Value::as_f64).with_context(|| format!("no {path}: {report}"))
}
