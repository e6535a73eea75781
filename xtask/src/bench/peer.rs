//! The servers that are compared, each in the configuration that is best for it: one worker on one
//! core, no logs, connections without an end, the answer from a table.

use std::{
    fs::File,
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};
use clap::ValueEnum;
use cors_tests::{
    agent::{Agent, Setup},
    eventually,
    process::Process,
    scratch::Scratch,
    server::connects,
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use super::{
    Plan,
    policy::Size,
    rig::{Rig, SERVER_CORE, Side},
};
use crate::{setup::pypi, shell::find_program};

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// This one, in the driver; nginx listens behind it
    CorsEdge,
    /// This one behind the driver (generic XDP); nginx listens behind it
    CorsEdgeGeneric,
    /// nginx: `map` and `return 204`
    Nginx,
    /// HAProxy: `http-request return` from a map file
    Haproxy,
    /// Envoy: the cors filter
    Envoy,
    /// Caddy: header matchers and `respond`
    Caddy,
    /// hyper without a framework, one thread
    Hyper,
}

impl Peer {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::CorsEdge => "cors-edge",
            Self::CorsEdgeGeneric => "cors-edge, generic XDP",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Envoy => "Envoy",
            Self::Caddy => "Caddy",
            Self::Hyper => "hyper",
        }
    }

    /// Whether it is the product.
    pub(super) const fn is_ours(self) -> bool {
        matches!(self, Self::CorsEdge | Self::CorsEdgeGeneric)
    }

    /// The program, where it is installed.
    fn program(self) -> Option<PathBuf> {
        match self {
            Self::CorsEdge | Self::CorsEdgeGeneric | Self::Nginx => find_program("nginx"),
            Self::Haproxy => find_program("haproxy"),
            Self::Envoy => pypi::program("envoy"),
            Self::Caddy => pypi::program("caddy"),
            Self::Hyper => std::env::current_exe().ok(),
        }
    }

    /// Whether it can be measured here; if not, why.
    pub(super) fn missing(self) -> Option<String> {
        let missing = self.program().is_none();
        missing
            .then(|| format!("{} is not installed (`cargo xtask setup --for bench`)", self.name()))
    }

    /// Starts it on a rig of its own, with a policy of this size.
    pub(super) fn start(self, plan: &Plan, size: Size) -> Result<Site> {
        let rig = Rig::new(plan, if self == Self::CorsEdge { Side::Native } else { Side::Plain })?;
        let Some(program) = self.program() else { bail!("{} is not installed", self.name()) };
        let files = Scratch::new("peer");
        let mut command = match self {
            Self::CorsEdge | Self::CorsEdgeGeneric | Self::Nginx => nginx(&files, size),
            Self::Haproxy => haproxy(&files, size),
            Self::Envoy => envoy(&files),
            Self::Caddy => caddy(&files),
            Self::Hyper => {
                let mut command = Command::new(&program);
                command.arg("serve-hyper");
                command
            }
        };
        if !matches!(self, Self::Hyper) {
            command = with_program(&command, &program);
        }
        let output = File::create(files.path("output"))?;
        command.stdout(output.try_clone()?).stderr(output);
        // SAFETY: between fork and exec this makes one system call and allocates nothing.
        unsafe { command.pre_exec(pin_to_server_core) };
        let mut process = rig.server.spawn(command);
        for at in listens() {
            eventually("the server listens", || {
                if let Some(status) = process.ended() {
                    panic!("{} ended: {status}\n{}", self.name(), files.read("output"));
                }
                connects(&rig.server, at).then_some(())
            });
        }
        let agent = self.is_ours().then(|| {
            Setup::new(&rig.server, size.file_for(&listens()))
                .program(plan.agent.clone())
                .interface(&rig.interface)
                .xdp(if self == Self::CorsEdge { "native" } else { "generic" })
                .start()
        });
        Ok(Site { peer: self, rig, agent, _process: process, _files: files })
    }
}

/// A server that runs.
pub(super) struct Site {
    pub(super) peer: Peer,
    pub(super) agent: Option<Agent>,
    _process: Process,
    _files: Scratch,
    // Last: the others are in its hosts.
    pub(super) rig: Rig,
}

/// The server's sockets in both families.
fn listens() -> [SocketAddr; 2] {
    [cors_tests::Family::V4, cors_tests::Family::V6].map(Rig::at)
}

fn pin_to_server_core() -> std::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(SERVER_CORE)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// The same command of this program.
fn with_program(command: &Command, program: &Path) -> Command {
    let mut with = Command::new(program);
    with.args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            with.env(name, value);
        }
    }
    with
}

/// The origins of a policy file as each peer's table lists them, at most so many as fit a map.
fn origins(size: Size) -> impl Iterator<Item = String> {
    (0..size.policies)
        .flat_map(move |policy| (0..size.origins).map(move |n| super::policy::origin(policy, n)))
}

