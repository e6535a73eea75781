//! Finds the end of a head, however its bytes arrive.

use super::Broken;

/// How far a head has been looked at. Every byte is looked at once, also of one that comes byte by
/// byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Bytes that were looked at.
    at: usize,
    /// Where the current line starts.
    line: usize,
    /// Lines before it.
    lines: usize,
}

impl Scan {
    /// Goes on over `bytes`, which start where the head does. Returns its length once the whole
    /// head is there.
    ///
    /// The limits are on the whole head in bytes, and on its lines without the first and the last.
    pub fn advance(
        &mut self,
        bytes: &[u8],
        max_bytes: usize,
        max_lines: usize,
    ) -> Result<Option<usize>, Broken> {
        while let Some(byte) = bytes.get(self.at) {
            if self.at >= max_bytes {
                return Err(Broken::HeadTooLong);
            }
            match byte {
                b'\t' | 0x20..=0x7e | 0x80.. => self.at += 1,
                b'\r' => match bytes.get(self.at + 1) {
                    None => return Ok(None),
                    Some(b'\n') if self.at == self.line => return self.end(),
                    Some(b'\n') => {
                        self.lines += 1;
                        if self.lines > max_lines.saturating_add(1) {
                            return Err(Broken::TooManyHeaders);
                        }
                        self.at += 2;
                        self.line = self.at;
                    }
                    Some(_) => return Err(Broken::HeaderByte),
                },
                _ => return Err(Broken::HeaderByte),
            }
        }
        Ok(None)
    }

    fn end(&self) -> Result<Option<usize>, Broken> {
        // An empty line in place of the request line.
        if self.lines == 0 { Err(Broken::Method) } else { Ok(Some(self.at + 2)) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_at_every_cut() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let all = [&head[..], b"body"].concat();
        for cut in 0..head.len() {
            let mut scan = Scan::default();
            assert_eq!(scan.advance(&all[..cut], 100, 10), Ok(None), "{cut}");
            assert_eq!(scan.advance(&all, 100, 10), Ok(Some(head.len())), "{cut}");
        }
        let mut scan = Scan::default();
        for len in 0..head.len() {
            assert_eq!(scan.advance(&all[..len], 100, 10), Ok(None));
        }
    }

    #[test]
    fn what_ends_no_line() {
        for (text, expected) in [
            ("GET / HTTP/1.1\nHost: a\n\n", Broken::HeaderByte),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", Broken::HeaderByte),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", Broken::HeaderByte),
            ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", Broken::HeaderByte),
            ("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", Broken::HeaderByte),
            ("GET / HTTP/1.1\r\nHost: a\x7f\r\n\r\n", Broken::HeaderByte),
            ("\r\nGET / HTTP/1.1\r\n\r\n", Broken::Method),
        ] {
            let result = Scan::default().advance(text.as_bytes(), 100, 10);
            assert_eq!(result, Err(expected), "{text:?}");
        }
    }

    #[test]
    fn limits_are_exact() {
        let head = b"GET / HTTP/1.1\r\nA: b\r\nC: d\r\n\r\n";
        let of = |bytes, lines| Scan::default().advance(head, bytes, lines);
        assert_eq!(of(head.len(), 2), Ok(Some(head.len())));
        assert_eq!(of(head.len(), 1), Err(Broken::TooManyHeaders));
        assert_eq!(of(head.len() - 3, 2), Err(Broken::HeadTooLong));
    }
}
