//! Both ends of a connection in one hand: a test says what either sends and what the other must
//! get, byte by byte and in one order.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
};

use crate::{PATIENCE, client::unacknowledged, eventually, netns::Netns};

/// A client and a server that have nothing to do but what the test says.
#[derive(Debug)]
pub struct Ends {
    client: TcpStream,
    server: TcpStream,
}

/// Listens where [`Ends::begin`] accepts.
pub fn listen(host: &Netns, at: SocketAddr) -> TcpListener {
    host.enter(|| TcpListener::bind(at)).unwrap_or_else(|error| panic!("listen on {at}: {error}"))
}

impl Ends {
    /// A connection from a host on which this request was the first that reached the server.
    pub fn begin(host: &Netns, listener: &TcpListener, request: &[u8]) -> Self {
        let at = listener.local_addr().expect("an address");
        let client = host.enter(|| TcpStream::connect_timeout(&at, PATIENCE)).expect("connect");
        let mut first = &client;
        first.write_all(request).expect("send the first request");
        let (server, _) = listener.accept().expect("a connection");
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("send at once");
            stream.set_read_timeout(Some(PATIENCE)).expect("set a time-out");
        }
        let mut ends = Self { client, server };
        ends.server_gets(request);
        ends
    }

    /// The client sends, the server gets just that, and acknowledges it.
    pub fn up(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).expect("send");
        self.server_gets(bytes);
        eventually("the server acknowledges", || (unacknowledged(&self.client) == 0).then_some(()));
    }

    /// The server sends, and the client gets just that.
    pub fn down(&mut self, bytes: &[u8]) {
        self.server.write_all(bytes).expect("send");
        self.client_gets(bytes);
    }

    /// The client sends a preflight and gets its answer, of which the server knows nothing.
    pub fn answered(&mut self, preflight: &[u8]) {
        self.client.write_all(preflight).expect("send");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.client.read_exact(&mut byte).expect("read an answer");
            answer.extend(byte);
        }
        let answer = String::from_utf8(answer).expect("text").to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 204 "), "{answer}");
        assert!(answer.contains("access-control-allow-origin"), "{answer}");
        self.server.set_nonblocking(true).expect("do not wait");
        let nothing = self.server.peek(&mut [0]).expect_err("nothing for the server");
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        self.server.set_nonblocking(false).expect("wait again");
    }

    /// The client has sent everything, and the server gets to the end.
    pub fn client_finishes(&mut self) {
        self.client.shutdown(Shutdown::Write).expect("send FIN");
        assert_eq!(self.server.read(&mut [0]).expect("the end"), 0);
    }

    /// The same the other way around.
    pub fn server_finishes(&mut self) {
        self.server.shutdown(Shutdown::Write).expect("send FIN");
        assert_eq!(self.client.read(&mut [0]).expect("the end"), 0);
    }

    fn server_gets(&mut self, bytes: &[u8]) {
        assert_eq!(read(&mut self.server, bytes.len()), Text(bytes.to_vec()));
    }

    fn client_gets(&mut self, bytes: &[u8]) {
        assert_eq!(read(&mut self.client, bytes.len()), Text(bytes.to_vec()));
    }
}

fn read(stream: &mut TcpStream, len: usize) -> Text {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("read");
    Text(bytes)
}

/// Bytes that a failed comparison shows as text.
#[derive(PartialEq)]
struct Text(Vec<u8>);

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}
