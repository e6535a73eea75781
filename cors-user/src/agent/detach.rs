//! Takes off what an agent has left attached.

use std::path::Path;

use thiserror::Error;

use super::{
    directory::{Directory, DirectoryError},
    uneven,
};
use crate::kernel::{
    pins::{Pins, PinsError},
    tracks,
};

/// Why it stays.
#[derive(Debug, Error)]
pub enum DetachError {
    /// The agent is running, for one thing.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// What is there cannot be removed.
    #[error(transparent)]
    Pins(#[from] PinsError),
}

/// Detaches everything that has its name in this directory, unless the agent with that runtime
/// directory runs. Returns how many programs that were.
pub fn detach(runtime_dir: &Path, pin: &Path) -> Result<usize, DetachError> {
    let _lock = Directory::lock(runtime_dir)?;
    uneven::reset_all(&tracks::left_uneven(pin), "the programs are detached");
    Ok(Pins::remove(pin)?)
}
