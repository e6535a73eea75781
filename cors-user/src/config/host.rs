//! The grammar of a host, as browsers write it: for origins and for `match`. Pure.
//!
//! Both compare byte by byte with what a browser sends, so only the one spelling that a browser
//! produces (the host serializer of the URL Standard) is of any use; every other one is a rule that
//! would silently never match, and is refused.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest host name of the DNS, without the root's dot (RFC 1035 §2.3.4).
pub(super) const MAX_HOST: usize = 253;
/// The longest label of the DNS (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// What kind of host a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// A DNS name, or the host of a custom scheme, which has to look like one.
    Name,
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, in brackets.
    V6(Ipv6Addr),
}

/// Why a text is no host; the message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HostError {
    #[error("write a host name or an IP address")]
    Empty,
    #[error("a host name has at most {MAX_HOST} bytes")]
    TooLong,
    #[error("browsers write hosts in lower case: write `{0}`")]
    UpperCase(String),
    #[error("browsers send the ASCII form: write `{0}`")]
    Unicode(String),
    #[error("no ASCII form of this host exists, so no browser can send it: correct the name")]
    UnicodeWithoutAscii,
    #[error("`{}` cannot be in a host: remove it", .0.escape_debug())]
    IllegalByte(char),
    #[error("remove the dot at the end: a name with it is another host to a browser")]
    TrailingDot,
    #[error("two dots in a row, or one at the start: write one label between dots")]
    EmptyLabel,
    #[error("a label has at most {MAX_LABEL} bytes: shorten `{0}`")]
    LongLabel(String),
    #[error("`{0}` is not the Punycode of anything: copy the name from a browser's address bar")]
    BadPunycode(String),
    #[error("a name cannot end in a number, as browsers take it for an IPv4 address")]
    NumericEnd,
    #[error("write an IPv4 address as four decimal numbers up to 255 without leading zeros")]
    MalformedV4,
    #[error("write an IPv6 address in brackets, in hexadecimal groups and without a zone")]
    MalformedV6,
    #[error("write an IPv6 address in brackets: `[{0}]`")]
    BareV6(Ipv6Addr),
    #[error("browsers write this address in its shortest form: write `[{0}]`")]
    LongV6(Ipv6Addr),
    #[error("this is an IPv4 address in IPv6 clothing: write `{0}`")]
    MappedV4(Ipv4Addr),
}

/// Reads `text` as a host.
pub(super) fn parse(text: &str) -> Result<Host, HostError> {
    if text.is_empty() {
        return Err(HostError::Empty);
    }
    if text.starts_with('[') {
        return ipv6(text).map(Host::V6);
    }
    if let Ok(address) = text.parse() {
        return Err(HostError::BareV6(address));
    }
    if text.len() > MAX_HOST && text.is_ascii() {
        return Err(HostError::TooLong);
    }
    characters(text)?;
    labels(text)?;
    if ends_in_number(text) {
        return match text.parse() {
            Ok(address) => Ok(Host::V4(address)),
            Err(_) if text.split('.').count() == 4 => Err(HostError::MalformedV4),
            Err(_) => Err(HostError::NumericEnd),
        };
    }
    punycode(text)?;
    Ok(Host::Name)
}

fn ipv6(text: &str) -> Result<Ipv6Addr, HostError> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address: Ipv6Addr =
        inner.and_then(|inner| inner.parse().ok()).ok_or(HostError::MalformedV6)?;
    if let Some(v4) = address.to_ipv4_mapped() {
        return Err(HostError::MappedV4(v4));
    }
    // The standard library writes the canonical form of RFC 5952, as browsers do.
    if inner == Some(address.to_string().as_str()) {
        Ok(address)
    } else {
        Err(HostError::LongV6(address))
    }
}

/// Letters, digits, hyphens, dots, and the underscore: not for the DNS's host names, but browsers
/// and resolvers take it, and names with it exist.
fn characters(text: &str) -> Result<(), HostError> {
    if !text.is_ascii() {
        return Err(match idna::domain_to_ascii(text) {
            Ok(ascii) if !ascii.is_empty() => HostError::Unicode(ascii),
            _ => HostError::UnicodeWithoutAscii,
        });
    }
    let legal = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if let Some(illegal) = text.chars().find(|c| !legal(c)) {
        return Err(HostError::IllegalByte(illegal));
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(HostError::UpperCase(text.to_ascii_lowercase()));
    }
    Ok(())
}

fn labels(text: &str) -> Result<(), HostError> {
    if text.strip_suffix('.').is_some_and(|rest| !rest.is_empty() && !rest.ends_with('.')) {
        return Err(HostError::TrailingDot);
    }
    for label in text.split('.') {
        if label.is_empty() {
            return Err(HostError::EmptyLabel);
        }
        if label.len() > MAX_LABEL {
            return Err(HostError::LongLabel(label.to_owned()));
        }
    }
    Ok(())
}

