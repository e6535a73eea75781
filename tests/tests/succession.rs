//! Proxy mode, one agent after the other, under load: who comes gets an answer, whichever agent gives it.

use std::{
    net::{SocketAddr, TcpListener},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use cors_tests::{
    Family,
    agent::{Agent, Setup},
    client::{Http, Response},
    policy, program,
    server::Recording,
    topology::{Pair, server_at, sockets},
};
use nix::sys::signal::Signal;

/// In the mount namespace of each host.
const PIN: &str = "/sys/fs/bpf/cors-edge";

fn behind() -> SocketAddr {
    "127.0.0.1:8080".parse().expect("an address")
}

fn setup(pair: &Pair) -> Setup<'_> {
    let upstream = format!("[server]\nupstream = \"http://{}\"", behind());
    let file = policy::file(&sockets()).replacen("[server]", &upstream, 1);
    Setup::new(&pair.server, file)
        .interface(Pair::INTERFACE)
        .drain("5")
        .argument("--pin")
        .argument(PIN)
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Preflight,
    Get,
}

/// Asks until the end, on a connection that it keeps as long as it may, or on a new one each time.
fn ask_on(pair: &Pair, asks: Asks, kept: bool, end: &AtomicBool) -> u64 {
    let at = server_at(Family::V4);
    let mut http = Http::connect(&pair.client, at);
    let mut asked = 0;
    while !end.load(Ordering::Relaxed) {
        let response: Response = match asks {
            Asks::Preflight => http.ask(&policy::preflight("/v1/item")),
            Asks::Get => http.ask(&policy::get("/v1/item")),
        };
        assert!(response.is_cors(), "{asks:?}: {response:?}");
        if asks == Asks::Get {
            assert_eq!(response.body, b"recorded");
        }
        asked += 1;
        if !kept || response.header("connection") == Some("close") {
            http = Http::connect(&pair.client, at);
        }
    }
    asked
}

/// Not one request fails of those that are asked while something happens to the agent.
fn nothing_fails(
    pair: &Pair,
    agent: Agent,
    asks: &[Asks],
    happens: impl FnOnce(Agent) -> Agent,
) -> Agent {
    let end = AtomicBool::new(false);
    let (agent, asked) = thread::scope(|scope| {
        let clients: Vec<_> = asks
            .iter()
            .flat_map(|asks| [(*asks, true), (*asks, false)])
            .map(|(asks, kept)| {
                let end = &end;
                scope.spawn(move || ask_on(pair, asks, kept, end))
            })
            .collect();
        let happened = catch_unwind(AssertUnwindSafe(|| happens(agent)));
        // Also where that failed: the clients would go on for ever.
        end.store(true, Ordering::Relaxed);
        let agent = happened.unwrap_or_else(|panic| resume_unwind(panic));
        let asked: Vec<u64> =
            clients.into_iter().map(|client| client.join().expect("a client")).collect();
        (agent, asked)
    });
    assert!(asked.iter().all(|asked| *asked > 3), "{asked:?}");
    assert_eq!(program::count(&pair.server, Pair::INTERFACE), 3);
    agent
}

/// The next agent has the sockets of the one before, which ends when its connections have.
#[test]
fn one_takes_the_place_of_another() {
    let pair = Pair::new();
    let _server = Recording::listen(&pair.server, behind());
    let agent = setup(&pair).start();
    let agent = nothing_fails(&pair, agent, &[Asks::Preflight, Asks::Get], |mut agent| {
        for _ in 0..3 {
            setup(&pair).replace(&mut agent);
        }
        agent
    });
    // Its metrics are told at the same address.
    let metrics = "127.0.0.1:9410".parse().expect("an address");
    let request = b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(Http::connect(&pair.server, metrics).ask(request).status, 200);
    agent.stop_by(Signal::SIGINT);
    assert_eq!(program::count(&pair.server, Pair::INTERFACE), 0);
}

fn given<'a>(pair: &'a Pair, sockets: &[TcpListener]) -> Setup<'a> {
    sockets.iter().fold(setup(pair), Setup::socket)
}

fn listen(pair: &Pair) -> Vec<TcpListener> {
    let bind = |at: &SocketAddr| pair.server.enter(|| TcpListener::bind(at).expect("a socket"));
    sockets().iter().map(bind).collect()
}

/// The service manager has the sockets, and starts the agent again each time.
#[test]
fn restarts_with_the_sockets_of_a_service_manager() {
    let pair = Pair::new();
    let _server = Recording::listen(&pair.server, behind());
    let sockets = listen(&pair);
    let agent = given(&pair, &sockets).start();
    let agent = nothing_fails(&pair, agent, &[Asks::Preflight, Asks::Get], |agent| {
        let ended = agent.end(Signal::SIGTERM);
        let ended = given(&pair, &sockets).start_after(ended).end(Signal::SIGTERM);
        given(&pair, &sockets).start_after(ended)
    });
    agent.stop_by(Signal::SIGINT);
}

/// What an agent that is killed was about to forward is lost; no preflight is.
#[test]
fn killed_and_started_by_a_service_manager() {
    let pair = Pair::new();
    let _server = Recording::listen(&pair.server, behind());
    let sockets = listen(&pair);
    let agent = given(&pair, &sockets).start();
    let agent = nothing_fails(&pair, agent, &[Asks::Preflight], |agent| {
        let ended = agent.end(Signal::SIGKILL);
        let ended = given(&pair, &sockets).start_after(ended).end(Signal::SIGKILL);
        given(&pair, &sockets).start_after(ended)
    });
    agent.stop_by(Signal::SIGINT);
}

#[test]
fn what_cannot_be_replaced() {
    let pair = Pair::new();
    let file = policy::file(&sockets());
    let without = || Setup::new(&pair.server, file.clone()).interface(Pair::INTERFACE);
    // Nobody is there: it just starts.
    let agent = without().argument("--replace").start();
    let dir = agent.runtime_dir();
    let (code, said) = without().argument("--replace").runtime_dir(&dir).refuse();
    assert_eq!(code, 1);
    assert!(said.contains("another XDP program"), "{said}");
    agent.stop();

    // The proxy alone has no socket to be asked on.
    let upstream = format!("[server]\nupstream = \"http://{}\"", behind());
    let alone = file.replacen("[server]", &upstream, 1);
    let (code, said) = Setup::new(&pair.server, alone).xdp("off").argument("--replace").refuse();
    assert_eq!(code, 1);
    assert!(said.contains("--replace does not go with --xdp off"), "{said}");

    // In sidecar mode as well: there are no sockets, but the one for metrics.
    let pinned = || without().argument("--pin").argument(PIN);
    let mut agent = pinned().start();
    pinned().replace(&mut agent);
    assert_eq!(program::count(&pair.server, Pair::INTERFACE), 3);
    agent.stop_by(Signal::SIGINT);
    assert_eq!(program::count(&pair.server, Pair::INTERFACE), 0);
}
