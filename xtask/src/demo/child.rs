//! Children that do not outlive the demonstration.

use std::{io, os::unix::process::CommandExt as _, process::Command};

use nix::{
    sys::{prctl, signal::Signal},
    unistd::{getpid, getppid},
};

/// Makes a command die with this process, however that ends. It must be started by the main
/// thread: the kernel takes the end of the starting thread for the parent's.
pub(super) fn tie(command: &mut Command) -> &mut Command {
    let parent = getpid();
    // SAFETY: between fork and exec it makes two system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // A parent that was faster sends nothing any more.
            if getppid() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        })
    }
}
