//! The proxy as a whole: what all connections share, its start and its end.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{
    sync::{Semaphore, broadcast, watch},
    task::JoinSet,
    time::sleep,
};
use tracing::warn;

use super::{
    connector::Connector,
    counters::{Counted, Counters},
    latency::Latency,
    listener,
    pool::Pool,
    sockets::Sockets,
    tls::{self, TlsError},
    upstream::Upstreams,
    watch::{Decision, Watch},
    workers,
};
use crate::{
    compile::CompileError,
    config::model::{Config, Proxy as Settings, Scheme},
    cors::Rules,
    kernel::policy::LIMITS,
};

/// Why the proxy does not start.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// The policy.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A socket.
    #[error("{address} cannot be listened on: {source}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Certificates, or what upstreams are known by.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A thread.
    #[error("no thread to serve on: {0}")]
    Worker(io::Error),
    /// The file says nothing of a proxy.
    #[error("there is no `upstream` to forward to")]
    NoUpstream,
}

/// How far the proxy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes connections.
    Open,
    /// It takes no more, and those that there are end with their next response.
    Draining,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) proxy: Settings,
    rules: RwLock<Arc<Rules>>,
    pub(super) counters: Counters,
    pub(super) watch: Watch,
    pub(super) upstreams: Upstreams,
    pub(super) connector: Connector,
    /// One for each worker.
    pub(super) pools: Box<[Pool]>,
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) connections: Arc<Semaphore>,
    /// Connections that are open.
    pub(super) open: AtomicUsize,
    /// Sockets on which connections are taken.
    pub(super) listening: AtomicUsize,
    phase: watch::Receiver<Phase>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

impl Shared {
    /// The policy in use.
    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether each response is the last of its connection.
    pub(super) fn is_draining(&self) -> bool {
        *self.phase.borrow() == Phase::Draining
    }

    /// Waits until connections are to end, or the proxy has gone.
    pub(super) fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut phase = self.phase.clone();
        async move {
            // An error: it has gone.
            let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
        }
    }

    /// Waits until the proxy has gone.
    pub(super) fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut phase = self.phase.clone();
        async move { while phase.changed().await.is_ok() {} }
    }
}

/// Requests, whichever upstream they go to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Forwarded ones whose response is not over.
    pub in_flight: u64,
    /// How long those took that are over, by what became of them.
    pub durations: BTreeMap<String, Latency>,
}

/// How an upstream is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamHealth {
    /// Whether it is asked in its turn; where not, it could not be connected to lately.
    pub up: bool,
    /// How requests to it ended: `answered`, `unreachable`, `broken`, `timeout`.
    pub results: Counted,
    /// How long it took to connect, TLS included.
    pub connect: Latency,
    /// How long it took from a request to the head of its response.
    pub first_byte: Latency,
}

/// Takes as many files as this process may have: a connection is one, and at the upstream another.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        warn!("the limit on open files stays as it is: {error}");
    }
}

/// Closes a worker's connections to upstreams that nobody wants any more, for ever.
async fn sweep(shared: Arc<Shared>, worker: usize) {
    loop {
        sleep(Duration::from_secs(1)).await;
        shared.pools[worker].sweep(shared.proxy.timeouts.idle);
    }
}

/// A running proxy. It ends with this, at once; see [`Proxy::drain`].
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    _tasks: JoinSet<()>,
    sockets: Vec<(SocketAddr, TcpListener)>,
    addresses: Vec<SocketAddr>,
    bound: Vec<SocketAddr>,
}

impl Proxy {
    /// Binds the sockets of a policy file and serves on them. Must be called inside a tokio
    /// runtime.
    pub fn start(config: &Config) -> Result<Self, ProxyError> {
        Self::start_on(config, &mut Sockets::default())
    }

