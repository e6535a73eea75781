//! What came of it, for people and for programs.

use std::{fmt::Write as _, time::Duration};

use cors_load::{
    count::{Count, Kind},
    histogram::quantile,
};
use serde::{Deserialize, Serialize};

use super::{Setup, probe::Exchange};

/// What came of a load. Times are in microseconds unless a name says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The target, as it was named.
    pub target: String,
    /// How many connections at a time.
    pub connections: u32,
    /// How many requests on each; absent: as many as there was time for.
    pub requests_per_connection: Option<u32>,
    /// Arrivals in a second that were wanted; absent: as fast as possible.
    pub offered_per_s: Option<f64>,
    /// How long it was measured, in seconds.
    pub seconds: f64,
    /// Whole and right replies in that time.
    pub replies: u64,
    /// The same in a second.
    pub replies_per_s: f64,
    /// Connections that were opened in that time, in a second.
    pub connections_per_s: f64,
    /// From the moment at which a request was due to its whole reply; with a new connection, from
    /// the moment at which that was due.
    pub latency: Option<Latency>,
    /// The watched core.
    pub server_core: Option<Core>,
    /// Everything that must not happen, from the first packet to the last.
    pub anomalies: u64,
    /// Every counter in the measured time.
    pub counts: serde_json::Map<String, serde_json::Value>,
    /// Every counter from the first packet to the last.
    pub totals: serde_json::Map<String, serde_json::Value>,
    /// What the first requests were answered with.
    pub learnt: Vec<Learnt>,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half are faster.
    pub p50: f64,
    /// Of 10, 9 are faster.
    pub p90: f64,
    /// Of 100, 99 are faster.
    pub p99: f64,
    /// Of 1,000, 999 are faster.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

/// A core that was watched.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Core {
    /// Its number.
    pub number: usize,
    /// The part of the time in which it was not idle, from 0 to 1.
    pub busy: f64,
    /// Busy microseconds for each reply.
    pub us_per_reply: f64,
}

/// A request and its reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learnt {
    /// The request.
    pub request: String,
    /// The reply.
    pub reply: String,
    /// Its status.
    pub status: u16,
    /// How many bytes of it may vary.
    pub varying: usize,
}

/// So many of the learnt replies are in the report.
const LEARNT: usize = 8;

#[allow(clippy::cast_precision_loss, reason = "what is counted is far below 2^52")]
impl Report {
    pub(super) fn new(
        setup: &Setup,
        exchanges: &[Exchange],
        elapsed: Duration,
        window: &[u64],
        totals: &[u64],
        latencies: &[u64],
        busy: Option<(f64, f64)>,
    ) -> Self {
        let seconds = elapsed.as_secs_f64();
        let replies = window[Count::Replied as usize];
        let server_core = setup.watch.zip(busy).map(|(number, (us, busy))| Core {
            number,
            busy,
            us_per_reply: us / replies as f64,
        });
        let anomalies = Count::ALL.iter().filter(|count| count.kind() == Kind::Anomaly);
        Self {
            target: setup.target.to_string(),
            connections: setup.connections,
            requests_per_connection: setup.per_connection,
            offered_per_s: setup.rate,
            seconds,
            replies,
            replies_per_s: replies as f64 / seconds,
            connections_per_s: window[Count::Opened as usize] as f64 / seconds,
            latency: latency(latencies),
            server_core,
            anomalies: anomalies.map(|count| totals[*count as usize]).sum(),
            counts: named(window),
            totals: named(totals),
            learnt: exchanges.iter().take(LEARNT).map(learnt).collect(),
        }
    }
}

fn named(counts: &[u64]) -> serde_json::Map<String, serde_json::Value> {
    let some = Count::ALL.iter().zip(counts).filter(|(_, count)| **count != 0);
    some.map(|(name, count)| (name.name().to_owned(), (*count).into())).collect()
}

fn learnt(exchange: &Exchange) -> Learnt {
    Learnt {
        request: String::from_utf8_lossy(&exchange.request).into_owned(),
        reply: String::from_utf8_lossy(&exchange.reply).into_owned(),
        status: exchange.status(),
        varying: exchange.mask.iter().map(|mask| usize::from(*mask == 0)).sum(),
    }
}

#[allow(clippy::cast_precision_loss, reason = "nanoseconds of seconds")]
fn latency(buckets: &[u64]) -> Option<Latency> {
    let at = |part| quantile(buckets, part).map(|ns| ns as f64 / 1e3);
    Some(Latency { p50: at(0.5)?, p90: at(0.9)?, p99: at(0.99)?, p999: at(0.999)?, max: at(1.0)? })
}

/// A page of text.
pub fn human(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail, here and below.
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "{what:<18} {value}");
    };
    let statuses: Vec<_> = report.learnt.iter().map(|learnt| learnt.status.to_string()).collect();
    line("target", format!("{}, which answers {}", report.target, statuses.join(", ")));
    let each = match report.requests_per_connection {
        Some(requests) => format!("{requests} requests on each"),
        None => "kept alive".to_owned(),
    };
    line("connections", format!("{} at a time, {each}", report.connections));
    if let Some(rate) = report.offered_per_s {
        line("offered", format!("{rate:.0} arrivals/s"));
    }
    line("replies", format!("{:.0}/s over {:.2} s", report.replies_per_s, report.seconds));
    line("new connections", format!("{:.0}/s", report.connections_per_s));
    if let Some(Latency { p50, p90, p99, p999, max }) = report.latency {
        line(
            "latency",
            format!("p50 {p50:.1} µs, p90 {p90:.1}, p99 {p99:.1}, p99.9 {p999:.1}, max {max:.1}"),
        );
    }
    if let Some(Core { number, busy, us_per_reply }) = report.server_core {
        line(
            "server core",
            format!("{number}: {:.1} % busy, {us_per_reply:.3} µs a reply", busy * 100.0),
        );
    }
    let all = |kind: Kind| {
        let some = Count::ALL.iter().filter(|count| count.kind() == kind);
        let found = some.filter_map(|count| {
            let value = report.totals.get(count.name())?;
            Some(format!("{} {value}", count.name()))
        });
        found.collect::<Vec<_>>().join(", ")
    };
    line("in all", all(Kind::Work));
    line("notes", all(Kind::Note));
    line("anomalies", if report.anomalies == 0 { "none".to_owned() } else { all(Kind::Anomaly) });
    text
}
