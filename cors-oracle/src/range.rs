//! "Parse a single range header value" (Fetch §2.2.2), as far as the safelist asks for it.

/// Whether a `Range` is one that browsers have always sent by themselves: `bytes=0-`, `bytes=1-2`.
pub(crate) fn is_safelisted(value: &[u8]) -> bool {
    let Some(rest) = value.strip_prefix(b"bytes=") else { return false };
    let Some(dash) = rest.iter().position(|byte| *byte == b'-') else { return false };
    let (start, end) = (&rest[..dash], &rest[dash + 1..]);
    let number = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
    if start.is_empty() || !number(start) || !number(end) {
        return false;
    }
    end.is_empty() || !is_greater(start, end)
}

/// Compares decimal numbers of any length.
fn is_greater(a: &[u8], b: &[u8]) -> bool {
    let significant = |digits: &[u8]| {
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits[zeros..].to_vec()
    };
    let (a, b) = (significant(a), significant(b));
    (a.len(), a) > (b.len(), b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for value in ["bytes=0-", "bytes=0-0", "bytes=7-7", "bytes=1-200", "bytes=002-3"] {
            assert!(is_safelisted(value.as_bytes()), "{value}");
        }
        let huge = format!("bytes=1-{}", "9".repeat(60));
        assert!(is_safelisted(huge.as_bytes()));
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=-500",
            "bytes=2-1",
            "bytes=10-9",
            "bytes=0-1,3-4",
            "bytes =0-",
            "bytes= 0-",
            "bytes=0 -",
            "bytes=0-1 ",
            "Bytes=0-",
            "items=0-",
            "bytes=a-",
            "bytes=0--1",
        ] {
            assert!(!is_safelisted(value.as_bytes()), "{value}");
        }
    }
}
