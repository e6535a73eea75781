//! Requests that two servers are known to read differently: refused with the connection, or
//! forwarded in the one form that everybody reads alike. The upstream records what it received.

use crate::support::{Edge, Upstream, request};

/// What must never reach an upstream.
const HIDDEN: &str = "GET /v1/hidden HTTP/1.1\r\nHost: api.example.com\r\n\r\n";

/// A request with these lines, and something behind its head.
fn post(lines: &[&str], body: &str) -> Vec<u8> {
    [&request("POST /v1/x", lines)[..], body.as_bytes()].concat()
}

type Case = (&'static str, Vec<u8>, &'static str);

/// About how long a body is.
fn lengths() -> Vec<Case> {
    let hidden = |start: &str| format!("{start}{HIDDEN}");
    vec![
        (
            "CL.TE",
            post(&["Content-Length: 6", "Transfer-Encoding: chunked"], &hidden("0\r\n\r\n")),
            "content_length",
        ),
        (
            "TE.CL",
            post(&["Transfer-Encoding: chunked", "Content-Length: 3"], &hidden("0\r\n\r\n")),
            "content_length",
        ),
        (
            "TE.TE",
            post(&["Transfer-Encoding: chunked", "Transfer-Encoding: x"], &hidden("0\r\n\r\n")),
            "duplicate",
        ),
        (
            "TE twice",
            post(&["Transfer-Encoding: chunked, chunked"], &hidden("0\r\n\r\n")),
            "transfer_encoding",
        ),
        (
            "TE of another name",
            post(&["Transfer-Encoding: xchunked"], &hidden("")),
            "transfer_encoding",
        ),
        (
            "TE in quotes",
            post(&["Transfer-Encoding: \"chunked\""], &hidden("0\r\n\r\n")),
            "transfer_encoding",
        ),
        (
            "TE with a space before the colon",
            post(&["Transfer-Encoding : chunked"], &hidden("")),
            "header_name",
        ),
        (
            "TE in a continued line",
            post(&["X: y\r\n Transfer-Encoding: chunked"], &hidden("")),
            "header_name",
        ),
        (
            "TE with an underscore",
            post(&["Transfer_Encoding: chunked"], &hidden("")),
            "header_name",
        ),
        (
            "two lengths",
            post(&["Content-Length: 0", "Content-Length: 60"], &hidden("")),
            "duplicate",
        ),
        (
            "the same length twice",
            post(&["Content-Length: 0", "Content-Length: 0"], &hidden("")),
            "duplicate",
        ),
        ("a list of lengths", post(&["Content-Length: 0, 60"], &hidden("")), "content_length"),
        ("a signed length", post(&["Content-Length: +0"], &hidden("")), "content_length"),
        ("a length in hexadecimal", post(&["Content-Length: 0x0"], &hidden("")), "content_length"),
        (
            "an endless length",
            post(&["Content-Length: 99999999999999999999"], ""),
            "content_length",
        ),
    ]
}

