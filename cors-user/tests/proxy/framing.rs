//! What a proxy must not get wrong about messages: bodies that are none, trailers, expectations,
//! other protocols, other versions.

use std::{
    io::Write as _,
    sync::{Mutex, mpsc},
};

use crate::support::{Edge, Upstream, request};

#[test]
fn responses_without_a_body() {
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
        ("DELETE", "HTTP/1.1 204 No Content\r\n\r\n"),
    ] {
        let upstream = Upstream::saying(answer);
        let edge = Edge::before(upstream.at);
        let mut client = edge.connect();
        for _ in 0..2 {
            client.send(&request(&format!("{method} /v1/x"), &[]));
            let head = client.head();
            assert_eq!(head[9..12], answer[9..12], "{head}");
            let says = head.to_lowercase().contains("content-length: 1000\r\n");
            assert_eq!(says, answer.contains("1000"), "{method}: {head}");
        }
        assert_eq!(upstream.received().len(), 1, "the connection is used again");
    }
}

#[test]
fn bodies_go_through_in_both_directions() {
    let big = "0123456789abcdef".repeat(1 << 16);
    let length = big.len();
    let upstream =
        Upstream::saying(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{big}"));
    let edge = Edge::before(upstream.at);
    let head = request("POST /v1/x", &[&format!("Content-Length: {length}")]);
    let answer = edge.ask(&[&head, big.as_bytes()].concat());
    assert!(answer.body == big.as_bytes(), "the download differs");
    assert!(upstream.only().ends_with(&big), "the upload differs");
}

#[test]
fn an_answer_that_ends_with_the_connection_is_sent_in_chunks() {
    let upstream = Upstream::doing(|mut connection| {
        connection.request();
        connection.say(b"HTTP/1.1 200 OK\r\n\r\nuntil the end");
    });
    let edge = Edge::before(upstream.at);
    let answer = edge.ask(&request("GET /v1/x", &[]));
    assert_eq!(answer.get("transfer-encoding"), Some("chunked"));
    assert_eq!(answer.body, b"D\r\nuntil the end\r\n0\r\n\r\n");
}

#[test]
fn trailers_go_through() {
    let upstream = Upstream::saying(
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    let edge = Edge::before(upstream.at);
    let mut client = edge.connect();
    let head =
        request("POST /v1/x", &["TE: trailers", "Trailer: X-Up", "Transfer-Encoding: chunked"]);
    client.send(&[&head[..], b"2\r\nhi\r\n0\r\nX-Up: 1\r\n\r\n"].concat());
    client.head();
    let body =
        client.until(|bytes| bytes.windows(4).rposition(|w| w == b"\r\n\r\n").map(|at| at + 4));
    let body = String::from_utf8(body).unwrap().to_lowercase();
    assert_eq!(body, "2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n");
    let received = upstream.only().to_lowercase();
    assert!(received.contains("\r\nte: trailers\r\n"), "{received}");
    assert!(received.ends_with("2\r\nhi\r\n0\r\nx-up: 1\r\n\r\n"), "{received}");
}

#[test]
fn the_body_is_asked_for_when_somebody_takes_it() {
    let upstream = Upstream::usual();
    let edge = Edge::with(upstream.at, "[server.limits]\nbody_bytes = 10");
    let mut client = edge.connect();
    client.send(&request("PUT /v1/x", &["Expect: 100-continue", "Content-Length: 2"]));
    assert!(client.head().starts_with("HTTP/1.1 100 "));
    client.send(b"hi");
    assert_eq!(client.answer().status(), 200);
    assert!(!upstream.only().to_lowercase().contains("expect"), "it was met here");
    // And not where nobody would.
    client.send(&request("PUT /v1/x", &["Expect: 100-continue", "Content-Length: 11"]));
    assert_eq!(client.answer().status(), 413);
    assert_eq!(
        edge.ask(&request("PUT /v1/x", &["Expect: tea", "Content-Length: 2"])).status(),
        417
    );
}

const HINTS: &str = "HTTP/1.1 100 Continue\r\n\r\n\
    HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-a\r\nX-A: 1\r\n\
    Access-Control-Allow-Origin: https://evil.example\r\n\r\n\
    HTTP/1.1 102 Processing\r\n\r\n";

#[test]
fn interim_answers_come_before_the_answer() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    // All at once, and each when the one before was seen.
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(told);
    let at_once = Upstream::saying(&format!("{HINTS}{answer}"));
    let apart = Upstream::doing(move |mut connection| {
        while connection.request() {
            connection.say(HINTS.as_bytes());
            told.lock().unwrap().recv().unwrap();
            connection.say(answer.as_bytes());
        }
    });
    for upstream in [&at_once, &apart] {
        let edge = Edge::before(upstream.at);
        let mut client = edge.connect();
        for (line, body) in [("GET /v1/x", ""), ("PUT /v1/x", "hi"), ("GET /v1/y", "")] {
            let length = format!("Content-Length: {}", body.len());
            let head = request(line, &["Origin: https://app.example.com", &length]);
            client.send(&[&head[..], body.as_bytes()].concat());
            assert_eq!(client.head(), "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
            assert_eq!(client.head(), "HTTP/1.1 102 Processing\r\n\r\n");
            tell.send(()).unwrap();
            let answer = client.answer();
            assert_eq!((answer.status(), &answer.body[..]), (200, &b"ok"[..]));
            assert_eq!(answer.get("access-control-allow-origin"), Some("https://app.example.com"));
        }
        // Nobody told clients of HTTP/1.0 that there is such a thing.
        tell.send(()).unwrap();
        let mut client = edge.connect();
        client.send(b"GET /v1/x HTTP/1.0\r\nHost: api.example.com\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.0 200 "));
    }
}

#[test]
fn another_protocol_is_passed_through() {
    let upstream = Upstream::doing(|mut connection| {
        connection.head();
        connection.say(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nserver first",
        );
        while connection.more() {
            let said = connection.unread();
            if said.ends_with(b"bye") {
                connection.say(b"heard ");
                connection.say(&said);
                return;
            }
        }
    });
    let edge = Edge::before(upstream.at);
    let mut client = edge.connect();
    client.send(&request(
        "GET /v1/socket",
        &[
            "Connection: keep-alive, Upgrade",
            "Upgrade: websocket",
            "Origin: https://evil.example",
            "Sec-WebSocket-Key: k",
        ],
    ));
    let head = client.head().to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"));
    assert!(!head.contains("access-control"), "{head}");
    // What would be no request passes as it is.
    client.send(b"\x81\x00\n\n GET bye");
    assert_eq!(client.rest(), b"server firstheard \x81\x00\n\n GET bye");
    let received = upstream.only().to_lowercase();
    assert!(received.contains("\r\nupgrade: websocket\r\n"), "{received}");
}

#[test]
fn an_upgrade_that_is_declined_goes_on_as_http() {
    let upstream = Upstream::usual();
    let edge = Edge::before(upstream.at);
    let mut client = edge.connect();
    let upgrade = request("GET /v1/x", &["Connection: Upgrade", "Upgrade: h2c"]);
    client.send(&upgrade);
    assert_eq!(client.answer().status(), 200);
    client.send(&request("GET /v1/y", &[]));
    assert_eq!(client.answer().status(), 200);
    client.send(b"\x81\x00\r\n\r\n");
    assert_eq!(client.answer().status(), 400);
}

#[test]
fn old_clients_are_served() {
    let upstream = Upstream::usual();
    let edge = Edge::before(upstream.at);
    let mut client = edge.connect();
    client.send(b"GET /v1/x HTTP/1.0\r\nHost: api.example.com\r\n\r\n");
    let text = String::from_utf8(client.rest()).unwrap();
    assert!(text.ends_with("\r\n\r\nhello"), "{text}");
    assert!(upstream.only().starts_with("GET /v1/x HTTP/1.1\r\n"));
    assert!(upstream.only().to_lowercase().contains("\r\nvia: 1.0 cors-edge\r\n"));
}

#[test]
fn where_a_request_came_from_is_said() {
    let upstream = Upstream::usual();
    let said = ["X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https", "Forwarded: for=9.9.9.9"];
    let edge = Edge::before(upstream.at);
    edge.ask(&request("GET /v1/x", &said));
    let received = upstream.received()[0].to_lowercase();
    assert!(received.contains("x-forwarded-for: 127.0.0.1\r\n"), "{received}");
    assert!(received.contains("x-forwarded-proto: http\r\n"));
    assert!(received.contains("x-forwarded-host: api.example.com\r\n"));
    assert!(received.contains("via: 1.1 cors-edge\r\n"));
    let edge = Edge::with(upstream.at, "trusted_proxies = [\"127.0.0.0/8\"]");
    let answer = edge.ask(&request("GET /v1/x", &said));
    assert_eq!(answer.get("via"), Some("1.1 cors-edge"));
    let received = upstream.received()[1].to_lowercase();
    assert!(received.contains("x-forwarded-for: 9.9.9.9, 127.0.0.1\r\n"), "{received}");
    assert!(received.contains("x-forwarded-proto: https\r\n"));
}

#[test]
fn the_client_that_a_proxy_header_names_is_believed() {
    let upstream = Upstream::usual();
    let edge = Edge::with(upstream.at, "proxy_protocol = true");
    let mut client = edge.connect();
    // Together with the request, as proxies send it.
    client.send(b"PROXY TCP4 10.9.8.7 10.0.0.1 4000 80\r\n");
    client.stream.flush().unwrap();
    client.send(&request("GET /v1/x", &[]));
    assert_eq!(client.answer().status(), 200);
    assert!(upstream.only().contains("10.9.8.7"), "{}", upstream.only());
    let mut client = edge.connect();
    client.send(&request("GET /v1/x", &[]));
    assert!(client.rest().is_empty(), "without the header there is no answer");
    assert_eq!(edge.count("proxy_header"), 1);
}
