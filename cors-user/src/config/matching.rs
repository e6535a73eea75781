//! `match` of a policy: the grammar of its hosts and its path prefix. Pure.

use std::collections::HashSet;

use cors_common::policy::PREFIX_SEGMENTS_MAX;

use super::host::{self, HostError};
use super::lists::repeated;
use super::problem::{At, Problems, Reason};
use super::raw::{Field, Match};

/// The longest prefix, without a slash at its end.
const MAX_PREFIX_BYTES: usize = 256;

/// What a policy is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    /// Empty: every host.
    pub(super) hosts: Vec<String>,
    /// Absent: every path.
    pub(super) path_prefix: Option<String>,
}

/// Why a text is no host to match; the message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MatchHostError {
    #[error("list every host by its name: a wildcard is only for allow_origins")]
    Wildcard,
    #[error("leave the port out: a policy is for a host on every port that `listen` names")]
    Port,
    #[error("write the host alone, without a scheme: `{0}`")]
    Scheme(String),
    #[error("write the host alone: a path goes into path_prefix")]
    Path,
    #[error("{0}")]
    Host(#[from] HostError),
}

/// Why a text is no path prefix; the message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PrefixError {
    #[error("a path starts with a slash: write `/{0}`")]
    NoSlash(String),
    #[error("write a path, such as `/v1`, or `/` for every path")]
    Empty,
    #[error("a path prefix has no query: remove everything from the `?`")]
    Query,
    #[error("a path prefix has no fragment: remove everything from the `#`")]
    Fragment,
    #[error("a path prefix has no white space and no control characters: remove them")]
    WhiteSpace,
    #[error("paths match byte by byte and are never decoded: write a prefix without `%`")]
    Percent,
    #[error("a path has forward slashes: write `/` for every `\\`")]
    Backslash,
    #[error("browsers send this character encoded: write a prefix that ends before it")]
    NotAscii,
    #[error(
        "`{0}` is never in a path that a browser sends, and templates are not supported: write a \
         prefix that ends before it"
    )]
    Encoded(char),
    #[error("an empty segment matches next to nothing: write one slash for two")]
    EmptySegment,
    #[error("browsers resolve `.` and `..` before they send a path: write the resolved one")]
    DotSegment,
    #[error("a path prefix has at most {MAX_PREFIX_BYTES} bytes: write a shorter one")]
    TooLong,
    #[error("a path prefix has at most {PREFIX_SEGMENTS_MAX} segments: write a shorter one")]
    TooDeep,
}

/// Reads `match`. What is wrong is left out of the scope.
pub(super) fn scope(matching: &Field<Match>, problems: &mut Problems) -> Scope {
    let Some(At { value: matching, .. }) = matching.given() else {
        return Scope::default();
    };
    let mut scope = Scope::default();
    if let Some(list) = matching.hosts.given() {
        if list.value.is_empty {
            let at = At { path: list.path.clone(), span: list.span.clone(), value: String::new() };
            let hint = "an empty list is every host: leave `hosts` out to say so, or name some";
            problems.warning(&at, Reason::Invalid, hint);
        }
        let mut known: HashSet<&str> = HashSet::new();
        for at in &list.value.items {
            match host(&at.value) {
                Ok(()) if known.insert(&at.value) => scope.hosts.push(at.value.clone()),
                Ok(()) => repeated(at, problems),
                Err(error) => problems.error(at, Reason::Invalid, error.to_string()),
            }
        }
    }
    if let Some(at) = matching.path_prefix.given() {
        match prefix(&at.value) {
            Ok(prefix) => {
                if at.value.contains('*') {
                    let hint = "`*` in a path is an ordinary character; a prefix takes everything \
                                below it anyway: end it before the `*`";
                    problems.warning(at, Reason::Invalid, hint);
                }
                scope.path_prefix = prefix;
            }
            Err(error) => problems.error(at, Reason::Invalid, error.to_string()),
        }
    }
    scope
}

/// Checks an element of `hosts`.
pub(super) fn host(text: &str) -> Result<(), MatchHostError> {
    if text.contains('*') {
        return Err(MatchHostError::Wildcard);
    }
    if let Some((_, rest)) = text.split_once("://") {
        return Err(MatchHostError::Scheme(rest.trim_end_matches('/').to_owned()));
    }
    if text.contains('/') {
        return Err(MatchHostError::Path);
    }
    match text.rsplit_once(':') {
        // The last colon of an address in brackets is inside them.
        Some((host, port))
            if !port.contains(']') && (host.ends_with(']') || !host.contains(':')) =>
        {
            Err(MatchHostError::Port)
        }
        _ => Ok(host::parse(text).map(drop)?),
    }
}

