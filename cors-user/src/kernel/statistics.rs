//! How often the programs ran and how long it took them.

use aya::programs::{ProgramError, ProgramInfo};
use thiserror::Error;

use super::{Programs, object::program};

/// Why the kernel's numbers on a program cannot be read.
#[derive(Debug, Error)]
#[error("the kernel's numbers on its programs cannot be read: {0}")]
pub struct StatisticsError(#[from] ProgramError);

/// The kernel's numbers on one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// The program's name.
    pub name: &'static str,
    /// Its id, as `bpftool prog` shows it.
    pub id: u32,
    /// How often it ran; 0 unless `kernel.bpf_stats_enabled` is 1.
    pub run_count: u64,
    /// How long that took altogether, in nanoseconds; 0 likewise.
    pub run_time_ns: u64,
    /// How many instructions the verifier went through to accept it.
    pub verified_instructions: Option<u32>,
}

impl Programs {
    /// The kernel's numbers on those of `edge`, `handover` and `outward` that are loaded.
    pub fn statistics(&self) -> Result<Vec<Statistics>, StatisticsError> {
        let of = |name| Ok(statistics(name, &self.info(name)?));
        [program::EDGE, program::HANDOVER, program::OUTWARD]
            .into_iter()
            .filter(|name| self.features.hands_over() || *name != program::HANDOVER)
            .map(of)
            .collect()
    }

    fn info(&self, name: &str) -> Result<ProgramInfo, ProgramError> {
        self.ebpf.program(name).ok_or(ProgramError::NotLoaded)?.info()
    }
}

fn statistics(name: &'static str, info: &ProgramInfo) -> Statistics {
    Statistics {
        name,
        id: info.id(),
        run_count: info.run_count(),
        run_time_ns: u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX),
        verified_instructions: info.verified_instruction_count(),
    }
}
