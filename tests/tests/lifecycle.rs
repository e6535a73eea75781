//! What an agent that measures does, whom it needs to be, and what outlives it.

use cors_tests::{
    agent::{Agent, Setup},
    client::Http,
    counter, eventually, for_each_family, policy,
    program::{self, Program},
    raw_tcp::offer,
    server::Recording,
    topology::{
        CLIENT, Pair, SERVER, Scripted, Veth, VethOptions, add_addresses, server_at, sockets,
    },
};
use nix::sys::signal::Signal;

for_each_family! {
    fn measuring_counts_and_passes_everything(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Setup::new(&pair.server, policy::file(&sockets()))
            .interface(Pair::INTERFACE)
            .argument("--measure")
            .start();
        let counted = agent.counted(|| {
            let mut http = Http::connect(&pair.client, at);
            for _ in 0..3 {
                assert!(!http.ask(&policy::preflight("/v1/item")).is_cors());
            }
            http.ask(&policy::get("/v1/item"));
        });
        assert_eq!(counted.get(counter::WOULD_ANSWER), 3);
        assert_eq!(counted.get(counter::SYN_ACK), 0);
        assert_eq!(counted.all_answered(), 0);
        assert_eq!(server.take().len(), 4);
    }

    fn a_connection_that_was_handed_over_outlives_the_agent(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let _server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let mut http = Http::connect(&pair.client, at);
        assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
        http.ask(&policy::get("/v1/item"));
        agent.stop();
        assert_eq!(http.ask(&policy::get("/v1/item")).body, b"recorded");
        let mut other = Http::connect(&pair.client, at);
        assert!(!other.ask(&policy::preflight("/v1/item")).is_cors());
    }

    /// As it does where a driver is loaded anew, or a virtual machine's card is exchanged.
    fn an_interface_may_go_and_come_back(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        assert!(Http::connect(&pair.client, at).ask(&policy::preflight("/v1/item")).is_cors());

        pair.server.ip(&["link", "del", Pair::INTERFACE]);
        eventually("the agent notices", || attached(&agent).is_empty().then_some(()));

        let _cable = Veth::join(
            (&pair.server, Pair::INTERFACE),
            (&pair.client, "c0"),
            VethOptions::default(),
        );
        add_addresses(&pair.client, "c0", 0, CLIENT);
        add_addresses(&pair.server, Pair::INTERFACE, 0, SERVER);
        eventually("the agent is back, too", || {
            (attached(&agent) == [Pair::INTERFACE] && protects(&agent, at)).then_some(())
        });
        let counted = agent.counted(|| {
            let mut http = Http::connect(&pair.client, at);
            assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
            assert_eq!(http.ask(&policy::get("/v1/item")).body, b"recorded");
        });
        assert_eq!(counted.get(counter::ANSWERED), 1);
        assert_eq!(counted.get(counter::HANDED_OVER), 1);
        assert_eq!(server.take().len(), 1);
        assert_eq!(agent.log().matches("s0 is gone").count(), 1);
        agent.stop();
        assert_eq!(program::count(&pair.server, Pair::INTERFACE), 0);
    }

    /// Connections that were begun before the end are served after it: their next request, which
    /// comes while the agent waits for it, makes them the kernel's.
    fn open_connections_are_handed_over_at_the_end(family) {
        let net = Scripted::new();
        let server = Recording::listen(&net.server, server_at(family));
        let agent = Setup::new(&net.server, policy::file(&sockets()))
            .interface(Scripted::INTERFACE)
            .drain("600")
            .start();
        let mut begun = net.connection(family, 40_000);
        begun.handshake(offer::USUAL);
        let mut answered = net.connection(family, 40_001);
        answered.handshake(offer::USUAL);
        answered.data(&policy::preflight("/v1/item"));
        answered.expect_until(b"\r\n\r\n");
        eventually("the agent counts an answer", || {
            (agent.counters().get(counter::ANSWERED) == 1).then_some(())
        });

        agent.signal(Signal::SIGTERM);
        eventually("the agent is about to stop", || {
            agent.log().contains("stopping, by SIGTERM").then_some(())
        });
        for tcp in [&mut begun, &mut answered] {
            tcp.data(&policy::get("/v1/item"));
            assert!(tcp.expect_until(b"recorded").starts_with(b"HTTP/1.1 200"));
        }
        let counters = agent.counters();
        assert_eq!(counters.get(counter::HANDED_OVER), 2);
        assert_eq!(counters.get(counter::SYN_ACK), 2);
        // It does not begin connections, nor answer on those that are open.
        let mut late = net.connection(family, 40_002);
        late.handshake(offer::USUAL);
        for tcp in [&mut late, &mut begun] {
            tcp.data(&policy::preflight("/v1/item"));
            tcp.expect_until(b"recorded");
        }
        let counters = agent.counters();
        assert_eq!(counters.get(counter::SYN_ACK), 2);
        assert_eq!(counters.get(counter::ANSWERED), 1);
        // The second signal: at once.
        agent.stop();
        for tcp in [&mut begun, &mut answered, &mut late] {
            tcp.data(&policy::get("/v1/item"));
            tcp.expect_until(b"recorded");
        }
        assert_eq!(server.take().len(), 7);
    }

    /// Nothing is answered, and so there is nothing to hand over.
    fn without_xdp_everything_passes(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Setup::new(&pair.server, policy::file(&sockets()))
            .interface(Pair::INTERFACE)
            .xdp("off")
            .start();
        assert_eq!(agent.mode(Pair::INTERFACE), "off");
        let mut http = Http::connect(&pair.client, at);
        assert!(!http.ask(&policy::preflight("/v1/item")).is_cors());
        assert_eq!(http.ask(&policy::get("/v1/item")).body, b"recorded");
        let counters = agent.counters();
        assert_eq!(counters.get(counter::HANDED_OVER), 0);
        assert_eq!(counters.get(counter::SYN_ACK), 0);
        assert_eq!(server.take().len(), 2);
    }

    /// Root is not needed at run time: three capabilities are, in whichever mode.
    fn an_unprivileged_user_with_three_capabilities(family) {
        for (xdp, peer_pass) in [("generic", false), ("native", true)] {
            let pair = Pair::with(VethOptions { peer_pass });
            let at = server_at(family);
            let server = Recording::listen(&pair.server, at);
            let agent = Setup::new(&pair.server, policy::file(&sockets()))
                .interface(Pair::INTERFACE)
                .xdp(xdp)
                .nobody_with(&["bpf", "net_admin", "perfmon"])
                .start();
            let counted = agent.counted(|| {
                let mut http = Http::connect(&pair.client, at);
                assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
                assert_eq!(http.ask(&policy::get("/v1/item")).body, b"recorded");
            });
            assert_eq!(counted.get(counter::ANSWERED), 1);
            assert_eq!(counted.get(counter::HANDED_OVER), 1);
            assert_eq!(server.take().len(), 1);
            agent.stop();
        }
    }
}

