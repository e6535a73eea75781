//! Decisions for whoever traces them: `edge` is told to tell as long as somebody listens.

use std::{
    future::pending,
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cors_common::{
    exit::Exit,
    tally::is_denied,
    trace::{self, Event},
};
use nix::time::{ClockId, clock_gettime};
use tokio::{
    select,
    sync::{
        broadcast::{self, error::RecvError},
        mpsc,
    },
};
use tracing::{error, info};

use super::{
    live::Agent,
    protocol::{Answer, Traced},
};
use crate::{
    cors::Shown,
    kernel::trace::Decisions,
    proxy::{Decision, Proxy},
};

/// So many may listen at a time.
const LISTENERS: usize = 8;
/// So many decisions may wait for somebody who reads slowly.
pub(super) const WAITING: usize = 256;

/// Somebody who traces.
#[derive(Debug)]
pub(super) struct Listener {
    /// Only what a policy denies.
    pub(super) denied: bool,
    /// Only requests of this origin.
    pub(super) origin: Option<String>,
    /// Where decisions go.
    pub(super) to: mpsc::Sender<Answer>,
    /// Decisions that were left out since the last one.
    pub(super) left_out: u64,
}

/// What is heard from connections on which decisions are written.
#[derive(Debug)]
pub(super) enum Heard {
    /// Somebody wants to listen.
    Comes(Listener),
    /// Somebody has gone.
    Goes,
}

/// Those who listen, and what they listen to.
pub(super) struct Tracing {
    decisions: Decisions,
    listeners: Vec<Listener>,
    /// What the slow path decides, while somebody listens.
    slow: Option<broadcast::Receiver<Decision>>,
}

/// Decisions of either tier.
#[derive(Debug)]
pub(super) enum Decided {
    /// Of the driver's.
    Driver(io::Result<Vec<(Event, Vec<u8>)>>),
    /// Of the slow path's, or how many were not read in time.
    Proxy(Result<Decision, u64>),
}

impl Tracing {
    pub(super) const fn new(decisions: Decisions) -> Self {
        Self { decisions, listeners: Vec::new(), slow: None }
    }

    /// Listens to other programs.
    pub(super) fn take_over(&mut self, decisions: Decisions) {
        self.decisions = decisions;
    }

    /// Waits for decisions.
    pub(super) async fn next(&mut self) -> Decided {
        select! {
            events = self.decisions.next() => Decided::Driver(events),
            decision = slow(&mut self.slow) => Decided::Proxy(decision),
        }
    }

    /// How many there are.
    pub(super) const fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// What has to be told for all of them.
    fn wanted(&self) -> u32 {
        if self.listeners.is_empty() {
            trace::OFF
        } else if self.listeners.iter().all(|listener| listener.denied) {
            trace::DENIED
        } else {
            trace::ALL
        }
    }
}

/// Waits for a decision of the slow path; where nobody listens or there is none, for ever.
async fn slow(receiver: &mut Option<broadcast::Receiver<Decision>>) -> Result<Decision, u64> {
    match receiver {
        Some(receiver) => match receiver.recv().await {
            Ok(decision) => Ok(decision),
            Err(RecvError::Lagged(left_out)) => Err(left_out),
            Err(RecvError::Closed) => pending().await,
        },
        None => pending().await,
    }
}

impl Listener {
    /// Tells it, where that is wanted; whoever reads too slowly is told how much was left out.
    fn tell(&mut self, exit: Exit, traced: &Traced) {
        self.left_out += traced.left_out;
        let wanted = (!self.denied || is_denied(exit))
            && (self.origin.is_none() || self.origin == traced.request.origin);
        if !wanted {
            return;
        }
        let left_out = self.left_out;
        self.left_out = match self.to.try_send(traced.leaving_out(left_out)) {
            Ok(()) => 0,
            Err(_) => left_out + 1,
        };
    }
}

impl Agent {
    /// Somebody comes to listen, or has gone.
    pub(super) fn heard(&mut self, heard: Heard) {
        let listeners = &mut self.tracing.listeners;
        listeners.retain(|listener| !listener.to.is_closed());
        if let Heard::Comes(listener) = heard {
            let answer = if listeners.len() < LISTENERS {
                info!("decisions are traced by somebody");
                Answer::Tracing
            } else {
                Answer::Error(format!("{LISTENERS} are tracing already"))
            };
            let refused = matches!(answer, Answer::Error(_));
            // The channel is new; whoever asked may be gone.
            let _ = listener.to.try_send(answer);
            if !refused {
                listeners.push(listener);
            }
        }
        self.programs.state.set_trace(self.tracing.wanted());
        if self.tracing.listeners.is_empty() {
            self.tracing.slow = None;
        } else if self.tracing.slow.is_none() {
            self.tracing.slow = self.proxy.as_ref().map(Proxy::decisions);
        }
    }

    /// Tells decisions to whoever listens.
    pub(super) fn decided(&mut self, decided: Decided) {
        let events = match decided {
            Decided::Driver(events) => events,
            Decided::Proxy(Ok(decision)) => return self.decided_slowly(decision),
            Decided::Proxy(Err(left_out)) => {
                for listener in &mut self.tracing.listeners {
                    listener.left_out += left_out;
                }
                return;
            }
        };
        let events = match events {
            Ok(events) => events,
            Err(error) => {
                error!("decisions cannot be traced: {error}");
                self.tracing.listeners.clear();
                self.programs.state.set_trace(trace::OFF);
                return;
            }
        };
        let since_boot = since_boot();
        for (event, head) in events {
            let exit = Exit::from_number(event.exit);
            let traced = Traced {
                at_ms: since_boot.map_or(0, |ago| wall_clock(ago, event.at)),
                tier: "driver".to_owned(),
                interface: self.network.name(event.interface),
                reason: exit.name().to_owned(),
                policy: self.policy_name(&event),
                request: Shown::of_head(&head),
                left_out: u64::from(event.left_out),
            };
            for listener in &mut self.tracing.listeners {
                listener.tell(exit, &traced);
            }
        }
    }

    fn decided_slowly(&mut self, decision: Decision) {
        let Decision { exit, policy, request, left_out } = decision;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let traced = Traced {
            at_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            tier: "proxy".to_owned(),
            interface: None,
            reason: exit.name().to_owned(),
            policy,
            request,
            left_out: u64::from(left_out),
        };
        for listener in &mut self.tracing.listeners {
            listener.tell(exit, &traced);
        }
    }

    /// The name of the policy that decided.
    fn policy_name(&self, event: &Event) -> Option<String> {
        if event.policy == trace::NO_POLICY {
            return None;
        }
        let config = match self.policy.generation.wrapping_sub(event.generation) {
            0 => &self.policy.config,
            1 => self.policy.former.as_ref()?,
            _ => return None,
        };
        let place = self.programs.place_of_policy(event.policy);
        config.policies.get(place).map(|policy| policy.name.clone())
    }
}

/// The wall clock less `CLOCK_MONOTONIC`.
fn since_boot() -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    now.checked_sub(clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?.into())
}

