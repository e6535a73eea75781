//! A server in Rust that keeps every byte that reached it, and so shows what was handed over.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    mem,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::socket::{
    Backlog, Shutdown, SockaddrStorage, bind, listen, setsockopt, shutdown,
    sockopt::{Ipv6V6Only, ReusePort},
};

use crate::{netns::Netns, socket};

/// A server; closed when dropped, with all its connections left to themselves.
#[derive(Debug)]
pub struct Recording {
    listener: Arc<TcpListener>,
    acceptor: JoinHandle<()>,
    requests: Requests,
}

type Requests = Arc<Mutex<Vec<Request>>>;

/// A request that reached the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Every byte of the head, to the blank line.
    pub head: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
    /// Who sent it.
    pub client: SocketAddr,
}

impl Request {
    /// Every byte of it.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.head[..], &self.body].concat()
    }
}

/// How to listen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// With an MPTCP socket, as servers written in Go do.
    pub mptcp: bool,
    /// As a member of an `SO_REUSEPORT` group.
    pub reuse_port: bool,
    /// An IPv6 socket that takes IPv4 as well.
    pub dual_stack: bool,
    /// What it answers with.
    pub body: Body,
}

/// The body of every response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// `recorded`.
    #[default]
    Recorded,
    /// The request's target.
    Target,
}

impl Recording {
    /// Listens on a host. It answers every request with 200 and the body `recorded`.
    pub fn listen(host: &Netns, address: SocketAddr) -> Self {
        Self::listen_with(host, address, Options::default())
    }

    /// Listens with options.
    pub fn listen_with(host: &Netns, address: SocketAddr, options: Options) -> Self {
        let listener = host.enter(|| open(address, options));
        let listener =
            Arc::new(listener.unwrap_or_else(|error| panic!("listen on {address}: {error}")));
        let requests = Requests::default();
        let (accepting, record) = (Arc::downgrade(&listener), Arc::clone(&requests));
        let acceptor = host.enter_detached(move || {
            // The socket is closed as soon as the owner drops it: this holds it only for the
            // time of a call that does not wait.
            while let Some(listener) = accepting.upgrade() {
                let accepted = listener.accept();
                drop(listener);
                match accepted {
                    Ok((stream, client)) => {
                        let record = Arc::clone(&record);
                        // A connection that breaks is for the client's side of the test to see.
                        thread::spawn(move || serve(stream, client, &record, options.body).ok());
                    }
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        Self { listener, acceptor, requests }
    }

    /// Takes what has arrived so far.
    pub fn take(&self) -> Vec<Request> {
        mem::take(&mut self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many requests have arrived and were not taken.
    pub fn count(&self) -> usize {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Stops listening; returns when the kernel has no listener any more.
    pub fn close(self) {
        let Self { listener, acceptor, .. } = self;
        // Closing is not enough: a child that another test is just starting has a copy of every
        // descriptor until it runs its program.
        shutdown(listener.as_raw_fd(), Shutdown::Both).expect("stop listening");
        drop(listener);
        // It ends as soon as it finds the listener gone, and may have been the last to hold it.
        acceptor.join().expect("the acceptor ends");
    }
}

fn open(address: SocketAddr, options: Options) -> io::Result<TcpListener> {
    let protocol = if options.mptcp { libc::IPPROTO_MPTCP } else { libc::IPPROTO_TCP };
    let socket = socket::stream(address, protocol)?;
    if options.reuse_port {
        setsockopt(&socket, ReusePort, &true)?;
    }
    if address.is_ipv6() {
        setsockopt(&socket, Ipv6V6Only, &!options.dual_stack)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&socket, Backlog::new(1024)?)?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn serve(stream: TcpStream, client: SocketAddr, record: &Requests, kind: Body) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let Some(head) = read_head(&mut stream)? else { return Ok(()) };
        let mut body = vec![0; content_length(&head)];
        stream.read_exact(&mut body)?;
        let target = String::from_utf8_lossy(&head).split(' ').nth(1).map(ToOwned::to_owned);
        let request = Request { head, body, client };
        record.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let body = target.filter(|_| kind == Body::Target).unwrap_or_else(|| "recorded".to_owned());
        let reply = format!(
            "HTTP/1.1 200 OK\r\nServer: recording\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.get_mut().write_all(reply.as_bytes())?;
    }
}

/// A head to its blank line; nothing at the connection's end.
fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

fn content_length(head: &[u8]) -> usize {
    String::from_utf8_lossy(head)
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}
