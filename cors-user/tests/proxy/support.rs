//! A proxy with an upstream that records, and a client that speaks bytes.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use cors_user::{
    config::{self, Config},
    proxy::{Counted, Proxy},
};
use tokio::runtime::Runtime;

/// Longer than anything here takes: only so that nothing hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The policy of the tests, and nothing in `[server]` but where to forward.
pub(crate) const POLICY: &str = r#"
[[policy]]
name = "api"
match = { hosts = ["api.example.com"], path_prefix = "/v1/" }
allow_origins = ["https://app.example.com", "https://*.example.org"]
allow_methods = ["PUT", "PATCH", "DELETE"]
allow_headers = ["authorization", "content-type", "x_odd"]
expose_headers = ["x-request-id"]
allow_credentials = true
max_age = 600

[[policy]]
name = "public"
match = { hosts = ["api.example.com"], path_prefix = "/public" }
allow_origins = ["*"]
"#;

/// A running proxy.
pub(crate) struct Edge {
    // Before the runtime that it runs in.
    pub(crate) proxy: Option<Proxy>,
    _runtime: Runtime,
    pub(crate) at: SocketAddr,
}

/// A checked file that listens where there is room.
pub(crate) fn config(server: &str, policies: &str) -> Config {
    let text = format!("[server]\nlisten = [\"127.0.0.1:1\"]\n{server}\n{policies}");
    let config = config::parse(&text).config;
    let mut config = config.unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"));
    config.server.listen = vec!["127.0.0.1:0".parse().unwrap()];
    if let Some(tls) = config.server.proxy.as_mut().and_then(|proxy| proxy.tls.as_mut()) {
        tls.listen = vec!["127.0.0.1:0".parse().unwrap()];
    }
    config
}

impl Edge {
    /// In front of this upstream, with the usual policy.
    pub(crate) fn before(upstream: SocketAddr) -> Self {
        Self::with(upstream, "")
    }

    /// With more lines in `[server]`.
    pub(crate) fn with(upstream: SocketAddr, server: &str) -> Self {
        Self::start(&config(&format!("upstream = \"http://{upstream}\"\n{server}"), POLICY))
    }

    /// With other policies.
    pub(crate) fn policies(upstream: SocketAddr, policies: &str) -> Self {
        Self::start(&config(&format!("upstream = \"http://{upstream}\""), policies))
    }

    pub(crate) fn start(config: &Config) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        let proxy = runtime.block_on(async { Proxy::start(config) }).unwrap();
        let at = proxy.addresses()[0];
        Self { _runtime: runtime, proxy: Some(proxy), at }
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().unwrap()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.at)
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, request: &[u8]) -> Answer {
        let mut client = self.connect();
        client.send(request);
        client.answer()
    }

    pub(crate) fn counted(&self) -> Counted {
        self.proxy().counted()
    }

    /// How often something was counted.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counted().get(name).copied().unwrap_or(0)
    }
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A request to the policy's host.
pub(crate) fn request(line: &str, headers: &[&str]) -> Vec<u8> {
    let mut text = format!("{line} HTTP/1.1\r\nHost: api.example.com\r\n");
    for header in headers {
        text.extend([*header, "\r\n"]);
    }
    (text + "\r\n").into_bytes()
}

/// An answer, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Every value of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// The value of a header that is there once at most.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there twice: {}", self.head);
        all.first().copied()
    }

    /// Whether anything in it is about CORS, but for `Vary`.
    pub(crate) fn says_cors(&self) -> bool {
        self.head.to_ascii_lowercase().contains("\r\naccess-control-")
    }
}

