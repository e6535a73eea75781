//! The admin address: what it tells of an agent, and that the dashboard and the alerts ask for
//! nothing that it does not tell.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path};

use cors_common::exit::Exit;
use cors_tests::{
    Family,
    agent::{Agent, Setup},
    client::{Http, Response},
    counter, eventually,
    netns::Netns,
    policy::{self, FOREIGN_ORIGIN, ORIGIN},
    server::Recording,
    topology::{Pair, server_at, sockets},
};
use nix::sys::signal::Signal;
use serde_json::Value;

const USUAL: &str = "127.0.0.1:9410";

fn ask(host: &Netns, at: &str, request: &str) -> Response {
    let at: SocketAddr = at.parse().expect("a socket");
    let request = format!("{request} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    Http::connect(host, at).ask(request.as_bytes())
}

fn get(host: &Netns, path: &str) -> (u16, String) {
    let response = ask(host, USUAL, &format!("GET {path}"));
    (response.status, String::from_utf8(response.body).expect("text"))
}

fn metrics(host: &Netns) -> String {
    let response = ask(host, USUAL, "GET /metrics");
    assert_eq!(response.status, 200);
    let kind = response.header("content-type").expect("a content type");
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    String::from_utf8(response.body).expect("text")
}

/// The value of one sample.
fn sample(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    line.parse().expect("a number")
}

/// The names of all samples.
fn names(text: &str) -> BTreeSet<&str> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split([' ', '{']).next()).collect()
}

/// Of the samples of a histogram that of all of them.
fn family(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

#[test]
fn what_is_counted_and_what_is_in_use() {
    let pair = Pair::new();
    let at = server_at(Family::V4);
    let _server = Recording::listen(&pair.server, at);
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    let mut http = Http::connect(&pair.client, at);
    for _ in 0..3 {
        assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
    }
    let text = metrics(&pair.server);
    assert!(text.ends_with("# EOF\n"), "{text}");
    for exit in Exit::ALL {
        assert!(text.contains(&format!("reason=\"{}\"", exit.name())), "{}", exit.name());
    }
    let answered = "cors_edge_packets_total{reason=\"answered\",action=\"transmit\"}";
    for (name, value) in [
        (answered, 3.0),
        (
            "cors_edge_policy_preflights_total{policy=\"api\",tier=\"driver\",reason=\"answered\"}",
            3.0,
        ),
        (
            "cors_edge_policy_preflights_total{policy=\"api\",tier=\"driver\",reason=\"origin_denied\"}",
            0.0,
        ),
        ("cors_edge_answering", 1.0),
        ("cors_edge_policy_generation", 1.0),
        ("cors_edge_policy_origins", 2.0),
        ("cors_edge_last_reload_successful", 1.0),
        ("cors_edge_reloads_total{result=\"refused\"}", 0.0),
        ("cors_edge_map_entries{map=\"flows\"}", 1.0),
        ("cors_edge_map_room{map=\"flows\"}", 262_144.0),
        ("cors_edge_interface_info{interface=\"s0\",xdp=\"generic\"}", 1.0),
        ("cors_edge_protected_sockets", 2.0),
    ] {
        assert!((sample(&text, name) - value).abs() < 0.5, "{name} in\n{text}");
    }
    let verified = sample(&text, "cors_edge_program_verified_instructions{program=\"edge\"}");
    assert!(verified > 1000.0);
    // No label tells who asked whom for what.
    for secret in [ORIGIN, "example", "10.0.0.1", "/v1"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }

    agent.write_policy("");
    assert_eq!(agent.ask("reload", &[]).0, 2);
    agent.reload(&policy::file(&sockets()).replace(ORIGIN, FOREIGN_ORIGIN));
    agent.write_policy("");
    assert_eq!(agent.ask("reload", &[]).0, 2);
    let later = metrics(&pair.server);
    assert_eq!(names(&later), names(&text));
    for (name, value) in [
        (answered, 3.0),
        ("cors_edge_policy_generation", 2.0),
        ("cors_edge_last_reload_successful", 0.0),
        ("cors_edge_reloads_total{result=\"refused\"}", 2.0),
        ("cors_edge_reloads_total{result=\"done\"}", 1.0),
    ] {
        assert!((sample(&later, name) - value).abs() < 0.5, "{name} in\n{later}");
    }
    let (code, document) = get(&pair.server, "/policy");
    assert_eq!(code, 200);
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!(document["generation"], 2);
    assert_eq!(document["policies"]["api"]["allow_origins"][1], FOREIGN_ORIGIN);
    assert_eq!(document["policies"]["api"]["max_age"][0], "600");
    assert_eq!(document["digest"], agent.status()["policy"]["digest"]);
}

#[test]
fn health_follows_what_the_agent_can_do() {
    let pair = Pair::new();
    let agent = Setup::new(&pair.server, policy::file(&sockets()))
        .interface(Pair::INTERFACE)
        .drain("600")
        .start();
    assert_eq!(get(&pair.server, "/ready"), (200, "ready\n".to_owned()));
    assert_eq!(get(&pair.server, "/live"), (200, "live\n".to_owned()));
    assert_eq!(get(&pair.server, "/elsewhere").0, 404);
    let refused = ask(&pair.server, USUAL, "POST /ready");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));

    pair.server.sysctl("net/ipv4/tcp_syncookies", "0");
    eventually("it is not ready", || (get(&pair.server, "/ready").0 == 503).then_some(()));
    assert_eq!(get(&pair.server, "/live").0, 200);
    assert!(agent.said(&[]).contains("idle        net.ipv4.tcp_syncookies is 0"));
    pair.server.sysctl("net/ipv4/tcp_syncookies", "1");
    eventually("it is ready", || (get(&pair.server, "/ready").0 == 200).then_some(()));
    agent.signal(Signal::SIGTERM);
    eventually("it is not ready", || {
        (get(&pair.server, "/ready") == (503, "the agent is stopping\n".to_owned())).then_some(())
    });
    agent.stop();
}

