//! A compiled policy to ask, requests to ask it about, and numbers to shuffle with.

use cors_common::{checksum::Sum, exit::Exit, head::Head, state::Date};
use cors_user::{
    compile::{self, Image, Limits},
    config::{self, Config},
    cors::Rules,
};

use crate::slow_path;

/// The date of every answer.
pub(crate) const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A policy file's tables, compiled.
pub(crate) struct Engine {
    pub(crate) config: Config,
    /// The same for the slow path.
    pub(crate) rules: Rules,
    image: Image,
    date: Date,
}

impl Engine {
    /// From `[[policy]]` tables.
    pub(crate) fn new(policies: &str) -> Self {
        let text = format!("[server]\nlisten = [\"0.0.0.0:80\"]\n{policies}");
        let config = config::parse(&text).config;
        Self::of(config.unwrap_or_else(|problems| panic!("{text}\n{problems:#?}")))
    }

    /// One policy with these lines.
    pub(crate) fn policy(lines: &str) -> Self {
        Self::new(&format!("[[policy]]\nname = \"p\"\n{lines}"))
    }

    /// From a checked file.
    pub(crate) fn of(config: Config) -> Self {
        let limits = Limits { lines: 1 << 16, policies: 1 << 10 };
        let image = compile::compile(&config, limits).unwrap();
        let rules = Rules::new(&config, limits).unwrap();
        Self { config, rules, image, date: Date::new(DATE.as_bytes().try_into().unwrap()) }
    }

    /// The answer to a payload: the same whatever an earlier packet left in the buffer, and the same
    /// in the slow path.
    pub(crate) fn ask(&self, payload: &[u8]) -> Result<Vec<u8>, Exit> {
        let answer = self.ask_over(b"", payload);
        for stale in [&[0xff; 2048][..], &b"a:,\r\n\r\n".repeat(256)] {
            assert_eq!(self.ask_over(stale, payload), answer, "{}", payload.escape_ascii());
        }
        slow_path::agrees(&self.rules, payload, &answer);
        answer
    }

    /// The answer to a payload in a buffer that has held `stale` before.
    pub(crate) fn ask_over(&self, stale: &[u8], payload: &[u8]) -> Result<Vec<u8>, Exit> {
        let mut head = Head::new();
        head.buffer()[..stale.len()].copy_from_slice(stale);
        let kept = payload.len().min(head.buffer().len());
        head.buffer()[..kept].copy_from_slice(&payload[..kept]);
        head.read(payload.len())?;
        let answer = self.image.decide(&mut head)?;
        let reply = compile::render(&self.image, &answer, &head, &self.date);
        assert_eq!(answer.len, reply.len());
        let date_at = "HTTP/1.1 204 No Content\r\nDate: ".len();
        let sum = answer.sum.add_at(date_at, Sum::folded(self.date.sum));
        assert_eq!(sum.fold(), Sum::of(&reply).fold(), "{}", reply.escape_ascii());
        let close = String::from_utf8_lossy(&reply).contains("\r\nConnection: close\r\n");
        assert_eq!(answer.close, close);
        Ok(reply)
    }

    /// What the driver alone says to a request.
    pub(crate) fn driver(&self, request: &Request) -> Result<Vec<u8>, Exit> {
        self.ask_over(b"", &request.bytes())
    }

    /// Whether a request is answered.
    pub(crate) fn answers(&self, request: &Request) -> bool {
        self.ask(&request.bytes()).is_ok()
    }

    /// Why a request is not answered.
    pub(crate) fn refuses(&self, request: &Request) -> Option<Exit> {
        self.ask(&request.bytes()).err()
    }
}

/// A request's head, line by line.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The request line.
    pub(crate) line: String,
    /// The header lines.
    pub(crate) headers: Vec<String>,
}

impl Request {
    /// A short preflight to `api.example.com/v1/users` from `https://app.example.com`, for `PUT`.
    pub(crate) fn new() -> Self {
        Self {
            line: "OPTIONS /v1/users HTTP/1.1".to_owned(),
            headers: [
                "Host: api.example.com",
                "Origin: https://app.example.com",
                "Access-Control-Request-Method: PUT",
            ]
            .map(str::to_owned)
            .to_vec(),
        }
    }

    /// With another target.
    pub(crate) fn to(target: &str) -> Self {
        Self { line: format!("OPTIONS {target} HTTP/1.1"), ..Self::new() }
    }

    /// With another line at the end.
    pub(crate) fn add(mut self, line: impl Into<String>) -> Self {
        self.headers.push(line.into());
        self
    }

    /// Without a header.
    pub(crate) fn without(mut self, name: &str) -> Self {
        let start = format!("{}:", name.to_ascii_lowercase());
        self.headers.retain(|line| !line.to_ascii_lowercase().starts_with(&start));
        self
    }

    /// With another value of a header.
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        self.without(name).add(format!("{name}: {value}"))
    }

    pub(crate) fn host(self, value: &str) -> Self {
        self.with("Host", value)
    }

    pub(crate) fn origin(self, value: &str) -> Self {
        self.with("Origin", value)
    }

    pub(crate) fn method(self, value: &str) -> Self {
        self.with("Access-Control-Request-Method", value)
    }

    pub(crate) fn asks(self, value: &str) -> Self {
        self.with("Access-Control-Request-Headers", value)
    }

    /// The whole head.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.line);
        for line in &self.headers {
            text.extend([line, "\r\n"]);
        }
        text += "\r\n";
        text.into_bytes()
    }

    /// With lines that fill it up to `len` bytes.
    pub(crate) fn padded(self, len: usize) -> Self {
        let pad = len - self.bytes().len() - "X-Pad: \r\n".len();
        self.add(format!("X-Pad: {}", "x".repeat(pad)))
    }
}

/// Numbers for shuffling, the same in every run (xorshift64*, Vigna 2014).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
