//! The harness itself, without the agent: what the other tests build on holds.

use std::net::SocketAddr;

use cors_tests::{
    Family, Random,
    client::{Http, curl, curl_exit},
    for_each_family,
    packet::flags,
    policy,
    raw_tcp::offer,
    server::{Recording, Server, recording::Options},
    topology::{BadCable, Pair, Routed, SERVER, Scripted, VethOptions, server_at},
    wire,
};

const HELLO: &str = "http://api.example.com/v1/hello";

for_each_family! {
    /// Namespaces, a veth and the distribution's servers.
    fn real_servers_answer_a_real_client(family) {
        let pair = Pair::new();
        let at = server_at(family);
        for start in [Server::nginx, Server::apache] {
            let server = start(&pair.server, &[at]).ready(&pair.server, at);
            let transfers = curl(&pair.client, at, &[&[HELLO], &[HELLO]]);
            assert_eq!(transfers.iter().map(|t| t.status).collect::<Vec<_>>(), [200, 200]);
            assert_eq!(transfers.iter().map(|t| t.connections).collect::<Vec<_>>(), [1, 0]);
            assert!(transfers[1].text.ends_with("hello\n"));
            server.expect_logged("GET", 2);
            server.stop();
            assert_eq!(curl_exit(&pair.client, at, &[HELLO]), 7, "connection refused");
        }
    }

    /// The server with `PUT`.
    fn python_stores_what_it_is_sent(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Server::python(&pair.server, at).ready(&pair.server, at);
        let body = Random::new(1).bytes(100_000);
        let mut http = Http::connect(&pair.client, at);
        assert_eq!(http.ask(&policy::put("/v1/stored", &body)).status, 201);
        assert_eq!(server.file("stored"), body);
        assert_eq!(http.ask(&policy::get("/v1/stored")).body, body);
        server.expect_logged("PUT", 1);
    }

    /// The recording server, in all its ways to listen.
    fn the_recording_server_records(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let any = SocketAddr::new(Family::V6.any(), 80);
        for (listen, options) in [
            (at, Options::default()),
            (at, Options { mptcp: true, ..Options::default() }),
            (at, Options { reuse_port: true, ..Options::default() }),
            (any, Options { dual_stack: true, ..Options::default() }),
        ] {
            let server = Recording::listen_with(&pair.server, listen, options);
            let mut http = Http::connect(&pair.client, at);
            http.send_apart(&[b"PUT / HTTP/1.1\r\nContent-Le", b"ngth: 4\r\n\r\nbo", b"dy"]);
            assert_eq!(http.response().body, b"recorded");
            let requests = server.take();
            assert_eq!(requests.len(), 1);
            assert_eq!(requests[0].head, b"PUT / HTTP/1.1\r\nContent-Length: 4\r\n\r\n");
            assert_eq!(requests[0].body, b"body");
            server.close();
            assert_eq!(curl_exit(&pair.client, at, &[HELLO]), 7, "connection refused");
        }
    }

    /// A scripted client against the kernel's TCP.
    fn a_scripted_client_speaks_with_a_kernel(family) {
        let scripted = Scripted::new();
        let server = Recording::listen(&scripted.server, server_at(family));
        for (port, offered) in [(40_000, offer::LINUX), (40_001, offer::USUAL), (40_002, offer::NONE)] {
            let mut tcp = scripted.connection(family, port);
            let syn_ack = tcp.handshake(offered);
            assert_eq!(syn_ack.sack_permitted(), !offered.is_empty());
            tcp.data(&policy::get("/v1/hello"));
            let reply = tcp.expect_until(b"recorded");
            assert!(reply.starts_with(b"HTTP/1.1 200 OK\r\n"));
            tcp.fin();
            let mut last = tcp.expect("FIN");
            while !last.has(flags::FIN) {
                last = tcp.expect("FIN");
            }
            tcp.accept(&last);
            tcp.ack();
            tcp.expect_silence();
        }
        assert_eq!(server.take().len(), 3);
    }

    /// Loss, doubles and reordering, and what TCP makes of them.
    fn a_bad_cable_still_delivers(family) {
        let cable = BadCable::new(wire::bad(1, 30, 30, 30), wire::bad(2, 30, 30, 30));
        let at = server_at(family);
        let server = Server::nginx(&cable.server, &[at]).ready(&cable.server, at);
        let content = Random::new(3).bytes(1 << 20);
        server.put_file("large", &content);
        let mut http = Http::connect(&cable.client, at);
        let response = http.ask(&policy::get("/v1/large"));
        assert_eq!(response.status, 200);
        assert!(response.body == content, "the download differs");
        assert!(cable.wire.disturbed() > 0);
    }

    /// A router in between.
    fn a_router_routes(family) {
        let net = Routed::new();
        let at = SocketAddr::new(family.address(1, SERVER), 80);
        let server = Recording::listen(&net.server, at);
        let mut http = Http::connect(&net.client, at);
        assert_eq!(http.ask(&policy::get("/v1/hello")).status, 200);
        assert_eq!(server.take().len(), 1);
    }

    /// The pass-all program on a veth's end.
    fn a_peer_program_passes_everything(family) {
        let pair = Pair::with(VethOptions { peer_pass: true });
        assert!(pair.client.ip(&["link", "show", "c0"]).contains("prog/xdp"));
        let server = Recording::listen(&pair.server, server_at(family));
        let mut http = Http::connect(&pair.client, server_at(family));
        assert_eq!(http.ask(&policy::get("/v1/hello")).status, 200);
        assert_eq!(server.take().len(), 1);
    }
}
