//! Very many clients, and requests that are very much: what they cost has a bound, and each has an
//! answer. The proxy is a process of its own here, whose memory the kernel tells.

use std::{fs, net::SocketAddr, thread, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{
    alone::Agent,
    support::{Client, Edge, POLICY, Upstream, config, request},
};

const ORIGIN: &str = "Origin: https://app.example.com";
const CLIENTS: usize = 1000;
/// Bytes that all clients together may cost: 128 KiB each, in a build without optimisation.
const BOUND: u64 = CLIENTS as u64 * 128 * 1024;

/// As many files as may be: each client is one, and at the other end another.
fn many_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    assert!(hard > 2 * CLIENTS as u64, "{hard} files at a time are too few for this test");
}

/// Bytes of memory that a process has now.
fn memory(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.0.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// An agent before an upstream that has served a few clients.
fn agent(name: &str, upstream: &Upstream, server: &str) -> (Agent, SocketAddr) {
    let (agent, at) = Agent::before(name, upstream, server);
    for _ in 0..20 {
        assert_eq!(ask(at, &request("GET /v1/x", &[ORIGIN])), 200);
    }
    (agent, at)
}

fn ask(at: SocketAddr, request: &[u8]) -> u16 {
    let mut client = Client::connect(at);
    client.send(request);
    client.answer().status()
}

#[test]
fn a_thousand_slow_clients() {
    many_files();
    let upstream = Upstream::usual();
    let (agent, at) = agent("slow", &upstream, "");
    let before = memory(&agent);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(at)).collect();
    let head = request("GET /v1/x", &[ORIGIN, "Cookie: a=b", "User-Agent: slow"]);
    let (most, last) = head.split_at(head.len() - 4);
    // A few bytes of each, again and again.
    for piece in most.chunks(20) {
        for client in &mut clients {
            client.send(piece);
        }
        // Whoever is quick does not wait for them.
        assert_eq!(ask(at, &head), 200);
    }
    let during = memory(&agent);
    assert!(during.saturating_sub(before) < BOUND, "{before} bytes before, {during} with them");
    for client in &mut clients {
        client.send(last);
    }
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
    // And as long as they are, with nothing to say.
    let after = memory(&agent);
    assert!(after.saturating_sub(before) < BOUND, "{before} bytes before, {after} behind them");
}

/// What a client does not read stays with the upstream.
#[test]
fn clients_that_do_not_read() {
    const LENGTH: usize = 16 << 20;
    many_files();
    let upstream = Upstream::doing(|mut connection| {
        while connection.request() {
            let large = connection.last_line().starts_with("GET /v1/large ");
            let length = if large { LENGTH } else { 5 };
            connection
                .say(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes());
            connection.say(&vec![b'x'; length]);
        }
    });
    let (agent, at) = agent("unread", &upstream, "");
    let before = memory(&agent);
    let mut clients: Vec<Client> = (0..100).map(|_| Client::connect(at)).collect();
    for client in &mut clients {
        client.send(&request("GET /v1/large", &[ORIGIN]));
        assert!(client.head().starts_with("HTTP/1.1 200 "));
    }
    // Whatever is going to pile up has the time to.
    thread::sleep(Duration::from_millis(500));
    let during = memory(&agent);
    assert!(during.saturating_sub(before) < BOUND, "{before} bytes before, {during} with them");
    let body = clients[0].until(|bytes| (bytes.len() >= LENGTH).then_some(LENGTH));
    assert_eq!(body.len(), LENGTH);
}

#[test]
fn heads_that_are_too_much() {
    let upstream = Upstream::usual();
    let edge = Edge::before(upstream.at);
    let long = format!("Access-Control-Request-Headers: {}", "a,".repeat(32 * 1024));
    let put = "Access-Control-Request-Method: PUT";
    let many: Vec<String> = (0..10_000).map(|n| format!("x-{n}: 1")).collect();
    let many: Vec<&str> = many.iter().map(|line| &**line).collect();
    for (what, bytes, counted) in [
        ("64 KiB of names", request("OPTIONS /v1/x", &[ORIGIN, put, &long]), "head_too_long"),
        ("10,000 headers", request("GET /v1/x", &many), "too_many_headers"),
    ] {
        let answer = edge.ask(&bytes);
        assert_eq!((answer.status(), answer.get("connection")), (431, Some("close")), "{what}");
        assert_eq!(edge.count(counted), 1, "{what}");
    }
    assert!(upstream.received().is_empty());
}

#[test]
fn heads_that_are_much_where_that_is_allowed() {
    let upstream = Upstream::usual();
    let limits = "[server.limits]\nhead_bytes = 1_048_576\nheaders = 10_000";
    let (agent, at) = agent("much", &upstream, limits);
    let put = "Access-Control-Request-Method: PUT";
    let many: Vec<String> = (0..9_000).map(|n| format!("x-{n}: 1")).collect();
    let mut many: Vec<&str> = many.iter().map(|line| &**line).collect();
    let before = memory(&agent);
    for list in ["a,".repeat(32 * 1024), "a".repeat(64 * 1024), ",".repeat(64 * 1024)] {
        let list = format!("Access-Control-Request-Headers: {list}");
        // More than a browser can ask for is denied.
        assert_eq!(ask(at, &request("OPTIONS /v1/x", &[ORIGIN, put, &list])), 403);
        assert_eq!(ask(at, &request("GET /v1/x", &[ORIGIN, &list])), 200);
    }
    assert_eq!(ask(at, &request("GET /v1/x", &many)), 200);
    assert_eq!(upstream.received().concat().matches("X-8999: 1\r\n").count(), 1);
    many.extend([ORIGIN, put]);
    assert_eq!(ask(at, &request("OPTIONS /v1/x", &many)), 204);
    let same = vec!["X-Same: 1"; 9_000];
    for _ in 0..20 {
        assert_eq!(ask(at, &request("GET /v1/x", &same)), 200);
    }
    let after = memory(&agent);
    assert!(after.saturating_sub(before) < 32 << 20, "{before} bytes before, {after} afterwards");
}

/// An upstream may say too much as well.
#[test]
fn responses_whose_heads_are_too_much() {
    for (what, headers) in [
        ("10,000 headers", "x-many: 1\r\n".repeat(10_000)),
        ("a header of 1 MiB", format!("x: {}\r\n", "a".repeat(1 << 20))),
    ] {
        let upstream =
            Upstream::saying(&format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{headers}\r\n"));
        let edge = Edge::start(&config(&format!("upstream = \"http://{}\"", upstream.at), POLICY));
        let answer = edge.ask(&request("GET /v1/x", &[ORIGIN]));
        assert_eq!(answer.status(), 502, "{what}");
        let origin = answer.get("access-control-allow-origin");
        assert_eq!(origin, Some("https://app.example.com"), "{what}");
    }
}