/// The prefix without a slash at its end; `None` for `/`.
pub(super) fn prefix(text: &str) -> Result<Option<String>, PrefixError> {
    if text.is_empty() {
        return Err(PrefixError::Empty);
    }
    for c in text.chars() {
        match c {
            '?' => return Err(PrefixError::Query),
            '#' => return Err(PrefixError::Fragment),
            '%' => return Err(PrefixError::Percent),
            '\\' => return Err(PrefixError::Backslash),
            // The path percent-encode set of the URL Standard.
            '"' | '<' | '>' | '^' | '`' | '{' | '}' => return Err(PrefixError::Encoded(c)),
            c if c.is_whitespace() || c.is_control() => return Err(PrefixError::WhiteSpace),
            c if !c.is_ascii() => return Err(PrefixError::NotAscii),
            _ => {}
        }
    }
    let Some(path) = text.strip_prefix('/') else {
        return Err(PrefixError::NoSlash(text.to_owned()));
    };
    if path.is_empty() {
        return Ok(None);
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let segments: Vec<&str> = path.split('/').collect();
    if segments.iter().any(|segment| segment.is_empty()) {
        return Err(PrefixError::EmptySegment);
    }
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
        return Err(PrefixError::DotSegment);
    }
    if 1 + path.len() > MAX_PREFIX_BYTES {
        return Err(PrefixError::TooLong);
    }
    if segments.len() > PREFIX_SEGMENTS_MAX {
        return Err(PrefixError::TooDeep);
    }
    Ok(Some(format!("/{path}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        use MatchHostError as E;
        for text in ["api.example.com", "localhost", "10.0.0.1", "[2001:db8::1]", "a_b.example"] {
            assert_eq!(host(text), Ok(()), "{text}");
        }
        let name = |s: &str| s.to_owned();
        for (text, expected) in [
            ("*.example.com", E::Wildcard),
            ("*", E::Wildcard),
            ("api.example.com:8080", E::Port),
            ("[::1]:80", E::Port),
            ("10.0.0.1:", E::Port),
            ("https://api.example.com/", E::Scheme(name("api.example.com"))),
            ("api.example.com/v1", E::Path),
            ("", E::Host(HostError::Empty)),
            ("API.example.com", E::Host(HostError::UpperCase(name("api.example.com")))),
            ("bücher.example", E::Host(HostError::Unicode(name("xn--bcher-kva.example")))),
            ("::1", E::Host(HostError::BareV6("::1".parse().unwrap()))),
            ("[::01]", E::Host(HostError::LongV6("::1".parse().unwrap()))),
            ("api.example.com.", E::Host(HostError::TrailingDot)),
            ("10.0.0.256", E::Host(HostError::MalformedV4)),
        ] {
            assert_eq!(host(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn prefixes() {
        use PrefixError as E;
        for (text, expected) in [
            ("/", None),
            ("/v1", Some("/v1")),
            ("/v1/", Some("/v1")),
            ("/a/b.c/..d/~e/f;g=1,2/", Some("/a/b.c/..d/~e/f;g=1,2")),
            ("/...", Some("/...")),
            ("/@:!$&'()*+", Some("/@:!$&'()*+")),
        ] {
            assert_eq!(prefix(text), Ok(expected.map(str::to_owned)), "{text}");
        }
        for (text, expected) in [
            ("", E::Empty),
            ("v1", E::NoSlash("v1".to_owned())),
            ("/a?b", E::Query),
            ("/a#b", E::Fragment),
            ("/a b", E::WhiteSpace),
            ("/a\tb", E::WhiteSpace),
            ("/a\u{7f}", E::WhiteSpace),
            ("/a%20b", E::Percent),
            ("/a\\b", E::Backslash),
            ("/ä", E::NotAscii),
            ("/users/{id}", E::Encoded('{')),
            ("//", E::EmptySegment),
            ("/a//b", E::EmptySegment),
            ("/a//", E::EmptySegment),
            ("/./a", E::DotSegment),
            ("/a/..", E::DotSegment),
            ("/a/../", E::DotSegment),
        ] {
            assert_eq!(prefix(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn prefix_limits() {
        let longest = format!("/{}", "a".repeat(255));
        assert_eq!(prefix(&longest), Ok(Some(longest.clone())));
        assert_eq!(prefix(&format!("{longest}/")), Ok(Some(longest.clone())));
        assert_eq!(prefix(&format!("{longest}a")), Err(PrefixError::TooLong));
        let deepest = "/a".repeat(15);
        assert_eq!(prefix(&deepest), Ok(Some(deepest.clone())));
        assert_eq!(prefix(&format!("{deepest}/")), Ok(Some(deepest.clone())));
        assert_eq!(prefix(&format!("{deepest}/a")), Err(PrefixError::TooDeep));
    }
}
