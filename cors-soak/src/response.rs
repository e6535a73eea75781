//! What the server says to a request: all of it is made beforehand, so the client knows each byte.

use crate::{request::Request, rng::Rng};

/// A response, and how the server writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// All of it, interim responses included.
    pub bytes: Vec<u8>,
    /// Bytes of the `100 Continue` at its start.
    pub interim: usize,
    /// The server rests before it writes the byte at such a place.
    pub rests: Vec<(usize, u64)>,
    /// It begins when the head of the request is there, and does not wait for the body.
    pub is_early: bool,
    /// The server closes behind it.
    pub closes: bool,
    /// Its end is the end of the connection.
    pub until_close: bool,
    /// The server gives the connection up when it has written so many bytes.
    pub aborts_at: Option<usize>,
}

impl Response {
    /// The response to a request with this number.
    pub fn new(request: &Request, id: u64, rng: &mut Rng) -> Self {
        let mut response = Self { closes: request.closes, ..Self::default() };
        if request.waits_at.is_some() {
            response.bytes.extend(b"HTTP/1.1 100 Continue\r\n\r\n");
            response.interim = response.bytes.len();
        }
        if request.upgrades {
            response.bytes.extend(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n");
            response.bytes.extend(format!("X-Id: {id:x}\r\n\r\n").into_bytes());
            return response;
        }
        if request.is_raw {
            response.bytes.extend(body(id, rng));
            response.closes = true;
            return response;
        }
        if rng.permille(50) {
            let text = format!("HTTP/1.1 103 Early Hints\r\nX-Hint: {id:x}\r\n\r\n");
            response.bytes.extend(text.into_bytes());
        }
        if !response.closes && rng.permille(50) {
            response.closes = true;
        }
        response.is_early = request.waits_at.is_none() && rng.permille(200);
        response.fill(request, id, rng);
        if rng.permille(500) {
            let most = rng.pick(&[5000, 5000, 5000, 400_000]);
            response.rests.push((response.interim, rng.range(20, most)));
        }
        if rng.permille(200) {
            let mut places: Vec<usize> = (0..rng.range(1, 4))
                .map(|_| rng.below(response.bytes.len() as u64) as usize)
                .filter(|at| *at >= response.interim)
                .collect();
            places.sort_unstable();
            let rests = places.into_iter().map(|at| (at, rng.range(200, 300_000)));
            response.rests.extend(rests);
        }
        if rng.permille(8) {
            response.aborts_at = Some(rng.below(response.bytes.len() as u64) as usize);
        }
        response
    }

    fn fill(&mut self, request: &Request, id: u64, rng: &mut Rng) {
        let close = if self.closes { "Connection: close\r\n" } else { "" };
        let body = body(id, rng);
        let start = |status: &str| format!("HTTP/1.1 {status}\r\nX-Id: {id:x}\r\n{close}");
        let with_len = |status| format!("{}Content-Length: {}\r\n\r\n", start(status), body.len());
        match rng.below(12) {
            0 => self.bytes.extend(format!("{}\r\n", start("204 No Content")).into_bytes()),
            // It has a length, and no body (RFC 9110 §15.4.5).
            1 => self.bytes.extend(with_len("304 Not Modified").into_bytes()),
            2 | 3 => {
                let head = format!("{}transfer-encoding: chunked\r\n\r\n", start("200 OK"));
                self.bytes.extend(head.into_bytes());
                if !request.is_head {
                    append_chunked(&mut self.bytes, &body, rng);
                }
            }
            4 if self.closes && !request.is_head => {
                self.until_close = true;
                self.bytes.extend(format!("{}\r\n", start("200 OK")).into_bytes());
                self.bytes.extend(body);
            }
            _ => {
                self.bytes.extend(with_len("200 OK").into_bytes());
                if !request.is_head {
                    self.bytes.extend(body);
                }
            }
        }
    }
}

fn append_chunked(bytes: &mut Vec<u8>, body: &[u8], rng: &mut Rng) {
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(rng.range(1, rest.len() as u64) as usize);
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
        rest = behind;
    }
    bytes.extend(b"0\r\n\r\n");
}

/// A body that looks like a response in places, and nowhere like another one's.
fn body(id: u64, rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(40) {
        0..=5 => 0,
        6..=30 => rng.range(1, 600),
        31..=38 => rng.range(600, 12_000),
        _ => rng.range(12_000, 150_000),
    } as usize;
    let line =
        format!("\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Not: {id:x}\r\n\r\n0\r\n\r\n");
    let mut body: Vec<u8> = Vec::with_capacity(len + line.len());
    let mut count = 0u64;
    while body.len() < len {
        count += 1;
        body.extend(format!("{count:x}").bytes());
        body.extend(line.as_bytes());
    }
    body.truncate(len);
    body
}
