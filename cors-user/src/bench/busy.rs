//! How long a core was busy, softirqs and kernel threads included.
//!
//! What is not idle is busy: the time in the states of `cpuidle`, in microseconds, where the machine
//! has those; else the idle time of `/proc/stat`, in hundredths of a second. Neither depends on the
//! tick, by which kernels without `CONFIG_VIRT_CPU_ACCOUNTING_GEN` only sample what runs.

use std::{fs, io, path::PathBuf, time::Instant};

use thiserror::Error;

/// Why it cannot be told.
#[derive(Debug, Error)]
#[error("the busy time of core {core} cannot be read: {source}")]
pub struct BusyError {
    core: usize,
    source: io::Error,
}

/// Since when.
#[derive(Debug)]
pub(super) struct Busy {
    core: usize,
    begin: Instant,
    idle_us: u64,
}

impl Busy {
    pub(super) fn begin(core: usize) -> Result<Self, BusyError> {
        let idle_us = idle_us(core).map_err(|source| BusyError { core, source })?;
        Ok(Self { core, begin: Instant::now(), idle_us })
    }

    /// Microseconds in which it was busy, and the part of the time that they are.
    pub(super) fn end(&self) -> Result<(f64, f64), BusyError> {
        let idle_us = idle_us(self.core).map_err(|source| BusyError { core: self.core, source })?;
        let elapsed = self.begin.elapsed().as_secs_f64() * 1e6;
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let busy = (elapsed - (idle_us - self.idle_us) as f64).max(0.0);
        Ok((busy, busy / elapsed))
    }
}

fn idle_us(core: usize) -> io::Result<u64> {
    let states = PathBuf::from(format!("/sys/devices/system/cpu/cpu{core}/cpuidle"));
    let Ok(states) = fs::read_dir(states) else { return idle_of_stat(core) };
    let mut total = 0;
    for state in states {
        let time = fs::read_to_string(state?.path().join("time"))?;
        total += time.trim().parse::<u64>().map_err(io::Error::other)?;
    }
    Ok(total)
}

fn idle_of_stat(core: usize) -> io::Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let name = format!("cpu{core} ");
    let ticks = stat.lines().find_map(|line| {
        let fields = line.strip_prefix(&name)?.split_ascii_whitespace();
        // user nice system idle iowait …
        Some(fields.skip(3).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>())
    });
    let ticks = ticks.ok_or_else(|| io::Error::other("there is no such core in /proc/stat"))?;
    Ok(ticks * 10_000)
}
