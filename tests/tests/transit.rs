//! Traffic that is not for the protected sockets is none of our business.

use std::net::SocketAddr;

use cors_tests::{
    Family,
    agent::{Agent, Setup},
    client::Http,
    counter, eventually, for_each_family,
    netns::Netns,
    policy,
    server::Recording,
    topology::{CLIENT, Pair, Routed, SERVER, Veth, VethOptions, add_addresses, server_at},
};

for_each_family! {
    /// Every address of the router is protected, and nothing behind it is.
    fn what_a_router_forwards_is_untouched(family) {
        let net = Routed::new();
        let behind = SocketAddr::new(family.address(1, SERVER), 80);
        let server = Recording::listen(&net.server, behind);
        let own = SocketAddr::new(family.address(0, Routed::ROUTER), 80);
        let routers_own = Recording::listen(&net.router, own);
        let wildcards = policy::file(&["0.0.0.0:80", "[::]:80"]);
        let agent = Setup::new(&net.router, wildcards).interface("r0").interface("r1").start();

        let preflight = policy::preflight("/v1/item");
        let counted = agent.counted(|| {
            let mut http = Http::connect(&net.client, behind);
            assert!(!http.ask(&preflight).is_cors());
            assert_eq!(http.ask(&policy::get("/v1/item")).body, b"recorded");
        });
        assert!(counted.get(counter::NOT_PROTECTED) > 0);
        assert_eq!(counted.get(counter::SYN_ACK), 0);
        assert_eq!(counted.all_answered(), 0);
        let heads: Vec<_> = server.take().into_iter().map(|request| request.head).collect();
        assert_eq!(heads, [preflight.clone(), policy::get("/v1/item")]);

        let counted = agent.counted(|| {
            let mut http = Http::connect(&net.client, own);
            assert!(http.ask(&preflight).is_cors());
        });
        assert_eq!(counted.get(counter::ANSWERED), 1);
        assert_eq!(routers_own.count(), 0);
    }

    /// As on the backup of a router pair: it routes to the address that it is to take over, and
    /// its own listener on every address is not meant.
    fn an_address_that_is_routed_is_not_ours(family) {
        let net = Routed::new();
        let behind = SocketAddr::new(family.address(1, SERVER), 80);
        let server = Recording::listen(&net.server, behind);
        let routers_own = Recording::listen(&net.router, SocketAddr::new(family.any(), 80));
        let agent = Setup::new(&net.router, policy::file(&[behind]))
            .interface("r0")
            .interface("r1")
            .start();
        assert!(agent.log().contains(&format!("{behind} is not local yet")));
        let preflight = policy::preflight("/v1/item");
        let counted = agent.counted(|| {
            let mut http = Http::connect(&net.client, behind);
            assert!(!http.ask(&preflight).is_cors());
            assert_eq!(http.ask(&policy::get("/v1/item")).body, b"recorded");
        });
        assert!(counted.get(counter::NOT_PROTECTED) > 0);
        assert_eq!(counted.get(counter::SYN_ACK), 0);
        assert_eq!(counted.all_answered(), 0);
        assert_eq!(server.take().len(), 2);

        // The other router is gone: the address is this one's now.
        let (bits, lo) = (if family == Family::V4 { 32 } else { 128 }, ["dev", "lo"]);
        let address = format!("{}/{bits}", behind.ip());
        net.router.ip(&[&["address", "add", &address], &lo[..]].concat());
        eventually("the agent protects the address", || {
            agent.status()["protected"].to_string().contains(&format!("\"{behind}\"")).then_some(())
        });
        assert!(Http::connect(&net.client, behind).ask(&preflight).is_cors());
        assert_eq!((server.count(), routers_own.count()), (0, 0));
    }

    fn another_port_is_untouched(family) {
        let pair = Pair::new();
        let other = SocketAddr::new(server_at(family).ip(), 8080);
        let server = Recording::listen(&pair.server, other);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let preflight = policy::preflight("/v1/item");
        let counted = agent.counted(|| {
            assert!(!Http::connect(&pair.client, other).ask(&preflight).is_cors());
        });
        assert!(counted.get(counter::NOT_PROTECTED) > 0);
        assert_eq!(counted.get(counter::SYN_ACK), 0);
        assert_eq!(server.take()[0].head, preflight);
    }

    /// Connections that the server's host opens itself.
    fn connections_of_our_own_are_untouched(family) {
        let pair = Pair::new();
        let remote = SocketAddr::new(family.address(0, CLIENT), 80);
        let server = Recording::listen(&pair.client, remote);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let counted = agent.counted(|| {
            let mut http = Http::connect(&pair.server, remote);
            assert_eq!(http.ask(&policy::get("/v1/item")).body, b"recorded");
        });
        assert_eq!(server.take().len(), 1);
        assert!(counted.get(counter::NOT_PROTECTED) > 0);
        assert_eq!(counted.get(counter::HANDED_OVER), 0);
    }

    /// One agent on two interfaces: each client is answered on its own.
    fn several_interfaces_at_once(family) {
        let server = Netns::new("server");
        let clients = [Netns::new("left"), Netns::new("right")];
        let mut cables = Vec::new();
        for (client, (interface, network)) in clients.iter().zip([("s0", 0), ("s1", 1)]) {
            cables.push(Veth::join((&server, interface), (client, "c0"), VethOptions::default()));
            add_addresses(&server, interface, network, SERVER);
            add_addresses(client, "c0", network, CLIENT);
        }
        let addresses = [0, 1].map(|network| SocketAddr::new(family.address(network, SERVER), 80));
        let recording = Recording::listen(&server, SocketAddr::new(family.any(), 80));
        let agent = Setup::new(&server, policy::file(&addresses))
            .interface("s0")
            .interface("s1")
            .start();
        let mut connections = Vec::new();
        for (client, at) in clients.iter().zip(addresses) {
            let mut http = Http::connect(client, at);
            assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
            connections.push(http);
        }
        for http in &mut connections {
            assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
            assert_eq!(http.ask(&policy::get("/v1/item")).body, b"recorded");
        }
        assert_eq!(recording.take().len(), 2);
        assert_eq!(agent.counters().get(counter::ANSWERED), 4);
    }
}
