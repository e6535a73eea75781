//! Many worlds, one after the other, on every processor.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::{setting::world, tally::Tally, world::Failure};

/// Lines of a trace that are kept.
const TRACE: usize = 20_000;

/// Runs worlds from a seed on, until they had so many connections or one of them has failed.
/// `progress` hears how many connections there were.
///
/// The worlds have the seeds that follow each other, so a failure is replayed by its own seed.
pub fn run(
    seed: u64,
    connections: u64,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> (Tally, Option<Failure>) {
    let next = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let result = Mutex::new((Tally::default(), None::<Failure>));
    let work = || {
        while !failed.load(Ordering::Relaxed) && done.load(Ordering::Relaxed) < connections {
            let seed = seed.wrapping_add(next.fetch_add(1, Ordering::Relaxed));
            let (tally, failure) = world(seed, 0).run();
            progress(done.fetch_add(tally.connections, Ordering::Relaxed) + tally.connections);
            let Ok(mut result) = result.lock() else { return };
            result.0.add(&tally);
            if let Some(failure) = failure {
                failed.store(true, Ordering::Relaxed);
                // The first of those that fail at the same time.
                let first = result.1.as_ref().is_none_or(|other| failure.seed < other.seed);
                if first {
                    result.1 = Some(failure);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let (tally, failure) = result.into_inner().unwrap_or_default();
    // Once more, with a trace.
    let failure = failure.map(|failure| {
        let (_, again) = world(failure.seed, TRACE).run();
        again.unwrap_or_else(|| Failure {
            what: format!("{} (and not when it is replayed)", failure.what),
            ..failure
        })
    });
    (tally, failure)
}
