//! `cors-edge status`: what a running agent says about itself, to programs and to people.

use std::collections::BTreeSet;

use cors_common::exit::Exit;
use cors_tests::{
    Family,
    agent::{Agent, Setup, edge},
    client::Http,
    counter, policy,
    scratch::Scratch,
    server::Recording,
    topology::{Pair, server_at, sockets},
};
use serde_json::Value;

#[test]
fn every_counter_is_there_by_name() {
    let pair = Pair::new();
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    let status = agent.status();
    let said: BTreeSet<_> =
        status["counters"].as_object().expect("counters").keys().map(String::as_str).collect();
    let names: BTreeSet<_> = Exit::ALL.iter().map(|exit| exit.name()).collect();
    assert_eq!(said, names);

    let table = agent.said(&["--all"]);
    for exit in Exit::ALL {
        let row = |line: &&str| line.split_whitespace().next() == Some(exit.name());
        let row = table.lines().find(row).unwrap_or_else(|| panic!("no {}:\n{table}", exit.name()));
        assert!(row.ends_with(exit.help()), "{row}");
    }
}

#[test]
fn what_runs_and_where() {
    let pair = Pair::new();
    let agent = Setup::new(&pair.server, policy::file(&sockets()))
        .interface(Pair::INTERFACE)
        .interface("lo")
        .start();
    let status = agent.status();
    assert_eq!(status["mode"], "sidecar");
    assert_eq!(status["measure"], false);
    assert_eq!(status["policy"]["generation"], 1);
    assert_eq!(status["policy"]["policies"], 1);
    assert_eq!(status["policy"]["origins"], 2);
    let source = status["policy"]["source"].as_str().expect("a path");
    assert!(source.starts_with('/') && source.ends_with("policy.toml"), "{source}");

    let texts = |list: &Value, member: &str| -> Vec<String> {
        let list = list.as_array().expect("a list");
        let text = |entry: &Value| entry.get(member).and_then(Value::as_str).map(ToOwned::to_owned);
        list.iter().filter_map(text).collect()
    };
    assert_eq!(texts(&status["programs"], "name"), ["edge", "handover", "outward"]);
    assert_eq!(texts(&status["interfaces"], "name"), [Pair::INTERFACE, "lo"]);
    assert_eq!(texts(&status["interfaces"], "xdp"), ["generic", "generic"]);
    // The program ids are those of the kernel: `ip` shows the driver's.
    let link = pair.server.ip(&["-details", "link", "show", "dev", Pair::INTERFACE]);
    assert!(link.contains(&format!("prog/xdp id {} ", status["programs"][0]["id"])), "{link}");

    let protected: BTreeSet<_> = sockets().iter().map(ToString::to_string).collect();
    let said = status["protected"].as_array().expect("a list of sockets");
    let said: BTreeSet<_> = said.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect();
    assert_eq!(said, protected);

    let text = agent.said(&[]);
    for part in ["sidecar", "generation 1: 1 policy, 2 origins", "s0", "XDP generic", "handover"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    for socket in &protected {
        assert!(text.contains(socket.as_str()), "{socket}:\n{text}");
    }
}

#[test]
fn what_was_counted() {
    let pair = Pair::new();
    let at = server_at(Family::V4);
    let _server = Recording::listen(&pair.server, at);
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    assert!(!agent.said(&[]).contains(counter::ANSWERED), "nothing is counted yet");
    let mut http = Http::connect(&pair.client, at);
    assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
    assert_eq!(agent.flows(), 1);
    let text = agent.said(&[]);
    let row = text.lines().find(|line| line.trim_start().starts_with(counter::ANSWERED));
    let cells: Vec<_> = row.unwrap_or_default().split_whitespace().take(2).collect();
    assert_eq!(cells, [counter::ANSWERED, "1"], "{text}");
}

#[test]
fn nobody_to_ask() {
    let scratch = Scratch::new("status");
    let output = edge()
        .args(["status", "--json", "--runtime-dir"])
        .arg(scratch.dir())
        .output()
        .expect("run the agent");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("no agent is running") && said.contains("cors-edge run"), "{said}");
}