#[test]
fn where_it_listens() {
    let pair = Pair::new();
    let with =
        |listen: &str| format!("{}[admin]\nlisten = \"{listen}\"\n", policy::file(&sockets()));
    let start = |file| Setup::new(&pair.server, file).interface(Pair::INTERFACE);
    let agent = start(with("[::1]:9000")).start();
    assert_eq!(ask(&pair.server, "[::1]:9000", "GET /live").status, 200);
    // It cannot move while the agent runs.
    let (code, said) = agent.reload(&with("off"));
    assert_eq!(code, 1);
    assert!(said.contains("`admin.listen` cannot change"), "{said}");
    agent.stop();

    let agent = start(with("off")).start();
    assert!(!agent.log().contains("metrics"));
    agent.stop();

    // Somebody else is there: that is an error where the address was chosen.
    let there = Recording::listen(&pair.server, USUAL.parse().expect("a socket"));
    let (code, said) = start(with(USUAL)).refuse();
    assert_eq!(code, 1);
    assert!(said.contains("the admin address 127.0.0.1:9410 cannot be used"), "{said}");
    let agent = start(policy::file(&sockets())).start();
    assert!(agent.log().contains("metrics and health are told nowhere"));
    agent.stop();
    drop(there);
}

/// Every metric that the documents ask for is one that an agent tells.
#[test]
fn the_dashboard_and_the_alerts_ask_for_what_there_is() {
    let pair = Pair::new();
    let _agent = Agent::protect(&pair.server, Pair::INTERFACE);
    // The one with a slow path tells more.
    let slow = Pair::new();
    let upstream = "[server]\nupstream = \"http://127.0.0.1:8080\"";
    let file = policy::file(&sockets()).replacen("[server]", upstream, 1);
    let _proxy = Agent::start(&slow.server, Pair::INTERFACE, file);
    let text = metrics(&slow.server);
    let there = names(&text);
    let sidecar = metrics(&pair.server);
    assert!(names(&sidecar).is_subset(&there), "{sidecar}");
    let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring");
    let mut asked = BTreeSet::new();
    for file in ["grafana-dashboard.json", "alerts.yml"] {
        let document = fs::read_to_string(documents.join(file)).expect("a document");
        let words = document.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let metrics: BTreeSet<String> =
            words.filter(|word| word.starts_with("cors_edge_")).map(ToOwned::to_owned).collect();
        assert!(metrics.len() > 4, "{file}");
        for name in &metrics {
            assert!(there.contains(name.as_str()), "{file} asks for {name}, which is not told");
        }
        asked.extend(metrics);
        // And every reason is one: each alternative of each pattern.
        for pattern in document.split("reason=~").skip(1) {
            let pattern = pattern.trim_start_matches(['\\', '"']).split(['"', '\\']).next();
            for reason in pattern.expect("a pattern").split('|') {
                let start = reason.trim_end_matches(".*");
                let is = |exit: &&Exit| {
                    exit.name() == reason || (start != reason && exit.name().starts_with(start))
                };
                assert!(Exit::ALL.iter().any(|exit| is(&exit)), "{file} asks for {reason}");
            }
        }
    }
    serde_json::from_str::<Value>(
        &fs::read_to_string(documents.join("grafana-dashboard.json")).expect("a document"),
    )
    .expect("JSON");
    // What is told and asked for by neither is for those who write their own.
    let families: BTreeSet<_> = asked.iter().map(|name| family(name)).collect();
    let unasked: Vec<_> = there.iter().filter(|name| !families.contains(family(name))).collect();
    assert!(unasked.len() < 6, "{unasked:?}");
    assert!(there.contains("cors_edge_packets_total"));
    assert!(counter::ANSWERED.starts_with("answered"));
}
