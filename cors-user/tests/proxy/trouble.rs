//! Upstreams and clients that are slow, absent, or lie, and what is too much.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use crate::support::{Client, Edge, POLICY, Upstream, config, eventually, request};

const ORIGIN: &str = "Origin: https://app.example.com";

/// A socket that nobody accepts on, and whose queue is full after a moment.
fn nobody() -> SocketAddr {
    // Bound and dropped: nothing listens.
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn an_upstream_that_is_not_there() {
    let edge = Edge::before(nobody());
    let mut client = edge.connect();
    for _ in 0..2 {
        client.send(&request("GET /v1/x", &[ORIGIN]));
        let answer = client.answer();
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.get("access-control-allow-origin"), Some("https://app.example.com"));
        assert_eq!(answer.get("access-control-allow-credentials"), Some("true"));
    }
    assert_eq!(edge.count("upstream_unreachable"), 2);
}

#[test]
fn the_next_upstream_is_tried_and_the_first_one_rests() {
    let there = Upstream::usual();
    let server = format!("upstream = [\"http://{}\", \"http://{}\"]", nobody(), there.at);
    let edge = Edge::start(&config(&server, POLICY));
    for n in 0..4 {
        let body = ["Content-Length: 2"];
        let answer = edge.ask(&[&request("POST /v1/x", &body)[..], b"hi"].concat());
        assert_eq!(answer.status(), 200, "request {n}");
    }
    assert_eq!(there.received().concat().matches("\r\n\r\nhi").count(), 4, "each with its body");
    assert_eq!(edge.count("upstream_unreachable"), 0);
}

#[test]
fn upstreams_take_turns() {
    let (a, b) = (Upstream::usual(), Upstream::usual());
    let server = format!("upstream = [\"http://{}\", \"http://{}\"]", a.at, b.at);
    let edge = Edge::start(&config(&server, POLICY));
    for _ in 0..6 {
        assert_eq!(edge.ask(&request("GET /v1/x", &[])).status(), 200);
    }
    for upstream in [a, b] {
        assert_eq!(upstream.received().concat().matches("GET ").count(), 3);
    }
}

#[test]
fn an_upstream_that_says_nothing() {
    let upstream = Upstream::doing(|mut connection| {
        connection.head();
        while connection.more() {}
    });
    let edge = Edge::with(upstream.at, "[server.timeouts]\nresponse = 1");
    let answer = edge.ask(&request("GET /v1/x", &[ORIGIN]));
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.get("access-control-allow-origin"), Some("https://app.example.com"));
    let edge = Edge::with(upstream.at, "[server.timeouts]\ntotal = 1");
    assert_eq!(edge.ask(&request("GET /v1/x", &[ORIGIN])).status(), 504);
}

#[test]
fn an_upstream_that_breaks_off() {
    for said in [
        "",
        "HTTP/1.1 200 O",
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\
                  Content-Length: 2\r\n\r\nab",
    ] {
        let upstream = Upstream::doing(move |mut connection| {
            connection.head();
            connection.say(said.as_bytes());
        });
        let edge = Edge::before(upstream.at);
        let answer = edge.ask(&request("GET /v1/x", &[ORIGIN]));
        assert_eq!(answer.status(), 502, "{said:?}");
        assert_eq!(answer.get("access-control-allow-origin"), Some("https://app.example.com"));
    }
}

/// Whoever reads must see that something is missing: no end that was not the upstream's.
#[test]
fn a_body_that_breaks_off_has_no_end() {
    for head in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let upstream = Upstream::doing(move |mut connection| {
            connection.head();
            let body = if head.starts_with('T') { "5\r\nhello\r\n" } else { "hello" };
            connection.say(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").as_bytes());
        });
        let edge = Edge::before(upstream.at);
        let mut client = edge.connect();
        client.send(&request("GET /v1/x", &[]));
        client.head();
        let body = String::from_utf8(client.rest()).unwrap();
        assert!(body.len() < 100 && !body.ends_with("0\r\n\r\n"), "{body:?}");
    }
}

/// Bytes behind the announced end never become part of another client's answer.
#[test]
fn an_upstream_that_says_more_than_it_announced() {
    let upstream = Upstream::saying(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nX-Leak: 1\r\n\
         Content-Length: 4\r\n\r\nleak",
    );
    let edge = Edge::before(upstream.at);
    for _ in 0..3 {
        let answer = edge.ask(&request("GET /v1/x", &[]));
        assert_eq!((answer.status(), &answer.body[..]), (200, &b"ok"[..]));
        assert_eq!(answer.get("x-leak"), None);
    }
}

