//! One agent after the other: what stays attached in between, who takes it over, and what of it a
//! client sees, which is nothing.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use cors_tests::{
    Family,
    agent::{Agent, Ended, Setup, edge},
    client::Http,
    counter, eventually,
    netns::Netns,
    policy, program,
    server::Recording,
    topology::{Pair, VethOptions, server_at, sockets},
};
use nix::sys::signal::Signal;

/// In the mount namespace of each host.
const PIN: &str = "/sys/fs/bpf/cors-edge";

fn setup(pair: &Pair) -> Setup<'_> {
    Setup::new(&pair.server, policy::file(&sockets()))
        .interface(Pair::INTERFACE)
        .argument("--pin")
        .argument(PIN)
}

fn on(pair: &Pair) -> usize {
    program::count(&pair.server, Pair::INTERFACE)
}

/// `cors-edge detach`.
fn detach(host: &Netns, runtime_dir: &Path) -> (i32, String) {
    let mut command = edge();
    command.args(["detach", "--runtime-dir"]).arg(runtime_dir);
    host.prepare(&mut command);
    let output = command.output().expect("run the agent's detach command");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8(said).expect("text"))
}

fn there(host: &Netns) -> bool {
    host.enter(|| Path::new(PIN).exists())
}

/// Whether counters go on from one agent to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Yes,
    No,
}

/// Gives kept maps another layout: those in the directories that begin so.
fn lay_out_anew(host: &Netns, groups: &[&str]) {
    host.enter(|| {
        for entry in fs::read_dir(PIN).expect("the directory").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(group) = groups.iter().find(|group| name.starts_with(**group)) {
                let other = Path::new(PIN).join(format!("{group}-0"));
                fs::rename(entry.path(), other).expect("rename maps");
            }
        }
    });
}

/// Clients that ask without a pause while agents come and go. Not one request may fail: no
/// connection is refused or reset, and each preflight is answered by the driver, unless the lease
/// of an agent ran out before the next one was there, as it does on a slow machine: then by the
/// server.
fn nothing_fails(pair: &Pair, counters: Kept, happens: impl FnOnce(Ended) -> Agent) {
    let at = server_at(Family::V4);
    let server = Recording::listen(&pair.server, at);
    let agent = setup(pair).start();
    let (end, passed) = (AtomicBool::new(false), AtomicU64::new(0));
    let asked = thread::scope(|scope| {
        let clients: Vec<_> = [true, false]
            .map(|kept| {
                let (end, passed) = (&end, &passed);
                scope.spawn(move || {
                    let mut asked = 0u64;
                    let mut http = Http::connect(&pair.client, at);
                    while !end.load(Ordering::Relaxed) {
                        if !kept {
                            http = Http::connect(&pair.client, at);
                        }
                        if !http.ask(&policy::preflight("/v1/item")).is_cors() {
                            passed.fetch_add(1, Ordering::Relaxed);
                            // It is the kernel's now.
                            http = Http::connect(&pair.client, at);
                        }
                        asked += 1;
                    }
                    asked
                })
            })
            .into();
        let happened = catch_unwind(AssertUnwindSafe(|| happens(agent.end(Signal::SIGTERM))));
        // Also where that failed: the clients would go on for ever.
        end.store(true, Ordering::Relaxed);
        let agent = happened.unwrap_or_else(|panic| resume_unwind(panic));
        let asked: u64 = clients.into_iter().map(|client| client.join().expect("a client")).sum();
        let counted = agent.counters();
        let passed = passed.load(Ordering::Relaxed);
        assert_eq!(passed, server.take().len() as u64);
        match counters {
            Kept::Yes => {
                assert!(passed <= counted.get(counter::LEASE_EXPIRED), "{passed}: {counted:?}");
                // The counters go on from one agent to the next.
                assert_eq!(counted.all_answered() + passed, asked);
            }
            Kept::No => assert!((1..asked).contains(&counted.all_answered()), "{counted:?}"),
        }
        assert_eq!(on(pair), 3);
        agent.stop_by(Signal::SIGINT);
        asked
    });
    assert!(asked > 10, "{asked}");
    assert_eq!(on(pair), 0);
    assert!(!there(&pair.server), "nothing is left");
}

#[test]
fn a_restart_under_load() {
    let pair = Pair::new();
    nothing_fails(&pair, Kept::Yes, |ended| {
        let agent = setup(&pair).start_after(ended);
        let agent = setup(&pair).start_after(agent.end(Signal::SIGTERM));
        agent.reload(&policy::file(&sockets()));
        agent
    });
}

#[test]
fn killed_and_started_under_load() {
    let pair = Pair::with(VethOptions { peer_pass: true });
    nothing_fails(&pair, Kept::Yes, |ended| {
        let agent = setup(&pair).xdp("auto").start_after(ended);
        let agent = setup(&pair).start_after(agent.end(Signal::SIGKILL));
        setup(&pair).start_after(agent.end(Signal::SIGKILL))
    });
}

