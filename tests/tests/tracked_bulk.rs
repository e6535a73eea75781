//! Connections whose two ends count differently, under large bodies and on a bad cable.

use cors_tests::{
    Family, Random,
    agent::Agent,
    client::Http,
    conversation::{self, answered},
    counter, for_each_family, policy,
    server::{Recording, Server},
    topology::{BadCable, Pair, server_at},
    wire::{self, Fate, Script},
};

const LARGE: usize = 64 << 20;

/// Requests with preflights between them, and before each something to lose. Returns how often the
/// driver answered on the kernel's connection, retransmissions included.
fn conversation(family: Family, to_server: Script, to_client: Script) -> u64 {
    let cable = BadCable::new(to_server, to_client);
    let at = server_at(family);
    let server = Recording::listen(&cable.server, at);
    let agent = Agent::protect(&cable.server, BadCable::INTERFACE);
    let counted = agent.counted(|| {
        let mut http = Http::connect(&cable.client, at);
        conversation::hold(&mut http);
    });
    let requests = server.take();
    assert_eq!(requests.len(), 5);
    for (at, (request, expected)) in requests.iter().zip(conversation::held()).enumerate() {
        assert_eq!(request.bytes(), expected, "request {at}");
    }
    assert_eq!(counted.get(counter::TRACKED_ANSWERED), 6);
    counted.get(counter::TRACKED_ANSWERED) + counted.get(counter::TRACKED_AGAIN)
}

for_each_family! {
    fn large_bodies_are_byte_exact(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Server::python(&pair.server, at).ready(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let content = Random::new(7).bytes(LARGE);
        let counted = agent.counted(|| {
            let mut http = Http::connect(&pair.client, at);
            assert_eq!(http.ask(&policy::get("/v1/hello")).status, 200);
            answered(&mut http, 1);
            assert_eq!(http.ask(&policy::put("/v1/large", &content)).status, 201);
            answered(&mut http, 2);
            let response = http.ask(&policy::get("/v1/large"));
            assert!(response.body == content, "the download differs");
            answered(&mut http, 1);
        });
        assert!(server.file("large") == content, "the upload differs");
        assert_eq!(counted.get(counter::TRACKED_ANSWERED), 4);
        agent.stop();
    }

    fn each_of_the_clients_segments_lost(family) {
        for lost in [&[3][..], &[4], &[5], &[6], &[7], &[8], &[9], &[10], &[11], &[12]] {
            conversation(family, wire::segments(lost, Fate::Drop), wire::perfect());
        }
    }

    fn each_of_the_servers_segments_lost(family) {
        let mut answers = 0;
        for lost in [&[1][..], &[2], &[3], &[4], &[5], &[6], &[7], &[8], &[9], &[10]] {
            answers += conversation(family, wire::perfect(), wire::segments(lost, Fate::Drop));
        }
        assert!(answers > 60, "no answer was lost");
    }

    fn everything_arrives_twice(family) {
        let twice = || -> Script { Box::new(|_| Fate::Duplicate) };
        conversation(family, twice(), wire::perfect());
        conversation(family, wire::perfect(), twice());
        conversation(family, twice(), twice());
    }

    fn a_bad_cable_both_ways(family) {
        for seed in 0..6 {
            let (there, back) = (wire::bad(seed, 40, 40, 40), wire::bad(seed + 50, 40, 40, 40));
            conversation(family, there, back);
        }
    }
}
