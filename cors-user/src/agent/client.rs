//! Asks a running agent.

use std::{
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net,
};

use super::{
    directory::SOCKET,
    protocol::{Answer, Request},
    rights::receive,
};

/// Why there is no answer.
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
    #[error("the agent's answer cannot be read: {0}; is it of another version?")]
    Document(#[from] serde_json::Error),
    /// It does not do what it is asked for.
    #[error("the agent says: {0}")]
    Agent(String),
}

/// For how long the agent may take to answer. A reload reads, compiles and verifies.
const PATIENCE: Duration = Duration::from_mins(2);

/// What the agent with this runtime directory answers.
pub fn ask(directory: &Path, request: &Request) -> Result<Answer, ClientError> {
    let path = directory.join(SOCKET);
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    let ask = || {
        let mut connection = UnixStream::connect(&path)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.write_all(line.as_bytes())?;
        let mut document = String::new();
        connection.read_to_string(&mut document)?;
        Ok(document)
    };
    let document = ask().map_err(|source: io::Error| failed(directory, source))?;
    read(&document)
}

/// The listening sockets of the agent with this runtime directory.
pub(super) fn sockets(directory: &Path) -> Result<Vec<OwnedFd>, ClientError> {
    let mut line = serde_json::to_string(&Request::Sockets)?;
    line.push('\n');
    let (mut document, mut sockets) = (Vec::new(), Vec::new());
    let mut ask = || {
        let mut connection = UnixStream::connect(directory.join(SOCKET))?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.write_all(line.as_bytes())?;
        let mut bytes = [0; 4096];
        loop {
            match receive(&connection, &mut bytes, &mut sockets)? {
                0 => return Ok(()),
                read => document.extend_from_slice(&bytes[..read]),
            }
        }
    };
    ask().map_err(|source: io::Error| failed(directory, source))?;
    match read(&String::from_utf8_lossy(&document))? {
        Answer::Sockets(count) if count == sockets.len() => Ok(sockets),
        _ => Err(ClientError::Agent("not all of its sockets come over".to_owned())),
    }
}

fn failed(directory: &Path, source: io::Error) -> ClientError {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ClientError::NotRunning(directory.to_owned())
        }
        _ => ClientError::Ask { path: directory.join(SOCKET), source },
    }
}

fn read(document: &str) -> Result<Answer, ClientError> {
    match serde_json::from_str(document)? {
        Answer::Error(error) => Err(ClientError::Agent(error)),
        answer => Ok(answer),
    }
}

/// Answers that come as long as somebody listens.
#[derive(Debug)]
pub struct Stream {
    connection: BufReader<net::UnixStream>,
    directory: PathBuf,
    line: String,
}

impl Stream {
    /// Asks for them.
    pub async fn open(directory: &Path, request: &Request) -> Result<Self, ClientError> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        let failed = |source| failed(directory, source);
        let connection = net::UnixStream::connect(directory.join(SOCKET)).await.map_err(failed)?;
        let mut connection = BufReader::new(connection);
        connection.write_all(line.as_bytes()).await.map_err(failed)?;
        Ok(Self { connection, directory: directory.to_owned(), line: String::new() })
    }

    /// The next one; none where the agent has ended. Nothing is lost where the future is dropped
    /// before it is ready.
    pub async fn next(&mut self) -> Result<Option<Answer>, ClientError> {
        // What is there of a line stays for the next time.
        let read = self.connection.read_line(&mut self.line).await;
        if read.map_err(|source| failed(&self.directory, source))? == 0 {
            return Ok(None);
        }
        read_line(&mut self.line)
    }
}

fn read_line(line: &mut String) -> Result<Option<Answer>, ClientError> {
    read(&std::mem::take(line)).map(Some)
}
