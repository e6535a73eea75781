//! The runtime directory: one agent at a time, and the socket on which it tells its status.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use thiserror::Error;
use tokio::net::UnixListener;

/// The name of the socket in the directory.
pub(super) const SOCKET: &str = "status.sock";

/// Why the runtime directory cannot be used.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// Another agent has it.
    #[error(
        "another agent is running with the runtime directory {}: stop it first, or give this one \
         its own with --runtime-dir",
        .0.display()
    )]
    Taken(PathBuf),
    /// It cannot be made or written.
    #[error(
        "the runtime directory {} cannot be used: {source}; give another one with --runtime-dir",
        .path.display()
    )]
    Use {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The runtime directory, locked as long as this lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// The lock is on the directory itself. It ends with the process, however that ends.
    _lock: Flock<File>,
}

impl Directory {
    /// Makes the directory where it is not there yet, and locks it.
    pub(super) fn lock(path: &Path) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError::Use { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let file = File::open(path).map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err((_, Errno::EAGAIN)) => Err(DirectoryError::Taken(path.to_owned())),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// Begins to listen for those who ask for the status: the owner only. A socket that a killed
    /// agent left behind is replaced.
    pub(super) fn listen(&self) -> Result<StatusSocket, DirectoryError> {
        let path = self.path.join(SOCKET);
        let listen = || {
            // Whoever finds the socket under its name can connect: it gets the name last.
            let new = path.with_extension("new");
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&new)?;
            fs::set_permissions(&new, Permissions::from_mode(0o600))?;
            fs::rename(&new, &path)?;
            Ok(listener)
        };
        match listen() {
            Ok(listener) => Ok(StatusSocket { listener, path }),
            Err(source) => Err(DirectoryError::Use { path: self.path.clone(), source }),
        }
    }
}

/// The listening socket; dropped, its name is gone.
#[derive(Debug)]
pub(super) struct StatusSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        // Somebody else may have cleaned up before; nothing depends on it.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    /// A directory of the test's own.
    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("cors-edge-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn one_agent_at_a_time() {
        let path = scratch("lock");
        let first = Directory::lock(&path).unwrap();
        let said = Directory::lock(&path).unwrap_err().to_string();
        assert!(said.starts_with("another agent is running with the runtime directory "), "{said}");
        drop(first);
        Directory::lock(&path).unwrap();
        fs::remove_dir_all(&path).unwrap();
    }

    #[tokio::test]
    async fn the_socket_is_the_owners_and_goes_with_the_agent() {
        let path = scratch("socket");
        let directory = Directory::lock(&path).unwrap();
        // What a killed agent leaves behind.
        fs::create_dir_all(&path).unwrap();
        drop(std::os::unix::net::UnixListener::bind(path.join(SOCKET)).unwrap());
        let socket = directory.listen().unwrap();
        let mode = fs::metadata(path.join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::os::unix::net::UnixStream::connect(path.join(SOCKET)).unwrap();
        drop(socket);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        fs::remove_dir_all(&path).unwrap();
    }
}
