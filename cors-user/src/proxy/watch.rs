//! What the slow path decides: counted for each policy, and told to whoever traces.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use cors_common::{
    exit::Exit,
    tally::{KINDS, Tally},
    trace::Budget,
};
use tokio::sync::broadcast;

use super::counters::Counted;
use crate::cors::{Asked, Judgement, Rules, Shown, Verdict};

/// A decision on a request.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What became of it, or why.
    pub exit: Exit,
    /// The policy that decided, where one did.
    pub policy: Option<String>,
    /// The request.
    pub request: Shown,
    /// Decisions that were left out since the one before.
    pub left_out: u32,
}

/// Decisions that may wait for whoever traces.
const WAITING: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Watch {
    by_policy: Mutex<BTreeMap<String, Tally>>,
    told: broadcast::Sender<Decision>,
    budget: Mutex<Budget>,
    started: Instant,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            by_policy: Mutex::default(),
            told: broadcast::Sender::new(WAITING),
            budget: Mutex::new(Budget::FULL),
            started: Instant::now(),
        }
    }
}

impl Watch {
    /// Something was decided: a preflight, or that a page may not read a response.
    pub(super) fn decided(
        &self,
        rules: &Rules,
        asked: &Asked<'_>,
        has_query: bool,
        judgement: &Judgement,
    ) {
        let (exit, policy) = match judgement {
            Judgement::Preflight(reply) => (reply.exit, reply.policy),
            Judgement::Actual(actual) => match actual.verdict() {
                Verdict::Denied(exit) => (*exit, actual.policy()),
                _ => return,
            },
            Judgement::Unmatched => return,
        };
        let name = rules.name(policy);
        if matches!(judgement, Judgement::Preflight(_)) {
            let mut counted = self.by_policy.lock().unwrap_or_else(PoisonError::into_inner);
            match counted.get_mut(name) {
                Some(tally) => tally.count(exit),
                None => counted.entry(name.to_owned()).or_default().count(exit),
            }
        }
        if self.told.receiver_count() > 0 {
            self.tell(exit, name, || Shown::of(asked, has_query));
        }
    }

    /// As many as the driver tells on each CPU.
    fn tell(&self, exit: Exit, policy: &str, request: impl FnOnce() -> Shown) {
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        if budget.take(now) {
            let left_out = budget.left_out();
            budget.told();
            drop(budget);
            let policy = Some(policy.to_owned());
            // Whoever listened may be gone.
            let _ = self.told.send(Decision { exit, policy, request: request(), left_out });
        }
    }

    /// From now on decisions are told.
    pub(super) fn listen(&self) -> broadcast::Receiver<Decision> {
        self.told.subscribe()
    }

    /// Totals for each policy, by the names of [`KINDS`].
    pub(super) fn by_policy(&self) -> BTreeMap<String, Counted> {
        let counted = self.by_policy.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |tally: &Tally| {
            KINDS.iter().zip(tally.0).map(|(exit, count)| (exit.name().to_owned(), count)).collect()
        };
        counted.iter().map(|(policy, tally)| (policy.clone(), named(tally))).collect()
    }
}
