//! `cors-edge trace`: decisions on real requests, told to whoever listens, and to nobody else.

use std::{
    fs::File,
    process::{ExitStatus, Stdio},
};

use cors_tests::{
    Family,
    agent::{Agent, edge},
    client::Http,
    eventually, for_each_family,
    policy::{self, FOREIGN_ORIGIN, ORIGIN},
    process::Process,
    scratch::Scratch,
    server::Recording,
    topology::{Pair, server_at},
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::signal::Signal,
    unistd::Pid,
};
use serde_json::Value;

/// Somebody who traces.
struct Tracer {
    process: Process,
    scratch: Scratch,
}

impl Tracer {
    /// Starts one and waits until it is told of what happens.
    fn start(pair: &Pair, agent: &Agent, arguments: &[&str]) -> Self {
        let scratch = Scratch::new("trace");
        let mut command = edge();
        command.arg("trace").args(arguments).arg("--runtime-dir").arg(agent.runtime_dir());
        command.stdout(File::create(scratch.path("out")).expect("a file"));
        command.stderr(File::create(scratch.path("err")).expect("a file"));
        let process = pair.server.spawn(command);
        eventually("it traces", || scratch.read("err").contains("tracing").then_some(()));
        Self { process, scratch }
    }

    fn text(&self) -> String {
        self.scratch.read("out")
    }

    /// What it has been told so far.
    fn told(&self) -> Vec<Value> {
        let text = self.text();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        lines.collect()
    }

    /// Waits until it has been told so much.
    fn wait(&self, count: usize) -> Vec<Value> {
        eventually("it is told", || Some(self.told()).filter(|told| told.len() >= count))
    }

    fn end(self, signal: Signal) -> ExitStatus {
        self.process.end_by(signal)
    }
}

fn tracers(agent: &Agent) -> u64 {
    agent.status()["tracers"].as_u64().expect("a number")
}

fn reasons(told: &[Value]) -> Vec<&str> {
    told.iter().map(|told| told["reason"].as_str().expect("a reason")).collect()
}

for_each_family! {
    fn each_is_told_what_it_wants_to_know(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let _server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let ask = |origin: &str, path: &str| {
            Http::connect(&pair.client, at).ask(&policy::preflight_from(origin, path))
        };
        assert!(ask(ORIGIN, "/v1/before").is_cors());
        let all = Tracer::start(&pair, &agent, &["--json"]);
        let denied = Tracer::start(&pair, &agent, &["--json", "--denied"]);
        let of_one = Tracer::start(&pair, &agent, &["--json", "--origin", "https://a.example.org"]);
        assert_eq!(tracers(&agent), 3);
        assert!(ask(ORIGIN, "/v1/item?token=secret").is_cors());
        // The same once more: an answer that is recalled.
        assert!(ask(ORIGIN, "/v1/item?token=secret").is_cors());
        assert!(!ask(FOREIGN_ORIGIN, "/v1/item").is_cors());
        assert!(!ask(ORIGIN, "/elsewhere").is_cors());
        assert!(ask("https://a.example.org", "/v1/last").is_cors());
        // No decision about CORS: nobody is told.
        Http::connect(&pair.client, at).ask(&policy::get("/v1/item"));

        let told = all.wait(5);
        assert_eq!(
            reasons(&told),
            ["answered", "answered", "origin_denied", "unmatched", "answered"]
        );
        for (told, policy) in told.iter().zip(["api", "api", "api", "", "api"]) {
            assert_eq!(told["policy"].as_str().unwrap_or_default(), policy);
            assert_eq!((&told["tier"], &told["interface"]), (&"driver".into(), &"s0".into()));
            assert_eq!(told["left_out"], 0);
            // In this century.
            assert!(told["at_ms"].as_u64() > Some(946_684_800_000), "{told}");
        }
        let request = &told[0]["request"];
        for (key, value) in [
            ("method", "OPTIONS"),
            ("host", policy::HOST),
            ("path", "/v1/item?…"),
            ("origin", ORIGIN),
            ("request_method", "PUT"),
            ("request_headers", "authorization,content-type"),
        ] {
            assert_eq!(request[key], value, "{request}");
        }
        assert_eq!(reasons(&of_one.wait(1)), ["answered"]);
        assert_eq!(reasons(&denied.wait(1)), ["origin_denied"]);
        assert!(!all.text().contains("secret"), "{}", all.text());
        assert!(all.end(Signal::SIGINT).success());
        assert!(of_one.end(Signal::SIGTERM).success());
        eventually("two are gone", || (tracers(&agent) == 1).then_some(()));

        // For whoever is left the driver tells no more than is wanted.
        assert!(ask(ORIGIN, "/v1/item").is_cors());
        assert!(!ask(FOREIGN_ORIGIN, "/v1/other").is_cors());
        let told = denied.wait(2);
        assert_eq!(told[1]["request"]["path"], "/v1/other");
        assert_eq!(reasons(&told), ["origin_denied", "origin_denied"]);
        denied.end(Signal::SIGKILL);
        eventually("all are gone", || (tracers(&agent) == 0).then_some(()));

        // For people, and until the agent ends.
        let people = Tracer::start(&pair, &agent, &[]);
        assert!(!ask(FOREIGN_ORIGIN, "/v1/x?y").is_cors());
        let line = eventually("it is told", || {
            let text = people.text();
            text.ends_with('\n').then_some(text)
        });
        let expected = format!("OPTIONS {}/v1/x?…  from {FOREIGN_ORIGIN}  for PUT", policy::HOST);
        assert!(line.contains("s0        origin_denied    api  "), "{line}");
        assert!(line.contains(&expected), "{line}");
        agent.stop();
        let Tracer { mut process, scratch } = people;
        let status = eventually("it ends with the agent", || process.ended());
        assert!(status.success() && scratch.read("err").contains("the agent has ended"));
    }
}

