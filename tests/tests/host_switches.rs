//! The switches of the host's own TCP: what it does not do is not promised on its behalf.

use cors_tests::{
    agent::Agent,
    client::Http,
    counter, eventually, for_each_family, policy,
    raw_tcp::offer,
    server::Recording,
    topology::{Pair, Scripted, server_at},
};

for_each_family! {
    fn what_the_host_does_not_do_is_not_promised(family) {
        for (port, sack, scaling) in [(40_000, "0", "1"), (40_001, "1", "0"), (40_002, "0", "0")] {
            let net = Scripted::new();
            net.server.sysctl("net/ipv4/tcp_sack", sack);
            net.server.sysctl("net/ipv4/tcp_window_scaling", scaling);
            let _server = Recording::listen(&net.server, server_at(family));
            let agent = Agent::protect(&net.server, Scripted::INTERFACE);
            let mut tcp = net.connection(family, port);
            let syn_ack = tcp.handshake(offer::USUAL);
            assert_eq!(syn_ack.sack_permitted(), sack == "1");
            assert_eq!(syn_ack.window_scale().is_some(), scaling == "1");
            tcp.data(&policy::preflight("/v1/item"));
            tcp.expect_until(b"\r\n\r\n");
            tcp.data(&policy::get("/v1/item"));
            tcp.expect_until(b"recorded");
            assert_eq!(agent.counters().get(counter::HANDED_OVER), 1);
        }
    }

    /// The switch changes under a connection that is open: all that is left is to say why it ends.
    fn a_refused_hand_over_is_counted_and_told(family) {
        let net = Scripted::new();
        let _server = Recording::listen(&net.server, server_at(family));
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        let mut tcp = net.connection(family, 40_000);
        assert!(tcp.handshake(offer::USUAL).sack_permitted());
        net.server.sysctl("net/ipv4/tcp_sack", "0");
        tcp.data(&policy::get("/v1/item"));
        tcp.expect("a reset");
        assert_eq!(agent.counters().get(counter::HANDOVER_REFUSED), 1);
        eventually("the log says why", || {
            agent.log().contains("refuses a hand-over: error -22").then_some(())
        });
    }

    fn without_syn_cookies_everything_passes_until_they_are_back(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let ask = || Http::connect(&pair.client, at).ask(&policy::preflight("/v1/item"));
        assert!(ask().is_cors());
        pair.server.sysctl("net/ipv4/tcp_syncookies", "0");
        eventually("the agent notices", || {
            agent.log().contains("tcp_syncookies was set to 0").then_some(())
        });
        let counted = agent.counted(|| assert_eq!(ask().body, b"recorded"));
        assert_eq!(counted.get(counter::SYN_ACK), 0);
        assert!(counted.get(counter::LEASE_EXPIRED) > 0);
        assert_eq!(server.take().len(), 1);
        pair.server.sysctl("net/ipv4/tcp_syncookies", "1");
        eventually("it answers again", || ask().is_cors().then_some(()));
    }
}
