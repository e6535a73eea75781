//! The grammar of `allow_origins`, and what it refuses. Pure.
//!
//! ```text
//! pattern = "*" / scheme "://" host [":" port]
//! host    = name / IPv4 / "[" IPv6 "]" / "*." name      ; "*." for http and https only
//! port    = 1..65535, not the scheme's own / "*"        ; "*": any, and none
//! ```
//!
//! A browser's `Origin` is compared byte by byte, so a pattern that no browser can produce is not
//! generous but dead, and is refused together with the dangerous ones.

use super::host::{self, Host, HostError, MAX_HOST};
use super::model::{OriginPattern, WildcardPort, WildcardScheme};
use super::problem::Reason;

/// The longest pattern: a scheme, `://`, a host, and a port with its colon.
const MAX_ORIGIN: usize = MAX_SCHEME + 3 + MAX_HOST + 6;
/// The longest scheme.
const MAX_SCHEME: usize = 64;

/// One element of `allow_origins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// `*`
    Any,
    /// Anything else.
    Pattern(OriginPattern),
}

/// Why a text is no origin pattern; the message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OriginError {
    #[error("write an origin, such as `https://app.example.com`")]
    Empty,
    #[error(
        "`null` is what any sandboxed frame and any local file sends, also an attacker's: remove \
         it, and serve the page from an origin of its own"
    )]
    Null,
    #[error("pages from files send `null`, never this: remove it, and serve them over http(s)")]
    File,
    #[error("an origin has at most {MAX_ORIGIN} bytes: list shorter ones")]
    TooLong,
    #[error("an origin has no white space and no control characters: one origin per string")]
    WhiteSpace,
    #[error(
        "an origin starts with a scheme and `://`: write for example `https://app.example.com`"
    )]
    MissingScheme,
    #[error("a scheme has at most {MAX_SCHEME} bytes: list the exact origin that the client sends")]
    LongScheme,
    #[error("browsers write schemes in lower case: write `{0}`")]
    UpperCaseScheme(String),
    #[error("a wildcard cannot stand for the scheme: list the origin once for each scheme")]
    WildcardInScheme,
    #[error("a scheme starts with a letter, then letters, digits, `+`, `-` or `.`: correct it")]
    IllegalScheme,
    #[error("an origin has no user name or password: remove everything up to the `@`")]
    UserInfo,
    #[error("an origin ends without a slash: write `{0}`")]
    TrailingSlash(String),
    #[error("an origin has no path: write `{0}`")]
    Path(String),
    #[error("an origin has no query: remove everything from the `?`")]
    Query,
    #[error("an origin has no fragment: remove everything from the `#`")]
    Fragment,
    #[error("{0}")]
    Host(#[from] HostError),
    #[error("the host with its wildcard has at most {MAX_HOST} bytes: shorten it")]
    LongWildcard,
    #[error(
        "a wildcard cannot stand for a whole host: name a domain, as in `https://*.example.org`"
    )]
    WholeHost,
    #[error(
        "a wildcard stands for whole labels at the start only, as in `https://*.example.org`: \
         list the origins one by one"
    )]
    Misplaced,
    #[error("an IP address has no subdomains: list the addresses one by one")]
    WildcardIp,
    #[error(
        "the host of a `{0}` origin is not a DNS name and has no subdomains: list the origins one \
         by one"
    )]
    WildcardScheme(String),
    #[error("a port follows the colon: write a number, `*` for any, or remove the colon")]
    EmptyPort,
    #[error("a port is a number from 1 to 65535 without leading zeros, or `*` for any")]
    Port,
    #[error("browsers leave the default port out, so this would never match: write `{0}`")]
    DefaultPort(String),
}

impl OriginError {
    /// What kind of wrong it is.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Null | Self::File => Reason::Prohibited,
            _ => Reason::Invalid,
        }
    }
}

