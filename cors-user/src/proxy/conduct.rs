//! What a proxy changes in the headers that it forwards (RFC 9110 §7.6). Pure.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

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

/// Says where a request came from: in addition to what is said already where the peer is trusted,
/// in its place otherwise.
pub(super) fn say_where_from(headers: &mut HeaderMap, client: Client, host: &str) {
    if !client.trusted {
        for name in [FORWARDED, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO] {
            headers.remove(name);
        }
    }
    let proto = if client.tls { "https" } else { "http" };
    let address = client.peer.ip().to_canonical();
    let node = match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("\"[{v6}]\""),
    };
    add(headers, FORWARDED_FOR, &address.to_string());
    add(headers, FORWARDED, &format!("for={node};host=\"{host}\";proto={proto}"));
    for (name, value) in [(FORWARDED_HOST, host), (FORWARDED_PROTO, proto)] {
        if !headers.contains_key(&name)
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.insert(name, value);
        }
    }
}

/// Says that a message went through here.
pub(super) fn say_via(headers: &mut HeaderMap, version: Version) {
    let version = match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2.0",
        _ => "1.1",
    };
    add(headers, header::VIA, &format!("{version} cors-edge"));
}

/// Adds an element to a list, in one line with those that are there.
fn add(headers: &mut HeaderMap, name: HeaderName, element: &str) {
    let mut list: Vec<u8> = Vec::new();
    for line in headers.get_all(&name) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.insert(name, value);
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
        say_where_from(&mut all, client("10.0.0.1:5", false), "a.example");
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
        say_where_from(&mut all, client("[2001:db8::1]:5", true), "a.example");
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