#[test]
fn a_client_that_goes_away_takes_its_request_along() {
    let upstream = Upstream::doing(|mut connection| {
        connection.head();
        while connection.more() {}
    });
    let edge = Edge::before(upstream.at);
    let mut client = edge.connect();
    client.send(&request("POST /v1/x", &["Content-Length: 1000000"]));
    client.send(b"some");
    eventually("the upstream has the begin", || {
        upstream.received().first().is_some_and(|text| text.ends_with("some"))
    });
    drop(client);
    eventually("the connection is gone", || edge.proxy().connections() == 0);
}

#[test]
fn too_long_a_body() {
    let upstream = Upstream::usual();
    let edge = Edge::with(upstream.at, "[server.limits]\nbody_bytes = 4");
    let ask = |headers: &[&str], body: &str| {
        edge.ask(&[&request("POST /v1/x", headers)[..], body.as_bytes()].concat())
    };
    assert_eq!(ask(&["Content-Length: 4"], "1234").status(), 200);
    let answer = ask(&["Content-Length: 5", ORIGIN], "12345");
    assert_eq!(answer.status(), 413);
    assert_eq!(answer.get("access-control-allow-origin"), Some("https://app.example.com"));
    let chunked = ask(&["Transfer-Encoding: chunked"], "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_eq!(chunked.status(), 413);
    assert_eq!(edge.count("body_too_long"), 2);
}

#[test]
fn too_many_at_a_time() {
    let upstream = Upstream::doing(|mut connection| {
        connection.head();
        while connection.more() {}
    });
    let edge = Edge::with(upstream.at, "[server.limits]\nin_flight = 1\nconnections = 2");
    let mut first = edge.connect();
    first.send(&request("GET /v1/x", &[]));
    eventually("it is on its way", || !upstream.received().is_empty());
    let mut second = edge.connect();
    second.send(&request("GET /v1/x", &[ORIGIN]));
    let answer = second.answer();
    assert_eq!((answer.status(), answer.get("retry-after")), (503, Some("1")));
    assert_eq!(answer.get("access-control-allow-origin"), Some("https://app.example.com"));
    // Preflights need no room.
    second.send(&request("OPTIONS /v1/x", &[ORIGIN, "Access-Control-Request-Method: PUT"]));
    assert_eq!(second.answer().status(), 204);
    let mut third = edge.connect();
    assert!(third.rest().is_empty(), "one connection too many is closed");
    assert_eq!(edge.count("too_many_connections"), 1);
}

#[test]
fn slow_clients() {
    let upstream = Upstream::usual();
    let edge = Edge::with(upstream.at, "[server.timeouts]\nheader = 1\nidle = 2");
    let mut slow: Vec<Client> = (0..200).map(|_| edge.connect()).collect();
    for client in &mut slow {
        client.send(b"GET /v1/x HTT");
    }
    let mut idle = edge.connect();
    // A fast one is served meanwhile.
    assert_eq!(edge.ask(&request("GET /v1/x", &[])).status(), 200);
    for client in &mut slow {
        assert_eq!(client.answer().status(), 408);
    }
    assert!(idle.rest().is_empty());
    assert_eq!(edge.count("client_timeout"), 200);
    drop(slow);
    eventually("all are gone", || edge.proxy().connections() <= 1);
}

#[test]
fn a_head_byte_by_byte() {
    let upstream = Upstream::usual();
    let edge = Edge::before(upstream.at);
    let mut client = edge.connect();
    for byte in request("GET /v1/x", &[ORIGIN]) {
        client.send(&[byte]);
        thread::sleep(Duration::from_micros(200));
    }
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn connections_end_when_the_proxy_does() {
    let upstream = Upstream::usual();
    let mut edge = Edge::before(upstream.at);
    let mut used = edge.connect();
    used.send(&request("GET /v1/x", &[]));
    assert_eq!(used.answer().status(), 200);
    let mut busy = edge.connect();
    busy.send(b"POST /v1/x HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 2\r\n\r\n");
    eventually("it is on its way", || edge.count("request") == 2);
    let mut silent = edge.connect();
    eventually("it is open", || edge.proxy().connections() == 3);
    edge.proxy.as_mut().unwrap().drain();
    busy.send(b"hi");
    let answer = busy.answer();
    assert_eq!(answer.status(), 200, "what was begun is done");
    assert_eq!(answer.get("connection"), Some("close"));
    assert!(busy.rest().is_empty());
    // An idle one is told with its next answer.
    used.send(&request("GET /v1/x", &[]));
    let answer = used.answer();
    assert_eq!((answer.status(), answer.get("connection")), (200, Some("close")));
    assert!(used.rest().is_empty());
    eventually("no one else", || edge.proxy().connections() == 1);
    assert!(TcpStream::connect(edge.at).is_err(), "nobody listens any more");
    edge.proxy = None;
    assert!(silent.rest().is_empty());
}