/// The "ends in a number checker" of the URL Standard, for lower-case text without a root dot.
fn ends_in_number(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Browsers decode every A-label and refuse the URL if it is not what they would have encoded.
fn punycode(text: &str) -> Result<(), HostError> {
    let is_a_label = |label: &str| label.starts_with("xn--");
    if !text.split('.').any(is_a_label) {
        return Ok(());
    }
    if idna::domain_to_ascii(text).is_ok_and(|ascii| ascii == text) {
        return Ok(());
    }
    let bad = text
        .split('.')
        .filter(|label| is_a_label(label))
        .find(|label| !idna::domain_to_ascii(label).is_ok_and(|ascii| ascii == **label));
    // With no label wrong by itself, it is their order: names mix directions by rules of their own.
    Err(HostError::BadPunycode(bad.unwrap_or(text).to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), MAX_HOST);
        for text in [
            "localhost",
            "a",
            "example.com",
            "foo_bar.example.com",
            "-a-.example.com",
            "r3---sn-x.example.com",
            "xn--mnchen-3ya.de",
            "a.xn--p1ai",
            "123.example.com",
            "1.2.3.4a",
            "0xg",
            "a1",
            &longest,
        ] {
            assert_eq!(parse(text), Ok(Host::Name), "{text}");
        }
        assert_eq!(parse("127.0.0.1"), Ok(Host::V4(Ipv4Addr::LOCALHOST)));
        assert_eq!(parse("[::1]"), Ok(Host::V6(Ipv6Addr::LOCALHOST)));
        for text in ["[2001:db8::1]", "[::]", "[2001:db8:0:1:1:1:1:1]", "[1:0:0:2::3]"] {
            let address = text.trim_matches(['[', ']']).parse().unwrap();
            assert_eq!(parse(text), Ok(Host::V6(address)), "{text}");
        }
    }

    #[test]
    fn refused() {
        use HostError as E;
        let label = "a".repeat(64);
        let name = |s: &str| s.to_owned();
        for (text, expected) in [
            ("", E::Empty),
            (&*"a.".repeat(127), E::TooLong),
            ("Example.com", E::UpperCase(name("example.com"))),
            ("münchen.de", E::Unicode(name("xn--mnchen-3ya.de"))),
            ("a\u{ad}\u{2028}", E::UnicodeWithoutAscii),
            ("a!b", E::IllegalByte('!')),
            ("a%20b", E::IllegalByte('%')),
            ("a*", E::IllegalByte('*')),
            ("example.com.", E::TrailingDot),
            (".", E::EmptyLabel),
            ("a..b", E::EmptyLabel),
            ("a..", E::EmptyLabel),
            (".a", E::EmptyLabel),
            (&*label, E::LongLabel(label.clone())),
            ("a.xn--a.b", E::BadPunycode(name("xn--a"))),
            ("xn--.b", E::BadPunycode(name("xn--"))),
            ("xn--foo-.b", E::BadPunycode(name("xn--foo-"))),
            ("foo.123", E::NumericEnd),
            ("foo.0x1f", E::NumericEnd),
            ("foo.0x", E::NumericEnd),
            ("2130706433", E::NumericEnd),
            ("127.1", E::NumericEnd),
            ("1.2.3.04", E::MalformedV4),
            ("1.2.3.256", E::MalformedV4),
            ("[::1", E::MalformedV6),
            ("[]", E::MalformedV6),
            ("[fe80::1%eth0]", E::MalformedV6),
            ("[1.2.3.4]", E::MalformedV6),
            ("::1", E::BareV6(Ipv6Addr::LOCALHOST)),
            ("[0:0:0:0:0:0:0:1]", E::LongV6(Ipv6Addr::LOCALHOST)),
            ("[2001:DB8::1]", E::LongV6("2001:db8::1".parse().unwrap())),
            ("[2001:db8::0:1]", E::LongV6("2001:db8::1".parse().unwrap())),
            ("[1:0:0:2:3::4]", E::LongV6("1::2:3:0:0:4".parse().unwrap())),
            ("[2001:db8::1:1:1:1:1]", E::LongV6("2001:db8:0:1:1:1:1:1".parse().unwrap())),
            ("[::ffff:1.2.3.4]", E::MappedV4(Ipv4Addr::new(1, 2, 3, 4))),
            ("[::ffff:102:304]", E::MappedV4(Ipv4Addr::new(1, 2, 3, 4))),
        ] {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }
}
