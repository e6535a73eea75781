//! Front ends of the distribution's: reverse proxies that keep a pool of connections to the server
//! behind, as they stand in front of real ones.

use std::{env, net::SocketAddr, process::Command};

use super::Server;
use crate::{netns::Netns, scratch::Scratch};

/// A program whose place `cargo xtask test` says in an environment variable.
fn installed(variable: &str) -> Command {
    let path = env::var_os(variable);
    Command::new(path.unwrap_or_else(|| panic!("{variable} is not set: run cargo xtask test")))
}

impl Server {
    /// HAProxy.
    pub fn haproxy_before(host: &Netns, listen: SocketAddr, backend: SocketAddr) -> Self {
        let files = Scratch::new("haproxy");
        let config = files.write(
            "haproxy.cfg",
            format!(
                "global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    http-reuse always
    option forwardfor
frontend f
    bind {listen}
    default_backend b
backend b
    server s {backend} pool-max-conn 64
"
            ),
        );
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f"]).arg(config);
        Self::start(host, command, files, "output.log")
    }

    /// nginx.
    pub fn nginx_before(host: &Netns, listen: SocketAddr, backend: SocketAddr) -> Self {
        let http = format!(
            "access_log off;
    upstream b {{ server {backend}; keepalive 64; }}
    server {{
        listen {listen};
        location / {{
            proxy_pass http://b;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
        }}
    }}"
        );
        Self::nginx_serving(host, Scratch::new("nginx-front"), 1, &http, "error.log")
    }

    /// Apache, with a thread for each client: with fewer it closes connections that are kept alive.
    pub fn apache_before(host: &Netns, listen: SocketAddr, backend: SocketAddr) -> Self {
        let files = Scratch::new("apache-front");
        let dir = files.dir().display();
        let config = format!(
            "ServerRoot {dir}
ServerName localhost
PidFile {dir}/pid
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
ServerLimit 1
StartServers 1
ThreadsPerChild 64
MaxRequestWorkers 64
AsyncRequestWorkerFactor 8
Listen {listen}
ErrorLog {dir}/error.log
KeepAlive On
MaxKeepAliveRequests 0
ProxyPreserveHost On
ProxyPass / http://{backend}/
"
        );
        let config = files.write("apache.conf", config);
        let mut command = Command::new("apache2");
        command.args(["-D", "FOREGROUND", "-f"]).arg(config);
        Self::start(host, command, files, "error.log")
    }

    /// Envoy, as `cargo xtask test` has installed it.
    pub fn envoy_before(host: &Netns, listen: SocketAddr, backend: SocketAddr) -> Self {
        let files = Scratch::new("envoy-front");
        let manager = "envoy.extensions.filters.network.http_connection_manager.v3";
        let address = |at: SocketAddr| {
            let (ip, port) = (at.ip(), at.port());
            format!("address: {{ socket_address: {{ address: \"{ip}\", port_value: {port} }} }}")
        };
        let config = format!(
            "static_resources:
  listeners:
  - name: front
    {listen}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/{manager}.HttpConnectionManager
          stat_prefix: front
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
              - match: {{ prefix: \"/\" }}
                route: {{ cluster: behind }}
  clusters:
  - name: behind
    type: STATIC
    load_assignment:
      cluster_name: behind
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ {backend} }} }}] }}]
",
            listen = address(listen),
            backend = address(backend),
        );
        let config = files.write("envoy.yaml", config);
        let mut command = installed("CORS_EDGE_ENVOY");
        command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"]);
        command.arg(config);
        Self::start(host, command, files, "output.log")
    }

    /// A server that was built with a current Go, whose listener is an MPTCP socket: it answers every
    /// request with its path.
    pub fn go(host: &Netns, listen: SocketAddr) -> Self {
        let site = "respond \"{http.request.uri.path}\"";
        Self::caddy_with(host, installed("CORS_EDGE_CADDY"), Scratch::new("go"), listen, site)
    }

    /// Caddy.
    pub fn caddy_before(host: &Netns, listen: SocketAddr, backend: SocketAddr) -> Self {
        let site = format!("reverse_proxy {backend}");
        let files = Scratch::new("caddy-front");
        Self::caddy_with(host, Command::new("caddy"), files, listen, &site)
    }
}
