//! The policy of the simulation, compiled by hand: three policies for every host.
//!
//! | path | origins | answer |
//! | --- | --- | --- |
//! | `/echo` | all | echoes the origin, which is another one for each request |
//! | `/list` | two | echoes the origin |
//! | `/star` | all | `*` |
//!
//! Elsewhere no policy is found, and everything passes. The text of the answers is written here a
//! second time, for the client to compare with ([`answer_text`]).

use bytemuck::Zeroable as _;
use cors_common::{
    checksum::Sum,
    policy::{
        DRIVER_PATH_MAX, DRIVER_TEXT_MAX, Image, Policy, Template,
        fact::{bucket, hash, is_whole, place, stride, tag},
        image::{Group, Kind, Line, TEMPLATE_MAX, flag},
    },
    state::{DATE_LEN, Slot, Table},
};

/// The date of every answer.
pub const DATE: &[u8; DATE_LEN] = b"Sun, 06 Nov 1994 08:49:37 GMT";

/// Where a policy is.
pub const PATHS: [&str; 3] = ["/echo", "/list", "/star"];

/// The origins that `/list` allows.
pub const LISTED: [&str; 2] = ["https://app.example", "http://localhost:3000"];

/// The methods that are allowed besides GET, HEAD and POST.
pub const METHODS: [&str; 2] = ["PATCH", "PUT"];

/// The headers that are allowed, sorted.
pub const HEADERS: [&str; 3] = ["authorization", "content-type", "x-id"];

/// Places of each table, many more than facts, so that every pilot may be 0.
const LINES: u32 = 64;
/// Where the tables begin, behind the policies; behind each there is a line of pilots. A place of
/// the first has two lines.
const SCOPES: u32 = 3;
const ORIGINS: u32 = SCOPES + 2 * LINES + 1;
const ALL: u32 = ORIGINS + LINES + 1;
/// The prefixes of paths, and the sets of members.
const SHAPE: u32 = 1;
const METHOD_SET: u32 = 1;
const HEADER_SET: u32 = 2;
const ORIGIN_SET: u32 = 3;

/// The image, in memory.
#[derive(Clone, Debug)]
pub struct Compiled {
    lines: Vec<Line>,
    templates: Vec<Template>,
    /// How to read it.
    pub slot: Slot,
}

/// What a line says: kind and set, text, value.
type Fact<'a> = (u64, &'a str, u64);

impl Compiled {
    /// The policy of every simulation.
    pub fn new() -> Self {
        let mut lines = vec![Line::EMPTY; ALL as usize];
        let paths = (1..).zip(PATHS).map(|(place, path)| (Kind::Path.of(SHAPE), path, place));
        let methods = METHODS.map(|name| (Kind::Method.of(METHOD_SET), name, 1));
        let headers = HEADERS.map(|name| (Kind::Header.of(HEADER_SET), name, 1));
        let origins = LISTED.map(|name| (Kind::Origin.of(ORIGIN_SET), name, 1));
        let scopes: Vec<Fact> = paths.chain(methods).chain(headers).collect();
        let slot = Slot {
            generation: 1,
            any_host: Group::new(SHAPE, 0, 0b10).value(),
            scopes: table(&mut lines, SCOPES, &scopes),
            origins: table(&mut lines, ORIGINS, &origins),
            ..Slot::zeroed()
        };
        let flags = [flag::ANY_ORIGIN | flag::ECHO, flag::ECHO, flag::ANY_ORIGIN];
        for (number, flags) in (0..).zip(flags) {
            let policy = Policy {
                flags,
                origins: if flags & flag::ANY_ORIGIN == 0 { ORIGIN_SET } else { 0 },
                methods: METHOD_SET,
                headers: HEADER_SET,
                depths: 0,
                number,
                template: u32::from(flags & flag::ECHO == 0),
                pad: [0; 9],
            };
            lines[number as usize] = policy.line();
        }
        Self { lines, templates: vec![template(""), template("*")], slot }
    }

    /// A template.
    pub fn entry(&self, index: u32) -> &Template {
        &self.templates[index as usize]
    }
}

impl Default for Compiled {
    fn default() -> Self {
        Self::new()
    }
}

/// Read within the limits of the kernel programs.
impl Image for &Compiled {
    const TEXT_MAX: usize = DRIVER_TEXT_MAX;
    const PATH_MAX: usize = DRIVER_PATH_MAX;

    fn line(&self, index: u32) -> Option<&Line> {
        self.lines.get(index as usize)
    }

    fn template(&self, index: u32) -> Option<&Template> {
        self.templates.get(index as usize)
    }
}

