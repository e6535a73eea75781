//! The headers that a request may have without permission (Fetch §2.2.2).

use std::collections::BTreeSet;

use crate::{
    header::{Header, Headers},
    mime, range,
};

/// The longest value that is on the safelist.
const VALUE_MAX: usize = 128;
/// All values on the safelist together may be as long as this.
const VALUES_MAX: usize = 1024;

/// The content types of HTML's forms.
const FORM_TYPES: [&str; 3] =
    ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

/// "CORS-safelisted request-header": name and value both count.
pub fn is_safelisted_request_header(header: &Header) -> bool {
    let value = &*header.value;
    if value.len() > VALUE_MAX {
        return false;
    }
    match &*header.name.to_ascii_lowercase() {
        "accept" => !has_unsafe_byte(value),
        "accept-language" | "content-language" => {
            value.iter().all(|byte| byte.is_ascii_alphanumeric() || b" *,-.;=".contains(byte))
        }
        "content-type" => {
            !has_unsafe_byte(value)
                && mime::essence(value).is_some_and(|essence| FORM_TYPES.contains(&&*essence))
        }
        "range" => range::is_safelisted(value),
        _ => false,
    }
}

/// "CORS-unsafe request-header byte".
fn has_unsafe_byte(value: &[u8]) -> bool {
    value.iter().any(|byte| {
        *byte < 0x20 && *byte != b'\t' || *byte == 0x7f || b"\"():<>?@[\\]{}".contains(byte)
    })
}

/// "CORS-unsafe request-header names": what a preflight asks for, in lower case, sorted, each
/// once.
///
/// Of a header that is set twice each value is judged. (Chromium judges them as one, joined by a
/// comma.)
pub fn unsafe_names(headers: &Headers) -> Vec<String> {
    let (safe, not_safe): (Vec<_>, Vec<_>) =
        headers.iter().partition(|header| is_safelisted_request_header(header));
    let mut names: BTreeSet<String> = BTreeSet::new();
    names.extend(not_safe.iter().map(|header| header.name.to_ascii_lowercase()));
    let size: usize = safe.iter().map(|header| header.value.len()).sum();
    if size > VALUES_MAX {
        names.extend(safe.iter().map(|header| header.name.to_ascii_lowercase()));
    }
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_safe(name: &str, value: &str) -> bool {
        let headers: Headers = [(name, value)].into_iter().collect();
        headers.iter().all(is_safelisted_request_header)
    }

    #[test]
    fn name_and_value_count() {
        let longest = "a".repeat(128);
        for (name, value) in [
            ("Accept", "text/html, */*;q=0.8"),
            ("accept", "\t"),
            ("accept", &longest),
            ("Accept-Language", "de-CH, en;q=0.5, *"),
            ("content-language", "en"),
            ("Content-Type", "text/plain"),
            ("content-type", "text/plain;charset=UTF-8"),
            ("content-type", "multipart/form-data; boundary=----x"),
            ("content-type", "Application/X-WWW-Form-Urlencoded"),
            ("range", "bytes=0-"),
        ] {
            assert!(is_safe(name, value), "{name}: {value}");
        }
        let longer = "a".repeat(129);
        for (name, value) in [
            ("accept", &*longer),
            ("accept", "text/html(x)"),
            ("accept", "a:b"),
            ("accept", "a\u{7f}"),
            ("accept", "\"a\""),
            ("accept-language", "en_US"),
            ("accept-language", "en/US"),
            ("content-language", "é"),
            ("content-type", "application/json"),
            ("content-type", "text/plain; a=\"b\""),
            ("content-type", "text"),
            ("content-type", ""),
            ("content-type", "application/json, text/plain"),
            ("range", "bytes=-500"),
            ("authorization", "Basic x"),
            ("x-requested-with", "XMLHttpRequest"),
            ("accept-encoding", "gzip"),
            ("dpr", "1"),
            ("", ""),
        ] {
            assert!(!is_safe(name, value), "{name}: {value}");
        }
    }

    #[test]
    fn every_unsafe_byte() {
        let unsafe_bytes = b"\"():<>?@[\\]{}\x7f";
        for byte in 0..=255_u8 {
            let value = [b'a', byte, b'b'];
            let header = Header { name: "accept".to_owned(), value: value.to_vec() };
            let expected = byte == b'\t' || byte >= 0x20 && !unsafe_bytes.contains(&byte);
            assert_eq!(is_safelisted_request_header(&header), expected, "{byte:#x}");
        }
    }

    #[test]
    fn names_are_sorted_lower_case_and_single() {
        let headers: Headers = [
            ("X-B", "1"),
            ("Content-Type", "application/json"),
            ("Accept", "*/*"),
            ("x-b", "2"),
            ("Authorization", "x"),
        ]
        .into_iter()
        .collect();
        assert_eq!(unsafe_names(&headers), ["authorization", "content-type", "x-b"]);
    }

    #[test]
    fn many_safe_values_are_unsafe_together() {
        let value = "a".repeat(128);
        let headers = |count: usize, more: usize| -> Headers {
            let full = std::iter::repeat_n(("Accept", value.clone()), count);
            full.chain([("Accept-Language", "a".repeat(more))]).collect()
        };
        assert_eq!(unsafe_names(&headers(7, 128)), [""; 0]);
        assert_eq!(unsafe_names(&headers(8, 0)), [""; 0]);
        assert_eq!(unsafe_names(&headers(8, 1)), ["accept", "accept-language"]);
    }
}
