//! Another policy while the agent runs: by command, by signal, by the file itself.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use cors_tests::{
    Family,
    agent::{Agent, Setup},
    client::Http,
    counter, eventually, for_each_family,
    policy::{self, FOREIGN_ORIGIN, ORIGIN},
    program,
    server::Recording,
    topology::{Pair, server_at, sockets},
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// The policy of the tests, and one that allows the foreign origin instead.
fn files() -> [String; 2] {
    let one = policy::file(&sockets());
    let other = one.replace(ORIGIN, FOREIGN_ORIGIN);
    [one, other]
}

/// Whether the driver answers a preflight from this origin.
fn answers(http: &mut Http, origin: &str) -> bool {
    http.ask(&policy::preflight_from(origin, "/v1/item")).is_cors()
}

for_each_family! {
    /// On the same connection: the answer before it by the old policy, the next by the new one, and
    /// then a request that goes to the server.
    fn a_connection_goes_on_under_another_policy(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let [one, other] = files();
        let mut http = Http::connect(&pair.client, at);
        assert!(answers(&mut http, ORIGIN));
        let (code, said) = agent.reload(&other);
        assert_eq!(code, 0, "{said}");
        assert!(answers(&mut http, FOREIGN_ORIGIN));
        let (code, said) = agent.reload(&one);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("generation 3 is in use (5 requests rehearsed)"), "{said}");
        assert!(answers(&mut http, ORIGIN));
        assert_eq!(agent.generation(), 3);
        assert_eq!(agent.flows(), 1);
        assert_eq!(http.ask(&policy::get("/v1/item")).body, b"recorded");
        let counters = agent.counters();
        assert_eq!(counters.get(counter::ANSWERED), 3, "a rehearsal is not counted");
        assert_eq!(counters.get(counter::SYN_ACK), 1);
        assert_eq!(counters.get(counter::HANDED_OVER), 1);
        assert_eq!(server.take().len(), 1);
    }
}

#[test]
fn a_file_with_errors_changes_nothing() {
    let pair = Pair::new();
    let at = server_at(Family::V4);
    let _server = Recording::listen(&pair.server, at);
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    let [one, _] = files();
    let mut http = Http::connect(&pair.client, at);
    assert!(answers(&mut http, ORIGIN));
    let wrong = one.replace("max_age = 600", "max_age = -1").replace(ORIGIN, "null");
    for arguments in [&[][..], &["--dry-run"]] {
        agent.write_policy(&wrong);
        let (code, said) = agent.ask("reload", arguments);
        assert_eq!(code, 2, "{said}");
        for part in ["policy[0].max_age", "allow_origins[0]", "2 errors", "refused: "] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let (code, said) = agent.ask("reload", &["--json"]);
    assert_eq!(code, 2, "{said}");
    let answer: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(answer["refused"]["problems"].as_array().map(Vec::len), Some(2), "{said}");

    let status = agent.status();
    assert_eq!(status["policy"]["generation"], 1);
    assert_eq!(status["reload"]["by"], "reload");
    let error = status["reload"]["error"].as_str().expect("an error in the status");
    assert!(error.ends_with("policy.toml has 2 errors"), "{error}");
    assert!(agent.said(&[]).contains("reload      REFUSED"));
    assert!(agent.log().contains("policy[0].max_age"), "the log has the report");
    assert!(answers(&mut http, ORIGIN));

    let (code, said) = agent.reload(&one);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("nothing changes\n"), "{said}");
    assert_eq!(agent.status()["reload"]["error"], Value::Null);
}

#[test]
fn a_dry_run_says_what_would_change() {
    let pair = Pair::new();
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    let [_, other] = files();
    agent.write_policy(&other);
    let (code, said) = agent.ask("reload", &["--dry-run"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        said,
        format!(
            "policy \"api\": changed\n  - allow_origins {ORIGIN}\n  + allow_origins \
             {FOREIGN_ORIGIN}\ndry run: generation 1 stays in use\n"
        )
    );
    let status = agent.status();
    assert_eq!(status["policy"]["generation"], 1);
    assert_eq!(status["reload"], Value::Null);
}

#[test]
fn back_to_the_policy_before() {
    let pair = Pair::new();
    let at = server_at(Family::V6);
    let _server = Recording::listen(&pair.server, at);
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    let [_, other] = files();
    let (code, said) = agent.ask("rollback", &[]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("there is no policy to go back to"), "{said}");
    agent.reload(&other);
    let mut http = Http::connect(&pair.client, at);
    assert!(answers(&mut http, FOREIGN_ORIGIN));
    for origin in [ORIGIN, FOREIGN_ORIGIN] {
        let (code, said) = agent.ask("rollback", &[]);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains(&format!("+ allow_origins {origin}")), "{said}");
        assert!(answers(&mut http, origin));
    }
    assert_eq!(agent.generation(), 4);
}

#[test]
fn by_signal_and_by_the_file_itself() {
    let pair = Pair::new();
    let [one, other] = files();
    let agent = Setup::new(&pair.server, one.clone())
        .interface(Pair::INTERFACE)
        .argument("--watch")
        .start();
    let loaded = |generation: u64, by: &str| {
        eventually("another generation", || {
            let status = agent.status();
            (status["policy"]["generation"] == generation && status["reload"]["by"] == by)
                .then_some(())
        });
    };
    agent.write_policy(&other);
    loaded(2, "file");
    agent.signal(Signal::SIGHUP);
    loaded(3, "SIGHUP");
    agent.write_policy("");
    eventually("the file is refused", || agent.log().contains("refused: ").then_some(()));
    agent.write_policy(&one);
    loaded(4, "file");
    agent.stop();
}

