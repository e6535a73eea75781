//! A directory of a test's own, gone with it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A temporary directory that is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one.
    pub fn new(purpose: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("cors-tests-{}-{number}-{purpose}", process::id()));
        fs::create_dir_all(&path).expect("make a temporary directory");
        Self(path)
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("write a temporary file");
        path
    }

    /// Copies a program, so that anybody can run it: who is not root may not be let in to where
    /// the build is.
    pub fn copy_program(&self, from: impl AsRef<Path>) -> PathBuf {
        let path = self.path("program");
        // By a process of its own: a file that is open for writing cannot be run, and children
        // that other tests are just starting have every file of this process open.
        let status = Command::new("cp").arg(from.as_ref()).arg(&path).status();
        assert!(status.expect("run cp").success(), "copy {}", from.as_ref().display());
        path
    }

    /// The text of a file; empty where there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