/// Puts facts into their lines, by the first seed with which each has one of its own.
fn table(lines: &mut [Line], base: u32, facts: &[Fact<'_>]) -> Table {
    let mut table = Table { base, lines: LINES, buckets: 1, seed: 0 };
    let stride = facts.first().map_or(1, |fact| stride(fact.0));
    let here = base as usize..(base + LINES * stride) as usize;
    while !facts.iter().all(|fact| insert(&mut lines[here.clone()], table.seed, *fact)) {
        lines[here.clone()].fill(Line::EMPTY);
        table.seed += 1;
    }
    table
}

/// Puts a fact into its line; false where another one is there.
fn insert(lines: &mut [Line], seed: u32, (kind_and_set, text, value): Fact<'_>) -> bool {
    let tag = tag(kind_and_set, text.len());
    let mut key = [0; 7];
    for (word, bytes) in key.iter_mut().zip(text.as_bytes().chunks(8)) {
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_le_bytes(padded);
    }
    let hash = hash(seed, tag, text.len(), &key);
    debug_assert_eq!(bucket(hash, 1), 0);
    let line = &mut lines[(place(hash, 0, LINES) * stride(tag)) as usize];
    if *line != Line::EMPTY {
        return false;
    }
    line.0[0] = tag;
    line.0[1..].copy_from_slice(&key);
    if !is_whole(tag, text.len()) {
        line.0[6] = value;
    }
    true
}

fn template(end: &str) -> Template {
    let mut text = first_piece();
    let date_at = text.find('\0').unwrap_or_default() as u32;
    text += end;
    let mut bytes = [0; TEMPLATE_MAX];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Template {
        sum: u32::from(Sum::of(text.as_bytes()).fold()),
        len: text.len() as u32,
        date_at,
        pad: [0; 7],
        text: bytes,
    }
}

/// An answer up to the origin, with zeros for the date.
fn first_piece() -> String {
    format!(
        "HTTP/1.1 204 No Content\r\nDate: {}\r\nAccess-Control-Allow-Methods: {}\r\n\
         Access-Control-Allow-Headers: {}\r\nAccess-Control-Max-Age: 600\r\n\
         Access-Control-Allow-Origin: ",
        "\0".repeat(DATE_LEN),
        METHODS.join(", "),
        HEADERS.join(", "),
    )
}

/// What the driver answers to an allowed preflight.
pub fn answer_text(path: &str, origin: &str, close: bool) -> String {
    let date = String::from_utf8_lossy(DATE);
    let mut text = first_piece().replace(&"\0".repeat(DATE_LEN), &date);
    text += if path == PATHS[2] { "*" } else { origin };
    text += if close { "\r\nConnection: close\r\n\r\n" } else { "\r\n\r\n" };
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use cors_common::{exit::Exit, head::Head, policy, state::Date, wire::reply::Reply};

    use super::*;

    fn ask(path: &str, origin: &str, rest: &str) -> Result<String, Exit> {
        let image = Compiled::new();
        let text = format!(
            "OPTIONS {path}?id=7 HTTP/1.1\r\nHost: a.example\r\nOrigin: {origin}\r\n{rest}\r\n"
        );
        let mut head = Head::new();
        head.buffer()[..text.len()].copy_from_slice(text.as_bytes());
        head.seal(text.len());
        head.read(text.len())?;
        let answer = policy::decide(&image, &image.slot, &mut head)?;
        let mut reply = Reply::EMPTY;
        answer.write(image.entry(answer.template), &Date::new(DATE), &head, &mut reply);
        Ok(String::from_utf8(reply.payload(answer.len).to_vec()).unwrap())
    }

    const PUT: &str = "Access-Control-Request-Method: PUT\r\n";

    #[test]
    fn the_engine_answers_what_is_expected() {
        for path in PATHS {
            for close in [false, true] {
                let rest = if close { format!("{PUT}Connection: close\r\n") } else { PUT.into() };
                let origin = LISTED[1];
                assert_eq!(ask(path, origin, &rest), Ok(answer_text(path, origin, close)));
            }
        }
    }

    #[test]
    fn and_refuses_what_is_not_allowed() {
        let delete = "Access-Control-Request-Method: DELETE\r\n";
        let odd = format!("{PUT}Access-Control-Request-Headers: x-odd\r\n");
        assert_eq!(ask("/list", "https://other.example", PUT), Err(Exit::OriginDenied));
        assert_eq!(ask("/echo", "https://other.example", delete), Err(Exit::MethodDenied));
        assert_eq!(ask("/star", "https://other.example", &odd), Err(Exit::HeaderDenied));
        assert_eq!(ask("/other", "https://other.example", PUT), Err(Exit::Unmatched));
    }
}
