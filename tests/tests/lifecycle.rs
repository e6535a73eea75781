//! Start, measure, refuse to start, stop.

use cors_tests::{
    agent::{Agent, Setup},
    client::Http,
    counter, for_each_family,
    netns::Netns,
    pass_all, policy,
    server::Recording,
    topology::{Pair, server_at, sockets},
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
}

/// Whether any program is on the interface, by XDP or by TC.
fn is_bare(host: &Netns, interface: &str) -> bool {
    let link = host.ip(&["-details", "link", "show", interface]);
    let filters = host.run("tc", &["filter", "show", "dev", interface, "ingress"]);
    !link.contains("xdp") && filters.trim().is_empty()
}

#[test]
fn a_stopped_agent_leaves_nothing_attached() {
    let pair = Pair::new();
    assert!(is_bare(&pair.server, Pair::INTERFACE));
    for _ in 0..2 {
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        assert!(!is_bare(&pair.server, Pair::INTERFACE));
        agent.stop();
        assert!(is_bare(&pair.server, Pair::INTERFACE));
    }
}

#[test]
fn the_status_says_what_runs() {
    let pair = Pair::new();
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    let status = agent.status();
    assert_eq!(status["mode"], "sidecar");
    assert_eq!(status["measure"], false);
    assert_eq!(status["policy"]["policies"], 1);
    let mut protected: Vec<_> = sockets().iter().map(ToString::to_string).collect();
    protected.sort();
    let mut said: Vec<_> = status["protected"]
        .as_array()
        .expect("a list of sockets")
        .iter()
        .filter_map(|socket| socket.as_str().map(ToOwned::to_owned))
        .collect();
    said.sort();
    assert_eq!(said, protected);
    assert_eq!(status["interfaces"].as_array().map(Vec::len), Some(1));
}

/// One clear sentence, with what it is about.
fn refuses(setup: Setup<'_>, about: &str) {
    let (code, said) = setup.refuse();
    assert_ne!(code, 0, "{said}");
    assert!(said.contains(about), "it does not name `{about}`:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn it_refuses_an_interface_that_does_not_exist() {
    let pair = Pair::new();
    refuses(Setup::new(&pair.server, policy::file(&sockets())).interface("nosuch0"), "nosuch0");
}

#[test]
fn it_refuses_to_run_without_syn_cookies() {
    let pair = Pair::new();
    pair.server.sysctl("net/ipv4/tcp_syncookies", "0");
    let setup = Setup::new(&pair.server, policy::file(&sockets())).interface(Pair::INTERFACE);
    refuses(setup, "tcp_syncookies");
}

#[test]
fn it_refuses_to_replace_the_program_of_somebody_else() {
    let pair = Pair::new();
    let theirs = pass_all::attach(&pair.server, Pair::INTERFACE);
    let setup = Setup::new(&pair.server, policy::file(&sockets())).interface(Pair::INTERFACE);
    refuses(setup, Pair::INTERFACE);
    let link = pair.server.ip(&["link", "show", Pair::INTERFACE]);
    assert!(link.contains("xdp"), "{link}");
    drop(theirs);
}

#[test]
fn it_refuses_a_policy_with_errors() {
    let pair = Pair::new();
    let broken = policy::file(&sockets()).replace("max_age = 600", "max_age = -1");
    refuses(Setup::new(&pair.server, broken).interface(Pair::INTERFACE), "max_age");
}