/// More than the maps were made for: other maps and other programs, on the same links.
#[test]
fn a_policy_may_outgrow_its_maps() {
    let pair = Pair::new();
    let at = server_at(Family::V4);
    let server = Recording::listen(&pair.server, at);
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    let mut http = Http::connect(&pair.client, at);
    assert!(answers(&mut http, ORIGIN));
    let before = agent.status();
    let [one, _] = files();
    let mut many = String::new();
    for n in 0..20_000 {
        write!(many, "\"https://app-{n}.example.net\", ").expect("a string");
    }
    let large = one.replace("allow_origins = [", &format!("allow_origins = [{many}"));
    let (code, said) = agent.reload(&large);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches("+ allow_origins ").count(), 20_000);
    let after = agent.status();
    assert_ne!(after["programs"][0]["id"], before["programs"][0]["id"]);
    let link = pair.server.ip(&["-details", "link", "show", "dev", Pair::INTERFACE]);
    assert!(link.contains(&format!("prog/xdp id {} ", after["programs"][0]["id"])), "{link}");
    assert_eq!(program::count(&pair.server, Pair::INTERFACE), 3);
    // The connection is remembered, the counters go on, and the policy is the new one.
    assert!(answers(&mut http, "https://app-19999.example.net"));
    assert_eq!(agent.counters().get(counter::ANSWERED), 2);
    assert_eq!(agent.flows(), 1);
    assert_eq!(http.ask(&policy::get("/v1/item")).body, b"recorded");
    assert_eq!(agent.counters().get(counter::HANDED_OVER), 1);
    // And smaller again, and larger again, in the maps that there are.
    let program = &after["programs"][0]["id"];
    for (text, generation) in [(&one, 3), (&large, 4)] {
        let (code, said) = agent.reload(text);
        assert_eq!(code, 0, "{said}");
        let status = agent.status();
        assert_eq!(status["policy"]["generation"], generation);
        assert_eq!(&status["programs"][0]["id"], program);
    }
    assert_eq!(server.take().len(), 1);
    agent.stop();
    assert_eq!(program::count(&pair.server, Pair::INTERFACE), 0);
}

/// What `[server]` says may change, too, as far as the agent can follow.
#[test]
fn other_sockets_and_other_interfaces() {
    let pair = Pair::new();
    let on = |interface: &str, listen: &str| {
        let listen = format!("interface = [{interface}]\nlisten = [{listen:?}]");
        let [one, _] = files();
        let line = one.lines().find(|line| line.starts_with("listen")).expect("a line");
        one.replace(line, &listen)
    };
    let at = server_at(Family::V4);
    let agent = Setup::new(&pair.server, on("\"s0\"", &at.to_string())).start();
    let (code, said) = agent.reload(&on("\"s0\", \"lo\"", "0.0.0.0:81"));
    assert_eq!(code, 0, "{said}");
    let status = agent.status();
    assert_eq!(status["interfaces"].as_array().map(Vec::len), Some(2));
    assert_eq!(status["protected"].as_array().map(Vec::len), Some(2), "{}", status["protected"]);
    assert_eq!(program::count(&pair.server, "lo"), 3);
    let (code, said) = agent.reload(&on("\"lo\"", "0.0.0.0:81"));
    assert_eq!(code, 0, "{said}");
    assert_eq!(program::count(&pair.server, Pair::INTERFACE), 0);
    assert_eq!(agent.status()["protected"].as_array().map(Vec::len), Some(1));
    // What cannot be is refused, and everything stays.
    for (file, reason) in [
        (on("\"lo\", \"nowhere0\"", "0.0.0.0:81"), "there is no interface nowhere0"),
        (on("", "0.0.0.0:81"), "no interface is named"),
        (
            on("\"lo\"", "0.0.0.0:81").replace("listen", "upstream = \"http://b\"\nlisten"),
            "`upstream` cannot change",
        ),
    ] {
        let (code, said) = agent.reload(&file);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(reason), "{said}");
    }
    assert_eq!(agent.generation(), 3);
    assert_eq!(program::count(&pair.server, "lo"), 3);
    agent.stop();
}

/// Not one preflight fails while one policy follows the other.
#[test]
fn under_load() {
    let pair = Pair::new();
    let at = server_at(Family::V4);
    let server = Recording::listen(&pair.server, at);
    let agent = Agent::protect(&pair.server, Pair::INTERFACE);
    let both = policy::file(&sockets()).replace(ORIGIN, &format!("{ORIGIN}\", \"{FOREIGN_ORIGIN}"));
    let [one, _] = files();
    let end = AtomicBool::new(false);
    let asked = thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|n| {
                let (client, end) = (&pair.client, &end);
                scope.spawn(move || {
                    let mut kept = Http::connect(client, at);
                    let mut asked = 0u64;
                    while !end.load(Ordering::Relaxed) {
                        assert!(answers(&mut kept, ORIGIN), "client {n}, {asked} before");
                        let mut fresh = Http::connect(client, at);
                        assert!(answers(&mut fresh, ORIGIN), "client {n}, {asked} before");
                        asked += 2;
                    }
                    asked
                })
            })
            .collect();
        let reloads: Vec<_> = (0..20).map(|n| agent.reload([&both, &one][n % 2])).collect();
        end.store(true, Ordering::Relaxed);
        assert!(reloads.iter().all(|(code, _)| *code == 0), "{reloads:?}");
        clients.into_iter().map(|client| client.join().expect("a client")).sum::<u64>()
    });
    assert_eq!(agent.generation(), 21);
    assert_eq!(agent.counters().all_answered(), asked);
    assert!(server.take().is_empty());
}