/// A connection of a client.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(at: SocketAddr) -> Self {
        let stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// A client that goes away early may not be able to send everything.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Bytes until something is so, or the end of the connection.
    pub(crate) fn until(&mut self, enough: impl Fn(&[u8]) -> Option<usize>) -> Vec<u8> {
        let mut piece = [0; 16_384];
        loop {
            if let Some(len) = enough(&self.buffer) {
                return self.buffer.drain(..len).collect();
            }
            match self.stream.read(&mut piece) {
                Ok(0) => return std::mem::take(&mut self.buffer),
                Ok(len) => self.buffer.extend_from_slice(&piece[..len]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    panic!("the connection was reset; until then {:?}", self.text());
                }
                Err(error) => panic!("{error}; until then {:?}", self.text()),
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// Only the head of an answer.
    pub(crate) fn head(&mut self) -> String {
        let end = |bytes: &[u8]| Some(bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4);
        String::from_utf8(self.until(end)).unwrap()
    }

    /// A whole answer.
    pub(crate) fn answer(&mut self) -> Answer {
        let head = self.head();
        let answer = Answer { head, body: Vec::new() };
        let chunked = answer.get("transfer-encoding") == Some("chunked");
        let length = answer.get("content-length").and_then(|text| text.parse::<usize>().ok());
        let body = match (chunked, length, answer.status()) {
            (_, _, 100..=199 | 204 | 304 | 0) => Vec::new(),
            (true, ..) => self
                .until(|bytes| bytes.windows(5).position(|w| w == b"0\r\n\r\n").map(|at| at + 5)),
            (_, Some(length), _) => self.until(|bytes| (bytes.len() >= length).then_some(length)),
            _ => self.until(|_| None),
        };
        Answer { body, ..answer }
    }

    /// Everything until the connection ends.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.until(|_| None)
    }

    pub(crate) fn no_more(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

/// What came on one connection.
type Record = Arc<Mutex<Vec<u8>>>;

/// What an upstream does with a connection, and everything that came on all of them.
pub(crate) struct Upstream {
    pub(crate) at: SocketAddr,
    connections: Arc<Mutex<Vec<Record>>>,
}

impl Upstream {
    /// Answers every request with these bytes.
    pub(crate) fn saying(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::doing(move |mut connection| {
            while connection.request() {
                connection.say(answer.as_bytes());
            }
        })
    }

    /// A usual answer.
    pub(crate) fn usual() -> Self {
        Self::saying("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Request-Id: 7\r\n\r\nhello")
    }

    /// Does something with every connection.
    pub(crate) fn doing(does: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let connections: Arc<Mutex<Vec<_>>> = Arc::default();
        let (all, does) = (Arc::clone(&connections), Arc::new(does));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let record = Arc::new(Mutex::new(Vec::new()));
                all.lock().unwrap().push(Arc::clone(&record));
                let does = Arc::clone(&does);
                thread::spawn(move || does(Connection { stream, record, start: 0, read: 0 }));
            }
        });
        Self { at, connections }
    }

    /// Everything that was received, connection by connection.
    pub(crate) fn received(&self) -> Vec<String> {
        let connections = self.connections.lock().unwrap();
        let text = |record: &Record| String::from_utf8_lossy(&record.lock().unwrap()).into_owned();
        connections.iter().map(text).collect()
    }

    /// The only connection's bytes.
    pub(crate) fn only(&self) -> String {
        let received = self.received();
        assert_eq!(received.len(), 1, "{received:#?}");
        received.into_iter().next().unwrap()
    }
}

/// A connection to an upstream.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    record: Record,
    /// Where the last request starts.
    start: usize,
    /// Bytes of the requests before.
    read: usize,
}

impl Connection {
    /// Reads some more; false at the end.
    pub(crate) fn more(&mut self) -> bool {
        let mut piece = [0; 16_384];
        match self.stream.read(&mut piece) {
            Ok(0) | Err(_) => false,
            Ok(len) => {
                self.record.lock().unwrap().extend_from_slice(&piece[..len]);
                true
            }
        }
    }

    /// The bytes that have not been read as a request yet.
    pub(crate) fn unread(&self) -> Vec<u8> {
        self.record.lock().unwrap()[self.read..].to_vec()
    }

    /// The first line of the request that was read last.
    pub(crate) fn last_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.record.lock().unwrap()[self.start..]).into_owned();
        text.lines().next().unwrap_or_default().to_owned()
    }

    /// Reads a head; false at the end.
    pub(crate) fn head(&mut self) -> bool {
        loop {
            if let Some(at) = self.unread().windows(4).position(|w| w == b"\r\n\r\n") {
                self.read += at + 4;
                return true;
            }
            if !self.more() {
                return false;
            }
        }
    }

    /// Reads a whole request; false at the end.
    pub(crate) fn request(&mut self) -> bool {
        let start = self.read;
        self.start = start;
        if !self.head() {
            return false;
        }
        let head = self.record.lock().unwrap()[start..self.read].to_ascii_lowercase();
        let head = String::from_utf8_lossy(&head).into_owned();
        let length = head
            .split("\r\ncontent-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
        loop {
            let unread = self.unread();
            let end = if head.contains("\r\ntransfer-encoding: chunked\r\n") {
                let last = |mark: &[u8]| unread.windows(mark.len()).position(|w| w == mark);
                // Without trailers or with them.
                match last(b"\r\n0\r\n").or_else(|| unread.starts_with(b"0\r\n").then_some(0)) {
                    Some(at) => unread[at..]
                        .windows(4)
                        .position(|w| w == b"\r\n\r\n")
                        .map(|end| at + end + 4),
                    None => None,
                }
            } else {
                (unread.len() >= length.unwrap_or(0)).then_some(length.unwrap_or(0))
            };
            if let Some(end) = end {
                self.read += end;
                return true;
            }
            if !self.more() {
                return false;
            }
        }
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }
}
