//! `cargo xtask demo`: it runs to its end, says who answered, and leaves nothing behind, also when
//! it is interrupted or not allowed.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use cors_tests::{agent::edge, eventually, scratch::Scratch};
use nix::{
    sys::signal::{SigHandler, Signal, kill, signal},
    unistd::Pid,
};

/// The chores' binary: `cargo xtask` has just built it when it runs these tests.
fn xtask() -> PathBuf {
    let test = env::current_exe().expect("the test's own path");
    let path = test.ancestors().nth(2).expect("the profile's directory").join("xtask");
    assert!(path.is_file(), "{} is missing: `cargo build --package xtask`", path.display());
    path
}

/// The demonstration of the agent under test. Its working directory and its place for temporary
/// files is the scratch directory.
fn demo(scratch: &Scratch) -> Command {
    let mut command = Command::new(xtask());
    command.args(["demo", "--agent"]).arg(edge().get_program());
    command.current_dir(scratch.dir()).env("TMPDIR", scratch.dir());
    command
}

/// What could be left behind: named network namespaces, mounts that everybody sees, files where
/// it writes.
fn traces(scratch: &Scratch) -> [BTreeSet<String>; 3] {
    let names = |path: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().display().to_string()).collect()
    };
    let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts");
    let mounts = mounts.lines().filter(|line| {
        ["/run", "/sys", "/sys/fs/bpf"].iter().any(|place| line.split(' ').nth(1) == Some(place))
    });
    let mut files = names(&scratch.dir().display().to_string());
    let written = ["/run/demo.toml", "/run/cors-edge", "/run/agent.log"];
    let there = written.into_iter().filter(|path| fs::exists(path).is_ok_and(|there| there));
    files.extend(there.map(ToOwned::to_owned));
    [names("/run/netns"), mounts.map(ToOwned::to_owned).collect(), files]
}

/// The network namespace that a process is in.
fn namespace(pid: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

/// Every process in a network namespace.
fn inhabitants(of: &PathBuf) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("the processes").flatten();
    let pids = processes.map(|entry| entry.file_name().to_string_lossy().into_owned());
    pids.filter(|pid| pid.bytes().all(|b| b.is_ascii_digit()))
        .filter(|pid| namespace(pid).as_ref() == Some(of))
        .collect()
}

#[test]
fn it_says_who_answered_and_leaves_nothing() {
    let scratch = Scratch::new("demo");
    let before = traces(&scratch);
    let output = demo(&scratch).output().expect("run the demonstration");
    let said = String::from_utf8(output.stdout).expect("text");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{errors}", output.status);
    // One line for each request, under the request.
    let lines: Vec<_> = said.lines().collect();
    let answered: Vec<_> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.starts_with("  > ") && line.ends_with(" HTTP/1.1"))
        .map(|(at, line)| {
            let who = lines[at..].iter().find(|line| line.contains(" answered"));
            let who = who.expect("who answered").split_whitespace().nth(1).expect("a word");
            (line.split_whitespace().nth(1).expect("a method"), who)
        })
        .collect();
    assert_eq!(
        answered,
        [
            ("OPTIONS", "driver"),
            ("OPTIONS", "driver"),
            ("OPTIONS", "driver"),
            ("GET", "socket"),
            ("OPTIONS", "socket"),
            ("GET", "socket"),
        ],
        "{said}"
    );
    assert!(!said.contains("unexpected"), "{said}");
    assert_eq!(traces(&scratch), before);
}

/// A running demonstration, whose output has come to its first scene.
fn in_the_middle(scratch: &Scratch) -> (Child, PathBuf) {
    let mut command = demo(scratch);
    // A shell starts what runs in the background with SIGINT ignored, and children inherit that.
    // SAFETY: between fork and exec this makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            signal(Signal::SIGINT, SigHandler::SigDfl)?;
            Ok(())
        });
    }
    let mut child = command.stdout(Stdio::piped()).spawn().expect("start the demonstration");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let mut lines = output.lines();
    let scene = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("── ")));
    scene.expect("the demonstration begins").expect("a line");
    // Somebody has to read what else comes.
    std::thread::spawn(move || lines.count());
    let inside = namespace(&child.id().to_string()).expect("its namespace");
    assert_ne!(Some(&inside), namespace("self").as_ref());
    (child, inside)
}

#[test]
fn interrupted_it_leaves_nothing() {
    for by in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let scratch = Scratch::new("demo");
        let before = traces(&scratch);
        eventually("it is interrupted before it is over", || {
            let (mut child, inside) = in_the_middle(&scratch);
            let pid = Pid::from_raw(child.id().try_into().expect("a process id"));
            kill(pid, by).expect("interrupt it");
            let status = child.wait().expect("wait for its end");
            // With the last of them the namespace goes, and the programs on its interfaces.
            eventually("everybody leaves", || inhabitants(&inside).is_empty().then_some(()));
            assert_eq!(traces(&scratch), before);
            (!status.success()).then_some(())
        });
    }
}

#[test]
fn who_is_not_root_is_told_what_to_do() {
    let scratch = Scratch::new("demo");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(scratch.copy_program(xtask()))
        .arg("demo")
        .current_dir("/")
        .output()
        .expect("run the demonstration");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    for part in ["only root may", "network namespace", "sudo ", "cargo xtask demo"] {
        assert!(said.contains(part), "{part}:\n{said}");
    }
    assert!(output.stdout.is_empty());
}
