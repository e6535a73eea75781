//! What a whole head says about where its request ends, and whether it may be said so.

use core::net::Ipv6Addr;

use super::{Body, Broken};

/// How a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// What follows the head.
    pub body: Body,
    /// It asks to speak another protocol behind it (`Upgrade`): what comes then the answer says.
    pub upgrade: bool,
}

impl Framing {
    /// Judges a head that [`super::Scan`] has found the end of.
    pub fn of(head: &[u8]) -> Result<Self, Broken> {
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| match line {
            [line @ .., b'\r'] => line,
            _ => line,
        });
        let first = lines.next().unwrap_or_default();
        let (target, http_11) = request_line(first)?;
        let mut seen = Seen::default();
        for line in lines {
            if !line.is_empty() {
                seen.line(line)?;
            }
        }
        seen.host(target, http_11)?;
        Ok(Self { body: seen.body(http_11)?, upgrade: seen.upgrade && seen.connection_upgrade })
    }
}

/// The target, and whether the version is HTTP/1.1.
fn request_line(line: &[u8]) -> Result<(&[u8], bool), Broken> {
    let space = line.iter().position(|byte| *byte == b' ').ok_or(Broken::Method)?;
    let (method, rest) = (&line[..space], &line[space + 1..]);
    if method.is_empty() || !method.iter().copied().all(is_token) || method == b"CONNECT" {
        return Err(Broken::Method);
    }
    let space = rest.iter().position(|byte| *byte == b' ').ok_or(Broken::HttpVersion)?;
    let (target, version) = (&rest[..space], &rest[space + 1..]);
    let http_11 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(Broken::HttpVersion),
    };
    if target == b"*" && method == b"OPTIONS" || is_path(path_of(target)) {
        Ok((target, http_11))
    } else {
        Err(Broken::Target)
    }
}

/// The path and query of a target in origin or absolute form.
fn path_of(target: &[u8]) -> &[u8] {
    match authority(target) {
        None => target,
        // `http://host` stands for `http://host/`.
        Some((_, b"")) => b"/",
        Some((_, path)) => path,
    }
}

/// Authority and the rest of a target in absolute form.
fn authority(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = [&b"http://"[..], b"https://"].iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })?;
    let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// Whether this is a path and a query with only the bytes that they are sent with.
///
/// In a query browsers leave a few more bytes as they are (URL Standard, "query percent-encode
/// set"); in a path those would be read differently by different servers.
pub fn is_path(target: &[u8]) -> bool {
    let end = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    path.first() == Some(&b'/')
        && path.iter().all(|byte| byte.is_ascii_graphic() && !b"\"#<>\\`{}".contains(byte))
        && query.iter().all(|byte| byte.is_ascii_graphic() && !b"\"#<>".contains(byte))
}

/// Whether this is a host and a port as they stand in `Host`: a name of non-empty labels with one
/// dot at its end or none, an IPv4 address, or an IPv6 address in brackets.
pub fn is_host(value: &[u8]) -> bool {
    let (host, port) = split_port(value);
    let port = match port {
        None => true,
        Some(digits @ [b'1'..=b'9', ..]) if digits.len() <= 5 => {
            let add = |sum: u32, digit: &u8| sum * 10 + u32::from(digit.wrapping_sub(b'0'));
            digits.iter().all(u8::is_ascii_digit) && digits.iter().fold(0, add) <= 65535
        }
        Some(_) => false,
    };
    port && match host {
        [b'[', address @ .., b']'] => {
            str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
        }
        [name @ .., b'.'] | name => {
            name.len() <= NAME_MAX
                && name.split(|byte| *byte == b'.').all(|label| {
                    !label.is_empty()
                        && label.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
                })
        }
    }
}

/// The longest DNS name (RFC 1035 §3.1).
const NAME_MAX: usize = 253;

/// A host and what follows its colon, if there is one.
pub fn split_port(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    let from = value.iter().position(|byte| *byte == b']').unwrap_or(0);
    match value[from..].iter().position(|byte| *byte == b':') {
        Some(colon) => (&value[..from + colon], Some(&value[from + colon + 1..])),
        None => (value, None),
    }
}

/// Whether a byte may stand in a token (RFC 9110 §5.6.2).
#[inline(always)]
pub const fn is_token(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let marks = b"!#$%&'*+-.^_`|~";
        let mut i = 0;
        while i < marks.len() {
            table[marks[i] as usize] = true;
            i += 1;
        }
        table
    };
    TABLE[byte as usize]
}

/// The headers that say how a request is framed.
#[derive(Default)]
struct Seen<'a> {
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    transfer_encoding: Option<&'a [u8]>,
    upgrade: bool,
    connection_upgrade: bool,
}