/// Reads one element of `allow_origins`.
pub(super) fn parse(text: &str) -> Result<Origin, OriginError> {
    if text.is_empty() {
        return Err(OriginError::Empty);
    }
    if text == "*" {
        return Ok(Origin::Any);
    }
    if text.eq_ignore_ascii_case("null") {
        return Err(OriginError::Null);
    }
    if text.len() > MAX_ORIGIN {
        return Err(OriginError::TooLong);
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(OriginError::WhiteSpace);
    }
    let (scheme, authority) = text.split_once("://").ok_or(OriginError::MissingScheme)?;
    check_scheme(scheme)?;
    check_ending(scheme, authority)?;
    let (host, port) = split_port(authority)?;
    let port = check_port(scheme, host, port)?;
    let pattern = match host.strip_prefix("*.") {
        Some(suffix) => subdomains(scheme, suffix, port)?,
        None => single(text, scheme, host, port)?,
    };
    Ok(Origin::Pattern(pattern))
}

fn check_scheme(scheme: &str) -> Result<(), OriginError> {
    if scheme.len() > MAX_SCHEME {
        return Err(OriginError::LongScheme);
    }
    if scheme.contains('*') {
        return Err(OriginError::WildcardInScheme);
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(legal) {
        return Err(OriginError::IllegalScheme);
    }
    if scheme.eq_ignore_ascii_case("file") {
        return Err(OriginError::File);
    }
    if scheme.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(OriginError::UpperCaseScheme(scheme.to_ascii_lowercase()));
    }
    Ok(())
}

/// Nothing of a URL but the origin may be there.
fn check_ending(scheme: &str, authority: &str) -> Result<(), OriginError> {
    let Some(end) = authority.find(['/', '\\', '?', '#', '@']) else {
        return Ok(());
    };
    let origin = || format!("{scheme}://{}", &authority[..end]);
    Err(match &authority[end..] {
        "/" => OriginError::TrailingSlash(origin()),
        rest if rest.starts_with('@') => OriginError::UserInfo,
        rest if rest.starts_with('?') => OriginError::Query,
        rest if rest.starts_with('#') => OriginError::Fragment,
        _ => OriginError::Path(origin()),
    })
}

/// The host, and what follows its colon.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), OriginError> {
    let colon = if authority.starts_with('[') || authority.starts_with("*.[") {
        let end = authority.find(']').ok_or(HostError::MalformedV6)? + 1;
        if authority[end..].is_empty() {
            None
        } else if authority[end..].starts_with(':') {
            Some(end)
        } else {
            return Err(HostError::MalformedV6.into());
        }
    } else {
        if let Ok(address) = authority.parse() {
            return Err(HostError::BareV6(address).into());
        }
        authority.find(':')
    };
    Ok(match colon {
        Some(colon) => (&authority[..colon], Some(&authority[colon + 1..])),
        None => (authority, None),
    })
}

fn check_port(scheme: &str, host: &str, port: Option<&str>) -> Result<WildcardPort, OriginError> {
    match port {
        None => return Ok(WildcardPort::Default),
        Some("*") => return Ok(WildcardPort::Any),
        Some("") => return Err(OriginError::EmptyPort),
        Some(digits) if digits.starts_with('0') => return Err(OriginError::Port),
        Some(digits) if !digits.bytes().all(|b| b.is_ascii_digit()) => {
            return Err(OriginError::Port);
        }
        Some(_) => {}
    }
    let number: u16 = port.and_then(|p| p.parse().ok()).ok_or(OriginError::Port)?;
    if matches!((scheme, number), ("http", 80) | ("https", 443)) {
        return Err(OriginError::DefaultPort(format!("{scheme}://{host}")));
    }
    Ok(WildcardPort::Exact(number))
}

fn subdomains(
    scheme: &str,
    suffix: &str,
    port: WildcardPort,
) -> Result<OriginPattern, OriginError> {
    if suffix.contains('*') {
        return Err(OriginError::Misplaced);
    }
    match host::parse(suffix) {
        Ok(Host::Name) => {}
        Ok(Host::V4(_) | Host::V6(_)) => return Err(OriginError::WildcardIp),
        Err(HostError::Unicode(ascii)) => {
            return Err(HostError::Unicode(format!("*.{ascii}")).into());
        }
        Err(HostError::UpperCase(lower)) => {
            return Err(HostError::UpperCase(format!("*.{lower}")).into());
        }
        Err(error) => return Err(error.into()),
    }
    let scheme = match scheme {
        "http" => WildcardScheme::Http,
        "https" => WildcardScheme::Https,
        other => return Err(OriginError::WildcardScheme(other.to_owned())),
    };
    if "*.".len() + suffix.len() > MAX_HOST {
        return Err(OriginError::LongWildcard);
    }
    Ok(OriginPattern::Subdomains { scheme, suffix: suffix.to_owned(), port })
}

