//! Preflights with few headers, such as curl sends by itself. Their answer is longer than they
//! are, so the packet must grow in its place, and behind the driver there is not always room.
//! Whoever answers then, the connection is right.

use std::net::SocketAddr;

use cors_tests::{
    Family,
    agent::{Agent, Setup},
    client::{Http, Response, curl},
    counter, for_each_family,
    netns::Netns,
    policy::{self, HOST, ORIGIN, head},
    program::Program,
    server::{Recording, Server},
    topology::{Pair, VethOptions, server_at, sockets},
};

const HELLO: &str = "http://api.example.com/v1/hello";

/// What curl sends for `-X OPTIONS -H 'Origin: …' -H 'Access-Control-Request-Method: …'`, made
/// longer by a header of so many bytes, from 5; 0 for none.
fn short(filling: usize) -> Vec<u8> {
    let value = "x".repeat(filling.saturating_sub(5));
    let mut headers = vec![
        ("Host", HOST),
        ("User-Agent", "curl/8.14.1"),
        ("Accept", "*/*"),
        ("Origin", ORIGIN),
        ("Access-Control-Request-Method", "PUT"),
    ];
    if filling > 0 {
        headers.push(("X", &value));
    }
    head("OPTIONS /v1/item HTTP/1.1", &headers)
}

/// From curl's to those of a browser, with every room that a packet may have by its length:
/// allocations are rounded up to cache lines.
fn lengths() -> impl Iterator<Item = usize> {
    [0].into_iter().chain((6..LONG).step_by(13)).chain([LONG])
}

/// With so many bytes more a request is longer than its answer.
const LONG: usize = 350;

/// Whether the driver answered. If not, the answer is the server's own.
fn is_drivers(answer: &Response) -> bool {
    if answer.is_cors() {
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
        true
    } else {
        assert_eq!(answer.body, b"recorded");
        false
    }
}

/// Where the program runs, and from where the client asks.
struct Place {
    client: Netns,
    server: Netns,
    at: SocketAddr,
    agent: Agent,
    _pair: Option<Pair>,
}

impl Place {
    fn loopback(family: Family) -> Self {
        let host = Netns::new("host");
        let at = SocketAddr::new(family.loopback(), 80);
        let agent = Agent::start(&host, "lo", policy::file(&[at]));
        Self { client: host.clone(), server: host, at, agent, _pair: None }
    }

    fn veth(family: Family, xdp: &str) -> Self {
        let pair = Pair::with(VethOptions { peer_pass: xdp == "native" });
        let agent = Setup::new(&pair.server, policy::file(&sockets()))
            .interface(Pair::INTERFACE)
            .xdp(xdp)
            .start();
        let (client, server) = (pair.client.clone(), pair.server.clone());
        Self { client, server, at: server_at(family), agent, _pair: Some(pair) }
    }

    /// Connections of every kind, on which nothing is lost.
    fn conversations(&self) {
        let server = Recording::listen(&self.server, self.at);
        for before in [0, 1, 3] {
            for filling in lengths() {
                let passed = conversation(&self.client, self.at, &server, before, filling);
                assert!(filling < LONG || passed == 0, "the answer is shorter");
            }
        }
    }
}

/// One connection: preflights with room for their answer, one that may have none, and then more
/// of both. Returns how many preflights came to the server.
fn conversation(
    client: &Netns,
    at: SocketAddr,
    server: &Recording,
    before: usize,
    filling: usize,
) -> usize {
    let mut http = Http::connect(client, at);
    let mut passed = Vec::new();
    let asked = short(filling);
    let roomy = policy::preflight("/v1/item");
    let first = vec![&roomy; before];
    for next in first.into_iter().chain([&asked, &asked, &roomy, &asked]) {
        if !is_drivers(&http.ask(next)) {
            passed.push(next.clone());
        }
    }
    assert_eq!(http.ask(&policy::get("/v1/item")).body, b"recorded");
    let put = policy::put("/v1/item", b"the body");
    assert_eq!(http.ask(&put).body, b"recorded");
    let seen = server.take();
    let (last, seen) = seen.split_last().expect("requests");
    assert_eq!([&last.head[..], &last.body].concat(), put);
    let count = passed.len();
    passed.push(policy::get("/v1/item"));
    let heads: Vec<_> = seen.iter().map(|request| request.head.clone()).collect();
    assert_eq!(heads, passed, "{before} before, {filling} bytes more");
    count
}

