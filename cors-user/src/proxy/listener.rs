//! Sockets to listen on, and connections as they come.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    time::sleep,
};
use tracing::warn;

use super::{connection, counters::Event, service::Shared, tls::Server};

/// Connections that may wait to be accepted; the kernel has a limit of its own.
const BACKLOG: i32 = 4096;

/// Listens on an address. Another process may do so as well, which then takes its share.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        // The IPv4 socket of the same port is one of its own.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves every connection, as this worker, until the proxy drains.
pub(super) async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    worker: usize,
    tls: Option<Server>,
) {
    let _counted = Counted::new(&shared, |shared| &shared.listening);
    let mut draining = pin!(shared.draining());
    loop {
        let accepted = select! {
            accepted = listener.accept() => accepted,
            () = &mut draining => break,
        };
        match accepted {
            Ok((stream, peer)) => begin(&shared, worker, stream, peer, tls.as_ref()),
            Err(error) => {
                warn!("a connection cannot be accepted: {error}");
                // As it is where there are no descriptors left: not at once again.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // Whoever waits in the queue would be reset with the socket, unless somebody else has it, too.
    while let Poll::Ready(Ok((stream, peer))) =
        poll_fn(|context| Poll::Ready(listener.poll_accept(context))).await
    {
        begin(&shared, worker, stream, peer, tls.as_ref());
    }
}

/// Serves a connection.
fn begin(
    shared: &Arc<Shared>,
    worker: usize,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<&Server>,
) {
    shared.counters.event(Event::Connection);
    let Ok(permit) = Arc::clone(&shared.connections).try_acquire_owned() else {
        shared.counters.event(Event::TooManyConnections);
        return;
    };
    let (shared, tls) = (Arc::clone(shared), tls.cloned());
    // Before the task runs, or the proxy would seem to be without connections.
    let counted = Counted::new(&shared, |shared| &shared.open);
    tokio::spawn(async move {
        let (_permit, _counted) = (permit, counted);
        let closed = shared.closed();
        select! {
            biased;
            () = connection::serve(&shared, worker, stream, peer, tls) => {}
            () = closed => {}
        }
    });
}

/// Counts as one of something as long as it lives.
struct Counted(Arc<Shared>, fn(&Shared) -> &AtomicUsize);

impl Counted {
    fn new(shared: &Arc<Shared>, counter: fn(&Shared) -> &AtomicUsize) -> Self {
        counter(shared).fetch_add(1, Relaxed);
        Self(Arc::clone(shared), counter)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Relaxed);
    }
}
