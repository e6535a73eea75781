//! Connections that tier 1 keeps to itself: many preflights, probes, retransmissions, and every
//! way to end.

use cors_tests::{
    agent::Agent,
    client::Http,
    counter, for_each_family,
    packet::flags,
    policy,
    raw_tcp::{RawTcp, offer},
    server::Recording,
    topology::{Pair, Scripted, server_at},
};

/// A listener that must never hear of anything.
fn quiet_server(net: &Scripted, tcp: &RawTcp) -> Recording {
    Recording::listen(&net.server, tcp.remote)
}

/// A response without its `Date`, which may change from one second to the next.
fn without_date(response: &[u8]) -> String {
    let text = String::from_utf8_lossy(response);
    let is_date = |line: &&str| line.to_ascii_lowercase().starts_with("date:");
    text.lines().filter(|line| !is_date(line)).collect::<Vec<_>>().join("\n")
}

fn kernel_sockets(net: &Scripted) -> String {
    net.server.run("ss", &["-tanHO", "exclude", "listening"])
}

for_each_family! {
    fn a_thousand_preflights_on_one_connection(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let counted = agent.counted(|| {
            let mut http = Http::connect(&pair.client, at);
            for number in 0..1000 {
                let answer = http.ask(&policy::preflight(&format!("/v1/item/{number}")));
                assert_eq!(answer.status, 204);
                assert_eq!(answer.header("access-control-allow-origin"), Some(policy::ORIGIN));
            }
            http.finish();
            assert!(http.is_closed_by_server());
        });
        assert_eq!(counted.get(counter::SYN_ACK), 1);
        // The client's kernel may have retransmitted on a machine that was busy elsewhere.
        assert_eq!(counted.get(counter::ANSWERED), 1000);
        assert_eq!(counted.get(counter::HANDED_OVER), 0);
        assert_eq!(server.count(), 0);
    }

    fn connection_close_is_honoured(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        for before in [0, 1, 3] {
            let counted = agent.counted(|| {
                let mut http = Http::connect(&pair.client, at);
                for _ in 0..before {
                    assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
                }
                let mut headers = policy::preflight_headers(policy::ORIGIN);
                headers[1] = ("Connection", "close");
                let answer = http.ask(&policy::head("OPTIONS /v1/item HTTP/1.1", &headers));
                assert!(answer.is_cors());
                assert_eq!(answer.header("connection"), Some("close"));
                assert!(http.is_closed_by_server());
            });
            assert_eq!(counted.get(counter::ANSWERED), before);
            assert_eq!(counted.get(counter::ANSWERED_CLOSE), 1);
        }
        assert_eq!(server.count(), 0);
    }

    fn the_kernel_has_no_socket_for_it(family) {
        let net = Scripted::new();
        let mut tcp = net.connection(family, 40_000);
        let server = quiet_server(&net, &tcp);
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        tcp.handshake(offer::USUAL);
        tcp.expect_silence();
        assert_eq!(agent.flows(), 0, "a handshake is not remembered");
        tcp.data(&policy::preflight("/v1/item"));
        tcp.expect_data();
        assert_eq!(agent.flows(), 1);
        assert_eq!(kernel_sockets(&net), "");
        assert_eq!(server.count(), 0);
    }

    fn a_probe_is_acknowledged(family) {
        let net = Scripted::new();
        let mut tcp = net.connection(family, 40_000);
        let _server = quiet_server(&net, &tcp);
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        tcp.handshake(offer::USUAL);
        let counted = agent.counted(|| {
            for answered in [false, true, true] {
                if answered {
                    tcp.data(&policy::preflight("/v1/item"));
                    tcp.expect_data();
                }
                tcp.probe();
                let reply = tcp.expect("an acknowledgement");
                assert_eq!((reply.flags, reply.payload.len()), (flags::ACK, 0));
                assert_eq!((reply.seq, reply.ack), (tcp.rcv_nxt, tcp.snd_nxt));
            }
        });
        assert_eq!(counted.get(counter::PROBE_ACK), 3);
    }

    fn a_retransmitted_preflight_gets_the_same_answer(family) {
        let net = Scripted::new();
        let mut tcp = net.connection(family, 40_000);
        let server = quiet_server(&net, &tcp);
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        tcp.handshake(offer::USUAL);
        for number in 0..3 {
            let request = tcp.data(&policy::preflight(&format!("/v1/item/{number}")));
            let first = tcp.expect("an answer");
            let counted = agent.counted(|| {
                for _ in 0..2 {
                    tcp.send(&request);
                    let again = tcp.expect("the answer again");
                    assert_eq!((again.seq, again.ack), (first.seq, first.ack));
                    assert_eq!(without_date(&again.payload), without_date(&first.payload));
                }
            });
            assert_eq!(counted.get(counter::ANSWERED_AGAIN), 2);
            assert_eq!(counted.get(counter::ANSWERED), 0);
            tcp.accept(&first);
            tcp.ack();
        }
        assert_eq!(server.count(), 0);
    }

    /// Nothing is handed over or answered while the client may have to be sent something again.
    fn a_request_that_does_not_acknowledge_the_answer_is_dropped(family) {
        for request in [policy::preflight("/v1/other"), policy::get("/v1/other")] {
            let net = Scripted::new();
            let mut tcp = net.connection(family, 40_000);
            let server = quiet_server(&net, &tcp);
            let agent = Agent::protect(&net.server, Scripted::INTERFACE);
            tcp.handshake(offer::USUAL);
            tcp.data(&policy::preflight("/v1/item"));
            let answer = tcp.expect("an answer");
            // As if the answer had been lost.
            let early = tcp.segment(flags::ACK | flags::PSH, &request);
            let counted = agent.counted(|| {
                tcp.send(&early);
                tcp.expect_silence();
            });
            assert_eq!(counted.get(counter::UNACKNOWLEDGED), 1);
            assert_eq!(server.count(), 0);

            tcp.accept(&answer);
            tcp.data(&request);
            assert!(tcp.expect_data().payload.starts_with(b"HTTP/1.1 20"));
        }
    }

    fn a_client_may_close_at_any_point(family) {
        let net = Scripted::new();
        let server = Recording::listen(&net.server, server_at(family));
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        let counted = agent.counted(|| {
            for (port, preflights) in [(40_000, 0), (40_001, 1), (40_002, 3)] {
                let mut tcp = net.connection(family, port);
                tcp.handshake(offer::USUAL);
                for _ in 0..preflights {
                    tcp.data(&policy::preflight("/v1/item"));
                    tcp.expect_data();
                }
                let fin = tcp.fin();
                let reply = tcp.expect("FIN and its acknowledgement");
                assert_eq!(reply.flags, flags::FIN | flags::ACK);
                assert_eq!((reply.seq, reply.ack), (tcp.rcv_nxt, tcp.snd_nxt));
                // Lost on the way: the client asks again.
                tcp.send(&fin);
                let again = tcp.expect("FIN again");
                assert_eq!((again.flags, again.seq, again.ack), (reply.flags, reply.seq, reply.ack));
                tcp.accept(&reply);
                tcp.ack();
                tcp.expect_silence();
            }
        });
        assert_eq!(counted.get(counter::FIN_ACK), 6);
        assert_eq!(kernel_sockets(&net), "");
        assert_eq!(server.count(), 0);
    }

    fn a_reset_is_believed_and_the_port_may_be_used_again(family) {
        let net = Scripted::new();
        let mut tcp = net.connection(family, 40_000);
        let _server = quiet_server(&net, &tcp);
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        for _ in 0..3 {
            tcp.handshake(offer::USUAL);
            tcp.data(&policy::preflight("/v1/item"));
            tcp.expect_data();
            assert_eq!(agent.flows(), 1);
            tcp.rst();
            tcp.expect_silence();
            assert_eq!(agent.flows(), 0);
            tcp.snd_nxt = tcp.snd_nxt.wrapping_add(1_000_000);
        }
        assert_eq!(agent.counters().get(counter::RESET), 3);
    }

    /// A client that vanished and comes back on the same port is not held to its old connection.
    fn a_new_connection_on_the_tuple_of_a_forgotten_one(family) {
        let net = Scripted::new();
        let mut tcp = net.connection(family, 40_000);
        let server = quiet_server(&net, &tcp);
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        for step in [1_000_000, 0x8000_0000_u32, 7] {
            tcp.handshake(offer::USUAL);
            tcp.data(&policy::preflight("/v1/item"));
            assert!(tcp.expect_data().payload.starts_with(b"HTTP/1.1 204"));
            tcp.snd_nxt = tcp.snd_nxt.wrapping_add(step);
        }
        tcp.handshake(offer::USUAL);
        tcp.data(&policy::get("/v1/item"));
        tcp.expect_until(b"recorded");
        assert_eq!(server.count(), 1);
        assert_eq!(agent.counters().get(counter::ANSWERED), 3);
    }
}
