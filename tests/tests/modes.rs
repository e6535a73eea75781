//! Where the program runs: loopback, veth in native and in generic mode, tagged frames.

use std::net::SocketAddr;

use cors_tests::{
    Random,
    agent::{Agent, Setup},
    client::{Http, curl, preflight_arguments},
    counter, for_each_family,
    netns::Netns,
    policy,
    raw_tcp::offer,
    server::{Recording, Server},
    topology::{Pair, Scripted, VethOptions, server_at, sockets},
};

const HELLO: &str = "http://api.example.com/v1/hello";

for_each_family! {
    fn loopback_works_in_generic_mode(family) {
        let host = Netns::new("host");
        let at = SocketAddr::new(family.loopback(), 80);
        let server = Server::nginx(&host, &[at]).ready(&host, at);
        let agent = Agent::start(&host, "lo", policy::file(&[at]));
        assert_eq!(agent.mode("lo"), "generic");
        let counted = agent.counted(|| {
            let preflight = preflight_arguments(HELLO);
            let transfers = curl(&host, at, &[&preflight, &preflight, &[HELLO]]);
            assert_eq!(transfers.iter().map(|t| t.status).collect::<Vec<_>>(), [204, 204, 200]);
            assert_eq!(transfers.iter().map(|t| t.connections).collect::<Vec<_>>(), [1, 0, 0]);
        });
        assert_eq!(counted.get(counter::ANSWERED), 2);
        assert_eq!(counted.get(counter::HANDED_OVER), 1);
        server.expect_logged("GET", 1);
    }

    fn veth_works_in_native_mode_with_a_program_on_the_peer(family) {
        let pair = Pair::with(VethOptions { peer_pass: true });
        let agent = Setup::new(&pair.server, policy::file(&sockets()))
            .interface(Pair::INTERFACE)
            .xdp("native")
            .start();
        assert_eq!(agent.mode(Pair::INTERFACE), "native");
        veth_conversation(&pair, &agent, server_at(family));
    }

    fn veth_works_in_generic_mode_without_one(family) {
        let pair = Pair::new();
        let agent = Setup::new(&pair.server, policy::file(&sockets()))
            .interface(Pair::INTERFACE)
            .xdp("generic")
            .start();
        assert_eq!(agent.mode(Pair::INTERFACE), "generic");
        veth_conversation(&pair, &agent, server_at(family));
    }

    /// A native program on a veth without a peer program would seem to answer and say nothing.
    fn veth_gets_generic_mode_by_itself(family) {
        let pair = Pair::new();
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        assert_eq!(agent.mode(Pair::INTERFACE), "generic");
        veth_conversation(&pair, &agent, server_at(family));
    }

    /// A tag that says a priority and no VLAN: the reply has the same, and the kernel takes over.
    fn frames_with_a_priority_are_answered_with_it(family) {
        const PRIORITY: u16 = 0x6000;
        let net = Scripted::new();
        let server = Recording::listen(&net.server, server_at(family));
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        let mut tcp = net.connection(family, 40_000);
        tcp.vlans = vec![PRIORITY];
        assert_eq!(tcp.handshake(offer::USUAL).vlans, [PRIORITY]);
        for _ in 0..2 {
            tcp.data(&policy::preflight("/v1/item"));
            let answer = tcp.expect_data();
            assert!(answer.payload.starts_with(b"HTTP/1.1 204"));
            assert_eq!(answer.vlans, [PRIORITY]);
        }
        tcp.data(&policy::get("/v1/item"));
        tcp.expect_until(b"recorded");
        let counted = agent.counters();
        assert_eq!((counted.get(counter::ANSWERED), counted.get(counter::HANDED_OVER)), (2, 1));
        assert_eq!(server.count(), 1);
    }

    /// The kernel takes nothing from a VLAN that the host is not in, and could take over nothing
    /// behind two tags.
    fn frames_of_foreign_vlans_are_left_alone(family) {
        let net = Scripted::new();
        let _server = Recording::listen(&net.server, server_at(family));
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        for (vlans, name) in
            [(vec![5], counter::SYN_ELSEWHERE), (vec![0, 5], counter::TWO_TAGS), (vec![5, 6], counter::TWO_TAGS)]
        {
            let counted = agent.counted(|| {
                let mut tcp = net.connection(family, 40_000);
                tcp.vlans = vlans;
                tcp.syn(offer::USUAL);
                tcp.expect_silence();
            });
            assert_eq!((counted.get(name), counted.get(counter::SYN_ACK)), (1, 0), "{name}");
        }
    }
}

fn veth_conversation(pair: &Pair, agent: &Agent, at: SocketAddr) {
    let server = Server::python(&pair.server, at).ready(&pair.server, at);
    let content = Random::new(1).bytes(1 << 20);
    let counted = agent.counted(|| {
        let mut http = Http::connect(&pair.client, at);
        for _ in 0..3 {
            assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
        }
        assert_eq!(http.ask(&policy::put("/v1/item", &content)).status, 201);
        assert!(http.ask(&policy::get("/v1/item")).body == content, "the download differs");
    });
    assert!(server.file("item") == content, "the upload differs");
    assert_eq!(counted.get(counter::ANSWERED), 3);
    assert_eq!(counted.get(counter::HANDED_OVER), 1);
}
