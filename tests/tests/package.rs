//! The Debian package: what is in it, and that an agent out of it does what `docs/operating.md`
//! says, as a user who has nothing but the unit's capabilities.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use cors_tests::{
    Family,
    client::Http,
    eventually, policy, program,
    scratch::Scratch,
    server::Recording,
    topology::{Pair, server_at},
};

/// What `cargo xtask deb` made.
fn package() -> PathBuf {
    if let Some(path) = env::var_os("CORS_EDGE_DEB") {
        return path.into();
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/deb");
    let files = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let package = files.filter(|path| path.extension().is_some_and(|e| e == "deb")).max();
    package.expect("there is no package: `cargo xtask deb`")
}

/// Unpacks it.
fn unpack(to: &Path) {
    let status = Command::new("dpkg-deb").arg("-x").arg(package()).arg(to).status();
    assert!(status.expect("run dpkg-deb").success());
}

/// The settings of the unit; of those that are there several times all values.
fn unit(root: &Path) -> BTreeMap<String, Vec<String>> {
    let path = root.join("usr/lib/systemd/system/cors-edge.service");
    let mut settings = BTreeMap::<String, Vec<String>>::new();
    for line in fs::read_to_string(path).expect("the unit").lines() {
        if let Some((key, value)) = line.split_once('=') {
            settings.entry(key.to_owned()).or_default().push(value.to_owned());
        }
    }
    settings
}

#[test]
#[ignore = "needs the package: cargo xtask deb"]
fn what_is_in_it() {
    let scratch = Scratch::new("package");
    unpack(scratch.dir());
    for path in [
        "usr/bin/cors-edge",
        "usr/share/man/man1/cors-edge.1.gz",
        "usr/share/man/man1/cors-edge-reload.1.gz",
        "usr/share/bash-completion/completions/cors-edge",
        "usr/share/zsh/vendor-completions/_cors-edge",
        "usr/share/fish/vendor_completions.d/cors-edge.fish",
        "etc/cors-edge/policy.toml",
        "usr/lib/sysusers.d/cors-edge.conf",
        "usr/lib/cors-edge/mount-bpffs",
        "usr/share/doc/cors-edge/operating.md.gz",
        "usr/share/doc/cors-edge/monitoring/alerts.yml",
        "usr/share/doc/cors-edge/kubernetes/daemonset.yaml",
    ] {
        let plain = path.trim_end_matches(".gz");
        let there = [path, plain].iter().any(|path| scratch.path(path).is_file());
        assert!(there, "{path} is not in the package");
    }
    // Exactly what the agent needs, here and for Kubernetes.
    let unit = unit(scratch.dir());
    let needed = "CAP_BPF CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_PERFMON";
    assert_eq!(unit["AmbientCapabilities"], [needed]);
    assert_eq!(unit["CapabilityBoundingSet"], [needed]);
    let manifest = scratch.read("usr/share/doc/cors-edge/kubernetes/daemonset.yaml");
    assert!(manifest.contains("drop: [ALL], add: [BPF, NET_ADMIN, NET_BIND_SERVICE, PERFMON]"));
    assert!(scratch.read("usr/lib/sysusers.d/cors-edge.conf").starts_with("u cors-edge "));
    // The policy of the manifest is a valid one.
    let (_, text) = manifest.split_once("policy.toml: |\n").expect("a policy");
    let (text, _) = text.split_once("---").expect("its end");
    let lines: Vec<_> = text.lines().map(|line| line.trim_start_matches("    ")).collect();
    let file = scratch.write("policy.toml", lines.join("\n"));
    let valid = Command::new(scratch.path("usr/bin/cors-edge")).arg("validate").arg(file).status();
    assert!(valid.expect("run the agent").success());

    // No worse than the documents say.
    let file = scratch.path("usr/lib/systemd/system/cors-edge.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&file)
        .output()
        .expect("run systemd-analyze");
    let said = String::from_utf8_lossy(&output.stdout);
    let level = said.lines().find(|line| line.contains("Overall exposure level"));
    assert!(level.is_some_and(|level| level.contains(": 1.9 OK")), "{level:?}");
}

/// A root directory in the server's mount namespace: this machine's, with the package unpacked over
/// it, and with nothing of that for anybody else.
struct Root<'a> {
    pair: &'a Pair,
    scratch: Scratch,
}

impl<'a> Root<'a> {
    fn new(pair: &'a Pair) -> Self {
        let root = Self { pair, scratch: Scratch::new("root") };
        let dir = root.scratch.dir().display();
        root.outside(&format!(
            "mount -t tmpfs tmpfs {dir} && mkdir {dir}/upper {dir}/work {dir}/root && \
             dpkg-deb -x {} {dir}/upper && \
             mount -t overlay -o lowerdir=/,upperdir={dir}/upper,workdir={dir}/work overlay {dir}/root && \
             mount -t tmpfs tmpfs {dir}/root/run && mount -t tmpfs tmpfs {dir}/root/tmp && \
             mount --rbind /proc {dir}/root/proc && mount --rbind /sys {dir}/root/sys && \
             mount --rbind /dev {dir}/root/dev",
            package().display()
        ));
        root
    }

    fn outside(&self, script: &str) {
        self.pair.server.run("sh", &["-c", script]);
    }

    /// A command inside, which must succeed.
    fn run(&self, command: &str) -> String {
        let root = self.scratch.path("root").display().to_string();
        self.pair.server.run("chroot", &[&root, "sh", "-ec", command])
    }
}

impl Drop for Root<'_> {
    fn drop(&mut self) {
        let dir = self.scratch.dir().display().to_string();
        self.outside(&format!("umount --recursive --lazy {dir}"));
    }
}

