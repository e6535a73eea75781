//! The agent's binary without any privilege: `--xdp off` in proxy mode.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};

use crate::support::{Client, POLICY, Upstream, eventually, request};

/// Ended with the test, however that ends.
pub(crate) struct Agent(pub(crate) Child);

impl Agent {
    /// One that forwards to an upstream, with more lines in `[server]`, and where it listens.
    pub(crate) fn before(name: &str, upstream: &Upstream, server: &str) -> (Self, SocketAddr) {
        let at: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let file = format!("cors-edge-{name}-{}.toml", std::process::id());
        let file = std::env::temp_dir().join(file);
        let upstream = upstream.at;
        let text = format!("[server]\nlisten = [\"{at}\"]\nupstream = \"http://{upstream}\"\n");
        fs::write(&file, text + server + "\n" + POLICY).unwrap();
        let agent = start(&file.to_string_lossy(), &[]);
        eventually("it listens", || TcpStream::connect(at).is_ok());
        let _ = fs::remove_file(file);
        (agent, at)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// With these variables in its environment.
pub(crate) fn start(file: &str, environment: &[(&str, &str)]) -> Agent {
    let binary = env!("CARGO_BIN_EXE_cors-edge");
    let mut command = if Uid::effective().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", binary]);
        command
    } else {
        Command::new(binary)
    };
    command.envs(environment.iter().copied());
    command.args(["run", "--xdp", "off", "--config", file]);
    Agent(command.spawn().unwrap())
}

#[test]
fn the_proxy_alone_needs_no_privilege() {
    let upstream = Upstream::usual();
    let at: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = std::env::temp_dir().join(format!("cors-edge-alone-{}.toml", std::process::id()));
    let text = |policy: &str| {
        format!("[server]\nlisten = [\"{at}\"]\nupstream = \"http://{}\"\n{policy}", upstream.at)
    };
    fs::write(&file, text(POLICY)).unwrap();
    let mut agent = start(&file.to_string_lossy(), &[]);
    eventually("it listens", || TcpStream::connect(at).is_ok());
    let preflight = request(
        "OPTIONS /v1/x",
        &["Origin: https://app.example.com", "Access-Control-Request-Method: PUT"],
    );
    let ask = |request: &[u8]| {
        let mut client = Client::connect(at);
        client.send(request);
        client.answer()
    };
    assert_eq!(ask(&preflight).status(), 204);
    assert_eq!(ask(&request("GET /v1/x", &[])).status(), 200);

    let pid = Pid::from_raw(i32::try_from(agent.0.id()).unwrap());
    fs::write(&file, text(&POLICY.replace("\"PUT\", ", ""))).unwrap();
    kill(pid, Signal::SIGHUP).unwrap();
    eventually("the new policy is in use", || ask(&preflight).status() == 403);
    // One with an error changes nothing.
    fs::write(&file, "nonsense").unwrap();
    kill(pid, Signal::SIGHUP).unwrap();
    assert_eq!(ask(&preflight).status(), 403);
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(agent.0.wait().unwrap().success());
    let _ = fs::remove_file(file);
}
