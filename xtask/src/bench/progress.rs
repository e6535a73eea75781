//! What is going on, on the standard error.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that knows how many steps there are.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(scenario: &'static str, steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64);
        let style =
            ProgressStyle::with_template("    {prefix:12} {bar:30} {pos}/{len} {eta} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(scenario);
        bar.enable_steady_tick(Duration::from_millis(500));
        Self(bar)
    }

    /// One step.
    pub(super) fn step<T>(&self, what: &str, run: impl FnOnce() -> T) -> T {
        self.0.set_message(what.to_owned());
        let result = run();
        self.0.inc(1);
        result
    }

    pub(super) fn done(&self) {
        self.0.finish_and_clear();
    }
}
