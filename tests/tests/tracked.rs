//! Preflights anywhere on a connection: answered by the driver while the kernel owns it.

use cors_tests::{
    agent::Agent,
    client::Http,
    conversation::puts,
    counter, for_each_family, policy,
    server::{Recording, Server},
    topology::{Pair, server_at},
};

for_each_family! {
    fn preflights_between_requests_are_answered_by_the_driver(family) {
        for start in Server::EACH {
            let pair = Pair::new();
            let at = server_at(family);
            let server = start(&pair.server, at).ready(&pair.server, at);
            let agent = Agent::protect(&pair.server, Pair::INTERFACE);
            let counted = agent.counted(|| {
                let mut http = Http::connect(&pair.client, at);
                for number in 0..20 {
                    let response = http.ask(&policy::get("/v1/hello"));
                    assert_eq!((response.status, &response.body[..]), (200, &b"hello\n"[..]));
                    for _ in 0..number % 4 {
                        let answer = http.ask(&policy::preflight(&format!("/v1/item/{number}")));
                        assert_eq!(answer.status, 204);
                        assert!(answer.is_cors());
                    }
                }
            });
            println!("{:?}", counted.nonzero());
            assert_eq!(counted.get(counter::HANDED_OVER), 1);
            assert_eq!(counted.get(counter::TRACKED_ANSWERED), 30);
            server.expect_logged("GET", 20);
            assert_eq!(server.logged("OPTIONS"), 0);
            agent.stop();
        }
    }

    fn every_byte_reaches_its_side(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let preflight = policy::preflight("/v1/item");
        let puts = puts();
        let counted = agent.counted(|| {
            let mut http = Http::connect(&pair.client, at);
            for put in &puts {
                assert_eq!(http.ask(put).body, b"recorded");
                assert!(http.ask(&preflight).is_cors());
            }
        });
        println!("{:?}", counted.nonzero());
        let requests = server.take();
        assert_eq!(requests.len(), puts.len());
        for (request, put) in requests.iter().zip(&puts) {
            assert_eq!(request.bytes(), *put);
        }
        assert_eq!(counted.get(counter::TRACKED_ANSWERED), puts.len() as u64);
        agent.stop();
    }
}
