//! Who listens, how, and since when: tier 1 shakes hands only where the kernel has a listener.

use std::net::SocketAddr;

use cors_tests::{
    Family,
    agent::Agent,
    client::{Http, curl, curl_exit, preflight_arguments},
    counter, eventually, for_each_family,
    netns::Netns,
    packet::flags,
    policy,
    raw_tcp::offer,
    server::{Recording, Server, recording::Options},
    topology::{Pair, Scripted, add_address, server_at},
};

const HELLO: &str = "http://api.example.com/v1/hello";
/// Curl's exit code where the connection is refused.
const REFUSED: i32 = 7;
/// Exit codes of curl for an exchange that ended well, and for what a client sees of a listener
/// that goes: refused, closed without an answer, reset.
const GOOD_OR_GONE: [i32; 4] = [0, REFUSED, 52, 56];

fn preflight_and_get(pair: &Pair, at: SocketAddr) {
    let mut http = Http::connect(&pair.client, at);
    assert!(http.ask(&policy::preflight("/v1/hello")).is_cors());
    assert_eq!(http.ask(&policy::get("/v1/hello")).status, 200);
}

for_each_family! {
    fn no_listener_refuses_the_connection(family) {
        let pair = Pair::new();
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let counted = agent.counted(|| {
            assert_eq!(curl_exit(&pair.client, server_at(family), &[HELLO]), REFUSED);
        });
        assert_eq!(counted.get(counter::SYN_NO_LISTENER), 1);
        assert_eq!(counted.get(counter::SYN_ACK), 0);
    }

    fn a_listener_comes_and_goes(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let _agent = Agent::protect(&pair.server, Pair::INTERFACE);
        for _ in 0..3 {
            assert_eq!(curl_exit(&pair.client, at, &[HELLO]), REFUSED);
            let server = Recording::listen(&pair.server, at);
            preflight_and_get(&pair, at);
            assert_eq!(server.take().len(), 1);
            server.close();
        }
    }

    /// A connection of tier 1 whose listener is gone ends; it does not hang, and nothing lies.
    fn a_listener_goes_under_an_open_connection(family) {
        for next in [policy::preflight("/v1/hello"), policy::get("/v1/hello")] {
            let net = Scripted::new();
            let server = Recording::listen(&net.server, server_at(family));
            let _agent = Agent::protect(&net.server, Scripted::INTERFACE);
            let mut tcp = net.connection(family, 40_000);
            tcp.handshake(offer::USUAL);
            tcp.data(&policy::preflight("/v1/hello"));
            tcp.expect_data();
            server.close();
            tcp.data(&next);
            assert!(tcp.expect("a reset").has(flags::RST));
        }
    }

    /// Under traffic: every exchange ends well, or with a refused or reset connection. None hangs.
    fn a_listener_restarts_under_traffic(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let preflight = preflight_arguments(HELLO);
        let transfers: [&[&str]; 4] = [&[HELLO], &preflight, &[HELLO], &preflight];
        for _ in 0..10 {
            let server = Recording::listen(&pair.server, at);
            std::thread::scope(|scope| {
                let client = scope.spawn(|| -> Vec<i32> {
                    (0..20).map(|n| curl_exit(&pair.client, at, transfers[n % 4])).collect()
                });
                eventually("some requests get through", || (server.count() > 3).then_some(()));
                server.close();
                let exits = client.join().expect("a client");
                assert!(exits.iter().filter(|exit| **exit == 0).count() > 3, "{exits:?}");
                assert!(exits.iter().all(|exit| GOOD_OR_GONE.contains(exit)), "{exits:?}");
            });
        }
        let server = Recording::listen(&pair.server, at);
        preflight_and_get(&pair, at);
        assert_eq!(server.take().len(), 1);
        agent.stop();
    }

    /// `[::]:80` that takes IPv4 as well.
    fn a_dual_stack_listener_serves_both(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let any = SocketAddr::new(Family::V6.any(), 80);
        let options = Options { dual_stack: true, ..Options::default() };
        let server = Recording::listen_with(&pair.server, any, options);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let counted = agent.counted(|| preflight_and_get(&pair, at));
        assert_eq!(counted.get(counter::ANSWERED), 1);
        assert_eq!(counted.get(counter::HANDED_OVER), 1);
        assert_eq!(server.take().len(), 1);
    }

    /// A wildcard in `listen` stands for every address of the interface.
    fn a_wildcard_protects_every_address(family) {
        let pair = Pair::new();
        let _server = Recording::listen(&pair.server, SocketAddr::new(family.any(), 80));
        let agent =
            Agent::start(&pair.server, Pair::INTERFACE, policy::file(&["0.0.0.0:80", "[::]:80"]));
        let counted = agent.counted(|| preflight_and_get(&pair, server_at(family)));
        assert_eq!(counted.get(counter::ANSWERED), 1);

        // One that comes later, too.
        let (address, length) = (family.address(0, 77), if family == Family::V4 { 24 } else { 64 });
        add_address(&pair.server, Pair::INTERFACE, address, length);
        let at = SocketAddr::new(address, 80);
        eventually("the agent protects the new address", || {
            let protected = agent.status()["protected"].to_string();
            protected.contains(&format!("\"{at}\"")).then_some(())
        });
        let counted = agent.counted(|| preflight_and_get(&pair, at));
        assert_eq!(counted.get(counter::ANSWERED), 1);
        let added = format!("{address}/{length}");
        pair.server.ip(&["address", "del", &added, "dev", Pair::INTERFACE]);
        eventually("the agent forgets the address", || {
            let protected = agent.status()["protected"].to_string();
            (!protected.contains(&format!("\"{at}\""))).then_some(())
        });
    }

    /// An address that is named is protected while it is this host's, on whichever interface.
    fn a_named_address_may_come_and_go(family) {
        let pair = Pair::new();
        let server = Recording::listen(&pair.server, SocketAddr::new(family.any(), 80));
        let at = SocketAddr::new(family.address(9, 5), 80);
        let agent = Agent::start(&pair.server, Pair::INTERFACE, policy::file(&[at]));
        let protects = || agent.status()["protected"].to_string().contains(&format!("\"{at}\""));
        assert!(!protects());
        assert!(agent.log().contains(&format!("{at} is not local yet")));
        let (bits, network) = if family == Family::V4 { (32, 24) } else { (128, 64) };
        let through = server_at(family).ip().to_string();
        let range = format!("{}/{network}", family.address(9, 0));
        pair.client.ip(&["route", "add", &range, "via", &through]);

        let address = format!("{}/{bits}", at.ip());
        // A range of addresses that no interface has (AnyIP).
        let local = ["local", &range, "dev", "lo"];
        for (add, remove) in [
            ([&["address", "add"], &[&address, "dev", "lo"][..]].concat(),
             [&["address", "del"], &[&address, "dev", "lo"][..]].concat()),
            ([&["route", "add"], &local[..]].concat(), [&["route", "del"], &local[..]].concat()),
        ] {
            pair.server.ip(&add);
            eventually("the agent protects the address", || protects().then_some(()));
            let counted = agent.counted(|| preflight_and_get(&pair, at));
            assert_eq!(counted.get(counter::ANSWERED), 1);
            assert_eq!(counted.get(counter::HANDED_OVER), 1);
            assert_eq!(server.take().len(), 1);
            pair.server.ip(&remove);
            eventually("the agent forgets the address", || (!protects()).then_some(()));
        }
        assert_eq!(agent.log().matches("is not local yet").count(), 3);
    }

    fn every_member_of_a_reuseport_group_gets_connections(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let options = Options { reuse_port: true, ..Options::default() };
        let group: Vec<_> =
            (0..4).map(|_| Recording::listen_with(&pair.server, at, options)).collect();
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let counted = agent.counted(|| {
            for _ in 0..64 {
                preflight_and_get(&pair, at);
            }
        });
        assert_eq!(counted.get(counter::HANDED_OVER), 64);
        let shares: Vec<_> = group.iter().map(Recording::count).collect();
        assert_eq!(shares.iter().sum::<usize>(), 64, "{shares:?}");
        // That all went to one has a chance of one in 2 to the 126.
        assert!(shares.iter().filter(|share| **share > 0).count() > 1, "{shares:?}");
    }

    fn nginx_with_reuseport_workers(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Server::nginx_with(&pair.server, &[at], "reuseport", 4).ready(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let counted = agent.counted(|| {
            for _ in 0..16 {
                preflight_and_get(&pair, at);
            }
        });
        assert_eq!(counted.get(counter::HANDED_OVER), 16);
        server.expect_logged("GET", 16);
    }

    /// The same address, the same port, another network namespace of the same machine.
    fn a_listener_in_another_namespace_is_not_ours(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let other = Netns::new("other");
        let length = if family == Family::V4 { 32 } else { 128 };
        add_address(&other, "lo", at.ip(), length);
        let server = Recording::listen(&other, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let counted = agent.counted(|| {
            assert_eq!(curl_exit(&pair.client, at, &[HELLO]), REFUSED);
        });
        assert_eq!(counted.get(counter::SYN_NO_LISTENER), 1);
        assert_eq!(counted.get(counter::SYN_ACK), 0);
        assert_eq!(server.count(), 0);
    }

    /// The kernel refuses to take over connections for an MPTCP listener: they are its own from
    /// the SYN on.
    fn an_mptcp_listener_keeps_its_connections(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let options = Options { mptcp: true, ..Options::default() };
        let server = Recording::listen_with(&pair.server, at, options);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let mut by_driver = 0;
        let counted = agent.counted(|| {
            for mut http in [
                Http::connect(&pair.client, at),
                Http::connect_mptcp(&pair.client, at),
            ] {
                let answer = http.ask(&policy::preflight("/v1/hello"));
                assert!(answer.is_cors() || answer.body == b"recorded");
                by_driver += usize::from(answer.is_cors());
                assert_eq!(http.ask(&policy::get("/v1/hello")).body, b"recorded");
            }
        });
        assert_eq!(counted.get(counter::SYN_MPTCP), 2);
        assert_eq!(counted.get(counter::SYN_ACK), 0);
        assert_eq!(counted.get(counter::HANDOVER_REFUSED), 0);
        assert_eq!(server.take().len(), 4 - by_driver);
    }

    /// A client that would like MPTCP gets TCP.
    fn an_mptcp_client_falls_back(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let counted = agent.counted(|| {
            let mut http = Http::connect_mptcp(&pair.client, at);
            assert!(http.ask(&policy::preflight("/v1/hello")).is_cors());
            assert_eq!(http.ask(&policy::get("/v1/hello")).body, b"recorded");
        });
        assert_eq!(counted.get(counter::ANSWERED), 1);
        assert_eq!(server.take().len(), 1);
    }

    /// The kernel remembers a closed connection in TIME_WAIT; a new SYN on its tuple is for it.
    fn a_port_is_used_again_within_time_wait(family) {
        let net = Scripted::new();
        let at = server_at(family);
        let _server = Server::nginx(&net.server, &[at]).ready(&net.server, at);
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        let mut tcp = net.connection(family, 40_000);
        let close = policy::head(
            "GET /v1/hello HTTP/1.1",
            &[("Host", policy::HOST), ("Connection", "close")],
        );
        for round in 0..4 {
            tcp.handshake(offer::USUAL);
            tcp.data(&close);
            // The server closes first, so TIME_WAIT is its.
            let mut last = tcp.expect("the response");
            while !last.has(flags::FIN) {
                last = tcp.expect("the response and FIN");
            }
            tcp.accept(&last);
            tcp.ack();
            tcp.fin();
            assert_eq!(tcp.expect("the acknowledgement of FIN").ack, tcp.snd_nxt);
            let waiting = net.server.run("ss", &["-tanHO", "state", "time-wait"]);
            assert!(waiting.contains(":40000"), "{waiting}");
            assert_eq!(agent.counters().get(counter::SYN_SOCKET), round);
            tcp.snd_nxt = tcp.snd_nxt.wrapping_add(1_000_000);
        }
        // On such a connection the kernel has everything, preflights included.
        tcp.handshake(offer::USUAL);
        let counted = agent.counted(|| {
            tcp.data(&policy::preflight("/v1/hello"));
            let answer = tcp.expect_data().payload;
            assert!(answer.starts_with(b"HTTP/1.1 2") || answer.starts_with(b"HTTP/1.1 405"));
        });
        assert_eq!(counted.get(counter::HANDED_OVER), 0);
    }
}

/// nginx with one IPv4 and one IPv6 socket, both protected, at the same time.
#[test]
fn both_families_at_once() {
    let pair = Pair::new();
    let sockets = cors_tests::topology::sockets();
    let server = Server::nginx(&pair.server, &sockets)
        .ready(&pair.server, sockets[0])
        .ready(&pair.server, sockets[1]);
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    for at in sockets {
        preflight_and_get(&pair, at);
        assert_eq!(curl(&pair.client, at, &[&[HELLO]])[0].status, 200);
    }
    server.expect_logged("GET", 4);
    assert_eq!(agent.counters().get(counter::ANSWERED), 2);
}