fn single(
    text: &str,
    scheme: &str,
    host: &str,
    port: WildcardPort,
) -> Result<OriginPattern, OriginError> {
    if host == "*" {
        return Err(OriginError::WholeHost);
    }
    if host.contains('*') {
        return Err(OriginError::Misplaced);
    }
    host::parse(host)?;
    Ok(match port {
        WildcardPort::Any => OriginPattern::AnyPort(format!("{scheme}://{host}")),
        WildcardPort::Default | WildcardPort::Exact(_) => OriginPattern::Exact(text.to_owned()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn exact(text: &str) -> Origin {
        Origin::Pattern(OriginPattern::Exact(text.to_owned()))
    }

    fn subdomains_of(scheme: WildcardScheme, suffix: &str, port: WildcardPort) -> Origin {
        Origin::Pattern(OriginPattern::Subdomains { scheme, suffix: suffix.to_owned(), port })
    }

    #[test]
    fn exact_origins() {
        for text in [
            "https://app.example.com",
            "http://localhost:3000",
            "https://example.com:80",
            "http://example.com:443",
            "https://example.com:1",
            "https://example.com:65535",
            "https://127.0.0.1:8443",
            "https://[2001:db8::1]",
            "https://[2001:db8::1]:8443",
            "capacitor://localhost",
            "web+app://a-b",
            "a1.b://host",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "moz-extension://3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            "filesystem://a",
            "null://a",
            "https://null",
            "https://xn--mnchen-3ya.de",
        ] {
            assert_eq!(parse(text), Ok(exact(text)), "{text}");
        }
    }

    #[test]
    fn wildcards() {
        use WildcardPort as P;
        use WildcardScheme::{Http, Https};
        let any_port = |s: &str| Origin::Pattern(OriginPattern::AnyPort(s.to_owned()));
        for (text, expected) in [
            ("*", Origin::Any),
            ("https://a.example:*", any_port("https://a.example")),
            ("http://[::1]:*", any_port("http://[::1]")),
            ("capacitor://localhost:*", any_port("capacitor://localhost")),
            ("https://*.example.org", subdomains_of(Https, "example.org", P::Default)),
            ("http://*.example.org:8080", subdomains_of(Http, "example.org", P::Exact(8080))),
            ("https://*.a.b.example:*", subdomains_of(Https, "a.b.example", P::Any)),
            ("http://*.localhost:*", subdomains_of(Http, "localhost", P::Any)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refused() {
        use OriginError as E;
        let text = |s: &str| s.to_owned();
        for (pattern, expected) in [
            ("", E::Empty),
            ("null", E::Null),
            ("Null", E::Null),
            ("file://", E::File),
            ("file:///etc/passwd", E::File),
            ("FILE://a", E::File),
            ("https://a b", E::WhiteSpace),
            (" https://a", E::WhiteSpace),
            ("https://a\n", E::WhiteSpace),
            ("https://a\u{a0}b", E::WhiteSpace),
            ("example.com", E::MissingScheme),
            ("//example.com", E::MissingScheme),
            ("https:example.com", E::MissingScheme),
            ("https:/example.com", E::MissingScheme),
            ("localhost:3000", E::MissingScheme),
            ("**", E::MissingScheme),
            ("*.example.com", E::MissingScheme),
            ("HTTPS://example.com", E::UpperCaseScheme(text("https"))),
            ("*://example.com", E::WildcardInScheme),
            ("http*://example.com", E::WildcardInScheme),
            ("1http://example.com", E::IllegalScheme),
            ("://example.com", E::IllegalScheme),
            ("ht_tp://example.com", E::IllegalScheme),
            ("https://user@example.com", E::UserInfo),
            ("https://user:secret@example.com", E::UserInfo),
            ("https://example.com/", E::TrailingSlash(text("https://example.com"))),
            ("https://example.com:8443/", E::TrailingSlash(text("https://example.com:8443"))),
            ("https://example.com/a", E::Path(text("https://example.com"))),
            ("https://example.com//", E::Path(text("https://example.com"))),
            ("https://example.com\\a", E::Path(text("https://example.com"))),
            ("https://example.com?a", E::Query),
            ("https://example.com#a", E::Fragment),
            ("https://", E::Host(HostError::Empty)),
            ("https://:8080", E::Host(HostError::Empty)),
            ("https://Example.com", E::Host(HostError::UpperCase(text("example.com")))),
            ("https://*.Example.com", E::Host(HostError::UpperCase(text("*.example.com")))),
            ("https://münchen.de", E::Host(HostError::Unicode(text("xn--mnchen-3ya.de")))),
            ("https://*.münchen.de", E::Host(HostError::Unicode(text("*.xn--mnchen-3ya.de")))),
            ("https://a.example,https", E::Host(HostError::IllegalByte(','))),
            ("https://xn--a.example", E::Host(HostError::BadPunycode(text("xn--a")))),
            ("https://a..example", E::Host(HostError::EmptyLabel)),
            ("https://example.com.", E::Host(HostError::TrailingDot)),
            ("https://foo.123", E::Host(HostError::NumericEnd)),
            ("https://1.2.3.04", E::Host(HostError::MalformedV4)),
            ("https://[::1", E::Host(HostError::MalformedV6)),
            ("https://[::1]a", E::Host(HostError::MalformedV6)),
            ("https://[::1%25eth0]", E::Host(HostError::MalformedV6)),
            ("https://::1", E::Host(HostError::BareV6("::1".parse().unwrap()))),
            ("https://[::0]", E::Host(HostError::LongV6("::".parse().unwrap()))),
            ("https://[::ffff:1.2.3.4]", E::Host(HostError::MappedV4([1, 2, 3, 4].into()))),
            ("https://*", E::WholeHost),
            ("https://*:8080", E::WholeHost),
            ("https://*.", E::Host(HostError::Empty)),
            ("https://*.*.example.com", E::Misplaced),
            ("https://a.*.example.com", E::Misplaced),
            ("https://*a.example.com", E::Misplaced),
            ("https://**.example.com", E::Misplaced),
            ("https://example.*", E::Misplaced),
            ("https://*.1.2.3.4", E::WildcardIp),
            ("https://*.[::1]", E::WildcardIp),
            ("capacitor://*.example.com", E::WildcardScheme(text("capacitor"))),
            ("https://a:", E::EmptyPort),
            ("https://a:0", E::Port),
            ("https://a:08", E::Port),
            ("https://a:65536", E::Port),
            ("https://a:99999999999999999999", E::Port),
            ("https://a:+80", E::Port),
            ("https://a:80*", E::Port),
            ("https://a:1:2", E::Port),
            ("https://a:443", E::DefaultPort(text("https://a"))),
            ("http://a:80", E::DefaultPort(text("http://a"))),
            ("https://*.a.example:443", E::DefaultPort(text("https://*.a.example"))),
        ] {
            assert_eq!(parse(pattern), Err(expected), "{pattern}");
        }
    }

    #[test]
    fn lengths() {
        let scheme = "a".repeat(MAX_SCHEME);
        let label = "a".repeat(63);
        let host = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        let longest = format!("{scheme}://{host}:65535");
        assert_eq!(longest.len(), MAX_ORIGIN);
        assert_eq!(MAX_ORIGIN, 326);
        assert_eq!(parse(&longest), Ok(exact(&longest)));
        assert_eq!(parse(&format!("a{longest}")), Err(OriginError::TooLong));
        assert_eq!(parse(&format!("a{scheme}://a")), Err(OriginError::LongScheme));
        let host_error = Err(OriginError::Host(HostError::TooLong));
        assert_eq!(parse(&format!("https://{host}a")), host_error);
        // The wildcard stands for one byte at least, and its dot for one.
        let suffix = &host[2..];
        assert!(parse(&format!("https://*.{suffix}")).is_ok());
        let long = parse(&format!("https://*.a{suffix}"));
        assert_eq!(long, Err(OriginError::LongWildcard));
    }
}
