//! A connection that tier 1 began goes on in the kernel, on a server that knows nothing of it.

use cors_tests::{
    agent::Agent,
    client::{Http, curl, preflight_arguments},
    counter, for_each_family,
    packet::flags,
    policy,
    raw_tcp::offer,
    server::{Recording, Server},
    topology::{Pair, Scripted, server_at},
};

const HELLO: &str = "http://api.example.com/v1/hello";

for_each_family! {
    fn the_first_segment_is_handed_over_to_each_server(family) {
        for start in Server::EACH {
            let pair = Pair::new();
            let at = server_at(family);
            let server = start(&pair.server, at).ready(&pair.server, at);
            let agent = Agent::protect(&pair.server, Pair::INTERFACE);
            let counted = agent.counted(|| {
                let mut http = Http::connect(&pair.client, at);
                let response = http.ask(&policy::get("/v1/hello"));
                assert_eq!((response.status, &response.body[..]), (200, &b"hello\n"[..]));
                // And the connection stays usable.
                assert_eq!(http.ask(&policy::get("/v1/hello")).status, 200);
            });
            assert_eq!(counted.get(counter::SYN_ACK), 1);
            assert_eq!(counted.get(counter::HANDED_OVER), 1);
            assert_eq!(counted.all_answered(), 0);
            server.expect_logged("GET", 2);
            agent.stop();
        }
    }

    fn a_get_after_answered_preflights_is_handed_over_to_each_server(family) {
        for start in Server::EACH {
            let pair = Pair::new();
            let at = server_at(family);
            let server = start(&pair.server, at).ready(&pair.server, at);
            let agent = Agent::protect(&pair.server, Pair::INTERFACE);
            for preflights in [1, 2, 50] {
                let counted = agent.counted(|| {
                    let mut http = Http::connect(&pair.client, at);
                    for number in 0..preflights {
                        let answer = http.ask(&policy::preflight(&format!("/v1/item/{number}")));
                        assert_eq!(answer.status, 204);
                        assert!(answer.is_cors());
                    }
                    let response = http.ask(&policy::get("/v1/hello"));
                    assert_eq!((response.status, &response.body[..]), (200, &b"hello\n"[..]));
                    assert_eq!(http.ask(&policy::get("/v1/hello")).status, 200);
                });
                assert_eq!(counted.get(counter::SYN_ACK), 1);
                assert_eq!(counted.get(counter::ANSWERED), preflights);
                assert_eq!(counted.get(counter::HANDED_OVER), 1);
            }
            server.expect_logged("GET", 6);
            assert_eq!(server.logged("OPTIONS"), 0);
        }
    }

    fn curl_needs_one_connection_for_preflights_and_get(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Server::nginx(&pair.server, &[at]).ready(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let counted = agent.counted(|| {
            let preflight = preflight_arguments(HELLO);
            let transfers = curl(&pair.client, at, &[&preflight, &preflight, &[HELLO]]);
            assert_eq!(transfers.iter().map(|t| t.status).collect::<Vec<_>>(), [204, 204, 200]);
            assert_eq!(transfers.iter().map(|t| t.connections).collect::<Vec<_>>(), [1, 0, 0]);
            assert!(transfers[2].text.ends_with("hello\n"));
        });
        assert_eq!(counted.get(counter::ANSWERED), 2);
        assert_eq!(counted.get(counter::HANDED_OVER), 1);
        server.expect_logged("GET", 1);
        assert_eq!(server.logged("OPTIONS"), 0);
    }

    fn every_byte_of_a_request_in_three_segments_arrives(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let put = policy::put("/v1/item", b"the body");
        let preflight = policy::preflight("/v1/item");
        for (preflights, request) in [(0, &put), (1, &put), (0, &preflight), (3, &preflight)] {
            let counted = agent.counted(|| {
                let mut http = Http::connect(&pair.client, at);
                for _ in 0..preflights {
                    assert!(http.ask(&preflight).is_cors());
                }
                let (first, rest) = request.split_at(9);
                let (second, third) = rest.split_at(rest.len() / 2);
                http.send_apart(&[first, second, third]);
                assert_eq!(http.response().body, b"recorded");
            });
            assert_eq!(counted.get(counter::ANSWERED), preflights);
            assert_eq!(counted.get(counter::HANDED_OVER), 1);
            let requests = server.take();
            assert_eq!(requests.len(), 1);
            assert_eq!([&requests[0].head[..], &requests[0].body].concat(), *request);
        }
    }

    fn a_preflight_that_the_policy_refuses_reaches_the_server_unchanged(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let foreign = policy::preflight_from(policy::FOREIGN_ORIGIN, "/v1/item");
        for preflights in [0, 1] {
            let counted = agent.counted(|| {
                let mut http = Http::connect(&pair.client, at);
                for _ in 0..preflights {
                    assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
                }
                let answer = http.ask(&foreign);
                assert!(!answer.is_cors());
                assert_eq!(answer.body, b"recorded");
            });
            assert_eq!(counted.get(counter::ORIGIN_DENIED), 1);
            assert_eq!(counted.get(counter::HANDED_OVER), 1);
            assert_eq!(server.take()[0].head, foreign);
        }
    }

    /// The server sees the client's address and port, not somebody else's.
    fn the_server_sees_who_asks(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let _agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let mut http = Http::connect(&pair.client, at);
        assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
        http.ask(&policy::get("/v1/item"));
        let client = http.stream().local_addr().expect("a local address");
        assert_eq!(server.take()[0].client, client);
    }

    /// The socket that the kernel makes knows what the SYN-ACK promised.
    fn options_of_the_handshake_are_carried_over(family) {
        for (port, offered) in [(40_000, offer::LINUX), (40_001, offer::USUAL), (40_002, offer::NONE)] {
            let net = Scripted::new();
            let _server = Recording::listen(&net.server, server_at(family));
            let _agent = Agent::protect(&net.server, Scripted::INTERFACE);
            let mut tcp = net.connection(family, port);
            let syn_ack = tcp.handshake(offered);
            assert!(syn_ack.mss().is_some());
            assert_eq!(syn_ack.sack_permitted(), !offered.is_empty());
            assert_eq!(syn_ack.window_scale().is_some(), !offered.is_empty());
            assert_eq!(syn_ack.option(8), None, "no timestamps are agreed on");
            tcp.data(&policy::get("/v1/item"));
            tcp.expect_until(b"recorded");

            let socket = net.server.run("ss", &["-tinoHO", "state", "established"]);
            let word = |word: &str| socket.split_whitespace().any(|found| found == word);
            assert_eq!(word("sack"), !offered.is_empty(), "{socket}");
            assert!(!word("ts"), "{socket}");
            match syn_ack.window_scale() {
                Some(scale) => assert!(word(&format!("wscale:7,{scale}")), "{socket}"),
                None => assert!(!socket.contains("wscale"), "{socket}"),
            }
        }
    }

    /// Only the segment at the next byte can become a connection: one that comes before its turn
    /// is dropped, and taken when the client sends it again.
    fn a_segment_that_overtakes_is_taken_when_it_is_sent_again(family) {
        let net = Scripted::new();
        let server = Recording::listen(&net.server, server_at(family));
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        let put = policy::put("/v1/item", b"the body");
        let (first, second) = put.split_at(40);
        for (port, preflights) in [(40_000, 0), (40_001, 1), (40_002, 3)] {
            let mut tcp = net.connection(family, port);
            tcp.handshake(offer::USUAL);
            for _ in 0..preflights {
                tcp.data(&policy::preflight("/v1/item"));
                assert!(tcp.expect_data().payload.starts_with(b"HTTP/1.1 204"));
            }
            let early = {
                let mut early = tcp.segment(flags::ACK | flags::PSH, second);
                early.seq = early.seq.wrapping_add(first.len() as u32);
                early
            };
            let counted = agent.counted(|| {
                tcp.send(&early);
                tcp.expect_silence();
            });
            assert_eq!(counted.get(counter::HANDED_OVER), 0, "{:?}", counted.nonzero());
            let counted = agent.counted(|| {
                tcp.data(first);
                assert_eq!(tcp.expect("an acknowledgement").ack, tcp.snd_nxt);
                tcp.advance(early);
                tcp.expect_until(b"recorded");
            });
            assert_eq!(counted.get(counter::HANDED_OVER), 1);
            let requests = server.take();
            assert_eq!(requests.len(), 1);
            assert_eq!([&requests[0].head[..], &requests[0].body].concat(), put);
        }
    }
}
