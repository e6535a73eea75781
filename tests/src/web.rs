//! A web server that answers as a test says, one request on each connection.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use crate::{PATIENCE, netns::Netns};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path and the query.
    pub path: String,
    /// All of the head.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields
            .into_iter()
            .find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value))
    }

    /// Whether it is a preflight.
    pub fn is_preflight(&self) -> bool {
        self.method == "OPTIONS" && self.header("access-control-request-method").is_some()
    }
}

/// Answers requests on a host with what `answer` gives: a whole response. It serves for as long as
/// the process lives.
pub fn serve<A: AsRef<[u8]>>(
    host: &Netns,
    at: SocketAddr,
    answer: impl Fn(&Request) -> A + Send + Sync + 'static,
) {
    let listener = host.enter(|| TcpListener::bind(at));
    let listener = listener.unwrap_or_else(|error| panic!("listen on {at}: {error}"));
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            let answer = Arc::clone(&answer);
            // A connection that a browser opened in advance may never be used.
            thread::spawn(move || drop(respond(stream, &*answer)));
        }
    });
}

/// A whole response that says so and closes the connection.
pub fn response(status: u16, headers: &[(&str, &str)], content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut text = format!("HTTP/1.1 {status} Whatever\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text += "Connection: close\r\n";
    if status != 204 {
        text.extend(["Content-Length: ", &content.len().to_string(), "\r\n"]);
    }
    [(text + "\r\n").as_bytes(), content].concat()
}

fn respond<A: AsRef<[u8]>>(stream: TcpStream, answer: &dyn Fn(&Request) -> A) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let mut line = head.split(' ').map(str::to_owned);
    let (method, path) = (line.next().unwrap_or_default(), line.next().unwrap_or_default());
    let mut request = Request { method, path, head, body: Vec::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    request.body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut request.body)?;
    reader.into_inner().write_all(answer(&request).as_ref())
}