/// The interfaces that an agent is on.
fn attached(agent: &Agent) -> Vec<String> {
    let status = agent.status();
    let interfaces = status["interfaces"].as_array().expect("interfaces in the status");
    let name = |on: &serde_json::Value| on["name"].as_str().expect("a name").to_owned();
    interfaces.iter().map(name).collect()
}

fn protects(agent: &Agent, at: std::net::SocketAddr) -> bool {
    agent.status()["protected"].to_string().contains(&format!("\"{at}\""))
}

/// Somebody else was faster: that is not the end, and neither is it for ever.
#[test]
fn an_interface_that_comes_back_taken_is_waited_for() {
    let pair = Pair::new();
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    pair.server.ip(&["link", "del", Pair::INTERFACE]);
    eventually("the agent notices", || attached(&agent).is_empty().then_some(()));
    let cable = VethOptions::default();
    let _cable = Veth::join((&pair.server, "new"), (&pair.client, "c0"), cable);
    let theirs = Program::xdp(&pair.server, "new");
    pair.server.ip(&["link", "set", "new", "down"]);
    pair.server.ip(&["link", "set", "new", "name", Pair::INTERFACE, "up"]);
    eventually("the agent says why it is not on the interface", || {
        agent.log().contains("s0 is back, but another XDP program").then_some(())
    });
    assert!(attached(&agent).is_empty());
    drop(theirs);
    eventually("the agent is on the interface", || {
        (attached(&agent) == [Pair::INTERFACE]).then_some(())
    });
    agent.stop();
}
