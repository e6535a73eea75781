//! What is shown of a request to whoever watches: what the decision was about, and no more.
//!
//! Never the query, in which there may be secrets, and never a byte that a terminal would obey.

use serde::{Deserialize, Serialize};

use super::asked::Asked;

/// A request, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its method.
    pub method: String,
    /// Its host.
    pub host: Option<String>,
    /// Its path; where there was a query, `?…` is behind it.
    pub path: String,
    /// Its origin.
    pub origin: Option<String>,
    /// The method of the request that it asks for.
    pub request_method: Option<String>,
    /// The names of that one's headers.
    pub request_headers: Option<String>,
}

const NAMES: [&str; 4] =
    ["host", "origin", "access-control-request-method", "access-control-request-headers"];

impl Shown {
    /// Of the bytes of a head, which may be cut off anywhere or be none at all.
    pub fn of_head(head: &[u8]) -> Self {
        let mut lines = head.split(|byte| *byte == b'\n');
        let mut words = lines.next().unwrap_or_default().trim_ascii().split(|byte| *byte == b' ');
        let method = plain(words.next().unwrap_or_default());
        let path = path(words.next().unwrap_or_default());
        let mut values = [const { None }; NAMES.len()];
        for line in lines {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            let of = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
            if let Some(at) = NAMES.iter().position(of) {
                // What comes twice is shown as it came first.
                values[at].get_or_insert_with(|| plain(value.trim_ascii()));
            }
        }
        Self::new(method, path, values)
    }

    /// Of what a policy is asked about.
    pub fn of(asked: &Asked<'_>, has_query: bool) -> Self {
        let mut values = NAMES.map(|name| asked.headers.get(name).map(|v| plain(v.as_bytes())));
        // HTTP/2 need not have the header.
        values[0] = Some(plain(asked.host.as_bytes()));
        let mut path = plain(asked.path.as_bytes());
        if has_query {
            path.push_str(QUERY);
        }
        Self::new(plain(asked.method.as_str().as_bytes()), path, values)
    }

    fn new(method: String, path: String, values: [Option<String>; NAMES.len()]) -> Self {
        let [host, origin, request_method, request_headers] = values;
        Self { method, host, path, origin, request_method, request_headers }
    }
}

/// In the place of a query.
const QUERY: &str = "?…";

fn path(target: &[u8]) -> String {
    match target.iter().position(|byte| *byte == b'?') {
        Some(at) => plain(&target[..at]) + QUERY,
        None => plain(target),
    }
}

/// Every byte that is not printable ASCII as an escape.
fn plain(bytes: &[u8]) -> String {
    let text = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte).to_string(),
        _ => byte.escape_ascii().to_string(),
    };
    bytes.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_shown_without_its_query_and_cookies() {
        let head = b"OPTIONS /v1/users?token=secret HTTP/1.1\r\nHOST: api.example.com\r\n\
            Origin: https://a.example\r\nCookie: id=secret\r\norigin: https://b.example\r\n\
            Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: a,b\r\n\r\n";
        let shown = Shown::of_head(head);
        let expected = Shown {
            method: "OPTIONS".into(),
            host: Some("api.example.com".into()),
            path: "/v1/users?…".into(),
            origin: Some("https://a.example".into()),
            request_method: Some("PUT".into()),
            request_headers: Some("a,b".into()),
        };
        assert_eq!(shown, expected);
        assert!(!format!("{shown:?}").contains("secret"));
        for end in 0..head.len() {
            assert!(!format!("{:?}", Shown::of_head(&head[..end])).contains("secret"), "{end}");
        }
    }

    #[test]
    fn no_byte_of_it_is_obeyed() {
        let shown = Shown::of_head(b"OPTIONS /\x1b[2J HTTP/1.1\r\nOrigin: \x07\xff\x9bx\r\n");
        assert_eq!(shown.path, "/\\x1b[2J");
        assert_eq!(shown.origin.as_deref(), Some("\\x07\\xff\\x9bx"));
    }
}