/// Every command in a block of `docs/operating.md` that is for a shell.
fn commands() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating.md");
    let text = fs::read_to_string(path).expect("docs/operating.md");
    let blocks = text.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    lines.map(ToOwned::to_owned).collect()
}

#[test]
#[ignore = "needs the package: cargo xtask deb"]
fn the_first_day() {
    let pair = Pair::new();
    let at = server_at(Family::V4);
    let server = Recording::listen(&pair.server, at);
    let root = Root::new(&pair);
    let unit = pair.server.enter(|| unit(&root.scratch.path("root")));

    // What the package does when it is installed, and systemd when it starts the unit: the user, a
    // runtime directory, the commands before.
    root.run("systemd-sysusers cors-edge.conf && install -d -o cors-edge -m 0700 /run/cors-edge");
    // The file as it comes is valid, and the agent says what it lacks.
    root.run("cors-edge validate /etc/cors-edge/policy.toml");
    root.run(&format!(
        "sed -i 's/^# interface = .*/interface = [\"{}\"]/' /etc/cors-edge/policy.toml",
        Pair::INTERFACE
    ));
    for before in &unit["ExecStartPre"] {
        root.run(before.trim_start_matches('+'));
    }
    let capabilities = unit["AmbientCapabilities"][0].to_lowercase().replace("cap_", "+");
    let capabilities = capabilities.replace(' ', ",");
    let mut agent = Command::new("chroot");
    agent.arg(root.scratch.path("root")).args([
        "setpriv",
        "--reuid=cors-edge",
        "--regid=cors-edge",
    ]);
    agent.args(["--clear-groups", "--no-new-privs"]);
    for set in ["--inh-caps=-all,", "--ambient-caps=-all,", "--bounding-set=-all,"] {
        agent.arg(format!("{set}{capabilities}"));
    }
    agent.args(unit["ExecStart"][0].split(' '));
    let log = fs::File::create(root.scratch.path("agent.log")).expect("a log file");
    agent.stdout(log.try_clone().expect("a copy")).stderr(log);
    let mut process = pair.server.spawn(agent);
    eventually("the agent is ready", || {
        let log = root.scratch.read("agent.log");
        assert!(process.ended().is_none(), "{log}");
        log.contains("ready").then_some(())
    });
    let mut http = Http::connect(&pair.client, at);
    let preflight = policy::preflight("/v1/users");
    assert!(http.ask(&preflight).is_cors());
    assert_eq!(http.ask(&policy::get("/v1/users")).body, b"recorded");

    let commands = commands();
    assert!(commands.len() > 12, "{commands:?}");
    // The last thing of all, though not in the document.
    let (last, commands): (Vec<_>, Vec<_>) =
        commands.iter().partition(|command| command.starts_with("cors-edge detach"));
    for command in commands {
        if command.starts_with("cors-edge rollback") || command.starts_with("cors-edge reload") {
            root.run(&unit["ExecReload"][0]);
        }
        root.run(&command.replace("eth0", Pair::INTERFACE));
    }
    continue_without(process, &pair);
    assert!(!last.is_empty());
    for command in last {
        root.run(command);
    }
    assert_eq!(program::count(&pair.server, Pair::INTERFACE), 0, "detached");
    assert!(http.ask(&policy::get("/v1/users")).body == b"recorded");
    assert_eq!(server.take().len(), 2);
}

/// Stopped as systemd stops it, it leaves its programs.
fn continue_without(agent: cors_tests::process::Process, pair: &Pair) {
    assert!(agent.terminate().success());
    assert_eq!(program::count(&pair.server, Pair::INTERFACE), 3);
}
