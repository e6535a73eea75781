//! What was measured of one thing, run by run.

use serde_json::Value;

/// The results of several runs, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// The last one.
    pub(super) fn last(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    /// The middle one; of an even number the mean of the two in the middle.
    pub(super) fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            len if len % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    /// This over that, run by run: what disturbs the machine for a while disturbs both.
    pub(super) fn over(&self, that: &Self) -> Self {
        Self(self.0.iter().zip(&that.0).map(|(this, that)| this / that).collect())
    }

    /// The median, and in parentheses the least and the largest.
    pub(super) fn show(&self, decimals: usize, unit: &str) -> String {
        let sorted = self.sorted();
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else {
            return "n/a".to_owned();
        };
        format!("{:.decimals$}{unit} ({min:.decimals$}–{max:.decimals$})", self.median())
    }

    /// The least and the largest.
    pub(super) fn ends(&self) -> (f64, f64) {
        let sorted = self.sorted();
        (sorted.first().copied().unwrap_or(f64::NAN), sorted.last().copied().unwrap_or(f64::NAN))
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted
    }
}

impl From<&Samples> for Value {
    fn from(samples: &Samples) -> Self {
        // More digits than a run has meaning would only make the file longer.
        samples.0.iter().map(|sample| (sample * 1e4).round() / 1e4).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_ends() {
        assert_eq!(Samples(vec![3.0, 1.0, 2.0]).show(1, " s"), "2.0 s (1.0–3.0)");
        assert_eq!(Samples(vec![4.0, 1.0, 2.0, 3.0]).show(2, ""), "2.50 (1.00–4.00)");
        assert_eq!(Samples(vec![7.0]).show(0, " ns"), "7 ns (7–7)");
        assert_eq!(Samples::default().show(0, ""), "n/a");
    }

    #[test]
    fn ratios_are_of_the_same_run() {
        let ratios = Samples(vec![2.0, 30.0]).over(&Samples(vec![1.0, 10.0]));
        assert_eq!(ratios, Samples(vec![2.0, 3.0]));
    }
}
