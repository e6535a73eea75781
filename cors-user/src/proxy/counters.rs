//! What the slow path counts, by name.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use cors_common::{exit::Exit, framing::Broken};

use super::latency::{Histogram, Latency};

macro_rules! events {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)+) => {
        /// What is counted besides answers and refusals.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Event {
            $($(#[doc = $doc])+ $variant,)+
        }

        const EVENTS: &[&str] = &[$($name,)+];
    };
}

events! {
    /// A connection of a client.
    Connection = "connection";
    /// A connection closed at once, as there are too many.
    TooManyConnections = "too_many_connections";
    /// A PROXY header that is none.
    ProxyHeader = "proxy_header";
    /// A TLS handshake that failed.
    TlsFailed = "tls_failed";
    /// A request.
    Request = "request";
    /// A request that was answered by an upstream.
    Forwarded = "forwarded";
    /// A connection that became one of another protocol.
    Upgraded = "upgraded";
    /// A request of an origin that its policy does not allow, refused before the upstream.
    Enforced = "enforced";
    /// A response to which the upstream had put CORS headers of its own.
    UpstreamCors = "upstream_cors";
    /// A head or a body that did not come in time.
    ClientTimeout = "client_timeout";
    /// A body of more bytes than are taken.
    BodyTooLong = "body_too_long";
    /// A body that broke off.
    BodyBroken = "body_broken";
    /// An expectation that is not known.
    Expectation = "expectation";
    /// A request for which there was no room.
    Overloaded = "overloaded";
    /// An upstream that cannot be connected to.
    UpstreamUnreachable = "upstream_unreachable";
    /// An upstream that broke off, or said what is no HTTP.
    UpstreamBroken = "upstream_broken";
    /// An upstream that did not answer in time.
    UpstreamTimeout = "upstream_timeout";
}

/// What became of a request as a whole; how long it took is measured by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A preflight that was answered here and allowed.
    Answered,
    /// A request that was refused by the policy, and not forwarded.
    Denied,
    /// A request that an upstream answered.
    Forwarded,
    /// A request that could not be forwarded, or was none.
    Failed,
}

impl Outcome {
    /// Every variant in order.
    pub(super) const ALL: [Self; 4] = [Self::Answered, Self::Denied, Self::Forwarded, Self::Failed];

    /// Its name in metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Denied => "denied",
            Self::Forwarded => "forwarded",
            Self::Failed => "failed",
        }
    }
}

/// Totals since the start.
#[derive(Debug)]
pub(super) struct Counters {
    exits: [AtomicU64; Exit::COUNT],
    broken: [AtomicU64; Broken::ALL.len()],
    events: [AtomicU64; EVENTS.len()],
    durations: [Histogram; Outcome::ALL.len()],
}

/// Every total by its name.
pub type Counted = BTreeMap<String, u64>;

impl Default for Counters {
    fn default() -> Self {
        Self {
            exits: [const { AtomicU64::new(0) }; Exit::COUNT],
            broken: [const { AtomicU64::new(0) }; Broken::ALL.len()],
            events: [const { AtomicU64::new(0) }; EVENTS.len()],
            durations: Default::default(),
        }
    }
}

impl Counters {
    pub(super) fn exit(&self, exit: Exit) {
        self.exits[exit as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn broken(&self, broken: Broken) {
        self.broken[broken as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn event(&self, event: Event) {
        self.events[event as usize].fetch_add(1, Relaxed);
    }

    /// A request took so long, from its head to the end of its response.
    pub(super) fn took(&self, outcome: Outcome, duration: Duration) {
        self.durations[outcome as usize].add(duration);
    }

    /// How long requests took, by what became of them.
    pub(super) fn durations(&self) -> BTreeMap<String, Latency> {
        let named =
            |outcome: Outcome| (outcome.name().to_owned(), self.durations[outcome as usize].read());
        Outcome::ALL.into_iter().map(named).collect()
    }

    /// Whether something is counted that is no refusal, nor an answer.
    pub(super) fn is_event(name: &str) -> bool {
        EVENTS.contains(&name)
    }

    /// The totals. A refusal of the framing and one of the policy with the same name are the same
    /// thing, and counted together.
    pub(super) fn read(&self) -> Counted {
        let exits = Exit::ALL.iter().map(|exit| exit.name()).zip(&self.exits);
        let broken = Broken::ALL.iter().map(|broken| broken.name()).zip(&self.broken);
        let events = EVENTS.iter().copied().zip(&self.events);
        let mut counted = Counted::new();
        for (name, counter) in events.chain(broken) {
            *counted.entry(name.to_owned()).or_default() += counter.load(Relaxed);
        }
        for (name, counter) in exits {
            let total = counter.load(Relaxed);
            if total > 0 {
                *counted.entry(name.to_owned()).or_default() += total;
            }
        }
        counted
    }
}
