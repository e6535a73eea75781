//! `cors-edge bench`: its arguments, and what it prints.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use cors_user::{
    bench::{self, requests},
    host::interface,
};

use crate::{INVALID, cli::seconds, print};

/// Plays, and prints the report.
pub(crate) fn run(arguments: Bench) -> Result<ExitCode> {
    let json = arguments.json;
    let report = bench::run(&arguments.setup()?)?;
    let text = if json { serde_json::to_string(&report)? + "\n" } else { bench::human(&report) };
    print(&text)?;
    // Figures of a run with an anomaly are worth nothing.
    Ok(if report.anomalies == 0 { ExitCode::SUCCESS } else { ExitCode::from(INVALID) })
}

/// Play clients against a server, from the driver, and say how fast it answers
///
/// Needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and Linux 5.18 or later. The clients have addresses
/// of their own, which the server must reach by way of this machine: on the server,
/// `ip route add 10.64.0.0/16 via THIS-MACHINE`. Every byte of every reply is checked. Exit code 0, or 2
/// if something happened that must not happen between honest peers.
#[derive(Args, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Bench {
    /// The server
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) target: SocketAddr,
    /// The interface towards it
    #[arg(long, value_name = "IF")]
    pub(crate) interface: String,
    /// The first of the clients' addresses; its last 16 bits are zero
    #[arg(long, value_name = "ADDR")]
    pub(crate) clients: IpAddr,
    /// Connections at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) connections: u32,
    /// Requests on a connection; 0: as many as there is time for
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) per_connection: u32,
    /// Arrivals in a second, each a request, whether or not earlier ones were answered; without it
    /// each client asks again as soon as it was answered
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<f64>,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// How long to play before that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) warm_up: Duration,
    /// What to ask: a file of request heads, one after the other, each with the empty line that
    /// ends it; asked in turn
    #[arg(long, value_name = "FILE", conflicts_with_all = ["origin", "host", "path", "method", "headers"])]
    pub(crate) requests: Option<PathBuf>,
    /// The origin of the preflight to ask
    #[arg(long, value_name = "ORIGIN", required_unless_present = "requests")]
    pub(crate) origin: Option<String>,
    /// Its host [default: the target]
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Its path
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub(crate) path: String,
    /// The method that it asks for
    #[arg(long, value_name = "METHOD", default_value = "PUT")]
    pub(crate) method: String,
    /// The headers that it asks for
    #[arg(long, value_name = "NAMES", default_value = "authorization,content-type")]
    pub(crate) headers: String,
    /// Play behind the driver
    #[arg(long)]
    pub(crate) generic: bool,
    /// Send by redirection to the interface: for a virtual cable whose other end has no XDP program
    #[arg(long)]
    pub(crate) redirect: bool,
    /// The core to run on
    #[arg(long, value_name = "CORE")]
    pub(crate) pin: Option<usize>,
    /// Run before everything else there; the core should have nothing else to do
    #[arg(long, requires = "pin")]
    pub(crate) realtime: bool,
    /// A core of this machine, the server's: how busy it is
    #[arg(long, value_name = "CORE")]
    pub(crate) watch: Option<usize>,
    /// Write the report as one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

impl Bench {
    /// As the library takes it.
    pub(crate) fn setup(self) -> Result<bench::Setup> {
        let interface = interface::all()?
            .into_iter()
            .find(|interface| interface.name == self.interface)
            .with_context(|| format!("there is no interface {}", self.interface))?;
        let requests = match (&self.requests, &self.origin) {
            (Some(file), _) => {
                let text = fs::read(file).with_context(|| file.display().to_string())?;
                requests::split(&text)?
            }
            (None, Some(origin)) => {
                let host = self.host.clone().unwrap_or_else(|| self.target.to_string());
                let Self { path, method, headers, .. } = &self;
                vec![requests::preflight(&host, path, origin, method, headers)]
            }
            (None, None) => Vec::new(),
        };
        ensure!(self.rate.is_none_or(|rate| rate > 0.0), "--rate must be above 0");
        Ok(bench::Setup {
            target: self.target,
            interface,
            generic: self.generic,
            redirect: self.redirect,
            clients: self.clients,
            connections: self.connections,
            per_connection: (self.per_connection != 0).then_some(self.per_connection),
            rate: self.rate,
            warm_up: self.warm_up,
            duration: self.seconds,
            requests,
            pin: self.pin,
            realtime: self.realtime,
            watch: self.watch,
        })
    }
}
