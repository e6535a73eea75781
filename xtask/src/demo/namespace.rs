//! Network and mount namespaces without a name.

use std::process::Command;

use anyhow::{Context as _, Result};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::shell::run;

/// Puts this process into fresh namespaces, with `lo` up, a bpffs, and an empty tmpfs at
/// `scratch`. Must be called before any thread is started: a thread takes the namespaces of the
/// one that started it.
pub(super) fn enter(scratch: &str) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .context("cannot make a network namespace")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("cannot make the mounts private")?;
    // sysfs shows the interfaces of the namespace in which it was mounted.
    for (kind, place) in [("sysfs", "/sys"), ("bpf", "/sys/fs/bpf"), ("tmpfs", scratch)] {
        mount(Some(kind), place, Some(kind), MsFlags::empty(), none)
            .with_context(|| format!("cannot mount a {kind} at {place}"))?;
    }
    run(Command::new("ip").args(["link", "set", "lo", "up"]))
}
