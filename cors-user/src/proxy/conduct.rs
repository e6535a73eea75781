//! What a proxy changes in the headers that it forwards (RFC 9110 §7.6). Pure.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{self, Entry},
};

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    /// The client, or the proxy in front of this one.
    pub(super) peer: SocketAddr,
    /// It is one whose word on where a request came from is taken.
    pub(super) trusted: bool,
    /// It came by TLS.
    pub(super) tls: bool,
}

const FORWARDED: HeaderName = header::FORWARDED;
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Headers for one hop alone, whether or not `Connection` names them.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Headers that a `Connection` cannot take away: what is judged here, and what the next server
/// needs to see it as it was judged.
const END_TO_END: [HeaderName; 5] =
    [header::HOST, header::ORIGIN, header::CONTENT_LENGTH, header::AUTHORIZATION, header::COOKIE];

/// Takes away what is for one hop alone. Returns the protocols of an upgrade that is asked for.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let options = headers.get_all(header::CONNECTION).iter();
    let options = options.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let named: Vec<HeaderName> =
        options.filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok()).collect();
    let upgrade =
        if named.contains(&header::UPGRADE) { headers.get(header::UPGRADE) } else { None };
    let upgrade = upgrade.cloned();
    for name in named.iter().filter(|name| !END_TO_END.contains(name)).chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    upgrade
}

/// Whether the client takes trailers, which `TE` says (RFC 9110 §10.1.4).
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::TE).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).any(|coding| {
        let end = coding.iter().position(|byte| *byte == b';').unwrap_or(coding.len());
        coding[..end].trim_ascii().eq_ignore_ascii_case(b"trailers")
    })
}

/// What is said about where the requests of a connection came from.
#[derive(Debug)]
pub(super) struct Origin {
    trusted: bool,
    address: HeaderValue,
    proto: &'static str,
    /// `for=` and its value.
    node: String,
    /// The host that was last asked for, and the value of `Forwarded` with it: a connection is
    /// mostly for one.
    last: Mutex<Option<(HeaderValue, HeaderValue)>>,
}

impl Origin {
    pub(super) fn new(client: Client) -> Self {
        let address = client.peer.ip().to_canonical();
        let text = address.to_string();
        Self {
            trusted: client.trusted,
            address: HeaderValue::try_from(&*text)
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            proto: if client.tls { "https" } else { "http" },
            node: match address {
                IpAddr::V4(_) => format!("for={text}"),
                IpAddr::V6(_) => format!("for=\"[{text}]\""),
            },
            last: Mutex::default(),
        }
    }

    /// Says it: in addition to what is said already where the peer is trusted, in its place
    /// otherwise.
    pub(super) fn say(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        let forwarded = self.forwarded(host);
        let own = [
            (FORWARDED_FOR, self.address.clone()),
            (FORWARDED, forwarded),
            (FORWARDED_HOST, host.clone()),
            (FORWARDED_PROTO, HeaderValue::from_static(self.proto)),
        ];
        if !self.trusted {
            for (name, value) in own {
                headers.insert(name, value);
            }
            return;
        }
        for (name, value) in own {
            if name == FORWARDED || name == FORWARDED_FOR {
                add(headers, name, value);
            } else {
                headers.entry(name).or_insert(value);
            }
        }
    }

    fn forwarded(&self, host: &HeaderValue) -> HeaderValue {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, forwarded)) = &*last
            && known == host
        {
            return forwarded.clone();
        }
        let Self { node, proto, .. } = self;
        let text = format!("{node};host=\"{}\";proto={proto}", host.to_str().unwrap_or_default());
        let forwarded = HeaderValue::try_from(text).unwrap_or_else(|_| self.address.clone());
        // A copy: the value is a part of everything that was read with it.
        let known = HeaderValue::from_bytes(host.as_bytes()).unwrap_or_else(|_| host.clone());
        *last = Some((known, forwarded.clone()));
        forwarded
    }
}

/// Says that a message went through here.
pub(super) fn say_via(headers: &mut HeaderMap, version: Version) {
    let via = HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 cors-edge",
        Version::HTTP_2 => "2.0 cors-edge",
        _ => "1.1 cors-edge",
    });
    add(headers, header::VIA, via);
}

/// Adds an element to a list, in one line with those that are there.
fn add(headers: &mut HeaderMap, name: HeaderName, element: HeaderValue) {
    let list = match headers.entry(name) {
        Entry::Vacant(vacant) => {
            vacant.insert(element);
            return;
        }
        Entry::Occupied(list) => list,
    };
    let mut lines: Vec<&[u8]> = list.iter().map(HeaderValue::as_bytes).collect();
    lines.push(element.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&lines.join(&b", "[..])) {
        let mut list = list;
        list.insert(value);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn client(peer: &str, trusted: bool) -> Client {
        Client { peer: peer.parse().unwrap(), trusted, tls: false }
    }

    #[test]
    fn what_is_for_one_hop_ends_here() {
        let mut all = headers(&[
            ("connection", "x-a, close"),
            ("connection", "X-B,origin"),
            ("x-a", "1"),
            ("x-b", "2"),
            ("x-c", "3"),
            ("origin", "https://a.example"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
        ]);
        assert!(takes_trailers(&all));
        assert_eq!(remove_hop_by_hop(&mut all), None);
        assert_eq!(all, headers(&[("x-c", "3"), ("origin", "https://a.example")]));
    }

    #[test]
    fn an_upgrade_is_told() {
        let mut all = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(remove_hop_by_hop(&mut all).unwrap(), "websocket");
        assert!(all.is_empty());
    }

    #[test]
    fn strangers_are_not_believed() {
        let said = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https")];
        let mut all = headers(&said);
        let origin = Origin::new(client("10.0.0.1:5", false));
        origin.say(&mut all, &HeaderValue::from_static("a.example"));
        assert_eq!(
            all,
            headers(&[
                ("x-forwarded-for", "10.0.0.1"),
                ("forwarded", "for=10.0.0.1;host=\"a.example\";proto=http"),
                ("x-forwarded-host", "a.example"),
                ("x-forwarded-proto", "http"),
            ])
        );
        let mut all = headers(&said);
        let origin = Origin::new(client("[2001:db8::1]:5", true));
        // Another host than the one before.
        origin.say(&mut headers(&[]), &HeaderValue::from_static("b.example"));
        origin.say(&mut all, &HeaderValue::from_static("a.example"));
        assert_eq!(all["x-forwarded-for"], "1.1.1.1, 2001:db8::1");
        assert_eq!(all["x-forwarded-proto"], "https");
        assert_eq!(all["forwarded"], "for=\"[2001:db8::1]\";host=\"a.example\";proto=http");
    }

    #[test]
    fn via_is_one_line() {
        let mut all = headers(&[("via", "1.0 a"), ("via", "1.1 b")]);
        say_via(&mut all, Version::HTTP_2);
        assert_eq!(all, headers(&[("via", "1.0 a, 1.1 b, 2.0 cors-edge")]));
    }
}
