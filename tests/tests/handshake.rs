//! The first segments of a connection: what tier 1 takes on itself and what it leaves to the
//! kernel, and ports that are used again at once.

use std::net::SocketAddr;

use cors_tests::{
    agent::Agent,
    client::Http,
    counter, for_each_family,
    packet::flags,
    policy,
    raw_tcp::offer,
    server::{Recording, Server},
    topology::{CLIENT, Pair, Scripted, address, server_at},
};

for_each_family! {
    /// The SYN-ACK was late or lost. Both say the same, so either may be the one that counts.
    fn a_syn_sent_again_gets_the_same_answer(family) {
        let net = Scripted::new();
        let server = Recording::listen(&net.server, server_at(family));
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        let mut tcp = net.connection(family, 40_000);
        let counted = agent.counted(|| {
            let syn = tcp.syn(offer::LINUX);
            let first = tcp.expect("a SYN-ACK");
            for _ in 0..3 {
                tcp.send(&syn);
                assert_eq!(tcp.expect("the SYN-ACK again"), first);
            }
            tcp.accept(&first);
            // The acknowledgement, too, may come more than once.
            tcp.ack();
            tcp.ack();
            tcp.expect_silence();
        });
        assert_eq!(counted.get(counter::SYN_ACK), 4);
        assert_eq!(counted.get(counter::HANDSHAKE_ACK), 2);
        assert_eq!(agent.flows(), 0);
        tcp.data(&policy::preflight("/v1/item"));
        assert!(tcp.expect_data().payload.starts_with(b"HTTP/1.1 204"));
        assert_eq!(server.count(), 0);
    }

    /// A handshake that carries data, or a Fast Open cookie, is the kernel's from the start.
    fn a_syn_with_data_is_the_kernels(family) {
        const FAST_OPEN: &[u8] = &[2, 4, 0x05, 0xb4, 34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1];
        let net = Scripted::new();
        let server = Recording::listen(&net.server, server_at(family));
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        for (port, options, data) in [(40_000, offer::USUAL, &b"GET"[..]), (40_001, FAST_OPEN, b"")] {
            let mut tcp = net.connection(family, port);
            let counted = agent.counted(|| {
                let mut syn = tcp.segment(flags::SYN, data);
                syn.options = options.to_vec();
                tcp.advance(syn);
                let reply = tcp.expect("a SYN-ACK");
                assert_eq!(reply.flags, flags::SYN | flags::ACK);
                // Whether it takes the data already is the kernel's affair.
                tcp.snd_nxt = reply.ack;
                tcp.accept(&reply);
                tcp.ack();
                tcp.data(&policy::get("/v1/item"));
                tcp.expect_until(b"recorded");
            });
            assert_eq!(counted.get(counter::SYN_DATA), 1);
            assert_eq!(counted.get(counter::SYN_ACK), 0);
            assert_eq!(counted.get(counter::HANDED_OVER), 0);
        }
        assert_eq!(server.take().len(), 2);
    }

    /// A real client that comes back from the same port as soon as the server has closed, by the
    /// driver or in the kernel, where the old connection is in TIME_WAIT.
    fn a_client_comes_back_from_the_same_port(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Server::nginx(&pair.server, &[at]).ready(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let from = SocketAddr::new(address(family, CLIENT), 40_000);
        let closing = |first_line: &str| {
            let mut headers = policy::preflight_headers(policy::ORIGIN);
            headers[1] = ("Connection", "close");
            policy::head(first_line, &headers)
        };
        let preflight = closing("OPTIONS /v1/hello HTTP/1.1");
        let get = closing("GET /v1/hello HTTP/1.1");
        let mut asked = 0;
        for last in [&preflight, &get, &preflight, &preflight, &get, &get, &preflight] {
            let mut http = Http::connect_from(&pair.client, from, at);
            let answer = http.ask(last);
            if last == &get {
                asked += 1;
                assert_eq!((answer.status, &answer.body[..]), (200, &b"hello\n"[..]));
            } else {
                // Nginx answers where the kernel took the SYN for its own.
                assert_eq!(answer.status, if answer.is_cors() { 204 } else { 405 });
            }
            assert!(http.is_closed_by_server());
        }
        server.expect_logged("GET", asked);
        assert!(agent.counters().get(counter::ANSWERED_CLOSE) > 0);
        assert!(agent.counters().get(counter::SYN_SOCKET) > 0);
    }
}
