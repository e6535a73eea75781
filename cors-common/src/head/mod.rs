//! The head of a request: its text, and what was found in it.
//!
//! [`grammar`] reads the text, `notes` is what the look-ups of [`crate::policy`] write down beside
//! it. In the kernel there is one [`Head`] for each CPU.

pub mod frame;
pub mod grammar;
mod name;
mod notes;
pub mod response;

use crate::{
    swar::{self, words},
    zero::{Word, Zero},
};
pub(crate) use notes::{KEY_WORDS, MARKS_MASK};

/// The longest head that is read to see where it ends, in bytes: more than a segment of an
/// Ethernet has.
pub const HEAD_MAX: usize = 2048;
/// The longest head that is answered: a preflight has neither cookies nor credentials.
pub const PREFLIGHT_MAX: usize = 1024;
/// The most header lines that are read.
pub const LINES_MAX: u32 = 40;

/// Offsets are masked, so that the verifier (and the compiler) can see that they are inside. The
/// mask is wider than a head is long: every scan meets the stop behind the head before it wraps.
pub(crate) const HEAD_MASK: usize = 2 * HEAD_MAX - 1;
/// Words may be loaded, and a head may end, at any masked offset.
const BUFFER: usize = HEAD_MASK + 1 + BLOCK;

/// Bytes of a block: heads are compared and copied in whole ones, a cache line each.
pub(crate) const BLOCK: usize = 64;

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
    /// Where the head ends: how many bytes it has.
    pub end: u32,
    /// How many bytes of a body follow it, see [`Head::frame`].
    pub body: u32,
    /// The status of a response, see [`response`].
    pub status: u32,
    /// The `Content-Length` of a response, or why there is none.
    pub content: u64,
    /// What there is to know of the method, see [`frame`].
    pub method_kind: u32,
    /// Which of the names that matter have come, bit by bit.
    seen: u64,
    /// Which of them have come twice.
    doubled: u64,
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
    /// What tells it from other heads of its length, see [`crate::policy::memo`].
    pub mark: u32,
    /// Which policy the request has, by its place in the file.
    pub(crate) policy: u32,
    /// The line of that policy.
    pub(crate) record: u32,
    /// The line of the fact that was found last.
    pub(crate) fact: u32,
    /// Which set its origin is in, see [`crate::policy::image`].
    pub(crate) origin_set: u32,
    /// Whether the answer echoes the origin.
    pub(crate) echo: u32,
}

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
            end: 0,
            body: 0,
            status: 0,
            content: 0,
            method_kind: 0,
            seen: 0,
            doubled: 0,
            values: [NONE; name::MASK + 1],
            line: 0,
            zero: Zero::NEW,
            key: [0; KEY_WORDS],
            marks: [0; MARKS_MASK + 1],
            marked: Word::new(0),
            cursor: Word::new(0),
            depths: Word::new(0),
            name: NONE,
            mark: 0,
            policy: 0,
            record: 0,
            fact: 0,
            origin_set: 0,
            echo: 0,
        }
    }

    /// The buffer to copy the payload into.
    #[inline(always)]
    pub const fn buffer(&mut self) -> &mut [u8; BUFFER] {
        &mut self.bytes
    }

    /// What nothing is known of, for whoever fills the buffer.
    #[inline(always)]
    pub const fn zero(&self) -> Zero {
        self.zero
    }

    /// Puts zeros behind the first `len` bytes, up to the end of their last block and beyond: a
    /// stop for every scan. What an earlier packet left there is never looked at.
    #[inline(always)]
    pub fn seal(&mut self, len: usize) {
        // Blurred, or the compiler would leave out the mask where it knows better than the
        // verifier.
        let len = self.zero.blur(len) & HEAD_MASK;
        self.zero.fill(&mut self.bytes[len..len + BLOCK]);
    }

    /// The block number `i` of a sealed head, as words.
    #[inline(always)]
    pub(crate) fn block(&self, i: usize) -> [u64; BLOCK / 8] {
        let word = |n: usize| swar::load(&self.bytes, i * BLOCK + n * 8);
        [word(0), word(1), word(2), word(3), word(4), word(5), word(6), word(7)]
    }

    /// Eight bytes from `at`, masked.
    #[inline(always)]
    pub(crate) fn word(&self, at: usize) -> u64 {
        swar::load(&self.bytes, at & HEAD_MASK)
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

    /// Which policy the request has, once it was found.
    #[inline(always)]
    pub const fn policy(&self) -> u32 {
        self.policy
    }

    /// A piece as bytes, for whoever is not the kernel.
    pub fn text(&self, span: Span) -> &[u8] {
        &self.bytes[span.at as usize..(span.at + span.len) as usize]
    }

    /// Whether `Access-Control-Request-Headers` has come.
    #[inline(always)]
    pub(crate) const fn has_headers(&self) -> bool {
        self.seen & name::bit(name::HEADERS) != 0
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
