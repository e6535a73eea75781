//! The policy of the tests, and requests that fit it.

use std::fmt::Write as _;

/// The host that the policy matches.
pub const HOST: &str = "api.example.com";
/// An origin that the policy allows.
pub const ORIGIN: &str = "https://app.example.com";
/// An origin that it does not.
pub const FOREIGN_ORIGIN: &str = "https://evil.example";

/// A policy file that protects these sockets.
pub fn file(listen: &[impl ToString]) -> String {
    let listen: Vec<_> = listen.iter().map(|socket| format!("{:?}", socket.to_string())).collect();
    format!(
        r#"
[server]
listen = [{}]

[[policy]]
name = "api"
match = {{ hosts = ["{HOST}"], path_prefix = "/v1/" }}
allow_origins = ["{ORIGIN}", "https://*.example.org"]
allow_methods = ["PUT", "PATCH", "DELETE"]
allow_headers = ["authorization", "content-type", "x-requested-with"]
expose_headers = ["x-request-id"]
allow_credentials = true
max_age = 600
"#,
        listen.join(", ")
    )
}

/// A request head out of its first line and headers.
pub fn head(first_line: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("{first_line}\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("writing to a string");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// The headers of a preflight as Chromium sends them, from this origin.
pub fn preflight_headers(origin: &str) -> Vec<(&str, &str)> {
    vec![
        ("Host", HOST),
        ("Connection", "keep-alive"),
        ("Accept", "*/*"),
        ("Access-Control-Request-Method", "PUT"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
        ("Origin", origin),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0.0.0"),
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Dest", "empty"),
        ("Referer", "https://app.example.com/"),
        ("Accept-Encoding", "gzip, deflate"),
        ("Accept-Language", "en-US,en;q=0.9"),
    ]
}

/// A preflight that the policy allows.
pub fn preflight(path: &str) -> Vec<u8> {
    preflight_from(ORIGIN, path)
}

/// A preflight from any origin.
pub fn preflight_from(origin: &str, path: &str) -> Vec<u8> {
    head(&format!("OPTIONS {path} HTTP/1.1"), &preflight_headers(origin))
}

/// A GET.
pub fn get(path: &str) -> Vec<u8> {
    head(&format!("GET {path} HTTP/1.1"), &[("Host", HOST), ("Origin", ORIGIN)])
}

/// A PUT with a body.
pub fn put(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let headers = [("Host", HOST), ("Origin", ORIGIN), ("Content-Length", &length)];
    let mut request = head(&format!("PUT {path} HTTP/1.1"), &headers);
    request.extend(body);
    request
}
