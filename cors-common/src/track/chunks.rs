//! Where a chunked body ends (RFC 9112 §7.1), byte by byte where its framing is, and in one step
//! where its data is.
//!
//! Only what every server writes: a size in hexadecimal digits, no extension, no trailer. Anything
//! else is [`Fed::Odd`].

use super::response::{CR, DATA, LAST_CR, LAST_LF, LF, SIZE, SIZE_LF};

/// Digits of the largest size: below 2^32.
const SIZE_MAX: u64 = 1 << 32;

/// [`Chunk::left`] while no digit of a size has come.
pub const NO_DIGIT: u64 = u64::MAX;

/// What a byte of the framing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// The body goes on.
    More,
    /// It is over.
    Over,
    /// It is not written as it is expected to be.
    Odd,
}

/// A byte at a stage that is none of data. Changes the stage and what is left of it.
#[inline(always)]
pub fn feed(stage: &mut u32, left: &mut u64, byte: u8) -> Fed {
    match *stage {
        SIZE => {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'A'..=b'F' => byte - b'A' + 10,
                b'\r' if *left != NO_DIGIT => {
                    *stage = SIZE_LF;
                    return Fed::More;
                }
                _ => return Fed::Odd,
            };
            let before = if *left == NO_DIGIT { 0 } else { *left };
            *left = before << 4 | u64::from(digit);
            if *left >= SIZE_MAX {
                return Fed::Odd;
            }
        }
        SIZE_LF if byte == b'\n' => *stage = if *left == 0 { LAST_CR } else { DATA },
        CR if byte == b'\r' => *stage = LF,
        LF if byte == b'\n' => {
            *stage = SIZE;
            *left = NO_DIGIT;
        }
        LAST_CR if byte == b'\r' => *stage = LAST_LF,
        LAST_LF if byte == b'\n' => return Fed::Over,
        _ => return Fed::Odd,
    }
    Fed::More
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes the body has, if it ends.
    fn end(text: &[u8]) -> Result<Option<usize>, ()> {
        let (mut stage, mut left) = (SIZE, NO_DIGIT);
        let mut at = 0;
        while at < text.len() {
            if stage == DATA {
                let step = (left as usize).min(text.len() - at);
                at += step;
                left -= step as u64;
                if left == 0 {
                    stage = CR;
                }
                continue;
            }
            match feed(&mut stage, &mut left, text[at]) {
                Fed::More => at += 1,
                Fed::Over => return Ok(Some(at + 1)),
                Fed::Odd => return Err(()),
            }
        }
        Ok(None)
    }

    #[test]
    fn bodies_end_behind_the_last_chunk() {
        for (text, expected) in [
            (&b"0\r\n\r\n"[..], Ok(Some(5))),
            (b"5\r\nhello\r\n0\r\n\r\nHTTP", Ok(Some(15))),
            (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", Ok(Some(15))),
            (b"00005\r\nhello\r\n000\r\n\r\n", Ok(Some(21))),
            (b"fF\r\n", Ok(None)),
            (b"5\r\nhello\r\n0\r\n", Ok(None)),
            (b"", Ok(None)),
            (b"\r\n", Err(())),
            (b"5;a=b\r\nhello\r\n", Err(())),
            (b"5 \r\nhello\r\n", Err(())),
            (b"5\nhello\n", Err(())),
            (b"5\r\nhello!\r\n", Err(())),
            (b"0\r\nTrailer: x\r\n\r\n", Err(())),
            (b"100000000\r\n", Err(())),
            (b"g\r\n", Err(())),
        ] {
            assert_eq!(end(text), expected, "{:?}", core::str::from_utf8(text));
        }
    }
}
