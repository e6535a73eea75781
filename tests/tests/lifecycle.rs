//! What an agent that measures does, whom it needs to be, and what outlives it.

use cors_tests::{
    agent::{Agent, Setup},
    client::Http,
    counter, for_each_family, policy,
    server::Recording,
    topology::{Pair, VethOptions, server_at, sockets},
};

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
