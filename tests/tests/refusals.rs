//! What keeps the agent from starting: each time one clear sentence with what to do, an exit code
//! that is not 0, and nothing left on any interface.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    process::Command,
};

use cors_tests::{
    Family,
    agent::{Setup, edge},
    client::curl_exit,
    policy,
    program::{self, Program},
    scratch::Scratch,
    server::Server,
    topology::{Pair, server_at, sockets},
};

/// The policy of the tests, on the server of a pair.
fn setup(pair: &Pair) -> Setup<'_> {
    Setup::new(&pair.server, policy::file(&sockets())).interface(Pair::INTERFACE)
}

/// A refusal with this exit code that says all of this, in one line that is no crash.
fn refuses(setup: Setup<'_>, code: i32, says: &[&str]) {
    let (ended, said) = setup.refuse();
    check(ended, &said, code, says);
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("cors-edge: "), "the last line is no sentence of ours:\n{said}");
    assert!(says.iter().all(|part| last.contains(part)), "more than one line:\n{said}");
}

fn check(ended: i32, said: &str, code: i32, says: &[&str]) {
    assert_eq!(ended, code, "{said}");
    for part in says {
        assert!(said.contains(part), "it does not say `{part}`:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// Runs a command line that needs no host, to its end: exit code, standard output, standard error.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().expect("run the agent");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn an_interface_that_does_not_exist() {
    let pair = Pair::new();
    let setup = Setup::new(&pair.server, policy::file(&sockets())).interface("nosuch0");
    // And those that there are.
    refuses(setup, 1, &["there is no interface nosuch0", "lo", Pair::INTERFACE]);
}

#[test]
fn an_interface_without_ethernet() {
    let pair = Pair::new();
    pair.server.ip(&["tuntap", "add", "mode", "tun", "name", "tun9"]);
    let setup = Setup::new(&pair.server, policy::file(&sockets())).interface("tun9");
    refuses(setup, 1, &["tun9 has no Ethernet frames", "name an Ethernet interface"]);
}

#[test]
fn no_interface_at_all() {
    let pair = Pair::new();
    let setup = Setup::new(&pair.server, policy::file(&sockets()));
    refuses(setup, 1, &["no interface is named", "--interface"]);
}

#[test]
fn a_missing_capability() {
    let pair = Pair::new();
    for (without, named) in [
        (&["net_admin"][..], "CAP_NET_ADMIN is missing"),
        // CAP_SYS_ADMIN stands for the other two.
        (&["bpf", "sys_admin"], "CAP_BPF is missing"),
        (&["perfmon", "sys_admin"], "CAP_PERFMON is missing"),
        (&["perfmon", "bpf", "sys_admin"], "CAP_PERFMON and CAP_BPF are missing"),
    ] {
        refuses(setup(&pair).root_without(without), 1, &[named, "run the agent as root, or give"]);
    }
    for (with, named) in [
        (&["net_admin", "bpf"][..], "CAP_PERFMON is missing"),
        (&["net_admin", "perfmon"], "CAP_BPF is missing"),
        (&["bpf", "perfmon"], "CAP_NET_ADMIN is missing"),
    ] {
        refuses(setup(&pair).nobody_with(with), 1, &[named, "AmbientCapabilities="]);
    }
    assert_eq!(program::count(&pair.server, Pair::INTERFACE), 0);
}

#[test]
fn no_syn_cookies() {
    let pair = Pair::new();
    pair.server.sysctl("net/ipv4/tcp_syncookies", "0");
    refuses(setup(&pair), 1, &["tcp_syncookies is 0", "sysctl -w net.ipv4.tcp_syncookies=1"]);
}

#[test]
fn the_program_of_somebody_else_by_a_link() {
    let pair = Pair::new();
    let theirs = Program::xdp(&pair.server, Pair::INTERFACE);
    taken(&pair, &theirs, "link set dev s0 xdpdrv off");
}

#[test]
fn the_program_of_somebody_else_by_netlink() {
    let pair = Pair::new();
    let theirs = Program::xdp_by_netlink(&pair.server, Pair::INTERFACE);
    let advice = "link set dev s0 xdpgeneric off";
    taken(&pair, &theirs, advice);
    // It works.
    pair.server.ip(&advice.split(' ').collect::<Vec<_>>());
    setup(&pair).start().stop();
}

/// In whichever mode: their program stays, and goes on seeing packets.
fn taken(pair: &Pair, theirs: &Program, advice: &str) {
    for xdp in ["auto", "generic", "native"] {
        refuses(
            setup(pair).xdp(xdp),
            1,
            &["another XDP program", "is on s0", advice, "stop what attached it"],
        );
        assert_eq!(program::count(&pair.server, Pair::INTERFACE), 1);
        let before = theirs.seen();
        let url = format!("http://{}/", policy::HOST);
        assert_eq!(curl_exit(&pair.client, server_at(Family::V4), &[&url]), 7, "refused");
        assert!(theirs.seen() > before);
    }
}

#[test]
fn a_socket_that_is_taken() {
    let pair = Pair::new();
    let _taken = Server::python(&pair.server, server_at(Family::V4))
        .ready(&pair.server, server_at(Family::V4));
    let upstream = "[server]\nupstream = \"http://127.0.0.1:8080\"";
    let file = policy::file(&sockets()).replacen("[server]", upstream, 1);
    let setup = Setup::new(&pair.server, file).interface(Pair::INTERFACE);
    refuses(setup, 1, &["10.", ":80 cannot be listened on", "in use"]);
}

#[test]
fn a_policy_that_does_not_fit_the_tables() {
    let pair = Pair::new();
    let names: Vec<_> = (0..100).map(|number| format!("\"x-header-number-{number}\"")).collect();
    let headers = format!("allow_headers = [{}]", names.join(", "));
    let file = policy::file(&sockets()).replace(
        "allow_headers = [\"authorization\", \"content-type\", \"x-requested-with\"]",
        &headers,
    );
    let says = ["policy `api`", "list fewer methods or headers"];
    let setup = Setup::new(&pair.server, file.clone()).interface(Pair::INTERFACE);
    refuses(setup, 1, &says);
    assert_eq!(program::count(&pair.server, Pair::INTERFACE), 0);

    let scratch = Scratch::new("validate");
    let path = scratch.write("policy.toml", file);
    let (code, said, _) = run(edge().arg("validate").arg(path));
    check(code, &said, 2, &says);
}

#[test]
fn a_policy_with_errors() {
    let pair = Pair::new();
    for (file, place) in [
        (policy::file(&sockets()).replace("max_age = 600", "max_age = -1"), "policy[0].max_age"),
        (policy::file(&sockets()).replace("max_age = 600", "max_age = "), "policy.toml:13:11"),
        (String::new(), "add [server]"),
    ] {
        let (code, said) = Setup::new(&pair.server, file).interface(Pair::INTERFACE).refuse();
        check(code, &said, 2, &["error[", place, "help: ", " error"]);
    }
}

#[test]
fn arguments_that_are_none() {
    let pair = Pair::new();
    let (code, said) = setup(&pair).xdp("fast").refuse();
    check(code, &said, 2, &["fast", "auto", "native", "generic", "off"]);
}

#[test]
fn a_file_that_cannot_be_read() {
    let scratch = Scratch::new("unreadable");
    let directory = scratch.dir().to_owned();
    let missing = scratch.path("missing.toml");
    let binary = scratch.write("binary.toml", [0xff, 0xfe, 0]);
    let secret = scratch.write("secret.toml", policy::file(&sockets()));
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).expect("take the permissions away");
    for (path, says) in [
        (missing, &["cannot read", "missing.toml", "No such file or directory"][..]),
        (directory, &["cannot read", "Is a directory"]),
        (secret, &["cannot read", "secret.toml", "Permission denied"]),
        (binary, &["binary.toml", "is not UTF-8"]),
    ] {
        for verb in [&["validate"][..], &["run", "--config"]] {
            // Root reads everything, but for this.
            let mut command = Command::new("setpriv");
            command.arg("--bounding-set=-dac_override,-dac_read_search");
            command.arg(edge().get_program()).args(verb).arg(&path);
            let (code, _, said) = run(&mut command);
            check(code, &said, 1, says);
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}
