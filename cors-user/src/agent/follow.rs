//! Tells when the policy file has changed.
//!
//! What is watched is its directory: editors write another file and rename it, and Kubernetes
//! exchanges a symbolic link beside it. An event says only that it is worth looking; the file has
//! changed where another file has its name, or that file another time or length.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use thiserror::Error;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

/// Why the file cannot be followed.
#[derive(Debug, Error)]
#[error("the directory {} cannot be watched for changes of the policy file: {source}", .directory.display())]
pub struct FollowError {
    directory: PathBuf,
    source: notify::Error,
}

/// What tells one version of a file from another.
type Version = (u64, u64, i64, i64, u64);

/// A change is complete when nothing has happened in the directory for so long: a file that is
/// written in place comes in pieces.
const QUIET: Duration = Duration::from_millis(200);

/// A file that is followed.
pub(super) struct Follow {
    path: PathBuf,
    events: mpsc::Receiver<()>,
    seen: Option<Version>,
    /// When a change that has begun counts as complete.
    settles: Option<Instant>,
    _watcher: RecommendedWatcher,
}

impl Follow {
    /// From now on.
    pub(super) fn new(path: &Path) -> Result<Self, FollowError> {
        let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
        let failed = |source| FollowError { directory: directory.clone(), source };
        // One event that was not looked at yet stands for all that follow.
        let (sender, events) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |event| {
            if is_change(&event) {
                let _ = sender.try_send(());
            }
        })
        .map_err(failed)?;
        watcher.watch(&directory, RecursiveMode::NonRecursive).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            events,
            seen: version(path).ok(),
            settles: None,
            _watcher: watcher,
        })
    }

    /// Waits for a change. Nothing is lost where the future is dropped before it is ready.
    pub(super) async fn changed(&mut self) {
        loop {
            let Some(at) = self.settles else {
                let event = self.events.recv().await;
                self.note(event).await;
                continue;
            };
            if let Ok(event) = timeout_at(at, self.events.recv()).await {
                self.note(event).await;
                continue;
            }
            self.settles = None;
            // A file that is gone says nothing new; it is on its way.
            if let Ok(now) = version(&self.path)
                && self.seen != Some(now)
            {
                self.seen = Some(now);
                return;
            }
        }
    }

    async fn note(&mut self, event: Option<()>) {
        if event.is_none() {
            // The watcher is gone, as it never is while this lives.
            return std::future::pending().await;
        }
        self.settles = Some(Instant::now() + QUIET);
    }
}

/// Whether it is worth looking: reading a file changes nothing.
fn is_change(event: &notify::Result<Event>) -> bool {
    !matches!(
        event,
        Ok(Event {
            kind: EventKind::Access(
                AccessKind::Open(_) | AccessKind::Read | AccessKind::Close(AccessMode::Read)
            ),
            ..
        })
    )
}

fn version(path: &Path) -> io::Result<Version> {
    let of = fs::metadata(path)?;
    Ok((of.dev(), of.ino(), of.mtime(), of.mtime_nsec(), of.size()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test]
    async fn whichever_way_a_file_changes() {
        let directory =
            std::env::temp_dir().join(format!("cors-edge-follow-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = |name: &str| directory.join(name);
        fs::write(file("policy.toml"), "one").unwrap();
        let mut follow = Follow::new(&file("policy.toml")).unwrap();
        // In place.
        fs::write(file("policy.toml"), "three").unwrap();
        follow.changed().await;
        // By another file of its name.
        fs::write(file("new"), "three").unwrap();
        fs::rename(file("new"), file("policy.toml")).unwrap();
        follow.changed().await;
        // By a link to another file, and that link exchanged.
        for version in ["a", "b"] {
            fs::create_dir(file(version)).unwrap();
            fs::write(file(version).join("policy.toml"), "three").unwrap();
            symlink(version, file("data.new")).unwrap();
            fs::rename(file("data.new"), file("data")).unwrap();
            if version == "a" {
                fs::remove_file(file("policy.toml")).unwrap();
                symlink("data/policy.toml", file("policy.toml")).unwrap();
            }
            follow.changed().await;
        }
        // Another file is none of its business.
        fs::write(file("other"), "x").unwrap();
        let nothing = tokio::time::timeout(4 * QUIET, follow.changed()).await;
        assert!(nothing.is_err());
        fs::remove_dir_all(&directory).unwrap();
    }
}