/// About the head itself.
fn heads() -> Vec<Case> {
    let host = "GET /v1/x HTTP/1.1\r\nHost: api.example.com\r\n";
    vec![
        (
            "a bare LF in the head",
            format!("{host}X: y\nZ: w\r\n\r\n{HIDDEN}").into_bytes(),
            "header_byte",
        ),
        ("bare LFs alone", "GET / HTTP/1.1\nHost: a\n\n".into(), "header_byte"),
        ("a bare CR", format!("{host}X: y\rZ: w\r\n\r\n").into_bytes(), "header_byte"),
        ("a NUL", format!("{host}X: y\0\r\n\r\n").into_bytes(), "header_byte"),
        ("no colon", format!("{host}X\r\n\r\n").into_bytes(), "header_name"),
        ("no name", format!("{host}: x\r\n\r\n").into_bytes(), "header_name"),
        ("no host", "GET / HTTP/1.1\r\n\r\n".into(), "host"),
        ("two hosts", format!("{host}Host: api.example.com\r\n\r\n").into_bytes(), "duplicate"),
        ("two hosts in one", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".into(), "host"),
        ("a host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n".into(), "host"),
        (
            "another authority",
            format!("{}\r\n", host.replace("/v1/x", "http://evil.example/v1/x")).into_bytes(),
            "host",
        ),
        (
            "authority form",
            "GET api.example.com:80 HTTP/1.1\r\nHost: api.example.com\r\n\r\n".into(),
            "target",
        ),
        ("CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".into(), "method"),
        ("a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".into(), "http_version"),
        ("no version", "GET /\r\n\r\n".into(), "http_version"),
        ("an empty line first", format!("\r\n{HIDDEN}").into_bytes(), "method"),
        (
            "HTTP/1.0 with chunks",
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
            "transfer_encoding",
        ),
        (
            "a long line",
            format!("{host}X: {}\r\n\r\n", "x".repeat(40_000)).into_bytes(),
            "head_too_long",
        ),
        (
            "10,000 headers",
            format!("{host}{}\r\n", "a: b\r\n".repeat(10_000)).into_bytes(),
            "too_many_headers",
        ),
        (
            "101 headers",
            format!("{host}{}\r\n", "a: b\r\n".repeat(100)).into_bytes(),
            "too_many_headers",
        ),
    ]
}

#[test]
fn what_is_refused() {
    for (what, bytes, name) in lengths().into_iter().chain(heads()) {
        let upstream = Upstream::usual();
        let edge = Edge::before(upstream.at);
        let mut client = edge.connect();
        client.send(&bytes);
        let answer = client.answer();
        let expected = match name {
            "head_too_long" | "too_many_headers" => 431,
            "http_version" => 505,
            _ => 400,
        };
        assert_eq!(answer.status(), expected, "{what}: {}", answer.head);
        assert_eq!(answer.get("connection"), Some("close"), "{what}");
        client.no_more();
        assert!(client.rest().is_empty(), "{what}: something was answered behind it");
        assert_eq!(edge.count(name), 1, "{what}: {:?}", edge.counted());
        assert!(upstream.received().is_empty(), "{what}: {:?}", upstream.received());
    }
}

/// The upstream may see the begin of such a request; it never sees an end of it.
#[test]
fn chunks_that_are_none_end_the_connection() {
    for chunks in [
        "5;ext\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "ffffffffffffffff1\r\nhello",
        "\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
    ] {
        let upstream = Upstream::usual();
        let edge = Edge::before(upstream.at);
        let mut client = edge.connect();
        client.send(&post(&["Transfer-Encoding: chunked"], &format!("{chunks}{HIDDEN}")));
        let answer = client.answer();
        assert_eq!(answer.status(), 400, "{chunks:?}: {}", answer.head);
        assert_eq!(answer.get("connection"), Some("close"), "{chunks:?}");
        client.no_more();
        assert!(client.rest().is_empty(), "{chunks:?}");
        assert_eq!(edge.count("chunk"), 1, "{chunks:?}");
        for received in upstream.received() {
            assert!(!received.contains("hidden"), "{chunks:?}: {received}");
            assert!(!received.ends_with("0\r\n\r\n"), "{chunks:?}: {received}");
        }
    }
}

#[test]
fn what_is_forwarded_has_one_form() {
    let upstream = Upstream::usual();
    let edge = Edge::before(upstream.at);
    let mut client = edge.connect();
    for (bytes, expected) in [
        (
            post(&["transfer-encoding:  Chunked\t"], "5;a=b\r\nhel\r\n\r\n0;x\r\n\r\n"),
            &[
                "POST /v1/x HTTP/1.1\r\n",
                "Transfer-Encoding: chunked\r\n",
                "5\r\nhel\r\n\r\n0\r\n\r\n",
            ][..],
        ),
        (post(&["Content-Length: 007"], "1234567"), &["Content-Length: ", "\r\n\r\n1234567"]),
        (
            b"GET http://API.example.com/v1/y?q HTTP/1.1\r\nHost: api.example.com\r\n\r\n".to_vec(),
            &["GET /v1/y?q HTTP/1.1\r\n", "Host: "],
        ),
        (
            request("GET /v1/z", &["Connection: Transfer-Encoding, Host, X-Forwarded-For"]),
            &[
                "GET /v1/z HTTP/1.1\r\n",
                "Host: api.example.com\r\n",
                "X-Forwarded-For: 127.0.0.1\r\n",
            ],
        ),
        (request("GET /v1/w", &["X-Odd: \u{e4}\u{f6}"]), &["GET /v1/w HTTP/1.1\r\n"]),
    ] {
        let before = upstream.received().concat().len();
        client.send(&bytes);
        assert_eq!(client.answer().status(), 200, "{}", bytes.escape_ascii());
        let all = upstream.received().concat();
        let received = &all[before..];
        for part in expected {
            assert!(received.contains(part), "{received}\nhas no {part:?}");
        }
        assert_eq!(received.matches(" HTTP/1.1\r\n").count(), 1, "{received}");
        assert!(!received.contains(";a=b"), "{received}");
        assert!(!received.to_lowercase().contains("\r\nconnection:"), "{received}");
    }
}

/// What looks like a request in a body is none, and pipelined requests are answered in order.
#[test]
fn bodies_are_bodies() {
    let upstream = Upstream::usual();
    let edge = Edge::before(upstream.at);
    let mut client = edge.connect();
    let preflight = request(
        "OPTIONS /v1/x",
        &["Origin: https://app.example.com", "Access-Control-Request-Method: PUT"],
    );
    let body = [HIDDEN.as_bytes(), &preflight].concat();
    let length = format!("Content-Length: {}", body.len());
    let mut pipeline = post(&[&length], &String::from_utf8(body.clone()).unwrap());
    pipeline.extend_from_slice(&preflight);
    pipeline.extend(request("GET /v1/last", &[]));
    pipeline.extend(b"BAD\r\n\r\n");
    client.send(&pipeline);
    let statuses: Vec<u16> = (0..4).map(|_| client.answer().status()).collect();
    assert_eq!(statuses, [200, 204, 200, 400]);
    client.no_more();
    assert!(client.rest().is_empty());
    let received = upstream.received().concat();
    assert_eq!(received.matches("GET /v1/hidden").count(), 1, "only in the body");
    assert_eq!(edge.count("request"), 3);
}
