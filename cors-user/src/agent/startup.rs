//! How long the steps of a start take: an operator who restarts an agent with a large policy wants
//! to know for how long nothing is answered, and why.

use std::time::Instant;

use serde::{Deserialize, Serialize};

/// The steps, in their order, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Startup {
    /// Reading and checking the policy file.
    pub file_us: u64,
    /// Compiling the policy.
    pub compile_us: u64,
    /// Loading the programs and making their maps.
    pub programs_us: u64,
    /// Writing the policy into the maps.
    pub policy_us: u64,
    /// Everything else: checks of the host, addresses, attaching.
    pub other_us: u64,
}

impl Startup {
    /// All of it, in microseconds.
    pub fn total_us(&self) -> u64 {
        let Self { file_us, compile_us, programs_us, policy_us, other_us } = self;
        file_us + compile_us + programs_us + policy_us + other_us
    }
}

/// Tells how long each step took.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts it.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Microseconds since the start or the last lap.
    pub fn lap(&mut self) -> u64 {
        let now = Instant::now();
        let lap = now.duration_since(self.0);
        self.0 = now;
        u64::try_from(lap.as_micros()).unwrap_or(u64::MAX)
    }
}
