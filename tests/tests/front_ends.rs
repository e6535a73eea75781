//! Behind the front ends that stand before real servers: they keep a pool of connections and mix many
//! users' requests on them, and most preflights are not the first on theirs.

use std::{
    net::{Ipv4Addr, SocketAddr},
    thread,
};

use cors_tests::{
    Family,
    agent::Agent,
    client::Http,
    counter::{self, Counters},
    netns::Netns,
    policy,
    server::{
        Recording, Server,
        recording::{Body, Options},
    },
    topology::{Pair, server_at},
};

/// Starts a front end before a server.
type Start = fn(&Netns, SocketAddr, SocketAddr) -> Server;

/// How many clients there are at a time.
const CLIENTS: usize = 50;
/// How many requests each of them makes.
const REQUESTS: usize = 200;

/// What came of the preflights that the policy allows.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    by_the_driver: u64,
    by_the_server: u64,
}

/// What many clients see of a server behind a front end.
fn through(pair: &Pair, start: Start, at: SocketAddr) -> (Seen, Counters) {
    let front_at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8080);
    let front = start(&pair.client, front_at, at).ready(&pair.client, front_at);
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    let mut seen = Seen::default();
    let counted = agent.counted(|| {
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    let http = Http::connect(&pair.client, front_at);
                    scope.spawn(move || one(http, number))
                })
                .collect();
            for client in clients {
                let Seen { by_the_driver, by_the_server } = client.join().expect("a client");
                seen.by_the_driver += by_the_driver;
                seen.by_the_server += by_the_server;
            }
        });
    });
    front.stop();
    agent.stop();
    (seen, counted)
}

/// One client: a mixture that is its own, and every answer must be to its own request.
fn one(mut http: Http, number: usize) -> Seen {
    let mut seen = Seen::default();
    let mut random = number as u64 + 1;
    for step in 0..REQUESTS {
        // SplitMix64, in its simplest form.
        random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = (random ^ random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits ^= bits >> 27;
        let path = format!("/v1/{number}/{step}");
        let request = match bits % 10 {
            0..5 => policy::preflight(&path),
            5..8 => policy::get(&path),
            8 => policy::preflight_from(policy::FOREIGN_ORIGIN, &path),
            // A body out of perfect preflights, shorter and longer than a segment.
            _ => {
                let inner = policy::preflight("/v1/inner");
                policy::put(&path, &inner.repeat((bits >> 8) as usize % 40))
            }
        };
        let response = http.ask(&request);
        if bits % 10 < 5 && response.status == 204 {
            assert!(response.is_cors());
            seen.by_the_driver += 1;
            continue;
        }
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(String::from_utf8_lossy(&response.body), path);
        if bits % 10 < 5 {
            seen.by_the_server += 1;
        }
    }
    seen
}

/// Nearly all preflights are the driver's, and it has counted each that was answered.
fn judge(name: &str, seen: Seen, counted: &Counters) {
    let Seen { by_the_driver, by_the_server } = seen;
    let all = by_the_driver + by_the_server;
    println!("{name}: {by_the_driver} of {all} allowed preflights answered by the driver");
    println!("{name}: {:?}", counted.nonzero());
    assert_eq!(
        counted.get(counter::TRACKED_ANSWERED) + counted.all_answered(),
        by_the_driver + counted.get(counter::TRACKED_AGAIN) + counted.get(counter::ANSWERED_AGAIN)
    );
    assert!(by_the_driver * 100 >= all * 95, "{name}: {by_the_driver} of {all}");
}

fn check(name: &str, start: Start) {
    let pair = Pair::new();
    let at = server_at(Family::V4);
    let options = Options { body: Body::Target, ..Options::default() };
    let server = Recording::listen_with(&pair.server, at, options);
    let (seen, counted) = through(&pair, start, at);
    judge(name, seen, &counted);
    assert_eq!(server.take().len() as u64 + seen.by_the_driver, (CLIENTS * REQUESTS) as u64);
}

#[test]
fn haproxy() {
    check("HAProxy", Server::haproxy_before);
}

#[test]
fn nginx() {
    check("nginx", Server::nginx_before);
}

#[test]
fn apache() {
    check("Apache", Server::apache_before);
}

#[test]
fn caddy() {
    check("Caddy", Server::caddy_before);
}

#[test]
#[ignore = "needs Envoy: cargo xtask test"]
fn envoy() {
    check("Envoy", Server::envoy_before);
}

/// The handshakes are the kernel's, since the listener is an MPTCP socket; the front end's
/// connections have timestamps.
#[test]
#[ignore = "needs a server in Go: cargo xtask test"]
fn a_server_in_go() {
    let pair = Pair::new();
    let at = server_at(Family::V4);
    let server = Server::go(&pair.server, at).ready(&pair.server, at);
    let (seen, counted) = through(&pair, Server::nginx_before, at);
    judge("Go behind nginx", seen, &counted);
    assert_ne!(counted.get(counter::SYN_MPTCP), 0);
    assert_eq!(counted.get(counter::HANDED_OVER), 0);
    server.stop();
}
