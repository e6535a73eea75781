//! How a response is framed: RFC 9112 §6.3, as far as its end can be told from its head.
//!
//! Read on its way out of the host, by the grammar of request heads with a status line
//! (RFC 9112 §4) in front. What is not framed exactly by it ends with the connection, or is not
//! plain enough to say where it ends.

use super::{HEAD_MASK, HEAD_MAX, Head, frame::DIGITS_MAX, name};
use crate::{
    exit::Exit,
    swar::{self, words},
};

/// [`Head::content`]: the body comes in chunks.
pub const CHUNKED: u64 = u64::MAX;

/// The longest reason phrase that is passed over, in bytes.
const REASON_MAX: usize = 256;

const VERSION: u64 = words::<1>("HTTP/1.1")[0];
const CHUNKED_TEXT: [u64; 1] = words("chunked");

impl Head {
    /// Reads the first `len` bytes of the buffer, which start with a response.
    ///
    /// On success [`Head::end`] and [`Head::status`] are known, and in [`Head::content`] is how
    /// long the body is that the head announces, whether or not there will be one.
    #[inline(always)]
    pub fn response(&mut self, len: usize) -> Result<(), Exit> {
        if len > HEAD_MAX {
            return Err(Exit::HeadTooLong);
        }
        self.seal(len);
        self.forget_names();
        self.status_line()?;
        self.header_lines(len)?;
        self.judge_response()
    }

    #[inline(always)]
    fn status_line(&mut self) -> Result<(), Exit> {
        // SP, three digits, SP or CR.
        const STATUS: usize = 9;
        let digits = swar::within(self.word(STATUS), b'0', b'9') & 0x0080_8080;
        if self.word(0) != VERSION || self.byte(STATUS - 1) != b' ' || digits != 0x0080_8080 {
            return Err(Exit::HttpVersion);
        }
        let digit = |i: usize| u32::from(self.byte(STATUS + i) & 0xf);
        self.status = digit(0) * 100 + digit(1) * 10 + digit(2);
        if self.byte(STATUS + 3) != b' ' && self.byte(STATUS + 3) != b'\r' {
            return Err(Exit::HttpVersion);
        }
        let mut at = self.zero.blur(STATUS + 3) & HEAD_MASK;
        for _ in 0..REASON_MAX / 8 {
            let control = swar::not_printable(self.word(at));
            if control == 0 {
                at = (at + 8) & HEAD_MASK;
                continue;
            }
            let end = (at + swar::first(control)) & HEAD_MASK;
            if self.byte(end) != b'\r' || self.byte(end + 1) != b'\n' {
                return Err(Exit::HeadIncomplete);
            }
            self.line = (end + 2) as u32;
            return Ok(());
        }
        Err(Exit::HeadTooLong)
    }

    #[inline(always)]
    fn judge_response(&mut self) -> Result<(), Exit> {
        // Both ends know that it ends here; nothing is answered behind it.
        if self.has_twice(name::CONNECTION) || self.has(name::CONNECTION) && !self.is_kept_alive() {
            return Err(Exit::Connection);
        }
        if self.has_twice(name::CONTENT_LENGTH) || self.has_twice(name::TRANSFER_ENCODING) {
            return Err(Exit::Duplicate);
        }
        self.content = match (self.has(name::CONTENT_LENGTH), self.has(name::TRANSFER_ENCODING)) {
            (true, false) => self.content_length(DIGITS_MAX).ok_or(Exit::ContentLength)?,
            (false, true) if self.is_fixed(name::TRANSFER_ENCODING, 7, &CHUNKED_TEXT) => CHUNKED,
            (false, false) if self.has_no_body() => 0,
            _ => return Err(Exit::TransferEncoding),
        };
        Ok(())
    }

    /// Whether a response of this status never has a body (RFC 9110 §15.2, §15.3.5, §15.4.5).
    #[inline(always)]
    pub const fn has_no_body(&self) -> bool {
        self.status < 200 || self.status == 204 || self.status == 304
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    fn response(text: &str) -> Result<(u32, u32, u64), Exit> {
        let mut head = Head::new();
        head.buffer().fill(0xaa);
        head.buffer()[..text.len()].copy_from_slice(text.as_bytes());
        head.response(text.len()).map(|()| (head.end, head.status, head.content))
    }

    fn with(line: &str, headers: &str) -> Result<(u32, u64), Exit> {
        response(&format!("{line}\r\n{headers}\r\n")).map(|(_, status, content)| (status, content))
    }

    #[test]
    fn what_its_head_says() {
        let head = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\n";
        for behind in ["", "hello", "\r\n\r\n", "HTTP/1.1 200 OK\r\n"] {
            assert_eq!(response(&format!("{head}{behind}")), Ok((head.len() as u32, 200, 5)));
        }
        for len in 0..head.len() {
            assert!(response(&head[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn bodies() {
        for (line, headers, expected) in [
            ("HTTP/1.1 200 OK", "Content-Length: 0\r\n", Ok((200, 0))),
            ("HTTP/1.1 200", "Content-Length: 1\r\n", Ok((200, 1))),
            (
                "HTTP/1.1 404 Not Found",
                "content-length: 123456789012\r\n",
                Ok((404, 123_456_789_012)),
            ),
            ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked\r\n", Ok((200, CHUNKED))),
            ("HTTP/1.1 200 OK", "transfer-encoding: Chunked\r\n", Ok((200, CHUNKED))),
            ("HTTP/1.1 204 No Content", "", Ok((204, 0))),
            ("HTTP/1.1 304 Not Modified", "Content-Length: 9\r\n", Ok((304, 9))),
            ("HTTP/1.1 100 Continue", "", Ok((100, 0))),
            ("HTTP/1.1 200 OK", "", Err(Exit::TransferEncoding)),
            (
                "HTTP/1.1 200 OK",
                "Transfer-Encoding: gzip, chunked\r\n",
                Err(Exit::TransferEncoding),
            ),
            (
                "HTTP/1.1 200 OK",
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                Err(Exit::TransferEncoding),
            ),
            (
                "HTTP/1.1 200 OK",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Err(Exit::Duplicate),
            ),
            ("HTTP/1.1 200 OK", "Content-Length: 5\r\nContent-Length: 5\r\n", Err(Exit::Duplicate)),
            ("HTTP/1.1 200 OK", "Content-Length: 5 \r\n", Err(Exit::ContentLength)),
            (
                "HTTP/1.1 200 OK",
                "Content-Length: 5\r\nConnection: close\r\n",
                Err(Exit::Connection),
            ),
            ("HTTP/1.1 200 OK", "Content-Length: 5\r\nConnection: keep-alive\r\n", Ok((200, 5))),
            ("HTTP/1.0 200 OK", "Content-Length: 5\r\n", Err(Exit::HttpVersion)),
            ("HTTP/1.1 20 OK", "Content-Length: 5\r\n", Err(Exit::HttpVersion)),
            ("HTTP/1.1 2000", "Content-Length: 5\r\n", Err(Exit::HttpVersion)),
            ("HTTP/1.1  200", "Content-Length: 5\r\n", Err(Exit::HttpVersion)),
            ("HTTP/1.1 200 OK", "Content-Length : 5\r\n", Err(Exit::HeaderName)),
        ] {
            assert_eq!(with(line, headers), expected, "{line} {headers:?}");
        }
    }
}
