//! Clients on the kernel's TCP: curl, and one that sends exact bytes.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    process::Command,
};

use crate::{PATIENCE, eventually, netns::Netns, policy, socket};

/// How one of curl's transfers ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The response's status; 0 where there was none.
    pub status: u16,
    /// How many connections curl opened for it.
    pub connections: u32,
    /// The response's head and body.
    pub text: String,
}

/// Separates the outputs of transfers; no response of a test contains it.
const MARK: &str = "\u{1}curl ";

/// Runs curl on a host, one list of arguments a transfer, all of them in one process: it uses a
/// connection again if it can. The host name of [`policy::HOST`] means `server`.
pub fn curl(host: &Netns, server: SocketAddr, transfers: &[&[&str]]) -> Vec<Transfer> {
    let mut command = curl_command(server, transfers);
    host.prepare(&mut command);
    let output = command.output().expect("run curl");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut rest = text.as_ref();
    let mut results = Vec::new();
    while let Some((response, after)) = rest.split_once(MARK) {
        let (numbers, after) = after.split_once('\n').expect("a line of curl's numbers");
        let (status, connections) = numbers.split_once(' ').expect("two numbers");
        results.push(Transfer {
            status: status.parse().expect("a status"),
            connections: connections.parse().expect("a number of connections"),
            text: response.to_owned(),
        });
        rest = after;
    }
    assert_eq!(
        results.len(),
        transfers.len(),
        "curl: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    results
}

/// Curl's exit code for one transfer; 7 is a refused connection, 0 success.
pub fn curl_exit(host: &Netns, server: SocketAddr, arguments: &[&str]) -> i32 {
    let mut command = curl_command(server, &[arguments]);
    host.prepare(&mut command);
    let output = command.output().expect("run curl");
    output.status.code().expect("curl ends by itself")
}

fn curl_command(server: SocketAddr, transfers: &[&[&str]]) -> Command {
    let mut command = Command::new("curl");
    let patience = PATIENCE.as_secs().to_string();
    let connect_to = format!("{}:80:{server}", policy::HOST);
    let write_out = format!("{MARK}%{{http_code}} %{{num_connects}}\n");
    for (index, arguments) in transfers.iter().enumerate() {
        if index > 0 {
            command.arg("--next");
        }
        command
            .args(["--silent", "--show-error", "--include", "--max-time", &patience])
            .args(["--connect-to", &connect_to, "--write-out", &write_out])
            .args(*arguments);
    }
    command
}

/// The arguments for a preflight that the policy allows.
pub fn preflight_arguments(url: &str) -> [&str; 11] {
    [
        // As long as a browser's: in generic mode a packet has little room to grow for its answer.
        "--user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
        "--request",
        "OPTIONS",
        "--header",
        "Origin: https://app.example.com",
        "--header",
        "Access-Control-Request-Method: PUT",
        "--header",
        "Access-Control-Request-Headers: authorization,content-type",
        url,
    ]
}

/// An HTTP client that sends what it is given, on the kernel's TCP.
#[derive(Debug)]
pub struct Http {
    stream: BufReader<TcpStream>,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether it lets a browser go on: the sign of tier 1, as the servers of the tests know
    /// nothing of CORS.
    pub fn is_cors(&self) -> bool {
        self.header("access-control-allow-origin").is_some()
    }
}

impl Http {
    /// Connects from a host.
    pub fn connect(host: &Netns, server: SocketAddr) -> Self {
        let stream = host
            .enter(|| TcpStream::connect_timeout(&server, PATIENCE))
            .unwrap_or_else(|error| panic!("connect to {server}: {error}"));
        Self::over(stream)
    }

    /// Connects from a port of the caller's choice, as soon as an earlier connection from there is
    /// over: until its FIN is acknowledged, the kernel says that the address cannot be assigned.
    pub fn connect_from(host: &Netns, local: SocketAddr, server: SocketAddr) -> Self {
        let connect = || socket::connect(libc::IPPROTO_TCP, Some(local), server);
        let stream = eventually("the port is free", || {
            let stream = host.enter(connect);
            let is_taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrNotAvailable;
            if stream.as_ref().is_err_and(is_taken) { None } else { Some(stream) }
        });
        Self::over(stream.unwrap_or_else(|error| panic!("connect to {server}: {error}")))
    }

    /// Connects with an MPTCP socket.
    pub fn connect_mptcp(host: &Netns, server: SocketAddr) -> Self {
        let stream = host.enter(|| socket::connect(libc::IPPROTO_MPTCP, None, server));
        Self::over(stream.unwrap_or_else(|error| panic!("connect to {server}: {error}")))
    }

    /// On a connection that exists.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("send at once");
        stream.set_read_timeout(Some(PATIENCE)).expect("set a time-out");
        stream.set_write_timeout(Some(PATIENCE)).expect("set a time-out");
        Self { stream: BufReader::new(stream) }
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Sends bytes; up to the MSS they are one segment.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("send");
    }

    /// Sends parts as segments of their own: each is acknowledged before the next leaves.
    pub fn send_apart(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.send(part);
            eventually("the server acknowledges a segment", || {
                (unacknowledged(self.stream()) == 0).then_some(())
            });
        }
    }

    /// Sends a request and returns the response.
    pub fn ask(&mut self, request: &[u8]) -> Response {
        self.send(request);
        self.response()
    }

    /// Reads a response.
    pub fn response(&mut self) -> Response {
        self.try_response().expect("read a response")
    }

    /// Reads a response, if the connection gives one.
    pub fn try_response(&mut self) -> io::Result<Response> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut response = Response {
            status: status.ok_or_else(|| io::Error::other("not a status line"))?,
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            response.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if response.status != 204
            && let Some(length) = response.header("content-length")
        {
            let length = length.parse().map_err(io::Error::other)?;
            response.body = vec![0; length];
            self.stream.read_exact(&mut response.body)?;
        }
        Ok(response)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches("\r\n").to_owned())
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        self.stream().shutdown(Shutdown::Write).expect("send FIN");
    }

    /// Whether the server has closed the connection in good order, with nothing more to read.
    pub fn is_closed_by_server(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([]))
    }
}

/// How many bytes the peer has not acknowledged yet.
pub(crate) fn unacknowledged(stream: &TcpStream) -> libc::c_int {
    let mut bytes = 0;
    // SAFETY: the ioctl writes one int, into an int that lives until it returns.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    assert_eq!(result, 0, "SIOCOUTQ");
    bytes
}
