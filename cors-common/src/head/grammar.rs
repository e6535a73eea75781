//! The grammar of a request head: exact, and without exceptions.
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

use super::{HEAD_MASK, HEAD_MAX, Head, LINES_MAX, PREFLIGHT_MAX, Span, name};
use crate::{
    exit::Exit,
    swar::{self, words},
};

/// Enough turns for [`HEAD_MAX`] bytes in [`LINES_MAX`] lines, each with an unfinished word.
const TURNS: u32 = (HEAD_MAX / 8) as u32 + LINES_MAX + 2;

const OPTIONS: u64 = words::<1>("OPTIONS ")[0];
const OPTIONS_LEN: usize = 8;
const VERSION: u64 = words::<1>(" HTTP/1.")[0];
const VERSION_END: u64 = words::<1>("1\r\n")[0];
const CRLF: u64 = words::<1>("\r\n")[0];

const KEEP_ALIVE: [u64; 2] = words("keep-alive");
const CLOSE: [u64; 1] = words("close");
const TRAILERS: [u64; 1] = words("trailers");
const ZERO: [u64; 1] = words("0");

impl Head {
    /// Reads the first `len` bytes of the buffer as one head.
    ///
    /// On success the pieces that a policy asks for are known. Every error passes the request on.
    #[inline(always)]
    pub fn read(&mut self, len: usize) -> Result<(), Exit> {
        if len > PREFLIGHT_MAX {
            return Err(Exit::HeadTooLong);
        }
        self.read_as(len, true)
    }

    /// [`Head::read`] or [`Head::frame`]: as one function, which the verifier then walks once. Of a
    /// preflight it is the caller's to see that it has at most [`PREFLIGHT_MAX`] bytes.
    #[inline(always)]
    pub fn read_as(&mut self, len: usize, preflight: bool) -> Result<(), Exit> {
        if len > HEAD_MAX {
            return Err(Exit::HeadTooLong);
        }
        self.seal(len);
        self.forget_names();
        let target = if !preflight {
            self.method()? + 1
        } else if self.word(0) == OPTIONS {
            OPTIONS_LEN
        } else {
            return Err(Exit::NotOptions);
        };
        self.request_line(len, target)?;
        self.header_lines(len)?;
        if !preflight {
            return self.judge_frame();
        }
        if self.end as usize != len {
            return Err(Exit::HeadTrailing);
        }
        self.judge()
    }

    /// The target, which starts at `from`, and the version; leaves [`Head::line`] at the first
    /// header line.
    #[inline(always)]
    pub(super) fn request_line(&mut self, len: usize, from: usize) -> Result<(), Exit> {
        if self.byte(from) != b'/' {
            return Err(if len <= from { Exit::HeadIncomplete } else { Exit::Target });
        }
        let mut at = self.zero.blur(from) & HEAD_MASK;
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
            self.target = Span { at: from as u32, len: (space - from) as u32 };
            self.line = (space + 11) as u32;
            return match self.byte(space) {
                b' ' if self.word(space) == VERSION
                    && swar::keep(self.word(space + 8), 3) == VERSION_END =>
                {
                    Ok(())
                }
                b' ' if space + 11 <= len => Err(Exit::HttpVersion),
                b' ' => Err(Exit::HeadIncomplete),
                0 if space == len => Err(Exit::HeadIncomplete),
                _ => Err(Exit::Target),
            };
        }
        Err(Exit::HeadTooLong)
    }

    /// Every header line, and the empty one, behind which [`Head::end`] is.
    #[inline(always)]
    pub(super) fn header_lines(&mut self, len: usize) -> Result<(), Exit> {
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

    /// Finds where every line ends, up to the empty one.
    #[inline(always)]
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
                let cut = end == len || end + 1 == len && self.byte(end) == b'\r';
                return Err(if cut { Exit::HeadIncomplete } else { Exit::HeaderByte });
            }
            if end == start {
                // The zeros behind the text are no CRLF, so that both bytes are part of it.
                self.end = (end + 2) as u32;
                return Ok(());
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
    #[inline(always)]
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
            self.doubled |= self.seen & name::bit(row);
            self.seen |= name::bit(row);
        }
        Ok(())
    }

    /// No header has come yet.
    #[inline(always)]
    pub(super) fn forget_names(&mut self) {
        self.seen = self.zero.blur(0) as u64;
        self.doubled = self.zero.blur(0) as u64;
    }

    /// Whether a header that matters has come. Blurred, or the verifier would remember each bit
    /// that was looked at.
    #[inline(always)]
    pub(super) fn has(&self, row: usize) -> bool {
        self.zero.blur(self.seen as usize) >> row & 1 != 0
    }

    /// Whether it has come twice.
    #[inline(always)]
    pub(super) fn has_twice(&self, row: usize) -> bool {
        self.zero.blur(self.doubled as usize) >> row & 1 != 0
    }

    /// The value that came last with it.
    #[inline(always)]
    pub(super) const fn value(&self, row: usize) -> Span {
        self.values[row]
    }

    /// Whether the value is this text, without regard to case.
    #[inline(always)]
    pub(super) fn is_fixed(&self, row: usize, len: usize, text: &[u64]) -> bool {
        let value = self.values[row];
        value.len as usize == len && self.is_ignoring_case(value.at as usize, len, text)
    }

    /// Whether `Connection` says nothing but `keep-alive`.
    #[inline(always)]
    pub(super) fn is_kept_alive(&self) -> bool {
        self.is_fixed(name::CONNECTION, 10, &KEEP_ALIVE)
    }

    /// What the headers of a preflight must and must not be, when its lines were read.
    #[inline(always)]
    pub fn judge(&mut self) -> Result<(), Exit> {
        let once = |row: usize| {
            if self.has_twice(row) { Err(Exit::Duplicate) } else { Ok(self.has(row)) }
        };
        if self.has(name::TRANSFER_ENCODING) {
            return Err(Exit::TransferEncoding);
        }
        if self.has(name::UPGRADE) {
            return Err(Exit::Upgrade);
        }
        if self.has(name::EXPECT) {
            return Err(Exit::Expect);
        }
        if once(name::CONTENT_LENGTH)? && !self.is_fixed(name::CONTENT_LENGTH, 1, &ZERO) {
            return Err(Exit::ContentLength);
        }
        if once(name::TE)? && !self.is_fixed(name::TE, 8, &TRAILERS) {
            return Err(Exit::Te);
        }
        let mut close = 0;
        if once(name::CONNECTION)? && !self.is_kept_alive() {
            if !self.is_fixed(name::CONNECTION, 5, &CLOSE) {
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
        self.headers = if headers {
            self.interpreted(name::HEADERS)?
        } else {
            Span { at: self.origin.at, len: 0 }
        };
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
    #[inline(always)]
    fn name_len(&self, start: usize) -> usize {
        for i in 0..8 {
            let stop = swar::not_name(self.word(start + i * 8));
            if stop != 0 {
                return (i * 8 + swar::first(stop)) & 63;
            }
        }
        0
    }

    /// Whether the `len` bytes at `at` are the text, without regard to case. The text is in lower
    /// case and has only letters and `-`.
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
}