/// A flood: no more is told than is said to be, and what is left out is counted to the last.
#[test]
fn what_is_too_much_is_left_out_and_counted() {
    let pair = Pair::new();
    let at = server_at(Family::V4);
    let _server = Recording::listen(&pair.server, at);
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    let tracer = Tracer::start(&pair, &agent, &["--json"]);
    // What one CPU leaves out it tells with its next event.
    let mut one = CpuSet::new();
    one.set(0).expect("a CPU");
    sched_setaffinity(Pid::from_raw(0), &one).expect("stay on one CPU");
    let mut http = Http::connect(&pair.client, at);
    let mut asked = 0;
    let mut ask = || {
        assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
        asked += 1;
        asked
    };
    for _ in 0..5000 {
        ask();
    }
    let (told, left_out) = eventually("everything is accounted for", || {
        let asked = ask();
        let told = tracer.told();
        let left_out: u64 = told.iter().filter_map(|told| told["left_out"].as_u64()).sum();
        (told.len() as u64 + left_out == asked).then_some((told.len(), left_out))
    });
    assert!(left_out > 0, "{told} told");
    // A window is 67 ms, and 5000 requests take no less than 10 µs each.
    assert!(told >= 16, "{told}");
    agent.stop();
}

/// Whoever reads the output has enough of it.
#[test]
fn the_reader_goes_away() {
    let pair = Pair::new();
    let at = server_at(Family::V4);
    let _server = Recording::listen(&pair.server, at);
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    let mut command = edge();
    command.args(["trace", "--runtime-dir"]).arg(agent.runtime_dir());
    let (reader, writer) = std::io::pipe().expect("a pipe");
    command.stdout(writer).stderr(Stdio::null());
    let mut process = pair.server.spawn(command);
    eventually("it traces", || (tracers(&agent) == 1).then_some(()));
    drop(reader);
    let status = eventually("it ends", || {
        let mut http = Http::connect(&pair.client, at);
        assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
        process.ended()
    });
    assert!(status.success(), "{status}");
    eventually("it is gone", || (tracers(&agent) == 0).then_some(()));

    // As many as there may be, and one more.
    let many: Vec<_> = (0..8).map(|_| Tracer::start(&pair, &agent, &[])).collect();
    let (code, said) = agent.ask("trace", &[]);
    assert_eq!(code, 1);
    assert!(said.contains("8 are tracing already"), "{said}");
    drop(many);
    let (code, said) = eventually("there is room", || {
        Some(agent.ask("trace", &["--for", "0.1"])).filter(|(code, _)| *code == 0)
    });
    assert_eq!(code, 0, "{said}");
    agent.stop();
}
