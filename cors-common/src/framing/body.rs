//! Follows a body to its end.
//!
//! ```text
//! chunk    = 1*16HEXDIG [ ";" extension ] CRLF data CRLF
//! last     = 1*"0" [ ";" extension ] CRLF *( name ":" value CRLF ) CRLF
//! ```
//!
//! A size has digits alone: no sign, no space, no prefix. An extension is passed over (RFC 9112
//! §7.1.1 says to ignore what is not known) within a limit, and whoever forwards the body makes
//! chunks of its own.

use super::{Broken, head::is_token};

/// Bytes that extensions and trailers of a whole body may have.
const EXTRA_MAX: u32 = 8192;

/// What is still to come of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
}

/// Where a chunked body is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunked {
    place: Place,
    /// Bytes of extensions and trailers so far.
    extra: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Size { value: u64, digits: u8 },
    Extension { size: u64 },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    LastLf,
    Done,
}

/// What was read of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes that belong to it.
    pub used: usize,
    /// It ends behind them.
    pub done: bool,
}

impl Body {
    /// No body.
    pub const NONE: Self = Self::Length(0);

    /// The begin of a chunked one.
    pub const CHUNKED: Self =
        Self::Chunked(Chunked { place: Place::Size { value: 0, digits: 0 }, extra: 0 });

    /// Whether nothing is to come.
    pub const fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => matches!(chunked.place, Place::Done),
        }
    }

    /// Goes on over the next bytes of the connection.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Broken> {
        let used = match self {
            Self::Length(left) => {
                let used = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= used as u64;
                used
            }
            Self::Chunked(chunked) => chunked.step(bytes)?,
        };
        Ok(Step { used, done: self.is_done() })
    }
}

impl Chunked {
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let mut at = 0;
        while at < bytes.len() && !matches!(self.place, Place::Done) {
            if let Place::Data { left } = &mut self.place {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                *left -= here as u64;
                at += here;
                if *left == 0 {
                    self.place = Place::DataCr;
                }
            } else {
                self.place = self.byte(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// Where the next byte leads to.
    fn byte(&mut self, byte: u8) -> Result<Place, Broken> {
        Ok(match (self.place, byte) {
            (Place::Size { value, digits }, _) if byte.is_ascii_hexdigit() && digits < 16 => {
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                Place::Size { value: value << 4 | digit, digits: digits + 1 }
            }
            (Place::Size { value: size, digits: 1.. } | Place::Extension { size }, b'\r') => {
                Place::SizeEnd { size }
            }
            (Place::Size { value: size, digits: 1.. }, b';') => {
                self.extra()?;
                Place::Extension { size }
            }
            (Place::Extension { .. }, b'\t' | 0x20..=0x7e) => {
                self.extra()?;
                self.place
            }
            (Place::SizeEnd { size: 0 } | Place::TrailerEnd, b'\n') => Place::Trailer,
            (Place::SizeEnd { size }, b'\n') => Place::Data { left: size },
            (Place::DataCr, b'\r') => Place::DataLf,
            (Place::DataLf, b'\n') => Place::Size { value: 0, digits: 0 },
            (Place::Trailer, b'\r') => Place::LastLf,
            (Place::TrailerName, b':') => Place::TrailerValue,
            (Place::Trailer | Place::TrailerName, _) if is_token(byte) => {
                self.extra()?;
                Place::TrailerName
            }
            (Place::TrailerValue, b'\r') => Place::TrailerEnd,
            (Place::TrailerValue, b'\t' | 0x20..=0x7e | 0x80..) => {
                self.extra()?;
                Place::TrailerValue
            }
            (Place::LastLf, b'\n') => Place::Done,
            _ => return Err(Broken::Chunk),
        })
    }

    fn extra(&mut self) -> Result<(), Broken> {
        self.extra += 1;
        if self.extra > EXTRA_MAX { Err(Broken::Chunk) } else { Ok(()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn a_length_is_counted_down() {
        let mut body = Body::Length(5);
        assert_eq!(body.step(b"abc"), Ok(Step { used: 3, done: false }));
        assert_eq!(body.step(b"defg"), Ok(Step { used: 2, done: true }));
        assert!(Body::NONE.is_done());
    }

    #[test]
    fn chunks_are_followed_at_every_cut() {
        for text in [
            "0\r\n\r\n",
            "000\r\n\r\n",
            "5\r\nabcde\r\n0\r\n\r\n",
            "A;x=y\r\n0123456789\r\n1\r\n\r\r\n0;last\r\nX-Sum: 1\r\nY:\r\n\r\n",
        ] {
            let all = format!("{text}GET");
            for cut in 0..text.len() {
                let mut body = Body::CHUNKED;
                let first = Step { used: cut, done: false };
                assert_eq!(body.step(&all.as_bytes()[..cut]), Ok(first), "{text:?} at {cut}");
                let rest = Step { used: text.len() - cut, done: true };
                assert_eq!(body.step(&all.as_bytes()[cut..]), Ok(rest), "{text:?} at {cut}");
            }
        }
    }

    fn read(text: &str) -> Result<Step, Broken> {
        let mut body = Body::CHUNKED;
        body.step(text.as_bytes())
    }

    #[test]
    fn what_is_no_chunk() {
        for text in [
            "\r\n",
            "+5\r\nabcde",
            "-5\r\n",
            " 5\r\n",
            "5 \r\nabcde",
            "0x5\r\n",
            "5\nabcde",
            "5\r\nabcdef",
            "5\r\nabcde\n",
            "5;a\nabcde",
            "5;a\0\r\n",
            "10000000000000000\r\n",
            "5,5\r\n",
            "0\r\n\n",
            "0\r\nX\r\n\r\n",
            "0\r\nX : y\r\n",
            "0\r\n X: y\r\n",
            "0\r\nX: y\n\r\n",
            "0\r\n: y\r\n",
            "g\r\n",
        ] {
            assert_eq!(read(text), Err(Broken::Chunk), "{text:?}");
        }
        let long = format!("1;{}\r\n", "x".repeat(9000));
        assert_eq!(read(&long), Err(Broken::Chunk));
        let long = format!("0\r\nX: {}\r\n", "x".repeat(9000));
        assert_eq!(read(&long), Err(Broken::Chunk));
    }
}
