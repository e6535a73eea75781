//! The agent's side of its socket: reads a request, has the main loop answer it, writes the answer.
//!
//! Each connection is a task of its own, so that whoever is slow keeps nobody waiting; what the
//! agent does is done in its main loop alone.

use std::{io, os::fd::AsFd, time::Duration};

use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Interest},
    net::UnixStream,
    select,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::debug;

use super::{
    protocol::{Answer, Request},
    rights::{MOST, send},
    succession::Estate,
    traces::{Heard, Listener, WAITING},
};

/// For how long somebody may take to write a request, or to read an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest request, in bytes.
const LONGEST: u64 = 4096;

/// A request, and where its answer goes.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// Asks the main loop.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    asked: mpsc::Sender<Asked>,
    heard: mpsc::Sender<Heard>,
    estate: Estate,
}

impl Asker {
    /// What the main loop answers; nothing where it has ended.
    pub(super) async fn ask(&self, request: Request) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        self.asked.send(Asked { request, answer }).await.ok()?;
        answered.await.ok()
    }
}

/// Requests on their way from the connections to the main loop.
#[derive(Debug)]
pub(super) struct Control {
    asker: Asker,
    /// The next request.
    pub(super) asked: mpsc::Receiver<Asked>,
    /// The next one who comes to listen to decisions, or has gone.
    pub(super) heard: mpsc::Receiver<Heard>,
}

#[derive(Debug, Error)]
enum Failure {
    #[error("nothing was asked in time, or the answer was not read in time")]
    Slow(#[from] tokio::time::error::Elapsed),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the answer cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

impl Control {
    /// `estate` is what is handed over to another agent.
    pub(super) fn new(estate: Estate) -> Self {
        let (to, asked) = mpsc::channel(16);
        let (listeners, heard) = mpsc::channel(16);
        Self { asker: Asker { asked: to, heard: listeners, estate }, asked, heard }
    }

    /// Serves one connection, elsewhere.
    pub(super) fn serve(&self, connection: UnixStream) {
        let asker = self.asker();
        tokio::spawn(async move {
            // Whoever asked went away, or does not read; the agent does not care.
            if let Err(failure) = serve(connection, asker).await {
                debug!("a connection to the agent's socket fails: {failure}");
            }
        });
    }

    /// To ask from another task.
    pub(super) fn asker(&self) -> Asker {
        self.asker.clone()
    }
}

async fn serve(connection: UnixStream, asker: Asker) -> Result<(), Failure> {
    let mut connection = BufReader::new(connection);
    let mut line = Vec::new();
    timeout(PATIENCE, (&mut connection).take(LONGEST).read_until(b'\n', &mut line)).await??;
    let answer = match serde_json::from_slice(&line) {
        Err(error) => Answer::Error(format!("this is no request of this version: {error}")),
        Ok(Request::Sockets) => return hand_over(connection.get_ref(), &asker.estate).await,
        Ok(Request::Trace { denied, origin }) => {
            let (to, from) = mpsc::channel(WAITING);
            let listener = Listener { denied, origin, to, left_out: 0 };
            let told = tell(&mut connection, from, asker.heard.send(Heard::Comes(listener))).await;
            // The main loop may have ended.
            let _ = asker.heard.send(Heard::Goes).await;
            return told;
        }
        Ok(request) => {
            let stopping = || Answer::Error("the agent is stopping".to_owned());
            asker.ask(request).await.unwrap_or_else(stopping)
        }
    };
    let document = serde_json::to_vec(&answer)?;
    timeout(PATIENCE, async {
        connection.write_all(&document).await?;
        connection.shutdown().await
    })
    .await??;
    Ok(())
}

/// Writes how many sockets there are, and sends them with that.
async fn hand_over(connection: &UnixStream, estate: &Estate) -> Result<(), Failure> {
    let sockets = estate.copies()?;
    let document = serde_json::to_vec(&Answer::Sockets(sockets.len()))?;
    let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).take(MOST).collect();
    let mut done = 0;
    while done < document.len() {
        let with = if done == 0 { &sockets[..] } else { &[] };
        let write = || send(connection, &document[done..], with);
        done += timeout(PATIENCE, connection.async_io(Interest::WRITABLE, write)).await??;
    }
    Ok(())
}

/// Writes decisions as they come, until the other side closes, or sends anything.
async fn tell(
    connection: &mut BufReader<UnixStream>,
    mut from: mpsc::Receiver<Answer>,
    begin: impl Future<Output = Result<(), mpsc::error::SendError<Heard>>>,
) -> Result<(), Failure> {
    if begin.await.is_err() {
        return Ok(());
    }
    let mut byte = [0];
    loop {
        let answer = select! {
            answer = from.recv() => answer,
            _ = connection.read(&mut byte) => return Ok(()),
        };
        let Some(answer) = answer else { return Ok(()) };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        timeout(PATIENCE, connection.write_all(&line)).await??;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    async fn ask(request: &[u8]) -> String {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut control = Control::new(Estate::default());
        control.serve(theirs);
        let mut ours = BufReader::new(ours);
        ours.write_all(request).await.unwrap();
        ours.shutdown().await.unwrap();
        let mut answer = String::new();
        let read = ours.read_to_string(&mut answer);
        let answering = async {
            while let Some(Asked { request, answer }) = control.asked.recv().await {
                answer.send(Answer::Error(format!("{request:?}"))).unwrap();
            }
        };
        tokio::select! {
            read = read => read.unwrap(),
            () = answering => 0,
        };
        answer
    }

    #[tokio::test]
    async fn one_request_one_answer() {
        assert_eq!(ask(b"{\"request\":\"rollback\"}\n").await, r#"{"error":"Rollback"}"#);
        // Whoever says that nothing more comes need not end the line.
        assert_eq!(ask(b"{\"request\":\"status\"}").await, r#"{"error":"Status"}"#);
        for request in [&b""[..], b"GET / HTTP/1.1\r\n", &[b'x'; LONGEST as usize]] {
            let answer = ask(request).await;
            assert!(answer.starts_with(r#"{"error":"this is no request"#), "{answer}");
        }
    }
}
