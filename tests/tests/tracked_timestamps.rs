//! Connections whose handshake the kernel has made with timestamps (RFC 7323), and which clients that
//! believe in these use: the driver's answers carry them, and nobody takes a segment for an old one.

use std::{fs, net::SocketAddr, os::fd::AsRawFd as _};

use cors_tests::{
    Family, Random,
    agent::Agent,
    client::Http,
    conversation::{self, answered, puts},
    counter, eventually, for_each_family,
    netns::Netns,
    policy,
    server::{
        Recording, Server,
        recording::{Options, Request},
    },
    topology::{BadCable, Pair, address, server_at},
    wire::{self, Script},
};

const LARGE: usize = 64 << 20;

/// The kernel makes the handshakes of an MPTCP listener.
fn listen(host: &Netns, at: SocketAddr) -> Recording {
    Recording::listen_with(host, at, Options { mptcp: true, ..Options::default() })
}

/// Whether the connection has timestamps (`TCPI_OPT_TIMESTAMPS`).
fn has_timestamps(http: &Http) -> bool {
    let mut info = [0u8; 8];
    let mut len = libc::socklen_t::try_from(info.len()).expect("a length");
    // SAFETY: the kernel writes at most `len` bytes of its `tcp_info` into an array that has them.
    let result = unsafe {
        libc::getsockopt(
            http.stream().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    assert_eq!(result, 0, "TCP_INFO");
    // The sixth byte is `tcpi_options`.
    info[5] & 1 != 0
}

/// How many segments a host has taken for old ones (`PAWSEstab`).
fn old_segments(host: &Netns) -> u64 {
    let path = "/proc/thread-self/net/netstat";
    let text = host.enter(|| fs::read_to_string(path)).expect("read the host's numbers");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let mut both = names.split(' ').zip(values.split(' '));
    let (_, value) = both.find(|(name, _)| *name == "PAWSEstab").expect("PAWSEstab");
    value.parse().expect("a number")
}

/// A connection in the place of one that the kernel has in TIME_WAIT, with a request behind it.
fn in_the_place_of_another(client: &Netns, from: SocketAddr, at: SocketAddr) -> Http {
    let mut http = Http::connect_from(client, from, at);
    let close =
        policy::head("GET /v1/x HTTP/1.1", &[("Host", policy::HOST), ("Connection", "close")]);
    http.ask(&close);
    assert!(http.is_closed_by_server());
    drop(http);
    let mut http = Http::connect_from(client, from, at);
    assert_eq!(http.ask(&policy::get("/v1/hello")).status, 200);
    http
}

/// Requests with preflights between them. Returns how often the driver answered.
fn conversation(family: Family, to_server: Script, to_client: Script) -> u64 {
    let cable = BadCable::new(to_server, to_client);
    let at = server_at(family);
    let server = listen(&cable.server, at);
    let agent = Agent::protect(&cable.server, BadCable::INTERFACE);
    let counted = agent.counted(|| {
        let mut http = Http::connect(&cable.client, at);
        assert!(has_timestamps(&http));
        conversation::hold(&mut http);
    });
    let requests: Vec<_> = server.take().iter().map(Request::bytes).collect();
    assert!(requests == conversation::held());
    counted.get(counter::TRACKED_ANSWERED)
}

for_each_family! {
    fn preflights_are_answered_and_nobody_sees_an_old_segment(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let puts = puts();
        let counted = agent.counted(|| {
            let mut http = Http::connect(&pair.client, at);
            assert!(has_timestamps(&http));
            assert_eq!(http.ask(&policy::get("/v1/first")).body, b"recorded");
            for (preflights, put) in puts.iter().enumerate() {
                answered(&mut http, preflights);
                assert_eq!(http.ask(put).body, b"recorded");
            }
        });
        println!("{:?}", counted.nonzero());
        let requests = server.take();
        for (request, put) in requests[1..].iter().zip(&puts) {
            assert_eq!(request.bytes(), *put);
        }
        assert_eq!(requests.len(), 1 + puts.len());
        assert_eq!(counted.get(counter::SYN_MPTCP), 1);
        assert_eq!(counted.get(counter::TRACKED_ANSWERED), 15);
        assert_eq!((old_segments(&pair.client), old_segments(&pair.server)), (0, 0));
        agent.stop();
    }

    fn large_bodies_are_byte_exact(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Server::python(&pair.server, at).ready(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let content = Random::new(7).bytes(LARGE);
        let from = SocketAddr::new(address(family, 2), 40_000);
        // For a second, a processor may take the new connection for the one before and not follow it.
        let mut http = eventually("a connection that is followed", || {
            let mut http = in_the_place_of_another(&pair.client, from, at);
            http.ask(&policy::preflight("/v1/large")).is_cors().then_some(http)
        });
        assert!(has_timestamps(&http));
        let counted = agent.counted(|| {
            assert_eq!(http.ask(&policy::put("/v1/large", &content)).status, 201);
            answered(&mut http, 2);
            let response = http.ask(&policy::get("/v1/large"));
            assert!(response.body == content, "the download differs");
            answered(&mut http, 1);
            assert_eq!(http.ask(&policy::get("/v1/hello")).status, 200);
        });
        println!("{:?}", counted.nonzero());
        assert!(server.file("large") == content, "the upload differs");
        assert!(agent.counters().get(counter::SYN_SOCKET) >= 1);
        assert_eq!(counted.get(counter::TRACKED_ANSWERED), 3);
        assert_eq!((old_segments(&pair.client), old_segments(&pair.server)), (0, 0));
        agent.stop();
    }

    fn a_bad_cable_both_ways(family) {
        for seed in 0..6 {
            let (there, back) = (wire::bad(seed, 40, 40, 40), wire::bad(seed + 50, 40, 40, 40));
            assert_eq!(conversation(family, there, back), 6);
        }
    }
}
