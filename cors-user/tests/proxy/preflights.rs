//! Preflights: answered like the driver answers them, never forwarded, denied without a word.

use cors_common::{head::Head, state::Date};
use cors_user::compile::{self, Limits};

use crate::support::{Edge, POLICY, Upstream, config, request};

const ALLOWED: &[&str] = &[
    "Origin: https://app.example.com",
    "Access-Control-Request-Method: PUT",
    "Access-Control-Request-Headers: authorization,content-type",
];

fn preflight(headers: &[&str]) -> Vec<u8> {
    request("OPTIONS /v1/users", headers)
}

/// The bytes that the driver answers with at this date; none where it passes.
fn driver(request: &[u8], date: &str, policies: &str) -> Option<String> {
    let config = config("upstream = \"http://127.0.0.1:1\"", policies);
    let image = compile::compile(&config, Limits { lines: 1 << 12, policies: 64 }).unwrap();
    let date = Date::new(date.as_bytes().try_into().unwrap());
    let mut head = Head::new();
    head.buffer()[..request.len()].copy_from_slice(request);
    head.read(request.len()).ok()?;
    let answer = image.decide(&mut head).ok()?;
    Some(String::from_utf8(compile::render(&image, &answer, &head, &date)).unwrap())
}

#[test]
fn the_bytes_are_those_of_the_driver() {
    let upstream = Upstream::usual();
    for (policies, edge) in [
        (POLICY.to_owned(), Edge::before(upstream.at)),
        (with("success_status = 200"), Edge::policies(upstream.at, &with("success_status = 200"))),
        (
            with("validate = \"static\""),
            Edge::policies(upstream.at, &with("validate = \"static\"")),
        ),
        (gateway(), Edge::policies(upstream.at, &gateway())),
    ] {
        for more in [&[][..], &["Connection: close"], &["Connection: keep-alive", "TE: trailers"]] {
            for (line, headers) in [
                ("OPTIONS /v1/users?id=1", ALLOWED),
                ("OPTIONS /v1", &ALLOWED[..2]),
                (
                    "OPTIONS /v1/x",
                    &["Origin: https://a.b.example.org", "Access-Control-Request-Method: POST"],
                ),
                ("OPTIONS /public", &["Origin: null", "Access-Control-Request-Method: GET"]),
            ] {
                let request = request(line, &[headers, more].concat());
                let answer = edge.ask(&request);
                let date = answer.get("date").unwrap().to_owned();
                let Some(expected) = driver(&request, &date, &policies) else {
                    panic!("the driver passes {line}");
                };
                assert_eq!(answer.head, expected);
                assert!(answer.body.is_empty());
            }
        }
    }
    assert!(upstream.received().is_empty(), "a preflight was forwarded");
}

/// The policy of the tests with lines of `[policy.preflight]` for its first policy.
fn with(preflight: &str) -> String {
    POLICY.replacen(
        "max_age = 600\n",
        &format!("max_age = 600\n[policy.preflight]\n{preflight}\n"),
        1,
    )
}

fn gateway() -> String {
    POLICY.replace("max_age = 600\n", "compat = \"gateway-api\"\n")
}

