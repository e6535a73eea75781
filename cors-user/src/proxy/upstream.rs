//! The servers behind, and which of them a request goes to: in turn, and past those that could not be
//! connected to a moment ago where there is another.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use super::{latency::Histogram, service::UpstreamHealth};
use crate::config::model::{Scheme, Upstream};

/// For how long something that failed is passed over.
pub(super) const REST: Duration = Duration::from_secs(10);

/// All upstreams.
#[derive(Debug)]
pub(super) struct Upstreams {
    pub(super) targets: Vec<Target>,
    next: AtomicUsize,
    started: Instant,
}

/// One upstream.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) scheme: Scheme,
    /// As it is in a URL.
    pub(super) host: String,
    pub(super) port: u16,
    /// Its place among the targets.
    pub(super) index: usize,
    /// It is passed over until then, in milliseconds since the start.
    resting: AtomicU64,
    /// Responses with CORS headers of its own.
    pub(super) own_cors: AtomicU64,
    pub(super) measured: Measured,
}

/// What is measured of one upstream.
#[derive(Debug, Default)]
pub(super) struct Measured {
    results: [AtomicU64; Ended::ALL.len()],
    pub(super) connect: Histogram,
    pub(super) first_byte: Histogram,
}

/// How a request to an upstream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With an answer.
    Answered,
    /// It could not be connected to.
    Unreachable,
    /// It broke off.
    Broken,
    /// It took too long.
    Timeout,
}

impl Ended {
    const ALL: [(Self, &str); 4] = [
        (Self::Answered, "answered"),
        (Self::Unreachable, "unreachable"),
        (Self::Broken, "broken"),
        (Self::Timeout, "timeout"),
    ];
}

impl Upstreams {
    pub(super) fn new(upstreams: &[Upstream]) -> Self {
        let targets = upstreams.iter().enumerate().map(|(index, upstream)| Target {
            name: upstream.to_string(),
            scheme: upstream.scheme,
            host: upstream.host.clone(),
            port: upstream.port(),
            index,
            resting: AtomicU64::new(0),
            own_cors: AtomicU64::new(0),
            measured: Measured::default(),
        });
        Self { targets: targets.collect(), next: AtomicUsize::new(0), started: Instant::now() }
    }

    /// The targets in the order in which they are to be tried.
    pub(super) fn order(&self) -> Vec<&Target> {
        let all = self.targets.len();
        let first = if all == 1 { 0 } else { self.next.fetch_add(1, Relaxed) };
        let mut order: Vec<_> = (0..all).map(|n| &self.targets[(first + n) % all]).collect();
        if all > 1 {
            let now = self.now();
            order.sort_by_key(|target| target.resting.load(Relaxed) > now);
        }
        order
    }

    /// How each of them is, by its name.
    pub(super) fn health(&self) -> BTreeMap<String, UpstreamHealth> {
        let now = self.now();
        let health = |target: &Target| {
            let Measured { results, connect, first_byte } = &target.measured;
            let results = Ended::ALL.iter().zip(results);
            let health = UpstreamHealth {
                up: target.resting.load(Relaxed) <= now,
                results: results
                    .map(|((_, name), total)| ((*name).to_owned(), total.load(Relaxed)))
                    .collect(),
                connect: connect.read(),
                first_byte: first_byte.read(),
            };
            (target.name.clone(), health)
        };
        self.targets.iter().map(health).collect()
    }

    /// It could not be connected to.
    pub(super) fn failed(&self, target: &Target) {
        target.resting.store(self.now() + REST.as_millis() as u64, Relaxed);
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

impl Target {
    /// It answered.
    pub(super) fn answered(&self) {
        if self.resting.load(Relaxed) != 0 {
            self.resting.store(0, Relaxed);
        }
    }

    /// A request to it has ended.
    pub(super) fn ended(&self, how: Ended) {
        self.measured.results[how as usize].fetch_add(1, Relaxed);
    }
}
