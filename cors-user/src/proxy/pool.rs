//! Connections to upstreams that wait for the next request; each worker has its own.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    line::{Lanes, Line},
    service::Shared,
};

/// Idle connections that are kept to each upstream.
const IDLE_MAX: usize = 256;
/// A connection is used again for so long: then its name may have another address.
const LIFE: Duration = Duration::from_mins(5);

/// The connections of one worker.
#[derive(Debug)]
pub(super) struct Pool(Box<[Mutex<Place>]>);

/// The connections to one upstream.
#[derive(Debug, Default)]
struct Place {
    /// Since when each is idle; the last one was used last.
    lines: Vec<(Instant, Line)>,
    lanes: Option<Open>,
}

/// A connection of HTTP/2.
#[derive(Debug)]
struct Open {
    lanes: Lanes,
    since: Instant,
    /// It was last used then.
    used: Instant,
}

impl Pool {
    /// For so many upstreams.
    pub(super) fn new(targets: usize) -> Self {
        Self((0..targets).map(|_| Mutex::default()).collect())
    }

    fn place(&self, target: usize) -> MutexGuard<'_, Place> {
        self.0[target].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of HTTP/1.1 on which nothing goes on.
    pub(super) fn line(&self, target: usize) -> Option<Line> {
        loop {
            let (_, mut line) = self.place(target).lines.pop()?;
            // The other side may have closed it.
            if line.is_ready() {
                return Some(line);
            }
        }
    }

    /// The connection of HTTP/2.
    pub(super) fn lanes(&self, target: usize) -> Option<Lanes> {
        let mut place = self.place(target);
        let open = place.lanes.as_mut().filter(|open| open.lanes.is_ready())?;
        open.used = Instant::now();
        Some(open.lanes.clone())
    }

    /// A new one, for others too.
    pub(super) fn share(&self, target: usize, lanes: Lanes) {
        let now = Instant::now();
        self.place(target).lanes = Some(Open { lanes, since: now, used: now });
    }

    fn put(&self, target: usize, line: Line) {
        let now = Instant::now();
        let lines = &mut self.place(target).lines;
        if lines.len() < IDLE_MAX && now - line.since() < LIFE {
            lines.push((now, line));
        }
    }

    /// Closes what was idle for so long, and what the other side has closed.
    pub(super) fn sweep(&self, idle: Duration) {
        for target in 0..self.0.len() {
            let mut place = self.place(target);
            let Place { lines, lanes } = &mut *place;
            lines.retain_mut(|(since, line)| since.elapsed() < idle && line.is_ready());
            // What is under way on it goes on.
            lanes.take_if(|open| {
                open.lanes.is_closed()
                    || open.used.elapsed() >= idle
                    || open.since.elapsed() >= LIFE
            });
        }
    }
}

/// Where a connection belongs.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) shared: Arc<Shared>,
    pub(super) worker: usize,
    pub(super) target: usize,
}

impl Home {
    /// Takes a connection back, once a response is over.
    pub(super) fn put(self, mut line: Line) {
        if line.is_ready() {
            self.shared.pools[self.worker].put(self.target, line);
        } else if line.is_detached() {
            // Its own task may not have come to the end yet, or the request's body goes on.
            tokio::spawn(async move {
                if line.ready().await {
                    self.shared.pools[self.worker].put(self.target, line);
                }
            });
        }
    }
}
