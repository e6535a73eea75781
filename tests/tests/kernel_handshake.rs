//! Handshakes that are the kernel's: preflights are answered all the same, on every kernel.

use cors_tests::{
    Family,
    agent::{Agent, Setup},
    client::Http,
    conversation::{go_on, lose_an_answer},
    counter, for_each_family, policy,
    server::Recording,
    topology::{Pair, Scripted, server_at, sockets},
};

/// The policy of the tests, with this key.
fn with(handshake: &str) -> String {
    let server = format!("[server]\nhandshake = \"{handshake}\"");
    policy::file(&sockets()).replace("[server]", &server)
}

for_each_family! {
    fn preflights_are_answered_on_connections_that_the_kernel_accepts(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::start(&pair.server, Pair::INTERFACE, with("kernel"));
        let (preflight, put) = (policy::preflight("/v1/item"), policy::put("/v1/item", &[7; 5000]));
        let counted = agent.counted(|| {
            // Behind the first request of a connection: one, one after another, and between others.
            for requests in [&["P", "p"][..], &["P", "p", "p"], &["P", "p", "P", "p", "p", "P"]] {
                let mut http = Http::connect(&pair.client, at);
                for request in requests {
                    if *request == "p" {
                        let answer = http.ask(&preflight);
                        assert_eq!(answer.status, 204);
                        assert!(answer.is_cors());
                    } else {
                        assert_eq!(http.ask(&put).body, b"recorded");
                    }
                }
            }
        });
        println!("{:?}", counted.nonzero());
        assert_eq!(counted.get(counter::SYN_KERNEL), 3);
        assert_eq!(counted.get(counter::SYN_ACK), 0);
        assert_eq!(counted.get(counter::HANDED_OVER), 0);
        assert_eq!(counted.get(counter::TRACKED_ANSWERED), 6);
        let requests = server.take();
        assert_eq!(requests.len(), 5);
        for request in requests {
            assert_eq!(request.bytes(), put);
        }
        assert_eq!(agent.status()["kernel"]["handshake"], "kernel");
        agent.stop();
    }

    /// The driver makes them where the kernel takes over what it accepts, and nowhere else: there
    /// who asks for it is told.
    fn xdp_is_what_it_says_or_refused(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let _server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let takes_over = agent.status()["kernel"]["hand_over"] == true;
        let maker = if takes_over { "driver" } else { "kernel" };
        assert_eq!(agent.status()["kernel"]["handshake"], maker);
        agent.stop();
        let setup = || Setup::new(&pair.server, with("xdp")).interface(Pair::INTERFACE);
        if takes_over {
            let agent = setup().start();
            let counted = agent.counted(|| {
                let mut http = Http::connect(&pair.client, at);
                assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
            });
            assert_eq!(counted.get(counter::SYN_ACK), 1);
            assert_eq!(counted.get(counter::ANSWERED), 1);
        } else {
            let (code, said) = setup().refuse();
            assert_eq!(code, 1, "{said}");
            assert!(said.contains("leave `handshake = \"xdp\"` out"), "{said}");
        }
    }

    /// The answer is lost, and given again when it is asked for again.
    fn a_lost_answer_is_given_again(family) {
        let net = Scripted::new();
        let at = server_at(family);
        let server = Recording::listen(&net.server, at);
        let agent = Agent::start(&net.server, Scripted::INTERFACE, with("kernel"));
        let counted = agent.counted(|| {
            let mut tcp = net.connection(family, 40_001);
            let again = lose_an_answer(&mut tcp);
            go_on(&mut tcp, &again);
        });
        assert_eq!(counted.get(counter::TRACKED_ANSWERED), 1);
        assert_eq!(counted.get(counter::TRACKED_AGAIN), 1);
        assert_eq!(server.take().len(), 2);
        agent.stop();
    }
}

/// Said by whoever runs it on another kernel.
#[test]
fn what_the_kernel_has() {
    let host = Pair::new().server;
    let agent = Agent::protect(&host, "lo");
    let said = agent.said(&[]);
    let section = said.split("\n\n").find(|section| section.starts_with("kernel\n"));
    println!("\n{}\n", section.expect("what the kernel has"));
    let kernel = &agent.status()["kernel"];
    assert_eq!(kernel["reset"], true);
    // Each came with a release, and none goes.
    assert!(kernel["hand_over"] != true || kernel["tcx"] == true, "{kernel}");
}

/// The next handshake is made as the file says now; connections go on as they began.
#[test]
fn it_changes_with_a_reload() {
    let pair = Pair::new();
    let at = server_at(Family::V4);
    let _server = Recording::listen(&pair.server, at);
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    if agent.status()["kernel"]["hand_over"] != true {
        return;
    }
    let preflight = policy::preflight("/v1/item");
    let mut before = Http::connect(&pair.client, at);
    assert!(before.ask(&preflight).is_cors());
    agent.write_policy(&with("kernel"));
    let (code, said) = agent.ask("reload", &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("handshake"), "{said}");
    let counted = agent.counted(|| {
        let mut after = Http::connect(&pair.client, at);
        assert_eq!(after.ask(&policy::get("/v1/first")).body, b"recorded");
        assert!(after.ask(&preflight).is_cors());
        assert_eq!(before.ask(&policy::get("/v1/item")).body, b"recorded");
    });
    assert_eq!(counted.get(counter::SYN_KERNEL), 1);
    assert_eq!(counted.get(counter::TRACKED_ANSWERED), 1);
    assert_eq!(counted.get(counter::HANDED_OVER), 1);
}
