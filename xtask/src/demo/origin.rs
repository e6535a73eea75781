//! An origin server that knows nothing of CORS, and remembers what it was asked.

use std::{
    io::{BufRead as _, BufReader, Result as IoResult, Write as _},
    mem,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};

/// A listening server, with a thread a connection.
pub(super) struct Origin {
    record: Record,
}

/// Method and target of every request that reached it.
type Record = Arc<Mutex<Vec<String>>>;

impl Origin {
    /// Serves until the process ends.
    pub(super) fn listen(address: &str) -> Result<Self> {
        let listener =
            TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let record = Record::default();
        let for_connections = Arc::clone(&record);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let record = Arc::clone(&for_connections);
                // A client that goes away is no concern of the demonstration.
                thread::spawn(move || serve(stream, &record).ok());
            }
        });
        Ok(Self { record })
    }

    /// What arrived since the last time.
    pub(super) fn take_record(&self) -> Vec<String> {
        mem::take(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// HTTP/1.1 with keep-alive, for requests without a body.
fn serve(stream: TcpStream, record: &Record) -> IoResult<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut stream = stream;
    while let Some(request) = lines.next().transpose()? {
        for header in lines.by_ref() {
            if header?.is_empty() {
                break;
            }
        }
        let line = request.trim_end_matches(" HTTP/1.1").to_owned();
        let reply = if line.starts_with("OPTIONS ") {
            "HTTP/1.1 204 No Content\r\nServer: demo-origin\r\nAllow: GET, PUT\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\nServer: demo-origin\r\nContent-Type: application/json\r\n\
             Content-Length: 21\r\n\r\n{\"from\":\"the origin\"}"
        };
        record.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        stream.write_all(reply.as_bytes())?;
    }
    Ok(())
}