    /// The same, on those sockets that are there already.
    pub fn start_on(config: &Config, there: &mut Sockets) -> Result<Self, ProxyError> {
        let settings = config.server.proxy.clone().ok_or(ProxyError::NoUpstream)?;
        raise_file_limit();
        let (phase, watched) = watch::channel(Phase::Open);
        let secure = settings.upstreams.iter().any(|upstream| upstream.scheme == Scheme::Https);
        let ca = settings.upstream_ca.as_deref();
        let client = secure.then(|| tls::Client::load(ca)).transpose()?;
        let server = settings.tls.as_ref().map(tls::Server::load).transpose()?;
        let pools = (0..workers::count()).map(|_| Pool::new(settings.upstreams.len()));
        let shared = Arc::new(Shared {
            rules: RwLock::new(Arc::new(Rules::new(config, LIMITS)?)),
            counters: Counters::default(),
            watch: Watch::default(),
            upstreams: Upstreams::new(&settings.upstreams),
            connector: Connector::new(settings.timeouts.connect, client),
            pools: pools.collect(),
            in_flight: Arc::new(Semaphore::new(settings.limits.in_flight)),
            connections: Arc::new(Semaphore::new(settings.limits.connections)),
            open: AtomicUsize::new(0),
            listening: AtomicUsize::new(0),
            phase: watched,
            proxy: settings,
        });
        let mut listeners = JoinSet::new();
        let (mut sockets, mut bound) = (Vec::new(), Vec::new());
        let secure = shared.proxy.tls.iter().flat_map(|tls| &tls.listen);
        let secure = secure.map(|address| (*address, server.clone()));
        let plain = config.server.listen.iter().map(|address| (*address, None));
        for (address, tls) in plain.chain(secure) {
            let failed = |source| ProxyError::Listen { address, source };
            let socket = if let Some(socket) = there.take(address) {
                socket
            } else {
                let socket = listener::bind(address).map_err(failed)?;
                bound.push(socket.local_addr().unwrap_or(address));
                socket
            };
            socket.set_nonblocking(true).map_err(failed)?;
            sockets.push((socket.local_addr().unwrap_or(address), socket, tls));
        }
        for number in 0..shared.pools.len() {
            let worker = workers::start(number, shared.closed()).map_err(ProxyError::Worker)?;
            let _inside = worker.enter();
            // All of them wait at the same sockets: who has nothing to do takes what comes.
            for (address, socket, tls) in &sockets {
                let failed = |source| ProxyError::Listen { address: *address, source };
                let listener = socket.try_clone().and_then(tokio::net::TcpListener::from_std);
                let (listener, shared) = (listener.map_err(failed)?, Arc::clone(&shared));
                listeners.spawn(listener::accept(listener, shared, number, tls.clone()));
            }
            listeners.spawn(sweep(Arc::clone(&shared), number));
        }
        if let Some(server) = server {
            listeners.spawn(server.follow());
        }
        let sockets: Vec<_> =
            sockets.into_iter().map(|(address, socket, _)| (address, socket)).collect();
        let addresses = sockets.iter().map(|(address, _)| *address).collect();
        Ok(Self { shared, phase, _tasks: listeners, sockets, addresses, bound })
    }

    /// Judges by another policy from the next request on. The other settings stay.
    pub fn set_policy(&self, rules: Rules) {
        *self.shared.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Takes no more connections but those that wait already, and lets those that are open end with
    /// their next response. An idle one may be about to ask: a client that finds it closed under its
    /// request may not send that again.
    pub fn drain(&mut self) {
        self.sockets.clear();
        self.phase.send_replace(Phase::Draining);
    }

    /// Waits, when it drains, until nothing is left.
    pub async fn drained(&self) {
        let left = || self.shared.listening.load(Relaxed) + self.shared.open.load(Relaxed);
        while left() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The sockets, for whoever listens there next; none where it drains.
    pub fn sockets(&self) -> impl Iterator<Item = (SocketAddr, &TcpListener)> {
        self.sockets.iter().map(|(address, socket)| (*address, socket))
    }

    /// The addresses of those that were not there already.
    pub fn bound(&self) -> &[SocketAddr] {
        &self.bound
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.shared.open.load(Relaxed)
    }

    /// The sockets that it listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Every total by its name.
    pub fn counted(&self) -> Counted {
        self.shared.counters.read()
    }

    /// Whether something is counted by [`Proxy::counted`] that is no refusal, nor an answer.
    pub fn is_event(name: &str) -> bool {
        Counters::is_event(name)
    }

    /// What is decided from now on, for whoever traces.
    pub fn decisions(&self) -> broadcast::Receiver<Decision> {
        self.shared.watch.listen()
    }

    /// How preflights ended, by policy and by the reason.
    pub fn by_policy(&self) -> BTreeMap<String, Counted> {
        self.shared.watch.by_policy()
    }

    /// Requests as a whole.
    pub fn requests(&self) -> Requests {
        let Shared { proxy, in_flight, counters, .. } = &*self.shared;
        let free = in_flight.available_permits();
        let in_flight = proxy.limits.in_flight.saturating_sub(free) as u64;
        Requests { in_flight, durations: counters.durations() }
    }

    /// How each upstream is, by its name.
    pub fn upstreams(&self) -> BTreeMap<String, UpstreamHealth> {
        self.shared.upstreams.health()
    }

    /// How many responses of each upstream came with CORS headers of its own.
    pub fn own_cors(&self) -> Counted {
        let targets = self.shared.upstreams.targets.iter();
        targets.map(|target| (target.name.clone(), target.own_cors.load(Relaxed))).collect()
    }
}
