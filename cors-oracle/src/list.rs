//! "Extract header list values" (Fetch §2.2.2), for the headers of the CORS protocol.

use crate::{
    header::Headers,
    syntax::{is_token, trim},
};

/// A header that is not what its grammar says: the value, as far as it is text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

/// The tokens of a `#token` header, `None` where it is not there at all.
///
/// Empty elements are allowed (RFC 9110 §5.6.1.2); anything else that is no token spoils the whole
/// header.
pub(crate) fn tokens(headers: &Headers, name: &str) -> Result<Option<Vec<String>>, Unreadable> {
    if !headers.contains(name) {
        return Ok(None);
    }
    let mut tokens = Vec::new();
    for value in headers.all(name) {
        for element in value.split(|byte| *byte == b',').map(trim).filter(|e| !e.is_empty()) {
            if !is_token(element) {
                return Err(Unreadable(String::from_utf8_lossy(element).into_owned()));
            }
            tokens.push(String::from_utf8_lossy(element).into_owned());
        }
    }
    Ok(Some(tokens))
}

/// The seconds of a `delta-seconds` header (RFC 9111 §1.2.2), `None` where it is not there.
pub(crate) fn seconds(headers: &Headers, name: &str) -> Result<Option<u64>, Unreadable> {
    let unreadable = |value: &[u8]| Unreadable(String::from_utf8_lossy(value).into_owned());
    let mut values = headers.all(name);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(unreadable(&headers.get(name).unwrap_or_default()));
    }
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(unreadable(value));
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add((digit - b'0').into());
    Ok(Some(value.iter().fold(0, add)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> Headers {
        values.iter().map(|value| ("A", value)).collect()
    }

    #[test]
    fn lists_of_tokens() {
        for (values, expected) in [
            (&["a"][..], &["a"][..]),
            (&["a,b"], &["a", "b"]),
            (&["a, b", "c"], &["a", "b", "c"]),
            (&["\ta \t,\t, b ,"], &["a", "b"]),
            (&[""], &[]),
            (&[" , ,"], &[]),
            (&["*"], &["*"]),
        ] {
            let expected = expected.iter().map(|token| (*token).to_owned()).collect();
            assert_eq!(tokens(&headers(values), "a"), Ok(Some(expected)), "{values:?}");
        }
        assert_eq!(tokens(&headers(&[]), "a"), Ok(None));
        for (values, spoiled) in
            [(&["a b"][..], "a b"), (&["a, b:c"], "b:c"), (&["a", "\"b\""], "\"b\""), (&["@"], "@")]
        {
            assert_eq!(tokens(&headers(values), "a"), Err(Unreadable(spoiled.to_owned())));
        }
    }

    #[test]
    fn numbers_of_seconds() {
        for (value, expected) in [("0", 0), ("600", 600), ("007", 7), (" 5 ", 5)] {
            assert_eq!(seconds(&headers(&[value]), "a"), Ok(Some(expected)), "{value}");
        }
        let long = "9".repeat(40);
        assert_eq!(seconds(&headers(&[&long]), "a"), Ok(Some(u64::MAX)));
        assert_eq!(seconds(&headers(&[]), "a"), Ok(None));
        for values in [&["-1"][..], &[""], &["1.5"], &["600, 600"], &["6", "6"], &["1h"], &["+1"]] {
            assert!(seconds(&headers(values), "a").is_err(), "{values:?}");
        }
    }
}
