//! The request head as tier 1 reads it: one exact grammar, no exceptions.
//!
//! ```text
//! head    = "OPTIONS" SP target SP "HTTP/1.1" CRLF *( name ":" value CRLF ) CRLF
//! target  = "/" *byte        ; 0x21..=0x7e but  " # < > \ ` { }      (RFC 9112 §3.2.1)
//! name    = 1*( ALPHA / DIGIT / "-" )                                (RFC 9110 §5.1, a part of it)
//! value   = *( 0x20..=0x7e )                                         (RFC 9110 §5.5, a part of it)
//! ```
//!
//! A value that is interpreted has at most one space before it and none behind. The head ends with
//! the payload; a byte more or less is not ours. What this accepts, every HTTP/1.1 server
//! accepts and reads the same way; what it refuses goes to the slow path and may well be fine.
//!
//! The text is scanned eight bytes at a time for the control character that ends a line, and each
//! line is then looked at once. Results are kept in [`Head`] and not in registers: the verifier
//! then meets the same state at every turn of the loop and need not follow each path by itself.

use crate::{
    exit::Exit,
    swar::{self, words},
    zero::{Word, Zero},
};

/// The longest head that is read, in bytes.
pub const HEAD_MAX: usize = 1024;
/// The most header lines that are read.
pub const LINES_MAX: u32 = 40;

/// Offsets are masked, so that the verifier (and the compiler) can see that they are inside. The
/// mask is wider than a head is long: every scan meets the stop behind the head before it wraps.
pub(crate) const HEAD_MASK: usize = 2 * HEAD_MAX - 1;
/// Words may be loaded and written at any masked offset, and a piece may be sent from there.
const BUFFER: usize = HEAD_MASK + 1 + 512;

/// One less than the number of marks, a power of two.
///
/// A head has room for no more segments, labels or names than that, so marks never wrap around.
pub(crate) const MARKS_MASK: usize = 511;

/// Room for the longest text that a policy is asked about, in words, and its padding.
pub(crate) const KEY_WORDS: usize = KEY_MASK + 16;
const KEY_MASK: usize = 63;

/// Enough turns for [`HEAD_MAX`] bytes in [`LINES_MAX`] lines, each with an unfinished word.
const TURNS: u32 = (HEAD_MAX / 8) as u32 + LINES_MAX + 2;

/// A piece of the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Span {
    /// Offset of its first byte.
    pub at: u32,
    /// Length in bytes.
    pub len: u32,
}

/// A head and what was found in it. In the kernel there is one for each CPU.
#[derive(Clone, Debug)]
#[repr(C, align(8))]
pub struct Head {
    bytes: [u8; BUFFER],
    /// The request target: the path and the query.
    pub target: Span,
    /// The value of `Host`.
    pub host: Span,
    /// The value of `Origin`.
    pub origin: Span,
    /// The value of `Access-Control-Request-Method`.
    pub method: Span,
    /// The value of `Access-Control-Request-Headers`, if it is there.
    pub headers: Span,
    /// `Connection: close` is there.
    pub close: u32,
    /// How often each of the names that matter has come.
    counts: [u8; name::MASK + 1],
    /// The value that came last with each.
    values: [Span; name::MASK + 1],
    /// Offset of the line that is being read.
    line: u32,
    pub(crate) zero: Zero,
    /// The text that a policy is asked about, zero padded.
    key: [u64; KEY_WORDS],
    /// Where lines end, path segments end, names start, or labels of an origin's host start, by
    /// what is being read.
    pub(crate) marks: [u32; MARKS_MASK + 1],
    /// How many of the marks are set.
    pub(crate) marked: Word,
    /// Where a scan has got to.
    pub(crate) cursor: Word,
    /// Which path prefixes there are, bit by bit.
    pub(crate) depths: Word,
    /// The host without its port.
    pub(crate) name: Span,
    /// Which policy the request has.
    pub(crate) policy: u32,
    /// Whether the answer echoes the origin.
    pub(crate) echo: u32,
}

