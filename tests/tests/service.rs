//! What the agent says to whoever runs it as a service.

use std::{net::TcpListener, os::unix::net::UnixDatagram};

use cors_tests::{
    PATIENCE,
    agent::Setup,
    policy,
    scratch::Scratch,
    topology::{Pair, sockets},
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Plays systemd: the next message for which this holds, and how many others came before.
fn expect(manager: &UnixDatagram, what: &str) -> (String, usize) {
    let mut buffer = [0; 4096];
    for before in 0.. {
        let length = manager.recv(&mut buffer).unwrap_or_else(|error| panic!("{what}: {error}"));
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if message.lines().any(|line| line == what) {
            return (message, before);
        }
    }
    unreachable!("there is always another message, or an error")
}

#[test]
fn the_service_manager_is_told() {
    let pair = Pair::new();
    let scratch = Scratch::new("manager");
    let socket = scratch.path("notify");
    let manager = UnixDatagram::bind(&socket).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let agent = Setup::new(&pair.server, policy::file(&sockets()))
        .interface(Pair::INTERFACE)
        .environment("NOTIFY_SOCKET", socket.display().to_string())
        .environment("WATCHDOG_USEC", "10000000")
        .start();
    let (ready, _) = expect(&manager, "READY=1");
    assert!(ready.contains("STATUS=generation 1 (1 policies, 2 origins) on s0"), "{ready}");
    expect(&manager, "WATCHDOG=1");
    agent.signal(Signal::SIGHUP);
    let (reloading, _) = expect(&manager, "RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    let (ready, _) = expect(&manager, "READY=1");
    assert!(ready.contains("STATUS=generation 2 "), "{ready}");
    // A file that is refused ends the reload as well: what was in use is.
    agent.write_policy("");
    assert_eq!(agent.ask("reload", &[]).0, 2);
    expect(&manager, "RELOADING=1");
    let (ready, _) = expect(&manager, "READY=1");
    assert!(ready.contains("generation 2 ") && ready.contains("last reload refused"), "{ready}");
    agent.stop();
    expect(&manager, "STOPPING=1");
}

#[test]
fn the_log_is_json_where_nobody_looks() {
    let pair = Pair::new();
    let agent = Setup::new(&pair.server, policy::file(&sockets()))
        .interface(Pair::INTERFACE)
        .log_format("auto")
        .start();
    agent.write_policy("x");
    assert_eq!(agent.ask("reload", &[]).0, 2);
    let log = agent.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    let with = |level: &str, text: &str| {
        let says = |line: &&Value| line["message"].as_str().is_some_and(|m| m.contains(text));
        lines.iter().any(|line| line["level"] == level && says(&line))
    };
    assert!(with("INFO", "ready"), "{log}");
    // The report of a refused file is one entry, however many lines it has.
    assert!(with("ERROR", "not a TOML document"), "{log}");
    assert!(lines.iter().all(|line| line["timestamp"].is_string()), "{log}");
    agent.stop();
}

/// Where the journal is said to be at the other end and is not, nothing is written past it.
#[test]
fn the_journal_is_chosen_by_the_file_that_systemd_names() {
    let pair = Pair::new();
    let agent = Setup::new(&pair.server, policy::file(&sockets()))
        .interface(Pair::INTERFACE)
        .log_format("auto")
        .environment("JOURNAL_STREAM", "1:1")
        .start();
    assert!(agent.log().starts_with('{'), "{}", agent.log());
    agent.stop();
}

/// The sockets of a proxy are left with the service manager, which gives them back at the next start.
#[test]
fn the_service_manager_keeps_the_sockets_of_a_proxy() {
    let pair = Pair::new();
    let scratch = Scratch::new("manager");
    let socket = scratch.path("notify");
    let manager = UnixDatagram::bind(&socket).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let upstream = "[server]\nupstream = \"http://127.0.0.1:8080\"";
    let file = policy::file(&["10.0.0.1:80", "10.0.0.1:81"]).replacen("[server]", upstream, 1);
    let setup = || {
        Setup::new(&pair.server, file.clone())
            .interface(Pair::INTERFACE)
            .environment("NOTIFY_SOCKET", socket.display().to_string())
    };
    let agent = setup().start();
    for port in [80, 81] {
        let (message, _) = expect(&manager, "FDSTORE=1");
        assert!(message.contains(&format!("FDNAME=listen-10.0.0.1_{port}\n")), "{message}");
    }
    agent.stop();

    // One of them, and one of a file that said something else.
    let [kept, other] = ["10.0.0.1:80", "10.0.0.1:82"]
        .map(|at| pair.server.enter(|| TcpListener::bind(at).expect("a socket")));
    expect(&manager, "STOPPING=1");
    let agent = setup().socket(&kept).socket(&other).start();
    let (message, _) = expect(&manager, "FDSTORE=1");
    assert!(message.contains("FDNAME=listen-10.0.0.1_81\n"), "{message}");
    let (message, _) = expect(&manager, "FDSTOREREMOVE=1");
    assert!(message.contains("FDNAME=listen-10.0.0.1_82\n"), "{message}");
    agent.stop();
}