impl<'a> Seen<'a> {
    fn line(&mut self, line: &'a [u8]) -> Result<(), Broken> {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Broken::HeaderName)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().copied().all(is_token) {
            return Err(Broken::HeaderName);
        }
        let once = |field: &mut Option<&'a [u8]>| match field.replace(value) {
            None => Ok(()),
            Some(_) => Err(Broken::Duplicate),
        };
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => once(&mut self.host)?,
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                let mut options = value.split(|byte| *byte == b',');
                self.connection_upgrade |=
                    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => once(&mut self.content_length)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                once(&mut self.transfer_encoding)?;
            }
            // What some servers take for the name above.
            14 if name.eq_ignore_ascii_case(b"content_length") => return Err(Broken::HeaderName),
            17 if name.eq_ignore_ascii_case(b"transfer_encoding") => {
                return Err(Broken::HeaderName);
            }
            _ => {}
        }
        Ok(())
    }

    fn host(&self, target: &[u8], http_11: bool) -> Result<(), Broken> {
        let authority = authority(target).map(|(authority, _)| authority);
        match (self.host, authority) {
            (Some(host), _) if !is_host(host) => Err(Broken::Host),
            (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
                Err(Broken::Host)
            }
            (None, Some(authority)) if !http_11 && !is_host(authority) => Err(Broken::Host),
            (None, _) if http_11 => Err(Broken::Host),
            _ => Ok(()),
        }
    }

    fn body(&self, http_11: bool) -> Result<Body, Broken> {
        match (self.content_length, self.transfer_encoding) {
            (None, None) => Ok(Body::NONE),
            (Some(_), Some(_)) => Err(Broken::ContentLength),
            (None, Some(coding)) if http_11 && coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(Body::CHUNKED)
            }
            (None, Some(_)) => Err(Broken::TransferEncoding),
            (Some(digits), None) => {
                let is_number = (1..=18).contains(&digits.len());
                if !is_number || !digits.iter().all(u8::is_ascii_digit) {
                    return Err(Broken::ContentLength);
                }
                let add = |sum: u64, digit: &u8| sum * 10 + u64::from(digit - b'0');
                Ok(Body::Length(digits.iter().fold(0, add)))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::{format, string::String};

    use super::*;

    fn framing(line: &str, headers: &str) -> Result<Framing, Broken> {
        Framing::of(format!("{line}\r\n{headers}\r\n").as_bytes())
    }

    const GET: &str = "GET / HTTP/1.1";

    #[test]
    fn bodies() {
        for (headers, body) in [
            ("", Body::NONE),
            ("Content-Length: 0\r\n", Body::NONE),
            ("content-length:7\r\n", Body::Length(7)),
            ("Content-Length: \t007 \r\n", Body::Length(7)),
            ("Transfer-Encoding: chunked\r\n", Body::CHUNKED),
            ("transfer-encoding:Chunked\r\n", Body::CHUNKED),
        ] {
            let expected = Ok(Framing { body, upgrade: false });
            assert_eq!(framing(GET, &format!("Host: a\r\n{headers}")), expected, "{headers}");
        }
    }

    #[test]
    fn upgrades() {
        for (headers, upgrade) in [
            ("Connection: Upgrade\r\nUpgrade: websocket\r\n", true),
            ("Upgrade: h2c\r\nConnection: keep-alive, upgrade\r\n", true),
            ("Upgrade: websocket\r\n", false),
            ("Connection: upgrade\r\n", false),
            ("Connection: upgraded\r\nUpgrade: a\r\n", false),
        ] {
            let framing = framing(GET, &format!("Host: a\r\n{headers}")).unwrap();
            assert_eq!(framing.upgrade, upgrade, "{headers}");
        }
    }

    #[test]
    fn what_two_servers_would_read_differently() {
        for (headers, expected) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Broken::ContentLength),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Broken::ContentLength),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", Broken::Duplicate),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", Broken::Duplicate),
            ("Content-Length: 5, 5\r\n", Broken::ContentLength),
            ("Content-Length: +5\r\n", Broken::ContentLength),
            ("Content-Length: -1\r\n", Broken::ContentLength),
            ("Content-Length: 0x5\r\n", Broken::ContentLength),
            ("Content-Length: 5 5\r\n", Broken::ContentLength),
            ("Content-Length:\r\n", Broken::ContentLength),
            ("Content-Length: 9999999999999999999\r\n", Broken::ContentLength),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Broken::Duplicate),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", Broken::Duplicate),
            ("Transfer-Encoding: gzip, chunked\r\n", Broken::TransferEncoding),
            ("Transfer-Encoding: xchunked\r\n", Broken::TransferEncoding),
            ("Transfer-Encoding: \x0bchunked\r\n", Broken::TransferEncoding),
            ("Transfer-Encoding: identity\r\n", Broken::TransferEncoding),
            ("Transfer-Encoding:\r\n", Broken::TransferEncoding),
            ("Transfer-Encoding : chunked\r\n", Broken::HeaderName),
            ("Transfer_Encoding: chunked\r\n", Broken::HeaderName),
            ("Content_Length: 5\r\n", Broken::HeaderName),
            (" Transfer-Encoding: chunked\r\n", Broken::HeaderName),
            ("X: a\r\n b\r\n", Broken::HeaderName),
            ("X: a\r\n\tb: c\r\n", Broken::HeaderName),
            ("X\r\n", Broken::HeaderName),
            (": x\r\n", Broken::HeaderName),
            ("X\u{e4}: x\r\n", Broken::HeaderName),
            ("Host: a\r\n", Broken::Duplicate),
            ("host: b\r\n", Broken::Duplicate),
        ] {
            let result = framing(GET, &format!("Host: a\r\n{headers}"));
            assert_eq!(result, Err(expected), "{headers:?}");
        }
    }

    #[test]
    fn request_lines() {
        let with = |line: &str| framing(line, "Host: a.example\r\n").map(|_| ());
        for line in [
            "GET / HTTP/1.1",
            "get /a?b={c}|`^ HTTP/1.0",
            "OPTIONS * HTTP/1.1",
            "GET http://a.example HTTP/1.1",
            "GET HTTP://A.example/x?y HTTP/1.1",
            "M-SEARCH /%00 HTTP/1.1",
        ] {
            assert_eq!(with(line), Ok(()), "{line}");
        }
        for (line, expected) in [
            ("", Broken::Method),
            ("GET", Broken::Method),
            (" / HTTP/1.1", Broken::Method),
            ("G\tT / HTTP/1.1", Broken::Method),
            ("CONNECT a.example:443 HTTP/1.1", Broken::Method),
            ("GET /", Broken::HttpVersion),
            ("GET / HTTP/1.1 ", Broken::HttpVersion),
            ("GET / http/1.1", Broken::HttpVersion),
            ("GET / HTTP/2.0", Broken::HttpVersion),
            ("GET / HTTP/1.10", Broken::HttpVersion),
            ("GET  / HTTP/1.1", Broken::HttpVersion),
            ("GET /a b HTTP/1.1", Broken::HttpVersion),
            ("GET * HTTP/1.1", Broken::Target),
            ("GET a.example HTTP/1.1", Broken::Target),
            ("GET ftp://a.example/ HTTP/1.1", Broken::Target),
            ("GET /\u{e4} HTTP/1.1", Broken::Target),
            ("GET /a#b HTTP/1.1", Broken::Target),
            ("GET /a\\b HTTP/1.1", Broken::Target),
            ("GET /?a=\"b\" HTTP/1.1", Broken::Target),
            ("GET http://b.example/ HTTP/1.1", Broken::Host),
            ("GET http://a.example:80/ HTTP/1.1", Broken::Host),
            ("GET http://u@a.example/ HTTP/1.1", Broken::Host),
        ] {
            assert_eq!(with(line), Err(expected), "{line}");
        }
    }

    #[test]
    fn hosts() {
        for host in ["a", "A.b-c_d.", "127.0.0.1:80", "[::1]", "[::1]:8080", "a:65535"] {
            assert!(framing(GET, &format!("Host: {host}\r\n")).is_ok(), "{host}");
        }
        for host in [
            "", "a,b", "a b", "a@b", "a/b", "a:b", "a:65536", "a:", "a:0", "a:08", "[::1", "[]",
            "::1", "[::1]x", "[a]", "a?", ".", "a..b", ".a", "a..", "[::1]:",
        ] {
            let result = framing(GET, &format!("Host: {host}\r\n"));
            assert_eq!(result, Err(Broken::Host), "{host}");
        }
        assert_eq!(framing(GET, ""), Err(Broken::Host));
        assert!(framing("GET / HTTP/1.0", "").is_ok());
        let chunked = framing("GET / HTTP/1.0", "Transfer-Encoding: chunked\r\n");
        assert_eq!(chunked, Err(Broken::TransferEncoding));
    }

    #[test]
    fn tokens() {
        let all: String = (0..=255).filter(|byte| is_token(*byte)).map(char::from).collect();
        assert_eq!(all.len(), 10 + 52 + 15);
        assert!(!all.contains(['(', ')', ',', '/', ':', ';', '@', '[', '{', ' ', '"']));
    }
}
