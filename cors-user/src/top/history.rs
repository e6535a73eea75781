//! What the agent told, and what follows from two tellings. Pure.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use cors_user::agent::status::Status;

/// So many seconds are remembered.
const SECONDS: usize = 240;

/// The last status, and what led to it.
#[derive(Debug)]
pub(super) struct History {
    pub(super) status: Status,
    at: Option<Instant>,
    /// Of each counter, how much it grew in a second.
    pub(super) rates: BTreeMap<String, u64>,
    /// Of each policy, how many of its preflights were answered in a second, and how many denied.
    pub(super) by_policy: BTreeMap<String, [u64; 2]>,
    /// Of the slow path's requests, by what became of them: how many in a second, and how many
    /// microseconds one took in the mean.
    pub(super) slow: BTreeMap<String, [u64; 2]>,
    /// Preflights that were answered in each second, the latest at the end.
    pub(super) answered: VecDeque<u64>,
    /// Nanoseconds of a run of each program, lately; none where nothing ran or nobody measures.
    pub(super) run_ns: BTreeMap<String, u64>,
    /// Why nothing new was told.
    pub(super) lost: Option<String>,
}

impl History {
    pub(super) fn new(status: Status) -> Self {
        Self {
            status,
            at: None,
            rates: BTreeMap::new(),
            by_policy: BTreeMap::new(),
            slow: BTreeMap::new(),
            answered: VecDeque::new(),
            run_ns: BTreeMap::new(),
            lost: None,
        }
    }

    /// Nothing was told.
    pub(super) fn lost(&mut self, why: String) {
        self.lost = Some(why);
        self.rates.clear();
        self.by_policy.clear();
        self.slow.clear();
    }

    /// Something was told at this time.
    pub(super) fn add(&mut self, status: Status, at: Instant) {
        let ms = self.at.map_or(1000, |before| at.duration_since(before).as_millis()).max(1);
        let a_second =
            |count: u64| u64::try_from(u128::from(count) * 1000 / ms).unwrap_or(u64::MAX);
        let before = std::mem::replace(&mut self.status, status);
        // Another agent counts anew, unless it took the counters over: less than nothing is nothing.
        let grown = |name: &str, now: u64| {
            now.saturating_sub(before.counters.get(name).copied().unwrap_or(0))
        };
        let counters = &self.status.counters;
        self.rates = counters
            .iter()
            .map(|(name, now)| (name.clone(), a_second(grown(name, *now))))
            .collect();
        self.by_policy = by_policy(&before, &self.status)
            .into_iter()
            .map(|(policy, [answered, denied])| (policy, [a_second(answered), a_second(denied)]))
            .collect();
        self.slow = slow(&before, &self.status)
            .into_iter()
            .map(|(outcome, [count, mean_us])| (outcome, [a_second(count), mean_us]))
            .collect();
        let answered: u64 = counters
            .iter()
            .filter(|(name, _)| is_answer(name))
            .map(|(name, now)| grown(name, *now))
            .sum();
        self.answered.push_back(a_second(answered));
        while self.answered.len() > SECONDS {
            self.answered.pop_front();
        }
        self.run_ns = self
            .status
            .programs
            .iter()
            .filter_map(|now| {
                let was = before.programs.iter().find(|was| was.id == now.id)?;
                let time = now.run_time_ns.saturating_sub(was.run_time_ns);
                let runs = now.run_count.saturating_sub(was.run_count);
                Some((now.name.clone(), time.checked_div(runs)?))
            })
            .collect();
        self.at = Some(at);
        self.lost = None;
    }
}

/// Of each policy, how many preflights were answered by either tier, and how many denied.
fn by_policy(before: &Status, now: &Status) -> BTreeMap<String, [u64; 2]> {
    let mut grown = BTreeMap::<String, [u64; 2]>::new();
    let slow = |status: &'_ Status| status.proxy.as_ref().map(|proxy| proxy.by_policy.clone());
    let slow = [slow(before).unwrap_or_default(), slow(now).unwrap_or_default()];
    for (was, is, is_last) in [
        // What the driver denies the slow path denies once more, where there is one.
        (&before.by_policy, &now.by_policy, now.proxy.is_none()),
        (&slow[0], &slow[1], true),
    ] {
        for (policy, reasons) in is {
            let [answered, denied] = grown.entry(policy.clone()).or_default();
            for (reason, total) in reasons {
                let was = was.get(policy).and_then(|was| was.get(reason)).copied().unwrap_or(0);
                if is_answer(reason) {
                    *answered += total.saturating_sub(was);
                } else if is_last {
                    *denied += total.saturating_sub(was);
                }
            }
        }
    }
    grown
}

/// Of the slow path's requests, by what became of them: how many there were, and how many
/// microseconds one took in the mean.
fn slow(before: &Status, now: &Status) -> BTreeMap<String, [u64; 2]> {
    let durations = |status: &'_ Status, outcome: &str| {
        let durations = status.proxy.as_ref().map(|proxy| &proxy.requests.durations);
        let latency = durations.and_then(|durations| durations.get(outcome));
        latency.map_or((0, 0), |latency| (latency.count(), latency.sum_us))
    };
    let outcomes = now.proxy.iter().flat_map(|proxy| proxy.requests.durations.keys());
    let grown = |outcome: &String| {
        let (was, is) = (durations(before, outcome), durations(now, outcome));
        let count = is.0.saturating_sub(was.0);
        let mean = is.1.saturating_sub(was.1).checked_div(count).unwrap_or(0);
        (outcome.clone(), [count, mean])
    };
    outcomes.map(grown).collect()
}

/// Whether a counter counts answers, or what would have been one.
fn is_answer(name: &str) -> bool {
    matches!(name, "answered" | "answered_close" | "answered_again" | "would_answer")
}
