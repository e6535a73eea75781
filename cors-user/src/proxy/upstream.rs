//! The servers behind: which one a request goes to, and connections to it.
//!
//! A name is resolved for every new connection, and every address of it is tried, those that failed
//! lately last. An upstream that cannot be connected to is passed over for a while where there is
//! another.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Uri, uri::Authority};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{body::Lent, latency::Histogram, service::UpstreamHealth};
use crate::config::model::{Timeouts, Upstream};

/// For how long something that failed is passed over.
const REST: Duration = Duration::from_secs(10);
/// Idle connections that are kept to each upstream.
const IDLE_MAX: usize = 256;

/// All upstreams.
#[derive(Debug)]
pub(super) struct Upstreams {
    pub(super) targets: Vec<Target>,
    next: AtomicUsize,
    started: Instant,
}

/// One upstream.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    tls: bool,
    authority: Authority,
    /// It is passed over until then, in milliseconds since the start.
    resting: AtomicU64,
    /// Responses with CORS headers of its own.
    pub(super) own_cors: AtomicU64,
    pub(super) measured: Arc<Measured>,
}

/// What is measured of one upstream.
#[derive(Debug, Default)]
pub(super) struct Measured {
    results: [AtomicU64; Ended::ALL.len()],
    connect: Histogram,
    pub(super) first_byte: Histogram,
}

/// How a request to an upstream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With an answer.
    Answered,
    /// It could not be connected to.
    Unreachable,
    /// It broke off.
    Broken,
    /// It took too long.
    Timeout,
}

impl Ended {
    const ALL: [(Self, &str); 4] = [
        (Self::Answered, "answered"),
        (Self::Unreachable, "unreachable"),
        (Self::Broken, "broken"),
        (Self::Timeout, "timeout"),
    ];
}

impl Upstreams {
    pub(super) fn new(upstreams: &[Upstream]) -> Self {
        let targets = upstreams.iter().filter_map(|upstream| {
            let authority = format!("{}:{}", upstream.host, upstream.port());
            Some(Target {
                name: upstream.to_string(),
                tls: upstream.tls,
                authority: authority.parse().ok()?,
                resting: AtomicU64::new(0),
                own_cors: AtomicU64::new(0),
                measured: Arc::default(),
            })
        });
        Self { targets: targets.collect(), next: AtomicUsize::new(0), started: Instant::now() }
    }

    /// The targets in the order in which they are to be tried.
    pub(super) fn order(&self) -> impl Iterator<Item = &Target> {
        let (all, now) = (self.targets.len().max(1), self.now());
        let first = if all == 1 { 0 } else { self.next.fetch_add(1, Relaxed) };
        let turn = (0..self.targets.len()).map(move |n| &self.targets[(first + n) % all]);
        let rests = move |target: &&Target| target.resting.load(Relaxed) > now;
        turn.clone().filter(move |target| !rests(target)).chain(turn.filter(rests))
    }

    /// How each of them is, by its name.
    pub(super) fn health(&self) -> BTreeMap<String, UpstreamHealth> {
        let now = self.now();
        let health = |target: &Target| {
            let Measured { results, connect, first_byte } = &*target.measured;
            let results = Ended::ALL.iter().zip(results);
            let health = UpstreamHealth {
                up: target.resting.load(Relaxed) <= now,
                results: results
                    .map(|((_, name), total)| ((*name).to_owned(), total.load(Relaxed)))
                    .collect(),
                connect: connect.read(),
                first_byte: first_byte.read(),
            };
            (target.name.clone(), health)
        };
        self.targets.iter().map(health).collect()
    }

