//! Servers: real ones as they come from the distribution, and one that records.

use std::{
    fs::File,
    net::{IpAddr, SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use crate::{eventually, netns::Netns, process::Process, scratch::Scratch};

mod front;
pub mod recording;

pub use recording::Recording;

/// A server of the distribution's, in a host of the test's.
#[derive(Debug)]
pub struct Server {
    process: Process,
    files: Scratch,
    log: &'static str,
}

/// Starts a server on one address.
pub type Start = fn(&Netns, SocketAddr) -> Server;

impl Server {
    /// Those that a connection may be handed over to, each as it comes.
    pub const EACH: [Start; 4] = [
        |host, at| Self::nginx(host, &[at]),
        |host, at| Self::apache(host, &[at]),
        Self::python,
        Self::node,
    ];

    /// nginx, which answers `OPTIONS` with 405, and serves and stores files below `/v1/`.
    pub fn nginx(host: &Netns, listen: &[SocketAddr]) -> Self {
        Self::nginx_with(host, listen, "", 1)
    }

    /// nginx with parameters for its `listen` lines, such as `reuseport`.
    pub fn nginx_with(host: &Netns, listen: &[SocketAddr], parameters: &str, workers: u8) -> Self {
        let files = Self::files("nginx");
        let listen = lines(listen, |address| format!("listen {address} {parameters};"));
        let dir = files.dir().display();
        let http = format!(
            "log_format requests '$connection $request $status';
    access_log {dir}/access.log requests;
    server {{
        {listen}
        root {dir}/www;
    }}"
        );
        Self::nginx_serving(host, files, workers, &http, "access.log")
    }

    /// An nginx, and what is special in its `http` block.
    fn nginx_serving(
        host: &Netns,
        files: Scratch,
        workers: u8,
        http: &str,
        log: &'static str,
    ) -> Self {
        let dir = files.dir().display();
        let config = format!(
            "daemon off;
user root;
worker_processes {workers};
pid {dir}/pid;
error_log {dir}/error.log notice;
events {{ worker_connections 4096; }}
http {{
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    client_max_body_size 0;
    keepalive_requests 100000;
    {http}
}}
"
        );
        let config = files.write("nginx.conf", config);
        let mut command = Command::new("nginx");
        command.arg("-e").arg(files.path("error.log")).arg("-c").arg(config);
        Self::start(host, command, files, log)
    }

    /// Apache.
    pub fn apache(host: &Netns, listen: &[SocketAddr]) -> Self {
        let files = Self::files("apache");
        let listen = lines(listen, |address| format!("Listen {address}"));
        let dir = files.dir().display();
        let config = format!(
            "ServerRoot {dir}
ServerName localhost
PidFile {dir}/pid
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
{listen}
ErrorLog {dir}/error.log
LogFormat \"0 %r %>s\" requests
CustomLog {dir}/access.log requests
KeepAlive On
MaxKeepAliveRequests 0
DocumentRoot {dir}/www
<Directory {dir}/www>
    Require all granted
</Directory>
"
        );
        let config = files.write("apache.conf", config);
        let mut command = Command::new("apache2");
        command.args(["-D", "FOREGROUND", "-f"]).arg(config);
        Self::start(host, command, files, "access.log")
    }

    /// Python's `http.server` with `PUT`, one listening socket a process.
    pub fn python(host: &Netns, listen: SocketAddr) -> Self {
        let files = Self::files("python");
        let script = files.write("server.py", include_str!("server.py"));
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg(files.path("www"));
        command.args([listen.ip().to_string(), listen.port().to_string()]);
        Self::start(host, command, files, "output.log")
    }

    /// Node's `http` module.
    pub fn node(host: &Netns, listen: SocketAddr) -> Self {
        let files = Self::files("node");
        let script = files.write("server.js", include_str!("server.js"));
        let mut command = Command::new("node");
        command.arg(script).arg(files.path("www"));
        command.args([listen.ip().to_string(), listen.port().to_string()]);
        Self::start(host, command, files, "output.log")
    }

    /// Express, with nothing but its middleware for files.
    pub fn express(host: &Netns, listen: SocketAddr) -> Self {
        let files = Self::files("express");
        let script = files.write("server.js", include_str!("express.js"));
        let mut command = Command::new("node");
        // Where Debian puts modules; a node from elsewhere does not look there by itself.
        command.env("NODE_PATH", "/usr/share/nodejs").arg(script).arg(files.path("www"));
        command.args([listen.ip().to_string(), listen.port().to_string()]);
        Self::start(host, command, files, "output.log")
    }

    /// PHP's built-in server.
    pub fn php(host: &Netns, listen: SocketAddr) -> Self {
        let files = Self::files("php");
        let mut command = Command::new("php");
        command.arg("-S").arg(listen.to_string()).arg("-t").arg(files.path("www"));
        Self::start(host, command, files, "output.log")
    }

    /// Caddy.
    pub fn caddy(host: &Netns, listen: SocketAddr) -> Self {
        let files = Self::files("caddy");
        let site = format!("root * {}\n    file_server", files.path("www").display());
        Self::caddy_with(host, Command::new("caddy"), files, listen, &site)
    }

    /// A Caddy with one site, and what it has to do there.
    fn caddy_with(
        host: &Netns,
        mut command: Command,
        files: Scratch,
        listen: SocketAddr,
        site: &str,
    ) -> Self {
        let (address, port) = (listen.ip(), listen.port());
        let config = format!(
            "{{
    admin off
    auto_https off
}}
http://:{port} {{
    bind {address}
    {site}
}}
"
        );
        let config = files.write("Caddyfile", config);
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config);
        command.env("XDG_DATA_HOME", files.path("data")).env("XDG_CONFIG_HOME", files.path("data"));
        Self::start(host, command, files, "output.log")
    }

    /// A document root with one file, `/v1/hello`.
    fn files(name: &str) -> Scratch {
        let files = Scratch::new(name);
        std::fs::create_dir_all(files.path("www/v1")).expect("make a document root");
        files.write("www/v1/hello", "hello\n");
        files
    }

    fn start(host: &Netns, mut command: Command, files: Scratch, log: &'static str) -> Self {
        let output = File::create(files.path("output.log")).expect("make a log file");
        command.stdout(output.try_clone().expect("share a file")).stderr(output);
        Self { process: host.spawn(command), files, log }
    }

    /// Waits until it accepts connections at an address. Connects from its own host, past every
    /// interface but `lo`.
    #[must_use]
    pub fn ready(mut self, host: &Netns, address: SocketAddr) -> Self {
        eventually("the server listens", || {
            if let Some(status) = self.process.ended() {
                let log = self.files.read("output.log") + &self.files.read("error.log");
                panic!("the server ended: {status}\n{log}");
            }
            connects(host, address).then_some(())
        });
        self
    }

    /// Puts a file below `/v1/`.
    pub fn put_file(&self, name: &str, content: &[u8]) {
        self.files.write(&format!("www/v1/{name}"), content);
    }

    /// Reads a file below `/v1/`, as a client may have stored it.
    pub fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.files.path(&format!("www/v1/{name}"))).unwrap_or_default()
    }

    /// How many requests with this method it has logged.
    pub fn logged(&self, method: &str) -> usize {
        let with_method = |line: &&str| line.split(' ').nth(1) == Some(method);
        self.files.read(self.log).lines().filter(with_method).count()
    }

    /// Waits until it has logged so many requests with this method, and not one more. Servers log
    /// a request after they answered it.
    pub fn expect_logged(&self, method: &str, expected: usize) {
        eventually("the server logs its requests", || {
            (self.logged(method) >= expected).then_some(())
        });
        assert_eq!(self.logged(method), expected, "{method} requests seen by the server");
    }

    /// Ends it, as an administrator does.
    pub fn stop(self) {
        self.process.terminate();
    }
}

/// One line of a configuration for each address.
fn lines(listen: &[SocketAddr], line: impl FnMut(&SocketAddr) -> String) -> String {
    listen.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Whether somebody accepts connections there.
pub fn connects(host: &Netns, address: SocketAddr) -> bool {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(ip, address.port());
    host.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())
}
