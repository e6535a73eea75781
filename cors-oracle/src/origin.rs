//! Origins (HTML §7.1.1), and how they are written (Fetch §3.2).

use url::{Host, Url};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A sandboxed frame, a local file, a `data:` URL: sent as `null`, the same as nobody else.
    Opaque,
    /// A page that was loaded from somewhere.
    Tuple {
        /// In lower case.
        scheme: String,
        /// In lower case and ASCII; an IPv6 address in brackets.
        host: String,
        /// Absent where it is the scheme's own.
        port: Option<u16>,
    },
}

impl Origin {
    /// The origin of a page with this URL, which may itself be only an origin; `null` is the
    /// opaque one. `None` where it is no URL.
    pub fn of_page(text: &str) -> Option<Self> {
        if text == "null" {
            return Some(Self::Opaque);
        }
        Url::parse(text).ok().map(|url| Self::of_url(&url))
    }

    /// The origin of a URL.
    pub fn of_url(url: &Url) -> Self {
        match url.origin() {
            url::Origin::Tuple(scheme, host, port) => {
                let own = matches!((&*scheme, port), ("http" | "ws", 80) | ("https" | "wss", 443));
                Self::Tuple { scheme, host: host.to_string(), port: (!own).then_some(port) }
            }
            // The standard calls these opaque, but extensions and applications that are built of
            // web pages have origins of their own, and browsers write them like any other.
            url::Origin::Opaque(_) => match url.host_str() {
                Some(host) if url.scheme() != "file" && !host.is_empty() => Self::Tuple {
                    scheme: url.scheme().to_owned(),
                    host: host.to_owned(),
                    port: url.port(),
                },
                _ => Self::Opaque,
            },
        }
    }

    /// "ASCII serialization of an origin": what stands in `Origin`.
    pub fn serialize(&self) -> String {
        match self {
            Self::Opaque => "null".to_owned(),
            Self::Tuple { scheme, host, port: None } => format!("{scheme}://{host}"),
            Self::Tuple { scheme, host, port: Some(port) } => format!("{scheme}://{host}:{port}"),
        }
    }

    /// "Same origin". No opaque origin is the same as another, not even as one like itself.
    pub fn is_same(&self, other: &Self) -> bool {
        *self != Self::Opaque && self == other
    }

    /// "Schemefully same site": the scheme, and the part of the host that somebody registered.
    pub(crate) fn is_same_site(&self, other: &Self) -> bool {
        let (Self::Tuple { scheme, host, .. }, Self::Tuple { scheme: s, host: h, .. }) =
            (self, other)
        else {
            return false;
        };
        let domain = |host: &str| match Host::parse(host) {
            Ok(Host::Domain(_)) => psl::domain_str(host).map(str::to_owned),
            _ => None,
        };
        // The list knows no dot at the end, which makes another name.
        let dots_agree = host.ends_with('.') == h.ends_with('.');
        let domains_agree = || domain(host).is_some_and(|d| domain(h) == Some(d));
        scheme == s && (host == h || dots_agree && domains_agree())
    }
}

/// "Potentially trustworthy" (Secure Contexts §3.1): https, or this very machine.
pub fn is_potentially_trustworthy(origin: &Origin) -> bool {
    let Origin::Tuple { scheme, host, .. } = origin else { return false };
    if matches!(&**scheme, "https" | "wss") {
        return true;
    }
    match Host::parse(host) {
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => address.is_loopback(),
        Ok(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Err(_) => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn serialization() {
        for (page, expected) in [
            ("https://app.example.com", "https://app.example.com"),
            ("https://App.Example.COM/a/b?c#d", "https://app.example.com"),
            ("https://app.example.com:443/", "https://app.example.com"),
            ("http://app.example.com:443", "http://app.example.com:443"),
            ("http://a.example:80", "http://a.example"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("https://a.example.", "https://a.example."),
            ("http://127.1:3000", "http://127.0.0.1:3000"),
            ("http://[0:0::1]:8080", "http://[::1]:8080"),
            ("https://user:pass@a.example", "https://a.example"),
            ("null", "null"),
            ("file:///home/me/a.html", "null"),
            ("data:text/html,x", "null"),
            ("about:blank", "null"),
            ("blob:https://a.example/1", "https://a.example"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://abc/x.html", "chrome-extension://abc"),
        ] {
            assert_eq!(Origin::of_page(page).unwrap().serialize(), expected, "{page}");
        }
        for page in ["", "app.example.com", "https://", "NULL", "https://a b", "//a.example"] {
            assert_eq!(Origin::of_page(page), None, "{page}");
        }
    }

    #[test]
    fn same_origin_and_same_site() {
        let origin = |page: &str| Origin::of_page(page).unwrap();
        for (a, b, same_origin, same_site) in [
            ("https://a.example", "https://a.example:443/x", true, true),
            ("https://a.example", "https://a.example:8443", false, true),
            ("https://a.example", "http://a.example", false, false),
            ("https://a.b.example", "https://c.b.example", false, true),
            ("https://a.github.io", "https://b.github.io", false, false),
            ("https://a.co.uk", "https://b.co.uk", false, false),
            ("http://10.0.0.1", "http://10.0.0.1:1", false, true),
            ("http://10.0.0.1", "http://11.0.0.1", false, false),
            ("null", "null", false, false),
            ("https://a.example", "https://a.example.", false, false),
        ] {
            assert_eq!(origin(a).is_same(&origin(b)), same_origin, "{a} {b}");
            assert_eq!(origin(b).is_same(&origin(a)), same_origin, "{b} {a}");
            assert_eq!(origin(a).is_same_site(&origin(b)), same_site, "{a} {b}");
        }
    }

    #[test]
    fn trustworthy() {
        for (page, expected) in [
            ("https://a.example", true),
            ("http://a.example", false),
            ("http://localhost:3000", true),
            ("http://a.localhost", true),
            ("http://127.9.9.9", true),
            ("http://[::1]", true),
            ("http://128.0.0.1", false),
            ("http://localhost.example", false),
            ("null", false),
        ] {
            assert_eq!(
                is_potentially_trustworthy(&Origin::of_page(page).unwrap()),
                expected,
                "{page}"
            );
        }
    }
}
