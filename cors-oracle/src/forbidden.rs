//! What scripts cannot touch: request headers, response headers, ports (Fetch §2.2.2, §2.9).

use crate::{header::Header, method::is_forbidden_method, syntax::trim};

const REQUEST: [&str; 21] = [
    "accept-charset",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "date",
    "dnt",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
const OVERRIDES: [&str; 3] = ["x-http-method", "x-http-method-override", "x-method-override"];

/// Whether a script that sets this header is ignored.
pub fn is_forbidden_request_header(header: &Header) -> bool {
    let name = header.name.to_ascii_lowercase();
    REQUEST.contains(&&*name)
        || name.starts_with("proxy-")
        || name.starts_with("sec-")
        || OVERRIDES.contains(&&*name)
            && split(&header.value)
                .iter()
                .any(|method| is_forbidden_method(&String::from_utf8_lossy(method)))
}

/// Whether no script sees this header of a response.
pub fn is_forbidden_response_header(name: &str) -> bool {
    ["set-cookie", "set-cookie2"].iter().any(|forbidden| forbidden.eq_ignore_ascii_case(name))
}

/// "Get, decode, and split": at commas that are not inside quotes.
fn split(value: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = value.iter();
    let mut quoted = false;
    while let Some(byte) = bytes.next() {
        let last = parts.len() - 1;
        match byte {
            b',' if !quoted => {
                parts.push(Vec::new());
                continue;
            }
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                parts[last].push(*byte);
                parts[last].extend(bytes.next());
                continue;
            }
            _ => {}
        }
        parts[last].push(*byte);
    }
    parts.iter().map(|part| trim(part).to_vec()).collect()
}

/// Ports of other protocols, which no browser connects to.
const BAD_PORTS: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
    102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427,
    465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990,
    993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667,
    6668, 6669, 6679, 6697, 10080,
];

/// Whether browsers do not connect to this port.
pub fn is_bad_port(port: u16) -> bool {
    BAD_PORTS.contains(&port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forbidden(name: &str, value: &str) -> bool {
        is_forbidden_request_header(&Header {
            name: name.to_owned(),
            value: value.as_bytes().to_vec(),
        })
    }

    #[test]
    fn request_headers() {
        for name in REQUEST {
            assert!(forbidden(name, "") && forbidden(&name.to_ascii_uppercase(), "x"), "{name}");
        }
        for name in ["Sec-Fetch-Mode", "proxy-authorization", "sec-", "Proxy-"] {
            assert!(forbidden(name, ""), "{name}");
        }
        for name in ["authorization", "user-agent", "cookies", "x-sec-a", "sec", "content-type"] {
            assert!(!forbidden(name, "TRACE"), "{name}");
        }
    }

    #[test]
    fn methods_that_override() {
        for value in ["TRACE", "get, track", " connect ,", "a\"b,c\",TRACE"] {
            assert!(forbidden("X-HTTP-Method-Override", value), "{value}");
        }
        for value in ["PUT", "", "TRACER", "\"x,TRACE,y\"", "TRACE PUT"] {
            assert!(!forbidden("x-method-override", value), "{value}");
        }
    }

    #[test]
    fn response_headers() {
        assert!(is_forbidden_response_header("Set-Cookie"));
        assert!(is_forbidden_response_header("set-cookie2"));
        assert!(!is_forbidden_response_header("cookie"));
    }

    #[test]
    fn ports() {
        for port in [0, 22, 25, 6000, 6667, 10080] {
            assert!(is_bad_port(port), "{port}");
        }
        for port in [80, 443, 3000, 8080, 8443, 10081, 6001] {
            assert!(!is_bad_port(port), "{port}");
        }
        assert!(BAD_PORTS.is_sorted());
    }
}
