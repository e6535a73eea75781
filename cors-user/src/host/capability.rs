//! What this process may do (capabilities(7)).

use std::{fmt, fs, io};

/// A capability that loading and attaching need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Attach programs to interfaces.
    NetAdmin,
    /// Load programs that read kernel structures.
    Perfmon,
    /// Make maps and load programs.
    Bpf,
}

/// `CAP_SYS_ADMIN`, which stands for two of ours as well.
const SYS_ADMIN: u32 = 21;

impl Capability {
    /// All that the agent needs.
    pub const ALL: [Self; 3] = [Self::NetAdmin, Self::Perfmon, Self::Bpf];

    /// Its number in `include/uapi/linux/capability.h`.
    const fn bit(self) -> u32 {
        match self {
            Self::NetAdmin => 12,
            Self::Perfmon => 38,
            Self::Bpf => 39,
        }
    }

    /// Whether a process with these effective capabilities has it.
    const fn is_in(self, effective: u64) -> bool {
        let implied = match self {
            Self::NetAdmin => 0,
            Self::Perfmon | Self::Bpf => 1 << SYS_ADMIN,
        };
        effective & (1 << self.bit() | implied) != 0
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        })
    }
}

/// Those that this process does not have.
pub fn missing() -> io::Result<Vec<Capability>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let effective = effective(&status)
        .ok_or_else(|| io::Error::other("/proc/self/status has no readable line `CapEff`"))?;
    Ok(Capability::ALL.into_iter().filter(|capability| !capability.is_in(effective)).collect())
}

/// The line `CapEff` of proc_pid_status(5).
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_effective_set() {
        let status = "Name:\tcat\nCapPrm:\t000001ffffffffff\nCapEff:\t000000c000001000\n";
        assert_eq!(effective(status), Some(1 << 12 | 1 << 38 | 1 << 39));
        assert_eq!(effective("Name:\tcat\n"), None);
        assert_eq!(effective("CapEff:\tnone\n"), None);
    }

    #[test]
    fn the_administrator_of_everything_needs_net_admin_still() {
        let has = |effective: u64| Capability::ALL.map(|capability| capability.is_in(effective));
        assert_eq!(has(0), [false; 3]);
        assert_eq!(has(1 << SYS_ADMIN), [false, true, true]);
        assert_eq!(has(1 << 12 | 1 << 39), [true, false, true]);
    }
}
