//! The answer's bytes. Their sum is checked with every answer of every test.

use crate::support::{DATE, Engine, Request};

const ECHOED: &str =
    "Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n";
const STATIC: &str = "Vary: Access-Control-Request-Method, Access-Control-Request-Headers\r\n";

fn check(lines: &str, expected: &str) {
    let engine = Engine::policy(lines);
    for origin in ["https://a.example", "https://a.example:8443", "https://aa.example"] {
        for close in [false, true] {
            let mut request = Request::new().origin(origin).method("GET");
            let mut end = "\r\n";
            if close {
                request = request.add("Connection: close");
                end = "\r\nConnection: close\r\n";
            }
            let reply = String::from_utf8(engine.ask(&request.bytes()).unwrap()).unwrap();
            let expected = expected.replace("{origin}", origin);
            let start = "HTTP/1.1 204 No Content\r\nDate: ";
            assert_eq!(reply, format!("{start}{DATE}\r\n{expected}{end}\r\n"));
        }
    }
}

const ORIGINS: &str = "allow_origins = [\"https://a.example:*\", \"https://aa.example\"]";

#[test]
fn the_least() {
    check(ORIGINS, &format!("{ECHOED}Access-Control-Allow-Origin: {{origin}}"));
}

#[test]
fn each_header() {
    for (lines, header) in [
        ("allow_credentials = true", "Access-Control-Allow-Credentials: true\r\n"),
        ("allow_methods = [\"PUT\"]", "Access-Control-Allow-Methods: PUT\r\n"),
        ("allow_methods = [\"PUT\", \"DELETE\"]", "Access-Control-Allow-Methods: PUT, DELETE\r\n"),
        ("allow_methods = [\"*\"]", "Access-Control-Allow-Methods: *\r\n"),
        ("allow_headers = [\"X-B\", \"a\"]", "Access-Control-Allow-Headers: x-b, a\r\n"),
        ("allow_headers = [\"*\"]", "Access-Control-Allow-Headers: *\r\n"),
        (
            "allow_headers = [\"authorization\", \"*\"]",
            "Access-Control-Allow-Headers: *, authorization\r\n",
        ),
        ("max_age = 0", "Access-Control-Max-Age: 0\r\n"),
        ("max_age = 86400", "Access-Control-Max-Age: 86400\r\n"),
        // For actual responses only.
        ("expose_headers = [\"x-request-id\"]", ""),
    ] {
        let expected = format!("{header}{ECHOED}Access-Control-Allow-Origin: {{origin}}");
        check(&format!("{ORIGINS}\n{lines}"), &expected);
    }
}

#[test]
fn any_origin_is_answered_with_a_star() {
    check("allow_origins = [\"*\"]", &format!("{STATIC}Access-Control-Allow-Origin: *"));
}

#[test]
fn any_origin_with_credentials_is_answered_with_itself() {
    check(
        "allow_origins = [\"*\"]\nallow_credentials = true\n\
         dangerously_allow = [\"reflect_any_with_credentials\"]",
        &format!(
            "Access-Control-Allow-Credentials: true\r\n{ECHOED}\
             Access-Control-Allow-Origin: {{origin}}"
        ),
    );
}

#[test]
fn sums_hold_for_every_length() {
    // Odd and even: the first piece, the origin, and where the origin is in the head.
    for pad in 1..=9 {
        let header = "h".repeat(pad);
        let engine = Engine::policy(&format!(
            "allow_origins = [\"https://*.example\"]\nallow_headers = [\"{header}\"]"
        ));
        for len in 1..=200 {
            let origin = format!("https://{}.example", "a".repeat(len));
            for extra in ["", "?", "?a"] {
                let request = Request::to(&format!("/{extra}")).origin(&origin).method("GET");
                assert!(engine.answers(&request));
                assert!(engine.answers(&request.add("Connection: close")));
            }
        }
    }
}
