//! Where a latency is counted: 32 buckets of equal width for each power of two.
//!
//! A bucket is at most a thirty-second of its values wide, so a percentile read from it is right
//! to three per cent.

const STEPS: u32 = 32;
/// Everything from here on is one bucket: 17 seconds.
const EXPONENT_MAX: u32 = 34;

/// How many buckets there are.
pub const BUCKETS: usize = ((EXPONENT_MAX - 4) * STEPS) as usize;

/// The bucket of a latency in nanoseconds.
#[inline(always)]
pub const fn bucket(ns: u64) -> u32 {
    if ns < STEPS as u64 {
        return ns as u32;
    }
    if ns >> EXPONENT_MAX != 0 {
        return BUCKETS as u32 - 1;
    }
    let exponent = ns.ilog2();
    // From 32 to 63 for the first five bits that tell.
    let step = (ns >> (exponent - 5)) as u32;
    (exponent - 5) * STEPS + step
}

/// The least latency of a bucket.
pub const fn least(bucket: u32) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let exponent = bucket / STEPS - 1;
    ((bucket % STEPS + STEPS) as u64) << exponent
}

/// The latency under which `part` (0 to 1) of all are, in nanoseconds: the upper end of its bucket.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "what is counted here is far below 2^52"
)]
pub fn quantile(buckets: &[u64], part: f64) -> Option<u64> {
    let total: u64 = buckets.iter().sum();
    // Rounded up by hand: there is no `ceil` without the standard library.
    let exact = total as f64 * part;
    let wanted = (exact as u64 + u64::from(exact > exact as u64 as f64)).max(1);
    let mut seen = 0;
    for (bucket, count) in (0..).zip(buckets) {
        seen += count;
        if seen >= wanted && total != 0 {
            return Some(least(bucket + 1) - 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn buckets_are_next_to_each_other() {
        for bucket in 0..BUCKETS as u32 - 1 {
            assert_eq!(super::bucket(least(bucket)), bucket);
            assert_eq!(super::bucket(least(bucket + 1) - 1), bucket);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS as u32 - 1);
    }

    #[test]
    fn a_bucket_is_a_thirty_second_wide() {
        for ns in [32, 1000, 123_456, 9_999_999] {
            let bucket = bucket(ns);
            assert!((least(bucket + 1) - least(bucket)) * 32 <= ns, "{ns}");
        }
    }

    #[test]
    fn quantiles() {
        let mut buckets = vec![0; BUCKETS];
        assert_eq!(quantile(&buckets, 0.5), None);
        for ns in 1..=1000 {
            buckets[bucket(ns) as usize] += 1;
        }
        for (part, exact) in [(0.5, 500), (0.99, 990), (1.0, 1000), (0.0, 1)] {
            let found = quantile(&buckets, part).expect("there are values");
            assert!(found >= exact && found <= exact + exact / 32 + 1, "{part}: {found}");
        }
    }
}
