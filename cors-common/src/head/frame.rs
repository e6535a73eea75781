//! How a request of any method is framed: where its head ends, and how long its body is.
//!
//! The same grammar as for preflights, with another method and with bytes behind the head. What is
//! not framed exactly by it is no error of the request; it only says that nobody can tell here
//! where the next request starts: a head that goes on in another segment, a `Transfer-Encoding`, an
//! `Upgrade`, an `Expect`, a version other than 1.1.

use super::{Head, name};
use crate::{
    exit::Exit,
    swar::{self, words},
};

/// The longest body that is counted, in bytes: sequence numbers are compared within half their
/// space (RFC 9293 §3.4).
pub const BODY_MAX: u32 = 1 << 30;

/// Numbers of so many digits are below [`BODY_MAX`].
const DIGITS: usize = 9;
/// Numbers of so many digits are below 2^64.
pub(super) const DIGITS_MAX: usize = 18;

/// [`Head::method_kind`]: the response has the body that its head says.
pub const METHOD_OTHER: u32 = 0;
/// [`Head::method_kind`]: `HEAD`; the response has no body (RFC 9110 §9.3.2).
pub const METHOD_HEAD: u32 = 1;
/// [`Head::method_kind`]: `OPTIONS`; it may be a preflight.
pub const METHOD_OPTIONS: u32 = 2;

const HEAD_: u64 = words::<1>("HEAD ")[0];
const OPTIONS_: u64 = words::<1>("OPTIONS ")[0];

impl Head {
    /// Reads the first `len` bytes of the buffer, which start with a request.
    ///
    /// On success [`Head::end`], [`Head::body`] and [`Head::method_kind`] are known.
    #[inline(always)]
    pub fn frame(&mut self, len: usize) -> Result<(), Exit> {
        self.read_as(len, false)
    }

    /// How long the method is: three to seven capitals and a space are all that are in use, with
    /// few exceptions.
    #[inline(always)]
    pub(super) fn method(&mut self) -> Result<usize, Exit> {
        let first = self.word(0);
        let len = swar::first(swar::within(first, b'A', b'Z') ^ swar::HIGHS | 1 << 63);
        if first & swar::HIGHS != 0 || len < 3 || self.byte(len) != b' ' {
            return Err(Exit::Method);
        }
        self.method_kind = if first == OPTIONS_ {
            METHOD_OPTIONS
        } else if swar::keep(first, 5) == HEAD_ {
            METHOD_HEAD
        } else {
            METHOD_OTHER
        };
        Ok(len)
    }

    /// What the headers that frame a request must and must not be.
    #[inline(always)]
    pub(super) fn judge_frame(&mut self) -> Result<(), Exit> {
        if self.has(name::TRANSFER_ENCODING) {
            return Err(Exit::TransferEncoding);
        }
        if self.has(name::UPGRADE) {
            return Err(Exit::Upgrade);
        }
        if self.has(name::EXPECT) {
            return Err(Exit::Expect);
        }
        if self.has_twice(name::CONTENT_LENGTH) || self.has_twice(name::HOST) {
            return Err(Exit::Duplicate);
        }
        if !self.has(name::HOST) {
            return Err(Exit::Host);
        }
        // The connection ends with this request, or is used in a way that only its two ends know.
        if self.has_twice(name::CONNECTION) || self.has(name::CONNECTION) && !self.is_kept_alive() {
            return Err(Exit::Connection);
        }
        self.body = if self.has(name::CONTENT_LENGTH) {
            self.content_length(DIGITS).ok_or(Exit::ContentLength)? as u32
        } else {
            0
        };
        Ok(())
    }

    /// The value of `Content-Length`, where it is a plain number of at most so many digits.
    #[inline(always)]
    pub(super) fn content_length(&self, digits: usize) -> Option<u64> {
        let value = self.value(name::CONTENT_LENGTH);
        let (at, len) = (value.at as usize, value.len as usize);
        if len == 0 || len > digits {
            return None;
        }
        let mut number = 0u64;
        for i in 0..digits {
            if i >= len {
                break;
            }
            let digit = self.byte(at + i).wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            number = number * 10 + u64::from(digit);
        }
        Some(number)
    }
}

const _: () = assert!(BODY_MAX > 999_999_999);

#[cfg(test)]
mod tests {
    use std::{format, string::String};

    use super::*;

    fn frame(text: &str) -> Result<(u32, u32, u32), Exit> {
        let mut head = Head::new();
        // What an earlier request left there.
        head.buffer().fill(0xaa);
        head.buffer()[..text.len()].copy_from_slice(text.as_bytes());
        head.frame(text.len()).map(|()| (head.end, head.body, head.method_kind))
    }

