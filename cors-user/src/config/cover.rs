//! Which origin pattern takes everything that another one takes: to find rules that do nothing.
//! Pure.

use super::model::{OriginPattern, WildcardPort, WildcardScheme};

/// Whether `wide` takes every origin that `narrow` takes.
pub(super) fn covers(wide: &OriginPattern, narrow: &OriginPattern) -> bool {
    let (wide, narrow) = (Parts::of(wide), Parts::of(narrow));
    wide.scheme == narrow.scheme
        && hosts_cover(wide.host, narrow.host)
        && (wide.port == WildcardPort::Any || wide.port == narrow.port)
}

/// Hosts that a pattern takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hosts<'a> {
    One(&'a str),
    Below(&'a str),
}

fn hosts_cover(wide: Hosts<'_>, narrow: Hosts<'_>) -> bool {
    match (wide, narrow) {
        (Hosts::One(_), _) => wide == narrow,
        (Hosts::Below(wide), Hosts::One(host)) => is_below(host, wide),
        (Hosts::Below(wide), Hosts::Below(narrow)) => wide == narrow || is_below(narrow, wide),
    }
}

/// Whether `host` is whole labels, a dot, and `suffix`.
fn is_below(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix).is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
}

struct Parts<'a> {
    scheme: &'a str,
    host: Hosts<'a>,
    port: WildcardPort,
}

impl<'a> Parts<'a> {
    fn of(pattern: &'a OriginPattern) -> Self {
        match pattern {
            OriginPattern::Subdomains { scheme, suffix, port } => Self {
                scheme: match scheme {
                    WildcardScheme::Http => "http",
                    WildcardScheme::Https => "https",
                },
                host: Hosts::Below(suffix),
                port: *port,
            },
            OriginPattern::AnyPort(origin) => {
                let (scheme, host) = split_scheme(origin);
                Self { scheme, host: Hosts::One(host), port: WildcardPort::Any }
            }
            OriginPattern::Exact(origin) => {
                let (scheme, authority) = split_scheme(origin);
                // The colons of an IPv6 address are followed by its bracket.
                let port = authority.rsplit_once(':').and_then(|(host, port)| {
                    port.parse().ok().map(|port| (host, WildcardPort::Exact(port)))
                });
                let (host, port) = port.unwrap_or((authority, WildcardPort::Default));
                Self { scheme, host: Hosts::One(host), port }
            }
        }
    }
}

fn split_scheme(origin: &str) -> (&str, &str) {
    origin.split_once("://").expect("an origin pattern has a scheme")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::super::origin::{Origin, parse};
    use super::*;

    #[test]
    fn covering() {
        let pattern = |text: &str| match parse(text).unwrap() {
            Origin::Pattern(pattern) => pattern,
            Origin::Any => panic!("not a pattern"),
        };
        for (wide, narrow, expected) in [
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://a.example:8443", false),
            ("https://a.example:*", "https://a.example:8443", true),
            ("https://a.example:*", "https://a.example", true),
            ("https://a.example:8443", "https://a.example:*", false),
            ("http://[::1]:*", "http://[::1]:3000", true),
            ("http://[::1]:*", "http://[::1]", true),
            ("http://[::2]:*", "http://[::1]", false),
            ("https://*.b.example", "https://a.b.example", true),
            ("https://*.b.example", "https://x.a.b.example", true),
            ("https://*.b.example", "https://b.example", false),
            ("https://*.b.example", "https://ab.example", false),
            ("https://*.b.example", "https://a.xb.example", false),
            ("https://*.b.example", "http://a.b.example", false),
            ("https://*.b.example", "https://a.b.example:8443", false),
            ("https://*.b.example:*", "https://a.b.example:8443", true),
            ("https://*.b.example:8443", "https://a.b.example:8443", true),
            ("https://*.b.example", "https://*.a.b.example", true),
            ("https://*.a.b.example", "https://*.b.example", false),
            ("https://*.b.example:*", "https://*.b.example", true),
            ("https://*.b.example", "https://*.b.example:*", false),
            ("https://*.b.example:*", "https://a.b.example:*", true),
            ("https://a.b.example", "https://*.b.example", false),
        ] {
            assert_eq!(covers(&pattern(wide), &pattern(narrow)), expected, "{wide} {narrow}");
        }
    }
}