/// In milliseconds since 1970.
fn wall_clock(since_boot: Duration, at: u64) -> u64 {
    u64::try_from((since_boot + Duration::from_nanos(at)).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn traced(origin: &str, left_out: u64) -> Traced {
        Traced {
            at_ms: 0,
            tier: "driver".into(),
            interface: None,
            reason: "answered".into(),
            policy: None,
            request: Shown { origin: Some(origin.into()), ..Shown::default() },
            left_out,
        }
    }

    #[test]
    fn nothing_is_lost_without_being_counted() {
        let (to, mut from) = mpsc::channel(1);
        let origin = Some("https://a.example".to_owned());
        let mut listener = Listener { denied: false, origin, to, left_out: 0 };
        // Of another origin; too many for the channel; and what the kernel left out.
        listener.tell(Exit::Answered, &traced("https://b.example", 5));
        listener.tell(Exit::Answered, &traced("https://a.example", 1));
        listener.tell(Exit::Answered, &traced("https://a.example", 0));
        listener.tell(Exit::Answered, &traced("https://a.example", 2));
        let mut left_out = || match from.try_recv().unwrap() {
            Answer::Traced(traced) => traced.left_out,
            other => panic!("{other:?}"),
        };
        assert_eq!(left_out(), 6);
        listener.tell(Exit::Answered, &traced("https://a.example", 0));
        assert_eq!(left_out(), 4);
    }

    #[test]
    fn only_what_is_denied() {
        let (to, mut from) = mpsc::channel(8);
        let mut listener = Listener { denied: true, origin: None, to, left_out: 0 };
        for exit in Exit::ALL {
            listener.tell(*exit, &traced("https://a.example", 0));
        }
        let mut told = 0;
        while from.try_recv().is_ok() {
            told += 1;
        }
        assert_eq!(told, 3);
    }
}