/// The names that matter, each in the row of its length.
mod name {
    /// One less than the number of rows; a name has at most as many bytes.
    pub(super) const MASK: usize = 63;

    pub(super) const TE: usize = 2;
    pub(super) const HOST: usize = 4;
    pub(super) const ORIGIN: usize = 6;
    pub(super) const UPGRADE: usize = 7;
    pub(super) const CONNECTION: usize = 10;
    pub(super) const CONTENT_LENGTH: usize = 14;
    pub(super) const TRANSFER_ENCODING: usize = 17;
    pub(super) const METHOD: usize = 29;
    pub(super) const HEADERS: usize = 30;
    /// As long as `origin`, and so in a row of its own.
    pub(super) const EXPECT: usize = MASK;

    /// For each row the name in lower case and what of each word belongs to it. In the rows of
    /// no name nothing does: every name of that length is noted there, and nobody looks.
    pub(super) static ROWS: [[(u64, u64); 4]; MASK + 1] = rows();

    const fn rows() -> [[(u64, u64); 4]; MASK + 1] {
        let mut rows = [[(0, 0); 4]; MASK + 1];
        rows[TE] = row("te");
        rows[HOST] = row("host");
        rows[ORIGIN] = row("origin");
        rows[UPGRADE] = row("upgrade");
        rows[CONNECTION] = row("connection");
        rows[CONTENT_LENGTH] = row("content-length");
        rows[TRANSFER_ENCODING] = row("transfer-encoding");
        rows[METHOD] = row("access-control-request-method");
        rows[HEADERS] = row("access-control-request-headers");
        rows[EXPECT] = row("expect");
        rows
    }

    const fn row(text: &str) -> [(u64, u64); 4] {
        let bytes = text.as_bytes();
        let mut row = [(0, 0); 4];
        let mut i = 0;
        while i < bytes.len() {
            row[i / 8].0 |= (bytes[i] as u64) << (i % 8 * 8);
            row[i / 8].1 |= 0xff << (i % 8 * 8);
            i += 1;
        }
        row
    }
}

const OPTIONS: u64 = words::<1>("OPTIONS ")[0];
const VERSION: u64 = words::<1>(" HTTP/1.")[0];
const VERSION_END: u64 = words::<1>("1\r\n")[0];
const CRLF: u64 = words::<1>("\r\n")[0];

const KEEP_ALIVE: [u64; 2] = words("keep-alive");
const CLOSE: [u64; 1] = words("close");
const TRAILERS: [u64; 1] = words("trailers");
const ZERO: [u64; 1] = words("0");

impl Head {
    /// An empty buffer.
    pub const fn new() -> Self {
        const NONE: Span = Span { at: 0, len: 0 };
        Self {
            bytes: [0; BUFFER],
            target: NONE,
            host: NONE,
            origin: NONE,
            method: NONE,
            headers: NONE,
            close: 0,
            counts: [0; name::MASK + 1],
            values: [NONE; name::MASK + 1],
            line: 0,
            zero: Zero::NEW,
            key: [0; KEY_WORDS],
            marks: [0; MARKS_MASK + 1],
            marked: Word::new(0),
            cursor: Word::new(0),
            depths: Word::new(0),
            name: NONE,
            policy: 0,
            echo: 0,
        }
    }

    /// The buffer to copy the payload into.
    #[inline(always)]
    pub const fn buffer(&mut self) -> &mut [u8; BUFFER] {
        &mut self.bytes
    }

    /// The whole buffer, to send pieces of it.
    #[inline(always)]
    pub const fn bytes(&self) -> &[u8; BUFFER] {
        &self.bytes
    }

