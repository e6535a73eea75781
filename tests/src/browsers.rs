//! Preflights as browsers and proxies write them, header by header.

use crate::policy::{self, HOST, ORIGIN};

/// Names and values, in the order in which they are sent.
pub type Headers = Vec<(&'static str, &'static str)>;

/// The request line of all of them.
pub const REQUEST: &str = "OPTIONS /v1/json-post HTTP/1.1";
const METHOD: (&str, &str) = ("Access-Control-Request-Method", "POST");
const HEADERS: (&str, &str) = ("Access-Control-Request-Headers", "content-type");
const REFERER: (&str, &str) = ("Referer", "https://app.example.com/");
const LANGUAGE: (&str, &str) = ("Accept-Language", "en-US,en;q=0.9");

/// Chromium.
pub fn chromium() -> Headers {
    vec![
        ("Host", HOST),
        ("Connection", "keep-alive"),
        ("Accept", "*/*"),
        METHOD,
        HEADERS,
        ("Origin", ORIGIN),
        (
            "User-Agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/156.0.0.0 Safari/537.36",
        ),
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Dest", "empty"),
        REFERER,
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        LANGUAGE,
    ]
}

fn firefox() -> Headers {
    vec![
        ("Host", HOST),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"),
        ("Accept", "*/*"),
        LANGUAGE,
        ("Accept-Encoding", "gzip, deflate"),
        METHOD,
        HEADERS,
        REFERER,
        ("Origin", ORIGIN),
        ("Sec-Fetch-Storage-Access", "none"),
        ("Connection", "keep-alive"),
        ("Sec-Fetch-Dest", "empty"),
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Priority", "u=4"),
    ]
}

fn webkit() -> Headers {
    vec![
        ("Origin", ORIGIN),
        METHOD,
        REFERER,
        HEADERS,
        (
            "User-Agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/26.0 Safari/605.1.15",
        ),
        ("Accept", "*/*"),
        ("Accept-Encoding", "gzip, deflate"),
        LANGUAGE,
        ("Connection", "Keep-Alive"),
        ("Host", HOST),
    ]
}

/// What Safari adds where it speaks HTTP/1.1 itself.
fn safari() -> Headers {
    let mut headers = webkit();
    headers.insert(4, ("Content-Length", "0"));
    headers
}

/// Firefox over HTTP/2 through `HAProxy`, which forwards `te`.
fn firefox_through_haproxy() -> Headers {
    let mut headers = firefox();
    headers.retain(|(name, _)| *name != "Connection");
    headers.push(("TE", "trailers"));
    headers.push(("X-Forwarded-For", "203.0.113.9"));
    headers
}

/// Chromium through Envoy.
fn chromium_through_envoy() -> Headers {
    let mut headers = chromium();
    headers.retain(|(name, _)| *name != "Connection");
    headers.extend([
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Proto", "https"),
        ("X-Envoy-External-Address", "203.0.113.9"),
        ("X-Request-Id", "1f0c1a2e-5d0e-4d59-9d2c-3c1b8a2a9f10"),
        ("X-Envoy-Expected-Rq-Timeout-Ms", "15000"),
        ("Content-Length", "0"),
    ]);
    headers
}

/// `WebKit` through Caddy, which sorts.
fn webkit_through_caddy() -> Headers {
    let mut headers = webkit();
    headers.retain(|(name, _)| *name != "Connection" && *name != "Host");
    headers.extend([
        ("Via", "2.0 Caddy"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Host", HOST),
        ("X-Forwarded-Proto", "https"),
    ]);
    headers.sort_unstable();
    headers.insert(0, ("Host", HOST));
    headers
}

/// Every browser, directly and through proxies.
pub const WRITERS: [fn() -> Headers; 7] = [
    chromium,
    firefox,
    webkit,
    safari,
    firefox_through_haproxy,
    chromium_through_envoy,
    webkit_through_caddy,
];

/// Ways to write a header's name.
pub const CASES: [fn(&str) -> String; 4] =
    [str::to_owned, str::to_ascii_lowercase, str::to_ascii_uppercase, |name| {
        let odd = |(at, c): (usize, char)| if at % 2 == 1 { c.to_ascii_uppercase() } else { c };
        name.to_ascii_lowercase().chars().enumerate().map(odd).collect()
    }];

/// Every header first once, and every one last; then all the other way round.
pub fn orders(headers: &Headers) -> Vec<Headers> {
    let rotated = (0..headers.len()).map(|by| {
        let mut order = headers.clone();
        order.rotate_left(by);
        order
    });
    rotated.chain([headers.iter().rev().copied().collect()]).collect()
}

/// A head with the names of its headers written in this way.
pub fn head(headers: &Headers, case: fn(&str) -> String) -> Vec<u8> {
    let cased: Vec<_> = headers.iter().map(|(name, value)| (case(name), *value)).collect();
    let cased: Vec<_> = cased.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    policy::head(REQUEST, &cased)
}