#[test]
fn profiles() {
    let upstream = Upstream::usual();
    let edge = Edge::policies(upstream.at, &gateway());
    let answer = edge.ask(&preflight(ALLOWED));
    assert_eq!(answer.get("access-control-expose-headers"), Some("x-request-id"));
    assert_eq!(answer.get("access-control-max-age"), Some("5"));

    let policies = with("success_status = 200\ndenied_status = 404");
    let edge = Edge::policies(upstream.at, &policies);
    let answer = edge.ask(&preflight(ALLOWED));
    assert_eq!((answer.status(), answer.get("content-length")), (200, Some("0")));
    let denied = ["Origin: https://evil.example", "Access-Control-Request-Method: PUT"];
    assert_eq!(edge.ask(&preflight(&denied)).status(), 404);

    let policies = with("validate = \"static\"");
    let edge = Edge::policies(upstream.at, &policies);
    let odd = [
        "Origin: https://app.example.com",
        "Access-Control-Request-Method: BREW",
        "Access-Control-Request-Headers: x-unheard-of",
    ];
    let answer = edge.ask(&preflight(&odd));
    assert_eq!(answer.get("access-control-allow-methods"), Some("PUT, PATCH, DELETE"));
    assert_eq!(edge.ask(&preflight(&denied)).status(), 403);

    let policies = with("advertise = \"minimal\"");
    let edge = Edge::policies(upstream.at, &policies);
    let answer = edge.ask(&preflight(&ALLOWED[..2]));
    assert_eq!(answer.get("access-control-allow-methods"), Some("PUT"));
    assert_eq!(answer.get("access-control-allow-headers"), None);
    let answer = edge.ask(&preflight(ALLOWED));
    assert_eq!(answer.get("access-control-allow-headers"), Some("authorization, content-type"));
    assert_eq!(edge.ask(&preflight(&odd)).status(), 403);
    // The driver has no answer that fits.
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    assert_eq!(driver(&preflight(ALLOWED), date, &policies), None);
}

#[test]
fn every_form_of_the_list_is_read() {
    let upstream = Upstream::usual();
    let edge = Edge::before(upstream.at);
    let start = &ALLOWED[..2];
    let list = "Access-Control-Request-Headers:";
    for lines in [
        vec![format!("{list} Content-Type, AUTHORIZATION")],
        vec![format!("{list} content-type"), format!("{list}authorization")],
        vec![format!("{list} ,,content-type,\t,")],
        vec![format!("{list} content-type,content-type")],
        vec![format!("{list} x_odd")],
        vec![list.to_owned()],
        vec![],
    ] {
        let lines: Vec<&str> =
            start.iter().copied().chain(lines.iter().map(String::as_str)).collect();
        let answer = edge.ask(&preflight(&lines));
        assert_eq!(answer.status(), 204, "{lines:?}\n{}", answer.head);
        assert_eq!(answer.get("access-control-allow-origin"), Some("https://app.example.com"));
    }
    assert_eq!(edge.count("answered"), 7);
    assert!(upstream.received().is_empty());
}

#[test]
fn what_is_denied_learns_nothing() {
    let upstream = Upstream::usual();
    let edge = Edge::before(upstream.at);
    let method = "Access-Control-Request-Method: PUT";
    let origin = "Origin: https://app.example.com";
    let many = format!("Access-Control-Request-Headers: {}", "a,".repeat(4000));
    let long = format!("Access-Control-Request-Headers: {}", "a".repeat(8000));
    let denied: &[(&str, &[&str])] = &[
        ("origin_denied", &["Origin: https://evil.example", method]),
        ("origin_denied", &["Origin: http://app.example.com", method]),
        ("origin_denied", &["Origin: https://app.example.com:8443", method]),
        ("origin_denied", &["Origin: https://APP.example.com", method]),
        ("origin_denied", &["Origin: https://app.example.com.", method]),
        ("origin_denied", &["Origin: https://example.org", method]),
        ("origin_denied", &["Origin: https://evilexample.org", method]),
        ("origin_denied", &["Origin: null", method]),
        ("origin_denied", &["Origin: https://app.example.com, https://evil.example", method]),
        ("header_value", &["Origin:", method]),
        ("duplicate", &[origin, "Origin: https://evil.example", method]),
        ("duplicate", &[origin, method, method]),
        ("method_denied", &[origin, "Access-Control-Request-Method: put"]),
        ("method_denied", &[origin, "Access-Control-Request-Method: LINK"]),
        ("method_denied", &[origin, "Access-Control-Request-Method: PUT, PATCH"]),
        ("method_denied", &[origin, "Access-Control-Request-Method:"]),
        ("header_denied", &[origin, method, "Access-Control-Request-Headers: x-other"]),
        ("request_headers", &[origin, method, "Access-Control-Request-Headers: a b"]),
        ("request_headers", &[origin, method, &many]),
        ("request_headers", &[origin, method, &long]),
    ];
    for (name, headers) in denied {
        let before = edge.count(name);
        let answer = edge.ask(&preflight(headers));
        assert_eq!(answer.status(), 403, "{name} {headers:?}\n{}", answer.head);
        assert!(!answer.says_cors(), "{}", answer.head);
        let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        assert_eq!(answer.get("vary"), Some(vary));
        assert_eq!(edge.count(name), before + 1, "{name} {headers:?} {:?}", edge.counted());
    }
    assert!(upstream.received().is_empty(), "a denied preflight was forwarded");
}

