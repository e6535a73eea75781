//! The policy file: from TOML text to a checked [`model::Config`], or to everything wrong with it.
//!
//! Pure, but for [`load`], which reads one file. A file with an error yields no configuration at
//! all: there is no default policy to fall back to, and never a default `*`.
//!
//! The way through: `raw` reads the shape and keeps every position, `validate` judges the
//! values, [`report`] tells people and programs what was found.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

mod admin;
mod conduct;
mod conflict;
mod cover;
mod danger;
pub mod difference;
mod host;
mod lists;
mod matching;
pub mod model;
mod names;
mod nearest;
mod origin;
pub mod problem;
mod proxy;
mod raw;
pub mod report;
mod server;
mod syntax;
mod validate;
pub mod values;

pub use model::Config;
pub use problem::{Problem, Reason, Severity};

/// A commented policy file to start from. It is valid.
pub const EXAMPLE: &str = include_str!("example.toml");

/// A hundred thousand origins are five megabytes; what is larger than this is another file.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// What a policy file amounts to.
#[derive(Clone, Debug)]
#[must_use]
pub struct Checked {
    /// The policy, or every error of the file, in the order of the file and never none.
    pub config: Result<Config, Vec<Problem>>,
    /// What is legal and probably not meant, in the order of the file.
    pub warnings: Vec<Problem>,
}

impl Checked {
    /// Every error and warning, in the order of the file.
    pub fn problems(&self) -> Vec<Problem> {
        let errors = self.config.as_ref().err().into_iter().flatten();
        let mut all: Vec<Problem> = errors.chain(&self.warnings).cloned().collect();
        all.sort_by_key(Problem::order);
        all
    }
}

/// A policy file, read and checked.
#[derive(Clone, Debug)]
#[must_use]
pub struct Loaded {
    /// The text of the file, for [`report::human`].
    pub source: String,
    /// What it amounts to.
    pub checked: Checked,
}

/// Why a policy file could not even be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not there, or not readable.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// TOML is UTF-8, this is not.
    #[error("{} is not UTF-8 from byte {offset} on: save it as UTF-8", .path.display())]
    NotUtf8 {
        /// Which file.
        path: PathBuf,
        /// How many bytes are.
        offset: usize,
    },
    /// It cannot be a policy file.
    #[error("{} has more than {MAX_FILE_BYTES} bytes: is it a policy file?", .path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
}

/// Reads and checks the policy file at `path`. Contents that are wrong are no [`LoadError`].
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let mut bytes = Vec::new();
    // The limit is on what is read, not on what the file system says: a pipe says nothing.
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    if u64::try_from(bytes.len()).is_ok_and(|read| read > MAX_FILE_BYTES) {
        return Err(LoadError::TooLarge { path: path.to_owned() });
    }
    let source = String::from_utf8(bytes).map_err(|error| LoadError::NotUtf8 {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })?;
    let checked = parse(&source);
    Ok(Loaded { source, checked })
}

/// Checks the text of a policy file.
pub fn parse(source: &str) -> Checked {
    let mut problems = problem::Problems::default();
    let raw = raw::read(source, &mut problems);
    let config = validate::config(&raw, &mut problems);
    if let Some(start) = raw.broken_at {
        problems.distrust_from(start);
    }
    let (errors, warnings) = problems.finish();
    let config = if errors.is_empty() { Ok(config) } else { Err(errors) };
    Checked { config, warnings }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests;
