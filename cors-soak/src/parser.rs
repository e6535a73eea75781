//! Where requests begin and end on the stream that the server reads: a parser of its own, which
//! shares nothing with the driver's.
//!
//! It takes one byte at a time, keeps what it needs, and believes that requests are well formed
//! where the generator ([`crate::request`]) makes them so; anything else is an error.

/// What was found at a byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing yet.
    Nothing,
    /// A head ends here; a body may follow.
    Head(Head),
    /// A request ends here.
    End,
}

/// What a head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The method.
    pub method: String,
    /// The number in the target's query.
    pub id: u64,
    /// The client waits for a `100 Continue`.
    pub expects: bool,
    /// Nothing follows the head.
    pub is_whole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// So many bytes of the body are left.
    Body(u64),
    ChunkSize,
    /// So many bytes of the chunk are left, its line end counted.
    Chunk(u64),
    Trailer,
}

/// The parser.
#[derive(Clone, Debug)]
pub struct Parser {
    state: State,
    /// The head so far, or the line of a chunk's size or of a trailer.
    text: Vec<u8>,
}

impl Parser {
    /// At the start of a connection.
    pub const fn new() -> Self {
        Self { state: State::Head, text: Vec::new() }
    }

    /// Takes a byte.
    pub fn take(&mut self, byte: u8) -> Result<Found, String> {
        match self.state {
            State::Head => {
                self.text.push(byte);
                if self.text.ends_with(b"\r\n\r\n") { self.head() } else { Ok(Found::Nothing) }
            }
            State::Body(left) => Ok(self.after(left - 1, State::Body)),
            State::Chunk(left) => {
                self.state = if left == 1 { State::ChunkSize } else { State::Chunk(left - 1) };
                Ok(Found::Nothing)
            }
            State::ChunkSize | State::Trailer => {
                self.text.push(byte);
                if !self.text.ends_with(b"\r\n") {
                    return Ok(Found::Nothing);
                }
                let line = String::from_utf8_lossy(&self.text).trim_end().to_owned();
                self.text.clear();
                if self.state == State::Trailer {
                    return Ok(if line.is_empty() { self.end() } else { Found::Nothing });
                }
                let size = u64::from_str_radix(&line, 16).map_err(|_| format!("size {line:?}"))?;
                self.state = if size == 0 { State::Trailer } else { State::Chunk(size + 2) };
                Ok(Found::Nothing)
            }
        }
    }

    fn after(&mut self, left: u64, state: fn(u64) -> State) -> Found {
        if left == 0 {
            return self.end();
        }
        self.state = state(left);
        Found::Nothing
    }

    fn end(&mut self) -> Found {
        self.state = State::Head;
        Found::End
    }

    fn head(&mut self) -> Result<Found, String> {
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.text)).into_owned();
        let refuse = |what: &str| Err(format!("{what}: {text:?}"));
        let mut lines = text.split("\r\n");
        let mut start = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some("HTTP/1.1"), None) =
            (start.next(), start.next(), start.next(), start.next())
        else {
            return refuse("no request line");
        };
        let id = target.split_once("?id=").and_then(|(_, id)| u64::from_str_radix(id, 16).ok());
        let Some(id) = id else { return refuse("no number") };
        let (mut len, mut chunked, mut expects) = (0, false, false);
        for line in lines.take_while(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else { return refuse("no header") };
            let (name, value) = (name.to_ascii_lowercase(), value.trim());
            match name.as_str() {
                "content-length" => len = value.parse().map_err(|_| format!("length {value}"))?,
                "transfer-encoding" => chunked = value == "chunked",
                "expect" => expects = value == "100-continue",
                _ => {}
            }
        }
        self.state = match (chunked, len) {
            (true, _) => State::ChunkSize,
            (false, 0) => State::Head,
            (false, len) => State::Body(len),
        };
        let is_whole = self.state == State::Head;
        Ok(Found::Head(Head { method: method.to_owned(), id, expects, is_whole }))
    }
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    /// Where heads and requests end.
    fn ends(text: &str) -> (Vec<u64>, Vec<usize>) {
        let mut parser = Parser::new();
        let (mut ids, mut ends) = (Vec::new(), Vec::new());
        for (at, byte) in text.bytes().enumerate() {
            match parser.take(byte).unwrap() {
                Found::Nothing => {}
                Found::Head(head) => {
                    ids.push(head.id);
                    if head.is_whole {
                        ends.push(at + 1);
                    }
                }
                Found::End => ends.push(at + 1),
            }
        }
        (ids, ends)
    }

    #[test]
    fn bodies_are_not_read_as_requests() {
        let get = "GET /?id=1 HTTP/1.1\r\nHost: a\r\n\r\n";
        let post = format!("POST /?id=2 HTTP/1.1\r\ncontent-length: {}\r\n\r\n{get}", get.len());
        let chunked = format!(
            "PUT /?id=3 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{get}\r\n0\r\nA: b\r\n\r\n",
            get.len()
        );
        let text = format!("{post}{chunked}{get}");
        let (a, b) = (post.len(), post.len() + chunked.len());
        assert_eq!(ends(&text), (vec![2, 3, 1], vec![a, b, b + get.len()]));
    }

    #[test]
    fn what_is_no_request_is_an_error() {
        let mut parser = Parser::new();
        let taken: Result<Vec<Found>, String> =
            "GET / HTTP/1.1\r\n\r\n".bytes().map(|byte| parser.take(byte)).collect();
        assert!(taken.unwrap_err().starts_with("no number"));
    }
}
