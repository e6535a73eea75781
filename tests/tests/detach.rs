//! However the agent ends, nothing of it stays on any interface, and what others have there is
//! left alone.

use std::fs;

use cors_tests::{
    Family,
    agent::{Agent, Setup},
    client::Http,
    counter, eventually, for_each_family,
    netns::Netns,
    policy,
    program::{self, Program},
    scratch::Scratch,
    server::Recording,
    topology::{Pair, server_at, sockets},
};
use nix::sys::signal::Signal;

/// A host with four interfaces besides `lo`: two cables whose ends are all here.
fn host() -> Netns {
    let host = Netns::new("host");
    host.ip(&["link", "add", "s0", "type", "veth", "peer", "name", "s1"]);
    host.ip(&["link", "add", "t0", "type", "veth", "peer", "name", "t1"]);
    for interface in INTERFACES {
        host.ip(&["link", "set", interface, "up"]);
    }
    host
}

const INTERFACES: [&str; 5] = ["lo", "s0", "s1", "t0", "t1"];

fn on_each(host: &Netns) -> [usize; 5] {
    INTERFACES.map(|interface| program::count(host, interface))
}

fn setup(host: &Netns) -> Setup<'_> {
    Setup::new(host, policy::file(&["0.0.0.0:80", "[::]:80"]))
}

#[test]
fn a_stopped_agent_leaves_nothing() {
    let host = host();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let agent = setup(&host).interface("lo").interface("s0").interface("t0").start();
        // The driver's program and the two behind it, and only where it was asked for.
        assert_eq!(on_each(&host), [3, 3, 0, 3, 0]);
        agent.stop_by(signal);
        assert_eq!(on_each(&host), [0; 5]);
    }
}

#[test]
fn a_killed_agent_leaves_nothing() {
    let host = host();
    let agent = setup(&host).interface("s0").interface("t0").start();
    assert_eq!(on_each(&host), [0, 3, 0, 3, 0]);
    agent.kill();
    // The kernel closes what a dead process had open in its own time.
    eventually("nothing is attached", || (on_each(&host) == [0; 5]).then_some(()));
}

/// The first interface takes the program, the second does not: `lo` has no driver.
#[test]
fn a_start_that_fails_half_way_leaves_nothing() {
    let host = host();
    let (code, said) = setup(&host).xdp("native").interface("s0").interface("lo").refuse();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("on s0: XDP native"), "it did not come that far:\n{said}");
    let last = said.lines().last().expect("a sentence");
    assert!(last.contains("cannot be attached to lo (native)"), "{said}");
    assert_eq!(on_each(&host), [0; 5]);
}

/// Everything is attached, and then the status socket cannot be made.
#[test]
fn a_start_that_fails_at_the_end_leaves_nothing() {
    let host = host();
    let scratch = Scratch::new("runtime");
    fs::create_dir(scratch.path("status.sock")).expect("be in the way of the socket");
    let (code, said) = setup(&host).interface("s0").runtime_dir(scratch.dir()).refuse();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("on s0: XDP generic"), "it did not come that far:\n{said}");
    let last = said.lines().last().expect("a sentence");
    assert!(last.contains("the runtime directory") && last.contains("cannot be used"), "{said}");
    assert_eq!(on_each(&host), [0; 5]);
}

for_each_family! {
    /// Programs of others at the hook of the hand-over: they stay, they go on, and they see what
    /// is handed over.
    fn the_programs_of_others_go_on(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let _server = Recording::listen(&pair.server, at);
        let before = Program::tcx(&pair.server, Pair::INTERFACE);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let after = Program::tcx(&pair.server, Pair::INTERFACE);
        assert_eq!(program::count(&pair.server, Pair::INTERFACE), 5);
        let seen = || [before.seen(), after.seen()];
        let grown = |earlier: [u64; 2]| seen().iter().zip(earlier).all(|(now, then)| *now > then);

        let counted = agent.counted(|| {
            let mut http = Http::connect(&pair.client, at);
            assert!(http.ask(&policy::preflight("/v1/item")).is_cors());
            let earlier = seen();
            assert_eq!(http.ask(&policy::get("/v1/item")).body, b"recorded");
            assert!(grown(earlier), "they do not see what is handed over");
        });
        assert_eq!(counted.get(counter::ANSWERED), 1);
        assert_eq!(counted.get(counter::HANDED_OVER), 1);

        agent.stop();
        assert_eq!(program::count(&pair.server, Pair::INTERFACE), 2);
        let earlier = seen();
        let mut http = Http::connect(&pair.client, at);
        assert_eq!(http.ask(&policy::get("/v1/item")).body, b"recorded");
        assert!(grown(earlier), "they see nothing any more");
    }
}

/// The agent starts where it is told to, and its refusal to share the driver's hook does not
/// extend to the one behind it.
#[test]
fn without_a_program_in_the_driver_the_program_of_somebody_else_may_stay() {
    let pair = Pair::new();
    let theirs = Program::xdp(&pair.server, Pair::INTERFACE);
    let agent = Setup::new(&pair.server, policy::file(&sockets()))
        .interface(Pair::INTERFACE)
        .xdp("off")
        .start();
    assert_eq!(agent.mode(Pair::INTERFACE), "off");
    assert_eq!(program::count(&pair.server, Pair::INTERFACE), 2);
    let _server = Recording::listen(&pair.server, server_at(Family::V4));
    let seen = theirs.seen();
    let mut http = Http::connect(&pair.client, server_at(Family::V4));
    assert_eq!(http.ask(&policy::get("/v1/item")).body, b"recorded");
    assert!(theirs.seen() > seen);
    agent.stop();
    assert_eq!(program::count(&pair.server, Pair::INTERFACE), 1);
}
