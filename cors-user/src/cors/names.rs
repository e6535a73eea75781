//! `Access-Control-Request-Headers` in every form that the list syntax allows (RFC 9110 §5.6.1):
//! in several lines, with spaces, empty elements, any case and order.
//!
//! Browsers send one form of it alone. What else comes is read with a limit on bytes and on
//! elements, empty ones included, so that no request costs more than a short list.

use cors_common::{exit::Exit, framing::head::is_token, policy::NAME_MAX};
use http::{HeaderMap, HeaderValue, header};

/// The most bytes in all lines together.
pub const BYTES_MAX: usize = 8192;
/// The most elements.
pub const ELEMENTS_MAX: usize = 256;

/// The names that are asked for: in lower case, sorted, each once, with a comma between them.
pub fn requested(headers: &HeaderMap) -> Result<Vec<String>, Exit> {
    let lines = || headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    if lines().map(HeaderValue::len).sum::<usize>() > BYTES_MAX {
        return Err(Exit::RequestHeaders);
    }
    let mut names = Vec::new();
    for (n, element) in lines().flat_map(|line| line.as_bytes().split(|b| *b == b',')).enumerate() {
        if n >= ELEMENTS_MAX {
            return Err(Exit::RequestHeaders);
        }
        let name = element.trim_ascii();
        if name.is_empty() {
            continue;
        }
        if name.len() > NAME_MAX || !name.iter().copied().all(is_token) {
            return Err(Exit::RequestHeaders);
        }
        names.extend(str::from_utf8(name).map(str::to_ascii_lowercase));
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Result<String, Exit> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_str(line).unwrap();
            headers.append(header::ACCESS_CONTROL_REQUEST_HEADERS, value);
        }
        requested(&headers).map(|names| names.join(","))
    }

    #[test]
    fn every_form_is_one() {
        for lines in [
            &["a,b-c,x"][..],
            &["x, b-c ,\ta"],
            &["X,B-C,A"],
            &["a", "b-c", "x"],
            &[",a,,b-c,", "", "x,x,a"],
        ] {
            assert_eq!(of(lines).as_deref(), Ok("a,b-c,x"), "{lines:?}");
        }
        assert_eq!(of(&[]).as_deref(), Ok(""));
        assert_eq!(of(&["", ", ,"]).as_deref(), Ok(""));
    }

    #[test]
    fn what_is_no_list_of_names() {
        for line in ["a b", "a;b", "a:b", "\"a\"", "a\u{e4}", "a/b", "(a)"] {
            assert_eq!(of(&[line]), Err(Exit::RequestHeaders), "{line}");
        }
        assert_eq!(of(&[&"x".repeat(65)]), Err(Exit::RequestHeaders));
    }

    #[test]
    fn limits_count_what_is_empty_too() {
        assert!(of(&[&",".repeat(ELEMENTS_MAX - 1)]).is_ok());
        assert_eq!(of(&[&",".repeat(ELEMENTS_MAX)]), Err(Exit::RequestHeaders));
        assert_eq!(of(&[&" ".repeat(65_536)]), Err(Exit::RequestHeaders));
        assert!(of(&[&" ".repeat(BYTES_MAX)]).is_ok());
    }
}
