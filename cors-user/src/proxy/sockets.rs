//! Listening sockets that are there already: the service manager's, or those of the agent before.
//!
//! Whoever waits in the queue of such a socket is served by whoever has it next, so while agents come
//! and go nobody is refused.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use socket2::Socket;
use tracing::warn;

/// Sockets that nobody listens on yet.
#[derive(Debug, Default)]
pub struct Sockets(Vec<(SocketAddr, TcpListener)>);

impl Sockets {
    /// Those that the service manager gave to this process (sd_listen_fds(3)).
    pub fn of_the_manager() -> Self {
        let mut sockets = Self::default();
        let mut given = ListenFd::from_env();
        for index in 0..given.len() {
            match given.take_tcp_listener(index) {
                Ok(socket) => sockets.extend(socket),
                Err(error) => warn!("a socket of the service manager's is of no use: {error}"),
            }
        }
        sockets
    }

    /// The one with this address.
    pub fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        // An IPv6 address has more to it than a program may have asked for.
        let is = |other: &SocketAddr| (other.ip(), other.port()) == (address.ip(), address.port());
        let at = self.0.iter().position(|(other, _)| is(other))?;
        Some(self.0.swap_remove(at).1)
    }

    /// The addresses of those that nobody took.
    pub fn left(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|(address, _)| *address)
    }
}

impl Extend<TcpListener> for Sockets {
    /// Those that listen; others are closed.
    fn extend<T: IntoIterator<Item = TcpListener>>(&mut self, sockets: T) {
        let listens = |socket: TcpListener| {
            let socket = Socket::from(socket);
            let listens = socket.is_listener().unwrap_or(false);
            listens.then(|| TcpListener::from(socket))
        };
        let named = |socket: TcpListener| Some((socket.local_addr().ok()?, socket));
        self.0.extend(sockets.into_iter().filter_map(listens).filter_map(named));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_once_and_by_its_address() {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listening.local_addr().unwrap();
        let bound = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let mut sockets = Sockets::default();
        sockets.extend([listening, bound.into()]);
        assert_eq!(sockets.left().collect::<Vec<_>>(), [at]);
        assert!(sockets.take("127.0.0.2:1".parse().unwrap()).is_none());
        assert_eq!(sockets.take(at).unwrap().local_addr().unwrap(), at);
        assert!(sockets.take(at).is_none());
    }
}
