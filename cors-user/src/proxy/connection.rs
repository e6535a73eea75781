//! One connection of a client: what comes before its first request, and then hyper.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::BytesMut;
use cors_common::framing::Broken;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    select,
    time::timeout,
};
use tracing::debug;

use super::{
    conduct::Client,
    counters::Event,
    gate::{self, Gate},
    preamble::{self, Prefixed},
    request::{self, Peer},
    service::Shared,
    tls::{Server, is_http2},
};

/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 128;

/// Serves a connection to its end.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    worker: usize,
    tcp: TcpStream,
    peer: SocketAddr,
    tls: Option<Server>,
) {
    if let Err(error) = try_serve(shared, worker, tcp, peer, tls).await {
        debug!("the connection of {peer} ended early: {error}");
    }
}

async fn try_serve(
    shared: &Arc<Shared>,
    worker: usize,
    mut tcp: TcpStream,
    peer: SocketAddr,
    tls: Option<Server>,
) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let times = shared.proxy.timeouts;
    let trusts = |peer: SocketAddr| {
        let address = peer.ip().to_canonical();
        shared.proxy.trusted.iter().any(|network| network.contains(&address))
    };
    let mut client = Client { peer, trusted: trusts(peer), tls: tls.is_some() };
    let mut buffer = BytesMut::new();
    if shared.proxy.proxy_protocol {
        let named = timeout(times.header, preamble::proxy_header(&mut tcp, &mut buffer)).await;
        match named.map_err(io::Error::from).flatten() {
            Ok(None) => {}
            Ok(Some(named)) => client = Client { peer: named, trusted: trusts(named), ..client },
            Err(error) => {
                shared.counters.event(Event::ProxyHeader);
                return Err(error);
            }
        }
    }
    let Some(tls) = tls else {
        let asked = timeout(times.idle, preamble::is_http2(&mut tcp, &mut buffer)).await;
        let http2 = asked??;
        return http(Peer::new(shared, worker, client, http2), tcp, buffer).await;
    };
    let accepted = timeout(times.header, tls.accept(Prefixed::new(tcp, buffer))).await;
    match accepted.map_err(io::Error::from).flatten() {
        Ok(stream) => {
            let http2 = is_http2(stream.get_ref().1);
            http(Peer::new(shared, worker, client, http2), stream, BytesMut::new()).await
        }
        Err(error) => {
            shared.counters.event(Event::TlsFailed);
            Err(error)
        }
    }
}

async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    peer: Peer,
    io: S,
    buffer: BytesMut,
) -> io::Result<()> {
    let (shared, turn) = (Arc::clone(&peer.shared), peer.turn.clone());
    let peer = Arc::new(peer);
    let service = service_fn(move |request| {
        let peer = Arc::clone(&peer);
        async move { Ok::<_, std::convert::Infallible>(request::answer(&peer, request).await) }
    });
    let (limits, times) = (shared.proxy.limits, shared.proxy.timeouts);
    let rules = gate::Rules {
        head_bytes: limits.head_bytes,
        headers: limits.headers,
        header: times.header,
        idle: times.idle,
    };
    let observer = Watched(Arc::clone(&shared));
    let ended = if let Some(turn) = turn {
        let io = TokioIo::new(Gate::new(io, buffer, rules, turn, observer));
        // A proxy that drains says so in the next response, see `request`.
        let connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(None)
                // As the driver writes them.
                .title_case_headers(true)
                .max_headers(limits.headers + 1)
                .max_buf_size(limits.head_bytes + (64 << 10))
                .serve_connection(io, service)
                .with_upgrades()
        );
        connection.await
    } else {
        let draining = shared.draining();
        let io = TokioIo::new(Gate::open(io, buffer, rules, observer));
        let mut connection = std::pin::pin!(
            http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS)
                .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
                .keep_alive_interval(times.idle)
                .keep_alive_timeout(times.header)
                .serve_connection(io, service)
        );
        select! {
            biased;
            ended = &mut connection => ended,
            () = draining => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    ended.map_err(io::Error::other)
}

/// Counts what a gate refuses.
struct Watched(Arc<Shared>);

impl gate::Observer for Watched {
    fn refused(&self, broken: Broken) {
        self.0.counters.broken(broken);
    }

    fn too_slow(&self) {
        self.0.counters.event(Event::ClientTimeout);
    }
}
