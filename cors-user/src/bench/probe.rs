//! What the requests are answered with: learnt from ordinary connections, before any load.
//!
//! Each request is asked twice, over different connections. Where the two replies differ, and in the
//! value of `Date`, any byte is right later; everything else must come again as it was.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use cors_load::layout::REPLY_MAX;
use thiserror::Error;

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// More header lines than any reply has that is meant here.
const HEADERS_MAX: usize = 64;

/// Why replies cannot be learnt.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The connection.
    #[error("the target {target} does not answer: {source}")]
    Connection {
        /// The target.
        target: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
    /// A reply that the generator could not check.
    #[error("{what}\n--- the request:\n{request}--- the reply:\n{reply}")]
    Reply {
        /// What is wrong with it.
        what: &'static str,
        /// The request.
        request: String,
        /// The reply, as far as it was read.
        reply: String,
    },
}

/// A request and its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The request.
    pub request: Vec<u8>,
    /// The reply, head and body.
    pub reply: Vec<u8>,
    /// 255 for each byte of the reply that does not vary, else 0.
    pub mask: Vec<u8>,
}

impl Exchange {
    /// The status of the reply.
    pub fn status(&self) -> u16 {
        status(&self.reply).unwrap_or_default()
    }
}

/// Asks every request twice.
pub(super) fn learn(
    target: SocketAddr,
    requests: &[Vec<u8>],
    each_alone: bool,
) -> Result<Vec<Exchange>, ProbeError> {
    let first = ask(target, requests, each_alone)?;
    let second = ask(target, requests, each_alone)?;
    let both = first.into_iter().zip(second);
    requests.iter().zip(both).map(|(request, (a, b))| exchange(request, a, &b)).collect()
}

fn exchange(request: &[u8], reply: Vec<u8>, again: &[u8]) -> Result<Exchange, ProbeError> {
    let wrong = |what, reply: &[u8]| ProbeError::Reply {
        what,
        request: String::from_utf8_lossy(request).into_owned(),
        reply: String::from_utf8_lossy(reply).into_owned(),
    };
    if reply.len() > REPLY_MAX {
        return Err(wrong("the reply is too long to be checked", &reply));
    }
    if reply.len() != again.len() || status(&reply) != status(again) {
        return Err(wrong("the second time the reply has another length or status", again));
    }
    let mut mask: Vec<u8> =
        reply.iter().zip(again).map(|(a, b)| if a == b { 255 } else { 0 }).collect();
    if let Some(date) = date(&reply) {
        mask[date].fill(0);
    }
    Ok(Exchange { request: request.to_vec(), reply, mask })
}

/// Where the value of `Date` is.
fn date(reply: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(reply).ok()?;
    let date = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("date"))?;
    let start = date.value.as_ptr().addr() - reply.as_ptr().addr();
    Some(start..start + date.value.len())
}

fn status(reply: &[u8]) -> Option<u16> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(reply).ok()?;
    response.code
}

fn ask(
    target: SocketAddr,
    requests: &[Vec<u8>],
    each_alone: bool,
) -> Result<Vec<Vec<u8>>, ProbeError> {
    let failed = |source| ProbeError::Connection { target, source };
    let mut connection = None;
    let mut replies = Vec::with_capacity(requests.len());
    for request in requests {
        let mut open = match connection.take() {
            Some(open) => open,
            None => connect(target).map_err(failed)?,
        };
        open.get_mut().write_all(request).map_err(failed)?;
        let (reply, closes) = read(&mut open, request).map_err(|error| match error {
            ReadError::Io(source) => failed(source),
            ReadError::Reply { what, reply } => ProbeError::Reply {
                what,
                request: String::from_utf8_lossy(request).into_owned(),
                reply: String::from_utf8_lossy(&reply).into_owned(),
            },
        })?;
        replies.push(reply);
        connection = (!each_alone && !closes).then_some(open);
    }
    Ok(replies)
}

fn connect(target: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

enum ReadError {
    Io(io::Error),
    Reply { what: &'static str, reply: Vec<u8> },
}

/// A reply, and whether the server closes after it.
fn read(stream: &mut BufReader<TcpStream>, request: &[u8]) -> Result<(Vec<u8>, bool), ReadError> {
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut reply).map_err(ReadError::Io)? == 0 {
            return Err(ReadError::Reply { what: "the server closed the connection", reply });
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    if !response.parse(&reply).is_ok_and(|status| status.is_complete()) {
        return Err(ReadError::Reply { what: "not a reply of HTTP/1.1", reply });
    }
    let value = |name: &str| {
        let header = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name))?;
        str::from_utf8(header.value).ok()
    };
    let closes = value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let bodiless = matches!(response.code, Some(204 | 304)) || request.starts_with(b"HEAD ");
    let length = if bodiless {
        Some(0)
    } else {
        value("content-length").and_then(|value| value.trim().parse::<usize>().ok())
    };
    let Some(length) = length.filter(|length| *length <= REPLY_MAX) else {
        return Err(ReadError::Reply { what: "a reply of unknown or great length", reply });
    };
    let head = reply.len();
    reply.resize(head + length, 0);
    stream.read_exact(&mut reply[head..]).map_err(ReadError::Io)?;
    Ok((reply, closes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &[u8] =
        b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Id: 1\r\n\r\n";

    #[test]
    fn the_date_and_what_varies_may_differ() {
        let mut again = REPLY.to_vec();
        let id = again.len() - 5;
        again[id] = b'2';
        let exchange = exchange(b"", REPLY.to_vec(), &again).expect("alike");
        let varies: Vec<_> = (0..REPLY.len()).filter(|at| exchange.mask[*at] == 0).collect();
        let date: Vec<_> = (23..23 + 29).collect();
        assert_eq!(varies, [date, vec![id]].concat());
        assert_eq!(exchange.status(), 200);
    }

    #[test]
    fn replies_of_two_lengths_are_refused() {
        assert!(exchange(b"", REPLY.to_vec(), &REPLY[..REPLY.len() - 1]).is_err());
        assert!(exchange(b"", vec![b'x'; REPLY_MAX + 1], &[]).is_err());
    }
}