    /// Eight bytes from `at`, masked.
    #[inline(always)]
    pub(crate) fn word(&self, at: usize) -> u64 {
        let at = at & HEAD_MASK;
        let b = &self.bytes[at..at + 8];
        u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])
    }

    /// One byte at `at`, masked.
    #[inline(always)]
    pub(crate) fn byte(&self, at: usize) -> u8 {
        self.bytes[at & HEAD_MASK]
    }

    /// The `i`-th word of a piece, zero padded behind its end.
    #[inline(always)]
    pub(crate) fn span_word(&self, span: Span, i: usize) -> u64 {
        let done = i * 8;
        let len = span.len as usize;
        if done >= len { 0 } else { swar::keep(self.word(span.at as usize + done), len - done) }
    }

    /// Whether a piece is exactly the text in `words`, which has `len` bytes.
    #[inline(always)]
    fn is<const N: usize>(&self, at: usize, len: usize, text: &[u64; N]) -> bool {
        let span = Span { at: at as u32, len: len as u32 };
        for (i, word) in text.iter().enumerate() {
            if self.span_word(span, i) != *word {
                return false;
            }
        }
        true
    }

    /// The same without regard to case; the text is in lower case and has only letters and `-`.
    #[inline(always)]
    fn is_ignoring_case(&self, at: usize, len: usize, text: &[u64]) -> bool {
        for (i, word) in text.iter().enumerate() {
            let lower = swar::lower(self.word(at + i * 8));
            if swar::keep(lower, len - i * 8) != *word {
                return false;
            }
        }
        true
    }

    /// Forgets all marks but the first `n`, which the caller sets itself.
    #[inline(always)]
    pub(crate) fn start_marks(&mut self, n: u32) {
        self.marked.set(n);
    }

    /// Sets the next mark.
    #[inline(always)]
    pub(crate) fn mark(&mut self, value: usize) {
        let next = self.marked.get();
        self.marks[next as usize & MARKS_MASK] = value as u32;
        self.marked.set(next + 1);
    }

    /// Copies a piece to where it is aligned and zero padded: to five words at least, and by eight
    /// words more behind its end.
    ///
    /// It has at most `words` words. What is looked up is then compared word by word at known
    /// places, without a mask at each.
    #[inline(always)]
    pub(crate) fn set_key(&mut self, span: Span, words: usize) -> &[u64; KEY_WORDS] {
        let (at, whole) = (span.at as usize, span.len as usize / 8);
        self.key[..5].copy_from_slice(&[0; 5]);
        for i in 0..words {
            if i >= whole {
                break;
            }
            self.key[i] = self.word(at + i * 8);
        }
        let last = self.zero.blur(span.len as usize / 8) & KEY_MASK;
        let rest = self.word(at + last * 8) & ((1 << (span.len % 8 * 8)) - 1);
        self.key[last] = rest;
        if last >= 5 {
            self.key[last + 1..last + 9].copy_from_slice(&[0; 8]);
        }
        &self.key
    }

    /// Writes a few bytes at `at`: the end of a reply, behind a piece of the head.
    #[inline(always)]
    pub(crate) fn put_word(&mut self, at: usize, word: u64) {
        let at = at & HEAD_MASK;
        self.bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }

    /// Reads the first `len` bytes of the buffer as one head.
    ///
    /// On success the pieces that a policy asks for are known. Every error passes the request on.
    #[inline(always)]
    pub fn read(&mut self, len: usize) -> Result<(), Exit> {
        if len > HEAD_MAX {
            return Err(Exit::HeadTooLong);
        }
        // A stop behind the head: what an earlier packet left there is never looked at.
        self.bytes[len..len + 8].copy_from_slice(&[0; 8]);
        self.host = Span::default();
        self.origin = Span::default();
        self.method = Span::default();
        self.headers = Span::default();
        self.close = 0;
        self.counts = [0; name::MASK + 1];
        if self.word(0) != OPTIONS {
            return Err(Exit::NotOptions);
        }
        self.request_line()?;
        self.header_lines(len)?;
        self.judge()
    }

    /// The target and the version; leaves [`Head::line`] at the first header line.
    #[inline(never)]
    fn request_line(&mut self) -> Result<(), Exit> {
        const TARGET: usize = 8;
        if self.byte(TARGET) != b'/' {
            return Err(Exit::Target);
        }
        let mut at = self.zero.blur(TARGET) & HEAD_MASK;
        for _ in 0..HEAD_MAX / 8 {
            let word = self.word(at);
            let end = swar::not_visible(word);
            let odd = swar::equal(word, b'"')
                | swar::equal(word, b'#')
                | swar::equal(word & !swar::splat(2), b'<')
                | swar::equal(word, b'\\')
                | swar::equal(word, b'`')
                | swar::equal(word, b'{')
                | swar::equal(word, b'}');
            // Only what is in front of the first byte that ends the target.
            if odd & end.wrapping_sub(1) & !end != 0 {
                return Err(Exit::Target);
            }
            if end == 0 {
                at = (at + 8) & HEAD_MASK;
                continue;
            }
            let space = (at + swar::first(end)) & HEAD_MASK;
            self.target = Span { at: TARGET as u32, len: (space - TARGET) as u32 };
            self.line = (space + 11) as u32;
            return match self.byte(space) {
                b' ' if self.word(space) == VERSION
                    && swar::keep(self.word(space + 8), 3) == VERSION_END =>
                {
                    Ok(())
                }
                b' ' => Err(Exit::HttpVersion),
                0 => Err(Exit::HeadIncomplete),
                _ => Err(Exit::Target),
            };
        }
        Err(Exit::HeadTooLong)
    }

    /// Every header line, and the empty one at the end.
    #[inline(always)]
    fn header_lines(&mut self, len: usize) -> Result<(), Exit> {
        self.line_ends(len)?;
        if self.marked.get() > LINES_MAX {
            return Err(Exit::HeadTooLong);
        }
        for i in 0..LINES_MAX {
            if i >= self.marked.get() {
                break;
            }
            self.header_line(self.marks[i as usize] as usize & HEAD_MASK)?;
        }
        Ok(())
    }

    /// Finds where every line ends, up to the empty one, which must be the last.
    #[inline(never)]
    fn line_ends(&mut self, len: usize) -> Result<(), Exit> {
        let mut start = self.line as usize & HEAD_MASK;
        let mut at = start;
        self.start_marks(0);
        for _ in 0..TURNS {
            let control = swar::not_printable(self.word(at));
            if control == 0 {
                at = (at + 8) & HEAD_MASK;
                continue;
            }
            let end = (at + swar::first(control)) & HEAD_MASK;
            if swar::keep(self.word(end), 2) != CRLF {
                return Err(if end == len { Exit::HeadIncomplete } else { Exit::HeaderByte });
            }
            if end == start {
                return match len.wrapping_sub(end) {
                    2 => Ok(()),
                    0 | 1 => Err(Exit::HeadIncomplete),
                    _ => Err(Exit::HeadTrailing),
                };
            }
            self.mark(end);
            start = (end + 2) & HEAD_MASK;
            at = start;
        }
        Err(Exit::HeadTooLong)
    }

    /// One header line, from [`Head::line`] to `end`, where its CRLF is: notes where its value is,
    /// if it is one that matters.
    ///
    /// One path for all of them: the name's length says which one it can be, and the name is
    /// compared with that one alone.
    #[inline(never)]
    fn header_line(&mut self, end: usize) -> Result<(), Exit> {
        let start = self.line as usize & HEAD_MASK;
        self.line = (end + 2) as u32;
        let name_len = self.name_len(start);
        let colon = (start + name_len) & HEAD_MASK;
        if name_len == 0 || self.byte(colon) != b':' || colon >= end {
            return Err(Exit::HeaderName);
        }
        let row = if name_len == 6 && self.byte(start) | 0x20 == b'e' {
            name::EXPECT
        } else {
            name_len & name::MASK
        };
        let mut differs = 0;
        for (i, (text, mask)) in name::ROWS[row].iter().enumerate() {
            differs |= swar::lower(self.word(start + i * 8)) & mask ^ text;
        }
        if differs == 0 {
            let value = colon + 1 + usize::from(self.byte(colon + 1) == b' ');
            self.values[row] = Span { at: value as u32, len: end.wrapping_sub(value) as u32 };
            self.counts[row] += 1;
        }
        Ok(())
    }

    /// What the headers that matter must and must not be.
    #[inline(never)]
    fn judge(&mut self) -> Result<(), Exit> {
        let once = |row: usize| match self.counts[row] {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Exit::Duplicate),
        };
        let fixed = |row: usize, len: usize, text: &[u64]| {
            let value = self.values[row];
            value.len as usize == len && self.is_ignoring_case(value.at as usize, len, text)
        };
        if self.counts[name::TRANSFER_ENCODING] != 0 {
            return Err(Exit::TransferEncoding);
        }
        if self.counts[name::UPGRADE] != 0 {
            return Err(Exit::Upgrade);
        }
        if self.counts[name::EXPECT] != 0 {
            return Err(Exit::Expect);
        }
        if once(name::CONTENT_LENGTH)? && !fixed(name::CONTENT_LENGTH, 1, &ZERO) {
            return Err(Exit::ContentLength);
        }
        if once(name::TE)? && !fixed(name::TE, 8, &TRAILERS) {
            return Err(Exit::Te);
        }
        let mut close = 0;
        if once(name::CONNECTION)? && !fixed(name::CONNECTION, 10, &KEEP_ALIVE) {
            if !fixed(name::CONNECTION, 5, &CLOSE) {
                return Err(Exit::Connection);
            }
            close = 1;
        }
        let headers = once(name::HEADERS)?;
        if !once(name::ORIGIN)? {
            return Err(Exit::NoOrigin);
        }
        if !once(name::METHOD)? {
            return Err(Exit::NoRequestMethod);
        }
        if !once(name::HOST)? {
            return Err(Exit::Host);
        }
        self.close = close;
        self.host = self.interpreted(name::HOST)?;
        self.origin = self.interpreted(name::ORIGIN)?;
        self.method = self.interpreted(name::METHOD)?;
        if headers {
            self.headers = self.interpreted(name::HEADERS)?;
        }
        Ok(())
    }

    /// A value that the policy reads: not empty, no space around it.
    #[inline(always)]
    fn interpreted(&self, row: usize) -> Result<Span, Exit> {
        let value = self.values[row];
        let (at, len) = (value.at as usize, value.len as usize);
        // Of a line that ends in or behind the space the length has wrapped around.
        if len == 0 || len > HEAD_MAX || self.byte(at) == b' ' || self.byte(at + len - 1) == b' ' {
            return Err(Exit::HeaderValue);
        }
        Ok(value)
    }

    /// How many bytes of a header name there are from `start`; 0 where there are 64 or more.
    #[inline(never)]
    fn name_len(&self, start: usize) -> usize {
        for i in 0..8 {
            let stop = swar::not_name(self.word(start + i * 8));
            if stop != 0 {
                return (i * 8 + swar::first(stop)) & 63;
            }
        }
        0
    }

    /// A piece as bytes, for whoever is not the kernel.
    pub fn text(&self, span: Span) -> &[u8] {
        &self.bytes[span.at as usize..(span.at + span.len) as usize]
    }

    /// Whether `Access-Control-Request-Headers` has come.
    #[inline(always)]
    pub(crate) const fn has_headers(&self) -> bool {
        self.counts[name::HEADERS] != 0
    }

    /// Whether the method is one that every policy allows (Fetch: a CORS-safelisted method).
    #[inline(always)]
    pub(crate) fn safelisted_method(&self) -> bool {
        const GET: [u64; 1] = words("GET");
        const HEAD: [u64; 1] = words("HEAD");
        const POST: [u64; 1] = words("POST");
        let Span { at, len } = self.method;
        let (at, len) = (at as usize, len as usize);
        (len == 3 && self.is(at, len, &GET))
            || (len == 4 && (self.is(at, len, &HEAD) || self.is(at, len, &POST)))
    }
}

impl Default for Head {
    fn default() -> Self {
        Self::new()
    }
}