fn nginx(files: &Scratch, size: Size) -> Command {
    let dir = files.dir().display();
    let [v4, v6] = listens();
    let line = |origin| format!("        \"OPTIONS:{origin}\" 1;\n");
    let table = origins(size).map(line).collect::<Vec<_>>().concat();
    let config = format!(
        "daemon off;
user root;
worker_processes 1;
pid {dir}/pid;
error_log {dir}/error.log;
worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    map_hash_max_size 1048576;
    map_hash_bucket_size 128;
    map \"$request_method:$http_origin\" $allowed {{
        default 0;
{table}    }}
    server {{
        listen {v4} reuseport backlog=16384;
        listen {v6} reuseport backlog=16384;
        location /v1/hello {{
            default_type text/plain;
            return 200 \"hello\\n\";
        }}
        location / {{
            if ($allowed = 0) {{ return 403; }}
            add_header Access-Control-Allow-Origin $http_origin;
            add_header Access-Control-Allow-Credentials true;
            add_header Access-Control-Allow-Methods \"PUT, PATCH, DELETE\";
            add_header Access-Control-Allow-Headers \"authorization, content-type\";
            add_header Access-Control-Max-Age 600;
            add_header Vary Origin;
            return 204;
        }}
    }}
}}
"
    );
    let config = files.write("nginx.conf", config);
    let mut command = Command::new("nginx");
    command.arg("-e").arg(files.path("error.log")).arg("-c").arg(config);
    command
}

fn haproxy(files: &Scratch, size: Size) -> Command {
    let [v4, v6] = listens();
    let line = |origin| format!("{origin} 1\n");
    let table = origins(size).map(line).collect::<Vec<_>>().concat();
    let table = files.write("origins.map", table);
    let config = format!(
        "global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout client 600s
    timeout server 600s
    timeout connect 5s
    timeout http-keep-alive 600s
frontend cors
    bind {v4} backlog 16384
    bind {v6} backlog 16384
    acl allowed req.hdr(origin),map_str({table}) -m found
    http-request return status 200 content-type text/plain string hello if METH_GET
    http-request deny unless METH_OPTIONS allowed
    http-request return status 204 hdr Access-Control-Allow-Origin %[req.hdr(origin)] \
hdr Access-Control-Allow-Credentials true \
hdr Access-Control-Allow-Methods \"PUT, PATCH, DELETE\" \
hdr Access-Control-Allow-Headers \"authorization, content-type\" \
hdr Access-Control-Max-Age 600 hdr Vary Origin
",
        table = table.display()
    );
    let config = files.write("haproxy.cfg", config);
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(config);
    command
}

fn envoy(files: &Scratch) -> Command {
    let listeners = listens()
        .iter()
        .enumerate()
        .map(|(n, at)| {
            format!(
                "  - name: l{n}
    address: {{ socket_address: {{ address: \"{ip}\", port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          generate_request_id: false
          http_filters:
          - name: envoy.filters.http.cors
            typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors }}
          - name: envoy.filters.http.router
            typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true }}
          route_config:
            virtual_hosts:
            - name: v
              domains: [\"*\"]
              typed_per_filter_config:
                envoy.filters.http.cors:
                  \"@type\": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy
                  allow_origin_string_match: [{{ safe_regex: {{ regex: \"https://app-[0-9]+\\\\.tenant-[0-9]+\\\\.customers\\\\.example\\\\.org\" }} }}]
                  allow_methods: \"PUT, PATCH, DELETE\"
                  allow_headers: \"authorization, content-type\"
                  allow_credentials: true
                  max_age: \"600\"
              routes:
              - match: {{ prefix: \"/\" }}
                route: {{ cluster: nowhere }}
",
                ip = at.ip(),
                port = at.port(),
            )
        })
        .collect::<Vec<_>>()
        .concat();
    let config = format!(
        "static_resources:
  listeners:
{listeners}
  clusters:
  - name: nowhere
    type: STATIC
    load_assignment:
      cluster_name: nowhere
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 9 }} }} }} }}] }}]
"
    );
    let config = files.write("envoy.yaml", config);
    let mut command = Command::new("envoy");
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"]);
    command.arg(config);
    command
}

fn caddy(files: &Scratch) -> Command {
    let config = "{
    admin off
    auto_https off
    persist_config off
}
http:// {
    @allowed {
        method OPTIONS
        header_regexp o Origin ^https://app-[0-9]+\\.tenant-[0-9]+\\.customers\\.example\\.org$
    }
    header @allowed Access-Control-Allow-Origin {http.request.header.Origin}
    header @allowed Access-Control-Allow-Credentials true
    header @allowed Access-Control-Allow-Methods \"PUT, PATCH, DELETE\"
    header @allowed Access-Control-Allow-Headers \"authorization, content-type\"
    header @allowed Access-Control-Max-Age 600
    header @allowed Vary Origin
    respond @allowed 204
    respond 403
}
";
    let config = files.write("Caddyfile", config);
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config);
    command.env("GOMAXPROCS", "1").env("HOME", files.dir()).env("XDG_DATA_HOME", files.dir());
    command
}
