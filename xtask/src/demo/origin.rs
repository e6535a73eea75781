//! An origin server that knows nothing of CORS, and remembers what it was asked.

use std::{
    io::{Error as IoError, Read as _, Result as IoResult, Write as _},
    mem,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};
use bytes::{Buf as _, BytesMut};
use httparse::Status;

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
fn serve(mut stream: TcpStream, record: &Record) -> IoResult<()> {
    let mut received = BytesMut::new();
    let mut chunk = [0; 4096];
    loop {
        let len = stream.read(&mut chunk)?;
        if len == 0 {
            return Ok(());
        }
        received.extend_from_slice(&chunk[..len]);
        while let Some(line) = next_request(&mut received)? {
            let reply = reply(&line);
            record.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            stream.write_all(reply.as_bytes())?;
        }
    }
}

/// Takes the next whole request out of what was received: its method and target.
fn next_request(received: &mut BytesMut) -> IoResult<Option<String>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let Status::Complete(len) = request.parse(received).map_err(IoError::other)? else {
        return Ok(None);
    };
    let line = [request.method, request.path].map(Option::unwrap_or_default).join(" ");
    received.advance(len);
    Ok(Some(line))
}

fn reply(line: &str) -> &'static str {
    if line.starts_with("OPTIONS ") {
        "HTTP/1.1 204 No Content\r\nServer: demo-origin\r\nAllow: GET, PUT\r\n\r\n"
    } else {
        "HTTP/1.1 200 OK\r\nServer: demo-origin\r\nContent-Type: application/json\r\n\
         Content-Length: 21\r\n\r\n{\"from\":\"the origin\"}"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_in_pieces_and_in_a_row() {
        let mut received =
            BytesMut::from("GET /a HTTP/1.1\r\nHost: x\r\n\r\nOPTIONS /b HTTP/1.1\r\n");
        let next = |received: &mut BytesMut| next_request(received).expect("well-formed");
        assert_eq!(next(&mut received).as_deref(), Some("GET /a"));
        assert_eq!(next(&mut received), None);
        received.extend_from_slice(b"\r\n");
        assert_eq!(next(&mut received).as_deref(), Some("OPTIONS /b"));
        assert!(received.is_empty());
        received.extend_from_slice(b"\0");
        assert!(next_request(&mut received).is_err());
    }
}
