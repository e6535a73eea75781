//! What clients ask for: every request has a number of its own in its target, and its bytes are
//! made before the connection begins.

use crate::{
    image::{HEADERS, LISTED, METHODS, PATHS, answer_text},
    rng::Rng,
};

/// In the number of a preflight that is written inside a body: nobody may answer it.
pub const DECOY: u64 = 1 << 40;

/// A request, and how the client writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// All of it.
    pub bytes: Vec<u8>,
    /// What the driver answers, where it may.
    pub driver: Option<Vec<u8>>,
    /// The client rests before it writes the byte at such a place: where, and for how long.
    pub rests: Vec<(usize, u64)>,
    /// The client waits for a `100 Continue` before it writes the byte at this place.
    pub waits_at: Option<usize>,
    /// The response has no body, whatever its head says.
    pub is_head: bool,
    /// The connection is no HTTP any more behind the response.
    pub upgrades: bool,
    /// It is no request but what is sent behind such a response.
    pub is_raw: bool,
    /// The client wants the connection to close behind the response.
    pub closes: bool,
}

/// What kind of request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A preflight that the policy allows.
    Preflight,
    /// One that it does not, or that is not tier 1's to read.
    Other,
    /// No body.
    Get,
    /// A body with preflights in it.
    Upload,
    /// The last request of a connection that becomes a stream of something else.
    Upgrade,
}

impl Request {
    /// A request with this number.
    pub fn new(kind: Kind, id: u64, closes: bool, rng: &mut Rng) -> Self {
        let mut request = match kind {
            Kind::Preflight => allowed(id, closes, rng),
            Kind::Other => other(id, closes, rng),
            Kind::Get => get(id, closes, rng),
            Kind::Upload => upload(id, closes, rng),
            Kind::Upgrade => upgrade(id, rng),
        };
        request.closes = closes;
        // A head that is written in two pieces, and arrives in two segments.
        if rng.permille(60) {
            let at = rng.range(1, 40.min(request.bytes.len() as u64 - 1)) as usize;
            request.rests.insert(0, (at, rng.range(100, 30_000)));
        }
        request
    }

    /// What is sent behind a response that ends HTTP.
    pub fn raw(rng: &mut Rng) -> Self {
        let mut request = Self { is_raw: true, ..Self::default() };
        body_with_decoys(&mut request, rng);
        request
    }
}

fn end_of_head(text: &mut String, closes: bool, rng: &mut Rng) {
    if closes {
        *text += "Connection: close\r\n";
    } else if rng.permille(300) {
        *text += "Connection: keep-alive\r\n";
    }
    *text += "\r\n";
}

/// Headers that say nothing.
fn padding(text: &mut String, rng: &mut Rng) {
    *text += "User-Agent: soak\r\n";
    if rng.permille(200) {
        *text += "content-length: 0\r\n";
    }
    if rng.permille(300) {
        *text += "X-Pad: ";
        text.extend(std::iter::repeat_n('p', rng.range(1, 500) as usize));
        *text += "\r\n";
    }
}

fn preflight_text(path: &str, id: u64, origin: &str, closes: bool, rng: &mut Rng) -> String {
    let mut text = format!("OPTIONS {path}?id={id:x} HTTP/1.1\r\nHost: api.example\r\n");
    padding(&mut text, rng);
    text += &format!("Origin: {origin}\r\n");
    let method = rng.pick(&["GET", "POST", METHODS[0], METHODS[1]]);
    text += &format!("Access-Control-Request-Method: {method}\r\n");
    let names: Vec<&str> = HEADERS.into_iter().filter(|_| rng.permille(400)).collect();
    if !names.is_empty() {
        text += &format!("Access-Control-Request-Headers: {}\r\n", names.join(","));
    }
    end_of_head(&mut text, closes, rng);
    text
}

/// A path, and an origin that it allows: mostly one that nobody else has.
fn place(id: u64, rng: &mut Rng) -> (&'static str, String) {
    match rng.below(6) {
        0 => (PATHS[1], rng.pick(&LISTED).to_owned()),
        1 => (PATHS[2], format!("https://u{id:x}.example")),
        _ => (PATHS[0], format!("https://u{id:x}.example")),
    }
}

fn allowed(id: u64, closes: bool, rng: &mut Rng) -> Request {
    let (path, origin) = place(id, rng);
    let bytes = preflight_text(path, id, &origin, closes, rng).into_bytes();
    let driver = Some(answer_text(path, &origin, closes).into_bytes());
    Request { bytes, driver, ..Request::default() }
}

fn other(id: u64, closes: bool, rng: &mut Rng) -> Request {
    let mut request = Request::default();
    let origin = "https://other.example";
    let mut text = match rng.below(6) {
        0 => preflight_text(PATHS[1], id, origin, closes, rng),
        1 => preflight_text("/none", id, origin, closes, rng),
        2 => preflight_text(PATHS[0], id, origin, closes, rng)
            .replace("Request-Method: ", "Request-Method: X"),
        3 => preflight_text(PATHS[0], id, origin, closes, rng)
            .replacen("\r\n", "\r\nTransfer-Encoding: chunked\r\n", 1)
            .replace("content-length: 0\r\n", ""),
        4 => preflight_text(PATHS[0], id, origin, closes, rng).replace("Origin:", "X-Origin:"),
        _ => {
            let len = rng.range(1, 400);
            preflight_text(PATHS[0], id, origin, closes, rng)
                .replace("content-length: 0\r\n", "")
                .replacen("\r\n", &format!("\r\nContent-Length: {len}\r\n"), 1)
                + &"o".repeat(len as usize)
        }
    };
    if text.contains("Transfer-Encoding") {
        text += "0\r\n\r\n";
    }
    request.bytes = text.into_bytes();
    request
}

