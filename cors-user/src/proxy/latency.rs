//! How long things take: histograms that every task adds to.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// The upper bounds of the buckets, in microseconds; above the last there is one more.
pub const BOUNDS_US: [u64; 13] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000,
];

/// A histogram of durations.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// What it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// How many were in each bucket: above the bound before, up to its own in [`BOUNDS_US`].
    pub buckets: Vec<u64>,
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Adds one.
    pub(super) fn add(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    pub(super) fn read(&self) -> Latency {
        let buckets = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        Latency { buckets, sum_us: self.sum_us.load(Relaxed) }
    }
}

impl Latency {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_part_of_their_buckets() {
        let histogram = Histogram::default();
        for us in [0, 500, 501, 10_000_000, 10_000_001] {
            histogram.add(Duration::from_micros(us));
        }
        let read = histogram.read();
        let mut expected = vec![0; BOUNDS_US.len() + 1];
        (expected[0], expected[1], expected[12], expected[13]) = (2, 1, 1, 1);
        assert_eq!((read.count(), read.sum_us), (5, 20_001_002));
        assert_eq!(read.buckets, expected);
    }
}
