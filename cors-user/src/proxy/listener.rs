//! Sockets to listen on, and connections as they come.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, time::sleep};
use tracing::warn;

use super::{connection, counters::Event, service::Shared, tls::Server};

/// Connections that may wait to be accepted; the kernel has a limit of its own.
const BACKLOG: i32 = 4096;

/// Listens on an address. Another process may do so as well, which then takes its share: so one
/// can take over from the other.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        // The IPv4 socket of the same port is one of its own.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves every connection, for ever.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, tls: Option<Server>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!("a connection cannot be accepted: {error}");
                // As it is where there are no descriptors left: not at once again.
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        shared.counters.event(Event::Connection);
        let Ok(permit) = Arc::clone(&shared.connections).try_acquire_owned() else {
            shared.counters.event(Event::TooManyConnections);
            continue;
        };
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        tokio::spawn(async move {
            let _permit = permit;
            shared.open.fetch_add(1, Relaxed);
            let closed = shared.closed();
            tokio::select! {
                () = connection::serve(&shared, stream, peer, tls) => {}
                () = closed => {}
            }
            shared.open.fetch_sub(1, Relaxed);
        });
    }
}
