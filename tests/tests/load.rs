//! The load generator against real servers, and against one that errs on purpose: what it calls right
//! is right, and what is wrong it sees.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use cors_tests::{
    Family,
    agent::{Setup, edge},
    counter, for_each_family, policy,
    scratch::Scratch,
    server::Server,
    topology::{CLIENT, Pair, address, server_at, sockets},
    xdp::{self, Mode},
};
use serde_json::Value;

/// A pair whose server reaches the clients of the load.
fn pair() -> Pair {
    let pair = Pair::new();
    for (family, clients) in [(Family::V4, "10.64.0.0/16"), (Family::V6, "fd64::/112")] {
        let via = address(family, CLIENT).to_string();
        pair.server.ip(&["route", "add", clients, "via", &via]);
    }
    pair
}

/// Plays for a moment; returns the exit code and the report.
fn play(pair: &Pair, family: Family, request: &[u8], arguments: &[&str]) -> (Option<i32>, Value) {
    let files = Scratch::new("load");
    let mut command = edge();
    command.args([
        "bench",
        "--json",
        "--seconds",
        "0.5",
        "--warm-up",
        "0.2",
        "--connections",
        "16",
    ]);
    command.args(["--interface", Pair::CLIENT_INTERFACE, "--target"]);
    command.arg(server_at(family).to_string());
    command.args(["--clients", if family == Family::V4 { "10.64.0.0" } else { "fd64::" }]);
    command.arg("--requests").arg(files.write("requests", request)).args(arguments);
    pair.client.prepare(&mut command);
    let output = command.output().expect("run the load");
    let report = serde_json::from_slice(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), report.unwrap_or_else(|error| panic!("{error}\n{said}")))
}

/// A number of the report; nothing is counted where it was never counted.
fn total(report: &Value, name: &str) -> u64 {
    report["totals"][name].as_u64().unwrap_or(0)
}

/// All went well, and every connection ended.
fn assert_clean((code, report): &(Option<i32>, Value)) {
    assert_eq!((code, &report["anomalies"]), (&Some(0), &0.into()), "{report}");
    assert_ne!(total(report, "replied"), 0, "{report}");
    assert_eq!(total(report, "opened"), total(report, "closed"), "{report}");
    assert_eq!(total(report, "asked"), total(report, "replied"), "{report}");
}

for_each_family! {
    fn the_driver_answers_it(family) {
        let pair = pair();
        let _nginx = Server::nginx(&pair.server, &sockets()).ready(&pair.server, server_at(family));
        let agent = Setup::new(&pair.server, policy::file(&sockets()))
            .interface(Pair::INTERFACE)
            .xdp("native")
            .start();
        for arguments in [&["--per-connection", "1"][..], &[], &["--rate", "2000"]] {
            let before = agent.counters();
            let played = play(&pair, family, &policy::preflight("/v1/a"), arguments);
            assert_clean(&played);
            let answered = agent.counters().since(&before).get(counter::ANSWERED);
            // Two by the ordinary connections that ask first.
            assert_eq!(answered, total(&played.1, "replied") + 2, "{}", played.1);
            // In the driver checksums are complete.
            assert_eq!(total(&played.1, "checksum_partial"), 0, "{}", played.1);
        }
    }

    fn a_server_behind_the_kernels_tcp_answers_it(family) {
        let pair = pair();
        let nginx = Server::nginx(&pair.server, &sockets()).ready(&pair.server, server_at(family));
        // More than one segment.
        nginx.put_file("long", &[b'x'; 3000]);
        let _pass = xdp::attach(&pair.server, Pair::INTERFACE, &xdp::PASS_ALL, Mode::Native);
        for path in ["/v1/hello", "/v1/long"] {
            for arguments in [&["--per-connection", "1"][..], &["--per-connection", "7"], &[]] {
                assert_clean(&play(&pair, family, &policy::get(path), arguments));
            }
        }
    }
}

/// What a server does wrong with some replies.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// One byte of the head is another one.
    OtherByte,
    /// There is a byte too many.
    MoreBytes,
    /// It closes in the middle.
    CutShort,
}

const REPLY: &[u8] = b"HTTP/1.1 204 No Content\r\nX-Allow: yes\r\n\r\n";
/// So many replies are right, and then every so many is not.
const RIGHT: usize = 50;

/// A server that errs.
fn erring(pair: &Pair, fault: Fault) {
    let listener = pair.server.enter(|| TcpListener::bind(server_at(Family::V4))).expect("listen");
    let replies = Arc::new(AtomicUsize::new(0));
    // It ends with the process of the test.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, replies) = (stream.expect("a connection"), Arc::clone(&replies));
            thread::spawn(move || {
                let mut request = [0; 2048];
                while stream.read(&mut request).is_ok_and(|read| read != 0) {
                    let mut reply = REPLY.to_vec();
                    if replies.fetch_add(1, Ordering::Relaxed) % RIGHT == RIGHT - 1 {
                        match fault {
                            Fault::OtherByte => reply[33] ^= 1,
                            Fault::MoreBytes => reply.push(b'\n'),
                            Fault::CutShort => reply.truncate(20),
                        }
                    }
                    if stream.write_all(&reply).is_err() || reply.len() < REPLY.len() {
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn what_is_wrong_is_seen() {
    for (fault, name) in [
        (Fault::OtherByte, "wrong_bytes"),
        (Fault::MoreBytes, "wrong_length"),
        (Fault::CutShort, "cut_short"),
    ] {
        let pair = pair();
        erring(&pair, fault);
        let _pass = xdp::attach(&pair.server, Pair::INTERFACE, &xdp::PASS_ALL, Mode::Native);
        let (code, report) = play(&pair, Family::V4, &policy::preflight("/"), &[]);
        assert_eq!(code, Some(2), "{fault:?}: {report}");
        assert_ne!(total(&report, name), 0, "{fault:?}: {report}");
        // The others were right all the same.
        assert_ne!(total(&report, "replied"), 0, "{fault:?}: {report}");
    }
}

#[test]
fn nothing_is_played_where_nobody_answers() {
    let pair = pair();
    let mut command = edge();
    command.args(["bench", "--target", "10.0.0.1:80", "--clients", "10.64.0.0"]);
    command.args(["--origin", "https://a.example", "--interface", Pair::CLIENT_INTERFACE]);
    pair.client.prepare(&mut command);
    let output = command.output().expect("run the load");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("10.0.0.1:80 does not answer"), "{said}");
}