for_each_family! {
    fn on_loopback(family) {
        Place::loopback(family).conversations();
    }

    fn on_a_veth_in_generic_mode(family) {
        Place::veth(family, "generic").conversations();
    }

    /// A veth's driver hands its program packets with as little room.
    fn on_a_veth_in_native_mode(family) {
        Place::veth(family, "native").conversations();
    }

    /// Curl's own words, against a server that knows `OPTIONS` as little as the others.
    fn curl_by_itself(family) {
        let places = [
            Place::loopback(family),
            Place::veth(family, "generic"),
            Place::veth(family, "native"),
        ];
        for place in places {
            let server = Server::nginx(&place.server, &[place.at]).ready(&place.server, place.at);
            let preflight = [
                "--request",
                "OPTIONS",
                "--header",
                "Origin: https://app.example.com",
                "--header",
                "Access-Control-Request-Method: PUT",
                HELLO,
            ];
            let counted = place.agent.counted(|| {
                let transfers = curl(&place.client, place.at, &[&preflight, &preflight, &[HELLO]]);
                let connections: Vec<_> = transfers.iter().map(|t| t.connections).collect();
                assert_eq!(connections, [1, 0, 0]);
                let (hello, preflights) = transfers.split_last().expect("three transfers");
                assert_eq!(hello.status, 200);
                for transfer in preflights {
                    // The driver's, or nginx's "not allowed".
                    let head = transfer.text.to_ascii_lowercase();
                    let allowed = head.contains("access-control-allow-origin: ");
                    assert_eq!(transfer.status, if allowed { 204 } else { 405 }, "{transfer:?}");
                }
            });
            server.expect_logged("GET", 1);
            // How much room there is behind a packet is the kernel's affair.
            let by_driver = counted.get(counter::ANSWERED) as usize;
            server.expect_logged("OPTIONS", 2 - by_driver);
            let passed = counted.get(counter::NO_ROOM);
            assert_eq!(passed, u64::from(by_driver < 2), "the kernel has it from then on");
            assert_eq!(counted.get(counter::HANDED_OVER), 1);
        }
    }

    /// Each of the first packets of either side is lost once, and so sent again: by the driver,
    /// by the kernel's client, by the server's new socket.
    fn retransmissions(family) {
        for xdp in ["generic", "native"] {
            let pair = Pair::new();
            let at = server_at(family);
            let server = Recording::listen(&pair.server, at);
            let agent = Setup::new(&pair.server, policy::file(&sockets()))
                .interface(Pair::INTERFACE)
                .xdp(xdp)
                .start();
            for before in [0, 1] {
                for number in 0..8 {
                    let client = &pair.client;
                    let losing = Program::losing_incoming(client, Pair::CLIENT_INTERFACE, number);
                    conversation(client, at, &server, before, 0);
                    assert!(losing.seen() > number, "{number} never came");
                    drop(losing);
                    // For the driver of a veth: see there.
                    let _peer = Program::xdp(client, Pair::CLIENT_INTERFACE);
                    let losing = Program::losing_outgoing(client, Pair::CLIENT_INTERFACE, number);
                    conversation(client, at, &server, before, 0);
                    assert!(losing.seen() > number, "{number} never left");
                }
            }
            agent.stop();
        }
    }
}

/// Each segment of the client's arrives twice, and the room for the answer may be another the
/// second time. What was answered once must not be handed over as well.
#[test]
fn doubles() {
    for family in [Family::V4, Family::V6] {
        let pair = Pair::with(VethOptions { peer_pass: true });
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let _agent = Setup::new(&pair.server, policy::file(&sockets()))
            .interface(Pair::INTERFACE)
            .xdp("native")
            .start();
        let _twice = Program::doubling_outgoing(&pair.client, Pair::CLIENT_INTERFACE);
        for filling in lengths() {
            for before in [0, 1, 0, 3] {
                conversation(&pair.client, at, &server, before, filling);
            }
        }
    }
}