#[test]
fn an_options_that_is_no_preflight_is_forwarded() {
    let upstream = Upstream::saying("HTTP/1.1 200 OK\r\nAllow: GET\r\nContent-Length: 0\r\n\r\n");
    let edge = Edge::before(upstream.at);
    let mut client = edge.connect();
    for (line, headers) in [
        ("OPTIONS /v1/x", &["Origin: https://app.example.com"][..]),
        ("OPTIONS /v1/x", &["Access-Control-Request-Method: PUT"]),
        ("OPTIONS /v1/x", &[]),
        ("OPTIONS *", &[]),
        // No policy is for these.
        ("OPTIONS /other", ALLOWED),
        ("OPTIONS /v10", ALLOWED),
    ] {
        client.send(&request(line, headers));
        let answer = client.answer();
        assert_eq!((answer.status(), answer.get("allow")), (200, Some("GET")), "{line}");
    }
    assert_eq!(upstream.only().matches("OPTIONS ").count(), 6);
}

#[test]
fn hosts_in_every_spelling_have_the_policy() {
    let upstream = Upstream::usual();
    let edge = Edge::before(upstream.at);
    for host in ["API.Example.com", "api.example.com:80", "api.example.com.", "Api.example.com.:1"]
    {
        let text = String::from_utf8(preflight(ALLOWED)).unwrap();
        let text = text.replace("Host: api.example.com", &format!("Host: {host}"));
        assert_eq!(edge.ask(text.as_bytes()).status(), 204, "{host}");
    }
    let any = "[[policy]]\nname = \"any\"\nallow_origins = [\"https://app.example.com\"]\n\
               allow_methods = [\"PUT\"]\nallow_headers = [\"authorization\", \"content-type\"]";
    let edge = Edge::policies(upstream.at, any);
    for host in ["x", "[::1]:8080", "[0::0:1]", "10.0.0.1"] {
        let text = String::from_utf8(preflight(ALLOWED)).unwrap();
        let text = text.replace("Host: api.example.com", &format!("Host: {host}"));
        assert_eq!(edge.ask(text.as_bytes()).status(), 204, "{host}");
    }
}

/// A path that a server may read as one of another policy has none.
#[test]
fn paths_that_may_lead_elsewhere_are_denied() {
    let upstream = Upstream::usual();
    let edge = Edge::before(upstream.at);
    for path in [
        "/public/../v1/x",
        "/public/..%2fv1/x",
        "/public/%2e%2e/v1/x",
        "/public/..;/v1/x",
        "/public//../../v1/x",
        "/public/%252e%252e/v1/x",
        "/public/%00",
        "/%70ublic/x",
        "/x/../public",
    ] {
        let headers = ["Origin: https://evil.example", "Access-Control-Request-Method: GET"];
        let answer = edge.ask(&request(&format!("OPTIONS {path}"), &headers));
        assert_eq!(answer.status(), 403, "{path}\n{}", answer.head);
        let answer = edge.ask(&request(&format!("GET {path}"), &headers[..1]));
        assert!(!answer.says_cors(), "{path}\n{}", answer.head);
    }
    for path in ["/public/a%20b", "/public/a;b", "/public//x", "/public/x/../y", "/public/.."] {
        let headers = ["Origin: https://evil.example", "Access-Control-Request-Method: GET"];
        let answer = edge.ask(&request(&format!("OPTIONS {path}"), &headers));
        let expected = if path.ends_with("..") { 403 } else { 204 };
        assert_eq!(answer.status(), expected, "{path}\n{}", answer.head);
    }
}
