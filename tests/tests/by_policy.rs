//! What is counted for each policy, by its name, while policies come, go, and change places.

use std::{collections::BTreeMap, fmt::Write as _};

use cors_tests::{
    Family,
    agent::{Agent, Setup},
    client::Http,
    policy::{FOREIGN_ORIGIN, ORIGIN, head, preflight_headers},
    server::Recording,
    topology::{Pair, server_at, sockets},
};

/// A policy for a path of its name, for one more origin than `ORIGIN`.
fn policy(name: &str) -> String {
    format!(
        "[[policy]]\nname = \"{name}\"\nmatch = {{ path_prefix = \"/{name}/\" }}\n\
         allow_origins = [\"{ORIGIN}\", \"https://{name}.example\"]\nallow_methods = [\"PUT\"]\n\
         allow_headers = [\"authorization\", \"content-type\"]\n"
    )
}

fn file(names: &[&str]) -> String {
    let listen: Vec<_> = sockets().iter().map(|socket| format!("\"{socket}\"")).collect();
    let policies: String = names.iter().map(|name| policy(name)).collect();
    format!("[server]\nlisten = [{}]\n{policies}", listen.join(", "))
}

/// What is counted for a policy: answered, and denied by what was wrong.
fn counted(agent: &Agent) -> BTreeMap<String, [u64; 4]> {
    let status = agent.status();
    let policies = status["by_policy"].as_object().expect("policies").iter();
    let reasons = ["answered", "origin_denied", "method_denied", "header_denied"];
    let counts = |(name, by): (&String, &serde_json::Value)| {
        (name.clone(), reasons.map(|reason| by[reason].as_u64().expect("a number")))
    };
    policies.map(counts).collect()
}

struct Asker<'a> {
    pair: &'a Pair,
    at: std::net::SocketAddr,
    expected: BTreeMap<String, [u64; 4]>,
}

impl Asker<'_> {
    fn ask(&mut self, name: &str, times: u64) {
        let path = format!("OPTIONS /{name}/item HTTP/1.1");
        let mut http = Http::connect(&self.pair.client, self.at);
        for _ in 0..times {
            assert!(http.ask(&head(&path, &preflight_headers(ORIGIN))).is_cors(), "{name}");
        }
        self.expected.entry(name.to_owned()).or_default()[0] += times;
        let denied = |from: (&str, &str), to: (&str, &str)| {
            let change = |(key, value)| if key == from.0 { to } else { (key, value) };
            let headers: Vec<_> = preflight_headers(ORIGIN).into_iter().map(change).collect();
            let response = Http::connect(&self.pair.client, self.at).ask(&head(&path, &headers));
            assert!(!response.is_cors(), "{name}: {to:?}");
        };
        denied(("Origin", ""), ("Origin", FOREIGN_ORIGIN));
        let method = "Access-Control-Request-Method";
        denied((method, ""), (method, "PATCH"));
        let headers = "Access-Control-Request-Headers";
        denied((headers, ""), (headers, "x-other"));
        for count in &mut self.expected.entry(name.to_owned()).or_default()[1..] {
            *count += 1;
        }
    }
}

#[test]
fn a_name_keeps_its_counts() {
    let pair = Pair::new();
    let at = server_at(Family::V4);
    let _server = Recording::listen(&pair.server, at);
    let agent = Setup::new(&pair.server, file(&["a", "b"])).interface(Pair::INTERFACE).start();
    let mut asker = Asker { pair: &pair, at, expected: BTreeMap::new() };
    let reload = |text: &str| {
        let (code, said) = agent.reload(text);
        assert_eq!(code, 0, "{said}");
    };
    asker.ask("a", 3);
    asker.ask("b", 1);
    assert_eq!(counted(&agent), asker.expected);
    // A reload that is refused changes nothing.
    assert_eq!(agent.reload("x").0, 2);
    asker.ask("a", 1);
    for names in [&["b", "a"][..], &["c"], &["c", "a", "b"], &["d", "c", "b", "a"]] {
        reload(&file(names));
        for name in names {
            asker.ask(name, 2);
        }
        assert_eq!(counted(&agent), asker.expected, "{names:?}");
    }
    // Larger maps and other programs.
    let mut many = file(&["b", "e"]);
    for n in 0..200 {
        write!(many, "{}", policy(&format!("n{n}"))).expect("a string");
        asker.expected.insert(format!("n{n}"), [0; 4]);
    }
    reload(&many);
    for name in ["e", "b", "n199"] {
        asker.ask(name, 2);
    }
    assert_eq!(counted(&agent), asker.expected);
    let (code, said) = agent.ask("rollback", &[]);
    assert_eq!(code, 0, "{said}");
    asker.ask("a", 1);
    assert_eq!(counted(&agent), asker.expected);
    let said = agent.said(&[]);
    assert!(said.contains("\npolicies\n  a     answered "), "{said}");
    agent.stop();
}

#[test]
fn measuring_counts_what_would_be_answered() {
    let pair = Pair::new();
    let at = server_at(Family::V4);
    let _server = Recording::listen(&pair.server, at);
    let agent = Setup::new(&pair.server, file(&["a"]))
        .interface(Pair::INTERFACE)
        .argument("--measure")
        .start();
    let request = head("OPTIONS /a/item HTTP/1.1", &preflight_headers(ORIGIN));
    assert!(!Http::connect(&pair.client, at).ask(&request).is_cors());
    let status = agent.status();
    assert_eq!(status["by_policy"]["a"]["would_answer"], 1, "{status}");
    agent.stop();
}