    /// It could not be connected to.
    pub(super) fn failed(&self, target: &Target) {
        target.resting.store(self.now() + REST.as_millis() as u64, Relaxed);
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

impl Target {
    /// It answered.
    pub(super) fn answered(&self) {
        if self.resting.load(Relaxed) != 0 {
            self.resting.store(0, Relaxed);
        }
    }

    /// A request to it has ended.
    pub(super) fn ended(&self, how: Ended) {
        self.measured.results[how as usize].fetch_add(1, Relaxed);
    }

    /// The address of a path there.
    pub(super) fn uri(&self, path: &http::uri::PathAndQuery) -> Result<Uri, http::Error> {
        let scheme = if self.tls { "https" } else { "http" };
        let builder = Uri::builder().scheme(scheme).authority(self.authority.clone());
        builder.path_and_query(path.clone()).build()
    }
}

/// The pool of connections.
pub(super) type Pool = Client<Connector, Lent>;

/// Makes the pool.
pub(super) fn pool(
    upstreams: &Upstreams,
    timeouts: &Timeouts,
    tls: Option<Arc<ClientConfig>>,
) -> Pool {
    let measured =
        |target: &Target| ((target.tls, target.authority.clone()), Arc::clone(&target.measured));
    let connector = Connector(Arc::new(Inner {
        connect: timeouts.connect,
        tls: tls.map(TlsConnector::from),
        failed: Mutex::default(),
        measured: upstreams.targets.iter().map(measured).collect(),
    }));
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(timeouts.idle)
        .pool_max_idle_per_host(IDLE_MAX)
        .http1_title_case_headers(true)
        .build(connector)
}

/// Makes connections.
#[derive(Clone, Debug)]
pub(super) struct Connector(Arc<Inner>);

struct Inner {
    connect: Duration,
    tls: Option<TlsConnector>,
    /// Addresses that failed, and when.
    failed: Mutex<HashMap<SocketAddr, Instant>>,
    /// By whether it is TLS, and the authority.
    measured: HashMap<(bool, Authority), Arc<Measured>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("connect", &self.connect).finish_non_exhaustive()
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let began = Instant::now();
            let stream = inner.connect(&uri).await?;
            let tls = uri.scheme_str() == Some("https");
            let key = uri.authority().map(|authority| (tls, authority.clone()));
            if let Some(measured) = key.and_then(|key| inner.measured.get(&key)) {
                measured.connect.add(began.elapsed());
            }
            Ok(stream)
        })
    }
}

impl Inner {
    async fn connect(&self, uri: &Uri) -> io::Result<Stream> {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let tcp = self.reach(host, uri.port_u16().unwrap_or(80)).await?;
        if uri.scheme_str() != Some("https") {
            return Ok(Stream::Plain(TokioIo::new(tcp)));
        }
        let tls = self.tls.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let tls = timeout(self.connect, tls.connect(name, tcp)).await??;
        Ok(Stream::Tls(Box::new(TokioIo::new(tls))))
    }

    /// A connection to one of the addresses of a name.
    async fn reach(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![(address, port).into()],
            Err(_) => timeout(self.connect, lookup_host((host, port))).await??.collect(),
        };
        addresses.sort_by_key(|address| self.failed_lately(*address));
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match timeout(self.connect, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => {
                    tcp.set_nodelay(true)?;
                    return Ok(tcp);
                }
                Ok(Err(error)) => last = error,
                Err(elapsed) => last = elapsed.into(),
            }
            self.remember(address);
        }
        Err(last)
    }

    fn failed_lately(&self, address: SocketAddr) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get(&address).is_some_and(|at| at.elapsed() < REST)
    }

    fn remember(&self, address: SocketAddr) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|_, at| at.elapsed() < REST);
        failed.insert(address, Instant::now());
    }
}

/// A connection to an upstream.
pub(super) enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(context, buffer),
            Self::Tls(io) => Pin::new(io).poll_read(context, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(context, bytes),
            Self::Tls(io) => Pin::new(io).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(context),
            Self::Tls(io) => Pin::new(io).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(context),
            Self::Tls(io) => Pin::new(io).poll_shutdown(context),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(context, slices),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(context, slices),
        }
    }
}
