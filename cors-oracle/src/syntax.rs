//! Bytes that HTTP's grammar is made of.

/// Whether `text` is a token (RFC 9110 §5.6.2): a method, a header name.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// HTTP tab or space.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\t' | b' ')
}

/// Without tabs and spaces at both ends.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_blank(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_blank(*last)
    {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        for text in ["GET", "x-a", "*", "!#$%&'*+-.^_`|~09azAZ"] {
            assert!(is_token(text.as_bytes()), "{text}");
        }
        for text in ["", "a b", "a,b", "a:b", "a\t", "(", "é", "\"a\"", "a/b", "[", "{", "\u{7f}"]
        {
            assert!(!is_token(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn trimming() {
        for (text, expected) in [("", ""), (" \t ", ""), (" a b\t", "a b"), ("\ra", "\ra")] {
            assert_eq!(trim(text.as_bytes()), expected.as_bytes());
        }
    }
}
