//! Where tracking must give up, and where it must not: byte-exact in every case.

use std::{
    collections::BTreeMap,
    io::Read as _,
    net::{IpAddr, SocketAddr},
};

use cors_common::{
    track::table::{ENTRIES, WAYS, bucket},
    wire::segment::{Address, Tuple},
};

use cors_tests::{
    agent::Agent,
    client::Http,
    conversation::{go_on, lose_an_answer},
    counter, for_each_family, policy,
    server::Recording,
    topology::{Pair, Scripted, address, server_at},
};

/// A connection that the kernel owns and on which one preflight was answered.
fn shifted(pair: &Pair, at: SocketAddr) -> Http {
    let mut http = Http::connect(&pair.client, at);
    assert_eq!(http.ask(&policy::get("/v1/first")).body, b"recorded");
    assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
    http
}

for_each_family! {
    /// Whoever sends a request before the answer to the one before gets every answer from the
    /// server, in order.
    fn pipelined_requests_are_the_servers(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let counted = agent.counted(|| {
            let mut http = shifted(&pair, at);
            let (get, preflight) = (policy::get("/v1/item"), policy::preflight("/v1/item"));
            http.send(&[&get[..], &preflight, &get].concat());
            for _ in 0..3 {
                assert_eq!(http.response().body, b"recorded");
            }
            // And nothing is answered any more, though it could be.
            assert_eq!(http.ask(&preflight).body, b"recorded");
            assert_eq!(http.ask(&get).body, b"recorded");
        });
        assert_eq!(counted.get(counter::TRACKED_ANSWERED), 1);
        assert_eq!(counted.get(counter::PIPELINED), 1);
        assert_eq!(server.take().len(), 6);
        agent.stop();
    }

    /// A body may be written by anybody: at every place where a segment may start in it there is a
    /// perfect preflight.
    fn preflights_inside_of_bodies_are_bodies(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let preflight = policy::preflight("/v1/item");
        let put = policy::put("/v1/item", &preflight.repeat(20));
        let head = put.len() - 20 * preflight.len();
        let counted = agent.counted(|| {
            let mut http = shifted(&pair, at);
            let mut parts = vec![&put[..head]];
            parts.extend(put[head..].chunks(preflight.len()));
            http.send_apart(&parts);
            assert_eq!(http.response().body, b"recorded");
            // The body is over, and so this one is a request.
            assert!(http.ask(&preflight).is_cors());
        });
        assert_eq!(counted.get(counter::TRACKED_ANSWERED), 2);
        let requests = server.take();
        assert_eq!(requests[1].bytes(), put);
        agent.stop();
    }

    /// A browser's GET, with the cookies that a site collects: longer than any preflight.
    fn cookies_do_not_end_the_answers(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let preflight = policy::preflight("/v1/item");
        let cookie = format!("\r\nCookie: {}\r\n\r\n", "c".repeat(1_200));
        let get = policy::get("/v1/item");
        let get = [&get[..get.len() - 4], cookie.as_bytes()].concat();
        let counted = agent.counted(|| {
            let mut http = Http::connect(&pair.client, at);
            for _ in 0..2 {
                assert_eq!(http.ask(&get).body, b"recorded");
                assert!(http.ask(&preflight).is_cors());
            }
        });
        assert_eq!(counted.get(counter::TRACKED_ANSWERED), 2);
        let heads: Vec<_> = server.take().into_iter().map(|request| request.head).collect();
        assert_eq!(heads, [&get[..], &get]);
        agent.stop();
    }

    /// A head in two segments: nobody can tell here where its request ends.
    fn a_split_head_is_the_end_of_answers(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let preflight = policy::preflight("/v1/item");
        let counted = agent.counted(|| {
            let mut http = shifted(&pair, at);
            http.send_apart(&[&preflight[..40], &preflight[40..]]);
            assert_eq!(http.response().body, b"recorded");
            assert_eq!(http.ask(&preflight).body, b"recorded");
        });
        assert_eq!(counted.get(counter::TRACKED_ANSWERED), 1);
        assert_eq!(server.take().len(), 3);
        agent.stop();
    }

    /// Both ways of a connection to end, with numbers that differ.
    fn either_side_closes(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let _server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let http = shifted(&pair, at);
        http.finish();
        // The server closes as soon as it has read the end.
        let mut rest = Vec::new();
        http.stream().read_to_end(&mut rest).expect("the server's FIN");
        assert!(rest.is_empty());
        let mut http = shifted(&pair, at);
        let close = policy::head("GET /v1/x HTTP/1.1", &[("Host", policy::HOST), ("Connection", "close")]);
        assert_eq!(http.ask(&close).body, b"recorded");
        agent.stop();
    }

    /// Without the programs such a connection would go on with other numbers at each end: it is
    /// reset.
    fn a_stopped_agent_resets_what_would_break(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let _server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let mut even = Http::connect(&pair.client, at);
        assert_eq!(even.ask(&policy::get("/v1/first")).body, b"recorded");
        let http = shifted(&pair, at);
        agent.stop();
        let error = http.stream().read(&mut [0]).expect_err("a reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(even.ask(&policy::get("/v1/second")).body, b"recorded");
    }

    /// The answer is lost: the same request gets it again, at the same place. And what is sent
    /// without it does not go up.
    fn a_lost_answer_is_given_again(family) {
        let net = Scripted::new();
        let at = server_at(family);
        let server = Recording::listen(&net.server, at);
        let agent = Agent::protect(&net.server, Scripted::INTERFACE);
        let counted = agent.counted(|| {
            let mut tcp = net.connection(family, 40_001);
            let again = lose_an_answer(&mut tcp);
            // Impatient: the next request without the answer.
            let next = tcp.segment(0x18, &policy::get("/v1/second"));
            tcp.send(&next);
            tcp.expect_silence();
            go_on(&mut tcp, &again);
        });
        assert_eq!(counted.get(counter::TRACKED_ANSWERED), 1);
        assert_eq!(counted.get(counter::TRACKED_AGAIN), 1);
        assert_eq!(counted.get(counter::UNACKNOWLEDGED), 1);
        assert_eq!(server.take().len(), 2);
        agent.stop();
    }

    /// Where four connections whose numbers differ have their entries in one bucket, a fifth is not
    /// tracked; none of them is driven out.
    fn a_full_bucket_drives_nobody_out(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let _server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let client = address(family, 2);
        let ports = five_of_one_bucket(client, at);
        let connect = |port: &u16| {
            let mut http = Http::connect_from(&pair.client, SocketAddr::new(client, *port), at);
            assert_eq!(http.ask(&policy::get("/v1/first")).body, b"recorded");
            http
        };
        let counted = agent.counted(|| {
            let mut conns: Vec<_> = ports[..4].iter().map(connect).collect();
            for http in &mut conns {
                assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
            }
            let mut fifth = connect(&ports[4]);
            assert_eq!(fifth.ask(&policy::preflight("/v1/item")).body, b"recorded");
            for http in &mut conns {
                assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
                assert_eq!(http.ask(&policy::get("/v1/second")).body, b"recorded");
            }
        });
        assert_eq!(counted.get(counter::HANDED_OVER_UNTRACKED), 1);
        assert_eq!(counted.get(counter::TRACKED_ANSWERED), 8);
        agent.stop();
    }
}

/// Ports of a client whose connections share a bucket.
fn five_of_one_bucket(client: IpAddr, server: SocketAddr) -> Vec<u16> {
    let bytes = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => Address::from_bytes(ip.to_ipv6_mapped().octets()),
        IpAddr::V6(ip) => Address::from_bytes(ip.octets()),
    };
    let mut buckets = BTreeMap::<u32, Vec<u16>>::new();
    for port in 20_000..60_000u16 {
        let tuple = Tuple {
            client: bytes(client),
            server: bytes(server.ip()),
            client_port: port.to_be(),
            server_port: server.port().to_be(),
        };
        let ports = buckets.entry(bucket(&tuple, ENTRIES - 1)).or_default();
        ports.push(port);
        if ports.len() == 5 {
            return ports.clone();
        }
    }
    unreachable!("40,000 ports in {} buckets", ENTRIES / WAYS);
}
