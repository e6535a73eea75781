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

    /// With 802.1Q tags in the frame, one or two, the reply has the same.
    fn tagged_frames_are_answered_with_their_tags(family) {
        let net = Scripted::new();
        let server = Recording::listen(&net.server, server_at(family));
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        for (port, vlans) in [(40_000, vec![5]), (40_001, vec![0x6007, 9])] {
            let mut tcp = net.connection(family, port);
            tcp.vlans.clone_from(&vlans);
            assert_eq!(tcp.handshake(offer::USUAL).vlans, vlans);
            for _ in 0..2 {
                tcp.data(&policy::preflight("/v1/item"));
                let answer = tcp.expect_data();
                assert!(answer.payload.starts_with(b"HTTP/1.1 204"));
                assert_eq!(answer.vlans, vlans);
            }
        }
        assert_eq!(agent.counters().get(counter::ANSWERED), 4);
        assert_eq!(server.count(), 0);
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