/// As for an upgrade to a build whose maps have all another layout: the secret is kept, so a
/// connection that was begun before is still answered; what was remembered is not.
#[test]
fn maps_of_another_layout() {
    let pair = Pair::new();
    let at = server_at(Family::V6);
    let _server = Recording::listen(&pair.server, at);
    let agent = setup(&pair).start();
    let mut begun = Http::connect(&pair.client, at);
    assert!(Http::connect(&pair.client, at).ask(&policy::preflight("/v1/item")).is_cors());
    let ended = agent.end(Signal::SIGKILL);
    lay_out_anew(&pair.server, &["flows", "counters", "host"]);
    let agent = setup(&pair).start_after(ended);
    assert_eq!(on(&pair), 3);
    assert_eq!(agent.counters().get(counter::SYN_ACK), 0, "new counters");
    assert_eq!(agent.flows(), 0);
    assert!(begun.ask(&policy::preflight("/v1/item")).is_cors());
    assert_eq!(begun.ask(&policy::get("/v1/item")).body, b"recorded");
    let counters = agent.counters();
    assert_eq!((counters.get(counter::ANSWERED), counters.get(counter::SYN_ACK)), (1, 0));
    for group in ["flows", "counters", "host"] {
        assert!(pair.server.enter(|| !Path::new(PIN).join(format!("{group}-0")).exists()));
    }
    agent.stop_by(Signal::SIGINT);
}

/// An upgrade to a build that counts other things, and one to a build that knows other things of
/// the host: the connections are kept, and clients notice nothing.
#[test]
fn other_builds_under_load() {
    let pair = Pair::new();
    nothing_fails(&pair, Kept::No, |ended| {
        lay_out_anew(&pair.server, &["counters"]);
        let agent = setup(&pair).start_after(ended);
        let ended = agent.end(Signal::SIGKILL);
        lay_out_anew(&pair.server, &["host", "counters"]);
        let agent = setup(&pair).start_after(ended);
        lay_out_anew(&pair.server, &["host"]);
        setup(&pair).start_after(agent.end(Signal::SIGTERM))
    });
}

/// Nobody comes: within the lease everything passes, and open connections go on at the server.
#[test]
fn an_agent_that_is_gone_for_good() {
    let pair = Pair::new();
    let at = server_at(Family::V4);
    let server = Recording::listen(&pair.server, at);
    let agent = setup(&pair).start();
    let mut open = Http::connect(&pair.client, at);
    assert!(open.ask(&policy::preflight("/v1/item")).is_cors());
    agent.kill();
    assert_eq!(on(&pair), 3);
    eventually("the lease has run out", || {
        let mut http = Http::connect(&pair.client, at);
        (!http.ask(&policy::preflight("/v1/item")).is_cors()).then_some(())
    });
    let before = server.take().len();
    assert!(before > 0);
    assert_eq!(open.ask(&policy::get("/v1/item")).body, b"recorded");
    assert_eq!(open.ask(&policy::get("/v1/item")).body, b"recorded");
    assert_eq!(server.take().len(), 2);

    let scratch = cors_tests::scratch::Scratch::new("detach");
    let (code, said) = detach(&pair.server, scratch.dir());
    assert_eq!((code, said.as_str()), (0, "3 programs detached\n"));
    assert_eq!(on(&pair), 0);
    assert!(!there(&pair.server));
    assert_eq!(open.ask(&policy::get("/v1/item")).body, b"recorded");
    let (code, said) = detach(&pair.server, scratch.dir());
    assert_eq!((code, said.as_str()), (0, "0 programs detached\n"));
}

#[test]
fn what_is_not_taken_over() {
    let pair = Pair::new();
    let agent = setup(&pair).start();
    let runtime_dir = agent.runtime_dir();
    let (code, said) = detach(&pair.server, &runtime_dir);
    assert_eq!(code, 1);
    assert!(said.contains("another agent is running"), "{said}");
    assert_eq!(on(&pair), 3);
    let ended = agent.end(Signal::SIGTERM);
    assert_eq!(on(&pair), 3);

    // An agent that does not come to be leaves what it found.
    let file = policy::file(&sockets());
    let there = Recording::listen(&pair.server, "127.0.0.1:9410".parse().expect("a socket"));
    let wrong = format!("{file}[admin]\nlisten = \"127.0.0.1:9410\"\n");
    let again = |file| Setup::new(&pair.server, file).argument("--pin").argument(PIN);
    let (code, said) = again(wrong).interface(Pair::INTERFACE).refuse();
    assert_eq!(code, 1, "{said}");
    assert_eq!(on(&pair), 3, "{said}");
    drop(there);

    // One on another interface, or in another mode, or without one of the programs, takes off what
    // it does not use.
    let agent = again(file.clone()).interface("lo").start_after(ended);
    assert_eq!((on(&pair), program::count(&pair.server, "lo")), (0, 3));
    let ended = agent.end(Signal::SIGTERM);
    let agent = again(file.clone()).interface("lo").argument("--measure").start_after(ended);
    assert_eq!(program::count(&pair.server, "lo"), 1);
    let ended = agent.end(Signal::SIGTERM);
    let agent = again(file.clone()).interface("lo").xdp("off").start_after(ended);
    assert_eq!(program::count(&pair.server, "lo"), 1);
    agent.stop_by(Signal::SIGINT);

    // An interface that went and came back while nobody looked.
    let ended = setup(&pair).start().end(Signal::SIGKILL);
    pair.server.ip(&["link", "del", Pair::INTERFACE]);
    pair.server.ip(&["link", "add", Pair::INTERFACE, "type", "veth", "peer", "name", "p0"]);
    pair.server.ip(&["link", "set", Pair::INTERFACE, "up"]);
    let agent = setup(&pair).start_after(ended);
    assert_eq!(on(&pair), 3);
    agent.stop_by(Signal::SIGINT);

    let (code, said) = Setup::new(&pair.server, file)
        .interface(Pair::INTERFACE)
        .argument("--pin")
        .argument("/tmp/cors-edge-no-bpffs")
        .refuse();
    assert_eq!(code, 1);
    assert!(said.contains("is in no BPF file system"), "{said}");
}
