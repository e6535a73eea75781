//! Asks a running agent for its status.

use std::{
    io::{self, Read as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;

use super::{directory::SOCKET, status::Status};

/// Why there is no status.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no agent is running with the runtime directory {} (`cors-edge run`, or name another \
         directory with --runtime-dir)",
        .0.display()
    )]
    NotRunning(PathBuf),
    /// The agent cannot be asked.
    #[error("the agent cannot be asked at {}: {source}", .path.display())]
    Ask {
        /// Where its socket is.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It says something else.
    #[error("the agent's answer is no status: {0}; is it of another version?")]
    Document(#[from] serde_json::Error),
}

/// For how long the agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The document as the agent with this runtime directory writes it.
pub fn ask(directory: &Path) -> Result<String, ClientError> {
    let path = directory.join(SOCKET);
    let ask = || {
        let mut connection = UnixStream::connect(&path)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let mut document = String::new();
        connection.read_to_string(&mut document)?;
        Ok(document)
    };
    ask().map_err(|source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ClientError::NotRunning(directory.to_owned())
        }
        _ => ClientError::Ask { path: path.clone(), source },
    })
}

/// Reads a document.
pub fn read(document: &str) -> Result<Status, ClientError> {
    Ok(serde_json::from_str(document)?)
}
