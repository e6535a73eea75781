//! Actual responses: the policy's headers in the place of the upstream's, on every status.

use crate::support::{Answer, Edge, POLICY, Upstream, request};

const ORIGIN: &str = "Origin: https://app.example.com";
const EVIL: &str = "Origin: https://evil.example";

fn get(edge: &Edge, path: &str, headers: &[&str]) -> Answer {
    edge.ask(&request(&format!("GET {path}"), headers))
}

/// Everything that an upstream may get wrong.
const OWN: &str = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\n\
                   access-control-allow-origin: https://evil.example\r\n\
                   Access-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: x-secret\r\n\
                   Access-Control-Allow-Methods: BREW\r\nAccess-Control-Max-Age: 86400\r\n\
                   Vary: Accept-Encoding\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn allowed_origins_may_read() {
    let upstream = Upstream::saying(OWN);
    let edge = Edge::before(upstream.at);
    let answer = get(&edge, "/v1/x", &[ORIGIN]);
    assert_eq!(answer.get("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(answer.get("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.get("access-control-expose-headers"), Some("x-request-id"));
    assert_eq!(answer.get("access-control-allow-methods"), None);
    assert_eq!(answer.get("access-control-max-age"), None);
    assert_eq!(answer.get("vary"), Some("Accept-Encoding, Origin"));
    assert_eq!(answer.body, b"ok");
    assert_eq!(edge.count("upstream_cors"), 1);
    let own = edge.proxy().own_cors();
    assert_eq!(own.into_values().collect::<Vec<_>>(), [1]);
}

#[test]
fn others_may_not_and_the_request_happens_all_the_same() {
    let upstream = Upstream::saying(OWN);
    let edge = Edge::before(upstream.at);
    for headers in [&[EVIL][..], &["Origin: null"], &[ORIGIN, EVIL], &[ORIGIN, ORIGIN], &[]] {
        let answer = get(&edge, "/v1/x", headers);
        assert_eq!(answer.status(), 200);
        assert!(!answer.says_cors(), "{headers:?}\n{}", answer.head);
        assert_eq!(answer.get("vary"), Some("Accept-Encoding, Origin"));
    }
    let received: usize =
        upstream.received().iter().map(|text| text.matches("GET /v1/x ").count()).sum();
    assert_eq!(received, 5);
}

#[test]
fn a_static_star_needs_no_origin_and_no_vary() {
    let upstream = Upstream::saying(OWN);
    let edge = Edge::before(upstream.at);
    for headers in [&[EVIL][..], &[]] {
        let answer = get(&edge, "/public", headers);
        assert_eq!(answer.get("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.get("access-control-allow-credentials"), None);
        assert_eq!(answer.get("vary"), Some("Accept-Encoding"));
    }
}

#[test]
fn what_no_policy_is_for_is_left_alone() {
    let upstream = Upstream::saying(OWN);
    let edge = Edge::before(upstream.at);
    let answer = get(&edge, "/other", &[ORIGIN]);
    assert_eq!(answer.all("access-control-allow-origin"), ["*", "https://evil.example"]);
    assert_eq!(answer.get("vary"), Some("Accept-Encoding"));
}

#[test]
fn vary_is_merged() {
    for (vary, expected) in [
        ("", &["Origin"][..]),
        ("Vary: origin\r\n", &["origin"]),
        ("Vary: Accept, ORIGIN , x\r\n", &["Accept, ORIGIN , x"]),
        ("Vary: *\r\n", &["*"]),
        ("Vary: a\r\nVary: b\r\n", &["a, Origin", "b"]),
        ("Vary: a\r\nVary: Origin\r\n", &["a", "Origin"]),
        ("Vary: Origin-Agent\r\n", &["Origin-Agent, Origin"]),
        ("Vary:\r\n", &["Origin"]),
    ] {
        let upstream =
            Upstream::saying(&format!("HTTP/1.1 200 OK\r\n{vary}Content-Length: 0\r\n\r\n"));
        let edge = Edge::before(upstream.at);
        assert_eq!(get(&edge, "/v1/x", &[ORIGIN]).all("vary"), expected, "{vary:?}");
    }
}

#[test]
fn errors_are_readable_too() {
    for status in [
        "301 Moved",
        "304 Not Modified",
        "401 Unauthorized",
        "429 Too Many Requests",
        "500 Internal Server Error",
    ] {
        let length = if status.starts_with("304") { "" } else { "Content-Length: 0\r\n" };
        let upstream = Upstream::saying(&format!("HTTP/1.1 {status}\r\n{length}\r\n"));
        let edge = Edge::before(upstream.at);
        let answer = get(&edge, "/v1/x", &[ORIGIN]);
        assert_eq!(answer.status().to_string(), status[..3]);
        assert_eq!(answer.get("access-control-allow-origin"), Some("https://app.example.com"));
        assert_eq!(answer.get("vary"), Some("Origin"));
    }
    // Nobody listens there.
    let edge = Edge::before("127.0.0.1:1".parse().unwrap());
    let answer = get(&edge, "/v1/x", &[ORIGIN]);
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.get("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(get(&edge, "/v1/x", &[EVIL]).get("access-control-allow-origin"), None);
}

#[test]
fn passthrough_leaves_what_is_there() {
    let upstream =
        Upstream::saying(&OWN.replace("access-control-allow-origin: https://evil.example\r\n", ""));
    let edge = Edge::with(upstream.at, "upstream_cors_headers = \"passthrough\"");
    let answer = get(&edge, "/v1/x", &[ORIGIN]);
    assert_eq!(answer.get("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.get("vary"), Some("Accept-Encoding, Origin"));
    let upstream = Upstream::usual();
    let edge = Edge::with(upstream.at, "upstream_cors_headers = \"passthrough\"");
    let answer = get(&edge, "/v1/x", &[ORIGIN]);
    assert_eq!(answer.get("access-control-allow-origin"), Some("https://app.example.com"));
}

#[test]
fn enforced_policies_refuse_strangers() {
    let upstream = Upstream::usual();
    let policies = POLICY.replace("max_age = 600\n", "max_age = 600\nenforce = true\n");
    let edge = Edge::policies(upstream.at, &policies);
    let answer = get(&edge, "/v1/x", &[EVIL]);
    assert_eq!((answer.status(), answer.says_cors()), (403, false));
    assert_eq!(answer.get("vary"), Some("Origin"));
    assert!(upstream.received().is_empty());
    for headers in [
        &[ORIGIN][..],
        &[],
        &["Origin: https://api.example.com"],
        &["Origin: http://api.example.com"],
        &[EVIL, "Connection: Upgrade", "Upgrade: websocket"],
    ] {
        assert_eq!(get(&edge, "/v1/x", headers).status(), 200, "{headers:?}");
    }
    assert_eq!(edge.count("enforced"), 1);
}
