//! What the figures were measured on.

use std::fs;

use nix::sys::utsname::uname;
use serde::{Deserialize, Serialize};

/// The machine, as far as it bears on the figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) memory_gib: u64,
    pub(super) is_virtual: bool,
    pub(super) kernel: String,
    /// Of the last minute, before anything was measured: others that work on the machine.
    pub(super) load: f64,
}

impl Machine {
    pub(super) fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (cpu, memory, load) =
            (read("/proc/cpuinfo"), read("/proc/meminfo"), read("/proc/loadavg"));
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let kib = value(&memory, "MemTotal").and_then(|kib| kib.split(' ').next()?.parse().ok());
        let kernel = uname().map(|uname| uname.release().to_string_lossy().into_owned());
        Self {
            cores: cpu.lines().filter(|line| line.starts_with("processor")).count(),
            // Processors that are not x86 have neither line.
            is_virtual: value(&cpu, "flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            cpu: value(&cpu, "model name").unwrap_or_else(|| "unknown processor".to_owned()),
            memory_gib: kib.map_or(0, |kib: u64| kib.div_ceil(1 << 20)),
            kernel: kernel.unwrap_or_default(),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN),
        }
    }

    /// One line.
    pub(super) fn describe(&self) -> String {
        let Self { cpu, cores, memory_gib, is_virtual, kernel, load } = self;
        let machine = if *is_virtual { " of a virtual machine" } else { "" };
        format!(
            "{cores} cores{machine}, {cpu}, {memory_gib} GiB, Linux {kernel}, load {load} before"
        )
    }
}
