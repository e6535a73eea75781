//! A connection that was handed over is one like any other: large bodies arrive whole, both ways.

use cors_tests::{
    Random,
    agent::Agent,
    client::Http,
    counter, for_each_family, policy,
    server::Server,
    topology::{Pair, server_at},
};

const LARGE: usize = 64 << 20;

for_each_family! {
    fn a_large_download_is_byte_exact(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Server::nginx(&pair.server, &[at]).ready(&pair.server, at);
        let content = Random::new(64).bytes(LARGE);
        server.put_file("large", &content);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        for preflights in [0, 2] {
            let counted = agent.counted(|| {
                let mut http = Http::connect(&pair.client, at);
                for _ in 0..preflights {
                    assert!(http.ask(&policy::preflight("/v1/large")).is_cors());
                }
                let response = http.ask(&policy::get("/v1/large"));
                assert_eq!(response.status, 200);
                assert!(response.body == content, "the download differs");
            });
            assert_eq!(counted.get(counter::HANDED_OVER), 1);
        }
    }

    fn a_large_upload_is_byte_exact(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Server::python(&pair.server, at).ready(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        for preflights in [0, 2] {
            let content = Random::new(preflights).bytes(LARGE);
            let counted = agent.counted(|| {
                let mut http = Http::connect(&pair.client, at);
                for _ in 0..preflights {
                    assert!(http.ask(&policy::preflight("/v1/large")).is_cors());
                }
                assert_eq!(http.ask(&policy::put("/v1/large", &content)).status, 201);
            });
            assert_eq!(counted.get(counter::HANDED_OVER), 1);
            assert!(server.file("large") == content, "the upload differs");
        }
    }
}