    fn with(line: &str, headers: &str) -> Result<(u32, u32, u32), Exit> {
        frame(&format!("{line}\r\nHost: a\r\n{headers}\r\n"))
    }

    #[test]
    fn a_head_ends_where_its_empty_line_does() {
        let head = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(frame(head), Ok((head.len() as u32, 0, METHOD_OTHER)));
        let body = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n";
        for behind in ["", "abc", "abcdefg", "\r\n\r\n", "\u{fffd}", "OPTIONS / HTTP/1.1\r\n\r\n"] {
            let framed = frame(&format!("{body}{behind}"));
            assert_eq!(framed, Ok((body.len() as u32, 7, METHOD_OTHER)), "{behind:?}");
        }
        for len in 0..head.len() {
            assert!(frame(&head[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn methods() {
        for (method, kind) in [
            ("GET", Ok(METHOD_OTHER)),
            ("PUT", Ok(METHOD_OTHER)),
            ("HEAD", Ok(METHOD_HEAD)),
            ("HEADS", Ok(METHOD_OTHER)),
            ("PATCH", Ok(METHOD_OTHER)),
            ("DELETE", Ok(METHOD_OTHER)),
            ("OPTIONS", Ok(METHOD_OPTIONS)),
            ("PROPFIND", Err(Exit::Method)),
            ("GE", Err(Exit::Method)),
            ("", Err(Exit::Method)),
            ("get", Err(Exit::Method)),
            ("G\u{e9}T", Err(Exit::Method)),
            ("GET\r", Err(Exit::Method)),
        ] {
            let framed = with(&format!("{method} / HTTP/1.1"), "").map(|framed| framed.2);
            assert_eq!(framed, kind, "{method}");
        }
        assert_eq!(with("CONNECT a:1 HTTP/1.1", ""), Err(Exit::Target));
        assert_eq!(with("OPTIONS * HTTP/1.1", ""), Err(Exit::Target));
        assert_eq!(with("GET / HTTP/1.0", ""), Err(Exit::HttpVersion));
    }

    #[test]
    fn bodies() {
        for (headers, expected) in [
            ("", Ok(0)),
            ("Content-Length: 0\r\n", Ok(0)),
            ("content-length:12\r\n", Ok(12)),
            ("Content-Length: 999999999\r\n", Ok(999_999_999)),
            ("Content-Length: 007\r\n", Ok(7)),
            ("Content-Length: 1000000000\r\n", Err(Exit::ContentLength)),
            ("Content-Length: \r\n", Err(Exit::ContentLength)),
            ("Content-Length: 1 \r\n", Err(Exit::ContentLength)),
            ("Content-Length:  1\r\n", Err(Exit::ContentLength)),
            ("Content-Length: +1\r\n", Err(Exit::ContentLength)),
            ("Content-Length: 1,1\r\n", Err(Exit::ContentLength)),
            ("Content-Length: 0x1\r\n", Err(Exit::ContentLength)),
            ("Content-Length: 1\r\nContent-Length: 1\r\n", Err(Exit::Duplicate)),
            ("Content_Length: 1\r\n", Err(Exit::HeaderName)),
            ("Content-Length : 1\r\n", Err(Exit::HeaderName)),
            ("X: a\r\n Content-Length: 1\r\n", Err(Exit::HeaderName)),
            ("Host: b\r\n", Err(Exit::Duplicate)),
            ("Transfer-Encoding: chunked\r\n", Err(Exit::TransferEncoding)),
            ("Upgrade: websocket\r\n", Err(Exit::Upgrade)),
            ("Expect: 100-continue\r\n", Err(Exit::Expect)),
            ("Connection: close\r\n", Err(Exit::Connection)),
            ("Connection: keep-alive\r\n", Ok(0)),
            ("Connection: Keep-Alive\r\n", Ok(0)),
            ("Connection: keep-alive, x\r\n", Err(Exit::Connection)),
            ("X: a\nContent-Length: 1\r\n", Err(Exit::HeaderByte)),
        ] {
            let framed = with("PUT /x HTTP/1.1", headers).map(|framed| framed.1);
            assert_eq!(framed, expected, "{headers:?}");
        }
        assert_eq!(frame("GET / HTTP/1.1\r\nX: y\r\n\r\n"), Err(Exit::Host));
    }

    #[test]
    fn long_heads() {
        let cookie = |len: usize| {
            let value: String = "c".repeat(len);
            with("GET / HTTP/1.1", &format!("Cookie: {value}\r\n")).map(|framed| framed.0)
        };
        let rest = cookie(0).expect("a short head");
        assert_eq!(cookie(crate::head::HEAD_MAX - rest as usize), Ok(2048));
        assert_eq!(cookie(crate::head::HEAD_MAX - rest as usize + 1), Err(Exit::HeadTooLong));
    }
}