fn get(id: u64, closes: bool, rng: &mut Rng) -> Request {
    let is_head = rng.permille(150);
    let method = if is_head { "HEAD" } else { "GET" };
    let path = rng.pick(&[PATHS[0], "/"]);
    let mut text = format!("{method} {path}?id={id:x} HTTP/1.1\r\nHost: api.example\r\n");
    padding(&mut text, rng);
    if rng.permille(100) {
        text += &format!("Cookie: {}\r\n", "c".repeat(rng.range(500, 2200) as usize));
    }
    end_of_head(&mut text, closes, rng);
    Request { bytes: text.into_bytes(), is_head, ..Request::default() }
}

/// Filler and preflights in turn. Where a preflight begins the client often rests, and often behind
/// it as well: then it is all that a segment carries.
fn body_with_decoys(request: &mut Request, rng: &mut Rng) {
    let rounds = if rng.permille(50) { rng.range(20, 60) } else { rng.range(0, 4) };
    let rests = rng.permille(600);
    for round in 0..rounds {
        let filler = match rng.below(5) {
            0 => 0,
            1 => rng.range(0, 8000),
            _ => rng.range(1, 60),
        };
        request.bytes.extend(std::iter::repeat_n(b'f', filler as usize));
        let (path, origin) = place(DECOY | round, rng);
        let text = preflight_text(path, DECOY | round, &origin, false, rng);
        if rests {
            request.rests.push((request.bytes.len(), rng.range(50, 3000)));
        }
        request.bytes.extend(text.into_bytes());
        if rests && rng.permille(500) {
            request.rests.push((request.bytes.len(), rng.range(50, 3000)));
        }
    }
    request.bytes.extend(std::iter::repeat_n(b't', rng.range(1, 40) as usize));
}

fn upload(id: u64, closes: bool, rng: &mut Rng) -> Request {
    let method = rng.pick(&["POST", "PUT", "PATCH", "OPTIONS"]);
    let mut text = format!("{method} {}?id={id:x} HTTP/1.1\r\nHost: api.example\r\n", PATHS[0]);
    if method == "OPTIONS" {
        text += "Origin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n";
    }
    let mut body = Request::default();
    body_with_decoys(&mut body, rng);
    let chunked = rng.permille(300);
    let expects = rng.permille(100);
    if expects {
        text += "Expect: 100-continue\r\n";
    }
    if chunked {
        text += "Transfer-Encoding: chunked\r\n";
    } else {
        text += &format!("Content-Length: {}\r\n", body.bytes.len());
    }
    end_of_head(&mut text, closes, rng);
    let mut request = Request { bytes: text.into_bytes(), ..Request::default() };
    let head_len = request.bytes.len();
    if expects {
        request.waits_at = Some(head_len);
    } else if rng.permille(300) {
        request.rests.push((head_len, rng.range(50, 3000)));
    }
    if chunked {
        append_chunked(&mut request, &body, rng);
    } else {
        let rests = body.rests.iter().map(|(at, rest)| (at + head_len, *rest));
        request.rests.extend(rests);
        request.bytes.extend(&body.bytes);
    }
    request
}

/// The body in chunks; the client rests where it would have, in front of a chunk of its own.
fn append_chunked(request: &mut Request, body: &Request, rng: &mut Rng) {
    let mut cuts: Vec<usize> = body.rests.iter().map(|(at, _)| *at).collect();
    cuts.push(rng.below(body.bytes.len() as u64) as usize);
    cuts.push(body.bytes.len());
    cuts.sort_unstable();
    cuts.dedup();
    let mut from = 0;
    for to in cuts {
        if to == from {
            continue;
        }
        request.bytes.extend(format!("{:x}\r\n", to - from).into_bytes());
        if let Some((_, rest)) = body.rests.iter().find(|(at, _)| *at == from) {
            request.rests.push((request.bytes.len(), *rest));
        }
        request.bytes.extend(&body.bytes[from..to]);
        request.bytes.extend(b"\r\n");
        from = to;
    }
    request.bytes.extend(b"0\r\n\r\n");
}

fn upgrade(id: u64, rng: &mut Rng) -> Request {
    let mut text = format!("GET {}?id={id:x} HTTP/1.1\r\nHost: api.example\r\n", PATHS[0]);
    padding(&mut text, rng);
    text += "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    Request { bytes: text.into_bytes(), upgrades: true, ..Request::default() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use crate::parser::{Found, Parser};

    const KINDS: [Kind; 5] = [Kind::Preflight, Kind::Other, Kind::Get, Kind::Upload, Kind::Upgrade];

    /// The server's parser finds one head with the number, and the end at the last byte.
    #[test]
    fn every_request_is_one_request() {
        let mut rng = Rng::new(1);
        for id in 0..3000 {
            let kind = rng.pick(&KINDS);
            let closes = rng.permille(200);
            let request = Request::new(kind, id, closes, &mut rng);
            let mut parser = Parser::new();
            let mut ends = Vec::new();
            for (at, byte) in request.bytes.iter().enumerate() {
                match parser.take(*byte).unwrap() {
                    Found::Nothing => {}
                    Found::Head(head) => {
                        assert_eq!(head.id, id);
                        if head.is_whole {
                            ends.push(at + 1);
                        }
                    }
                    Found::End => ends.push(at + 1),
                }
            }
            assert_eq!(ends, [request.bytes.len()], "{request:?}");
            assert!(request.rests.iter().all(|(at, _)| *at < request.bytes.len()));
        }
    }
}
