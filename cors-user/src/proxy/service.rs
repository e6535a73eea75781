//! The proxy as a whole: what all connections share, its start and its end.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use thiserror::Error;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::{
    counters::{Counted, Counters},
    listener,
    tls::{self, TlsError},
    upstream::{self, Pool, Upstreams},
};
use crate::{
    compile::CompileError,
    config::model::{Config, Proxy as Settings},
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
    /// Certificates, or the system's roots.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The file says nothing of a proxy.
    #[error("there is no `upstream` to forward to")]
    NoUpstream,
}

/// How far the proxy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes connections.
    Open,
    /// It takes no more, and ends those that are idle.
    Draining,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) proxy: Settings,
    rules: RwLock<Arc<Rules>>,
    pub(super) counters: Counters,
    pub(super) upstreams: Upstreams,
    pub(super) pool: Pool,
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) connections: Arc<Semaphore>,
    /// Connections that are open.
    pub(super) open: AtomicUsize,
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

    /// Waits until idle connections are to end, or the proxy has gone.
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

/// A running proxy. It ends with this, at once; see [`Proxy::drain`].
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    listeners: JoinSet<()>,
    addresses: Vec<SocketAddr>,
}

impl Proxy {
    /// Binds the sockets of a policy file and serves on them. Must be called inside a tokio
    /// runtime.
    pub fn start(config: &Config) -> Result<Self, ProxyError> {
        let settings = config.server.proxy.clone().ok_or(ProxyError::NoUpstream)?;
        let (phase, watched) = watch::channel(Phase::Open);
        let roots = settings.upstreams.iter().any(|upstream| upstream.tls);
        let client = roots.then(tls::client).transpose()?;
        let server = settings.tls.as_ref().map(tls::Server::load).transpose()?;
        let shared = Arc::new(Shared {
            rules: RwLock::new(Arc::new(Rules::new(config, LIMITS)?)),
            counters: Counters::default(),
            upstreams: Upstreams::new(&settings.upstreams),
            pool: upstream::pool(&settings.timeouts, client),
            in_flight: Arc::new(Semaphore::new(settings.limits.in_flight)),
            connections: Arc::new(Semaphore::new(settings.limits.connections)),
            open: AtomicUsize::new(0),
            phase: watched,
            proxy: settings,
        });
        let mut listeners = JoinSet::new();
        let mut addresses = Vec::new();
        let secure = shared.proxy.tls.iter().flat_map(|tls| &tls.listen);
        let secure = secure.map(|address| (*address, server.clone()));
        let plain = config.server.listen.iter().map(|address| (*address, None));
        for (address, tls) in plain.chain(secure) {
            let listener =
                listener::bind(address).map_err(|source| ProxyError::Listen { address, source })?;
            addresses.push(listener.local_addr().unwrap_or(address));
            listeners.spawn(listener::accept(listener, Arc::clone(&shared), tls));
        }
        if let Some(server) = server {
            listeners.spawn(server.follow());
        }
        Ok(Self { shared, phase, listeners, addresses })
    }

    /// Judges by another policy from the next request on. The other settings stay.
    pub fn set_policy(&self, rules: Rules) {
        *self.shared.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Takes no more connections, and lets those that are open end with their current request.
    pub fn drain(&mut self) {
        self.listeners.abort_all();
        self.phase.send_replace(Phase::Draining);
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

    /// How many responses of each upstream came with CORS headers of its own.
    pub fn own_cors(&self) -> Counted {
        let targets = self.shared.upstreams.targets.iter();
        targets.map(|target| (target.name.clone(), target.own_cors.load(Relaxed))).collect()
    }
}
