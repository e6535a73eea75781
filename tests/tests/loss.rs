//! Real clients behind a cable that loses, doubles and reorders segments: chosen ones, and random
//! ones in both directions.

use cors_tests::{
    Family, Random,
    agent::Agent,
    client::Http,
    counter, for_each_family, policy,
    server::{Recording, Server},
    topology::{BadCable, server_at},
    wire::{self, Fate, Script},
};

/// What a conversation came to.
struct Outcome {
    /// How often tier 1 answered, retransmissions included.
    answers: u64,
    /// How many frames did not simply arrive.
    disturbed: u64,
}

/// Two preflights, a request in two segments and a last GET, with these scripts. Whatever happens
/// on the way, the answers and what the server sees are the same.
fn conversation(family: Family, to_server: Script, to_client: Script) -> Outcome {
    let cable = BadCable::new(to_server, to_client);
    let at = server_at(family);
    let server = Recording::listen(&cable.server, at);
    let agent = Agent::protect(&cable.server, BadCable::INTERFACE);
    let put = policy::put("/v1/item", b"the body");
    let counted = agent.counted(|| {
        let mut http = Http::connect(&cable.client, at);
        for number in 0..2 {
            let answer = http.ask(&policy::preflight(&format!("/v1/item/{number}")));
            assert_eq!(answer.status, 204);
            assert!(answer.is_cors());
        }
        // One behind the other, without waiting: so that they can overtake each other.
        let (first, second) = put.split_at(40);
        http.send(first);
        assert_eq!(http.ask(second).body, b"recorded");
        assert_eq!(http.ask(&policy::get("/v1/item")).body, b"recorded");
    });
    let requests = server.take();
    assert_eq!(requests.len(), 2);
    assert_eq!([&requests[0].head[..], &requests[0].body].concat(), put);
    assert_eq!(requests[1].head, policy::get("/v1/item"));
    assert_eq!(counted.get(counter::ANSWERED), 2);
    assert!(counted.get(counter::HANDED_OVER) >= 1);
    Outcome { answers: counted.all_answered(), disturbed: cable.wire.disturbed() }
}

/// A conversation with scripts that do something; one in which they do not would show nothing.
fn disturb(family: Family, to_server: Script, to_client: Script) -> u64 {
    let Outcome { answers, disturbed } = conversation(family, to_server, to_client);
    assert!(disturbed > 0, "nothing was disturbed");
    answers
}

for_each_family! {
    fn nothing_is_lost_on_a_good_cable(family) {
        let Outcome { answers, disturbed } =
            conversation(family, wire::perfect(), wire::perfect());
        assert_eq!((answers, disturbed), (2, 0));
    }

    /// From the client: SYN, ACK, preflight, (ACK,) preflight, …
    fn each_of_the_clients_first_segments_lost(family) {
        for lost in [&[0][..], &[1], &[2], &[3], &[4], &[5], &[6]] {
            disturb(family, wire::segments(lost, Fate::Drop), wire::perfect());
        }
    }

    /// From the server: SYN-ACK, answer, answer, …
    fn each_of_the_servers_first_segments_lost(family) {
        for lost in [&[0][..], &[1], &[2], &[3], &[4]] {
            disturb(family, wire::perfect(), wire::segments(lost, Fate::Drop));
        }
    }

    /// The client's retransmission is the only timer that tier 1 has.
    fn a_lost_answer_is_given_again(family) {
        for lost in [&[1][..], &[2]] {
            let answers = disturb(family, wire::perfect(), wire::segments(lost, Fate::Drop));
            assert!(answers > 2);
        }
    }

    fn everything_arrives_twice(family) {
        let twice = || -> Script { Box::new(|_| Fate::Duplicate) };
        disturb(family, twice(), wire::perfect());
        disturb(family, wire::perfect(), twice());
        disturb(family, twice(), twice());
    }

    fn each_of_the_first_segments_is_overtaken(family) {
        for late in [&[1][..], &[2], &[3], &[4], &[5], &[6]] {
            disturb(family, wire::segments(late, Fate::Overtaken(1)), wire::perfect());
        }
        for late in [&[0][..], &[1], &[2], &[3], &[4]] {
            disturb(family, wire::perfect(), wire::segments(late, Fate::Overtaken(1)));
        }
    }

    fn a_bad_cable_both_ways(family) {
        let outcomes = (0..8).map(|seed| {
            conversation(family, wire::bad(seed, 60, 60, 60), wire::bad(seed + 100, 60, 60, 60))
        });
        assert!(outcomes.map(|outcome| outcome.disturbed).sum::<u64>() > 8);
    }

    fn large_bodies_over_a_bad_cable(family) {
        for seed in 0..2 {
            let cable = BadCable::new(wire::bad(seed, 10, 10, 20), wire::bad(seed + 9, 10, 10, 20));
            let at = server_at(family);
            let server = Server::python(&cable.server, at).ready(&cable.server, at);
            let _agent = Agent::protect(&cable.server, BadCable::INTERFACE);
            let content = Random::new(seed).bytes(1 << 20);
            let mut http = Http::connect(&cable.client, at);
            assert!(http.ask(&policy::preflight("/v1/large")).is_cors());
            assert_eq!(http.ask(&policy::put("/v1/large", &content)).status, 201);
            assert!(server.file("large") == content, "the upload differs");
            assert!(http.ask(&policy::get("/v1/large")).body == content, "the download differs");
            assert!(cable.wire.disturbed() > 0);
        }
    }
}
