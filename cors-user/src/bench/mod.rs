//! `cors-edge bench`: a load for any HTTP/1.1 server, and what came of it.
//!
//! The clients are played by an XDP program ([`crate::kernel::load`]), so that a server on another
//! core or machine is what limits, and not its load. First ordinary connections ask every request
//! ([`probe`]): what they are answered is what each later reply is compared with, byte by byte.

mod busy;
pub mod probe;
mod report;
pub mod requests;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::unix::thread::JoinHandleExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytemuck::Zeroable as _;
use cors_common::{checksum::Sum, wire::segment::Address};
use cors_load::{
    count::Count,
    layout::{
        Config, FLAG_RECORD, FLAG_REDIRECT, REPLY_MAX, REQUEST_MAX, Reply, Request, SLOTS_MAX,
    },
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::{
        pthread::pthread_kill,
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    },
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use thiserror::Error;

use crate::{
    host::Interface,
    kernel::load::{Generator, LoadError, Seeder},
};
use busy::{Busy, BusyError};
use probe::{Exchange, ProbeError};
pub use report::{Report, human};

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The server.
    pub target: SocketAddr,
    /// Where the clients are.
    pub interface: Interface,
    /// Behind the driver instead of in it.
    pub generic: bool,
    /// Send by redirection instead of `XDP_TX`.
    pub redirect: bool,
    /// The clients' addresses: the last two bytes are zero here.
    pub clients: IpAddr,
    /// How many clients, and so connections at a time.
    pub connections: u32,
    /// How many requests on a connection; `None`: as many as there is time for.
    pub per_connection: Option<u32>,
    /// Arrivals in a second, whether or not earlier ones are over; `None`: as soon as a client is
    /// free. An arrival is a request, and a connection with it where there is none.
    pub rate: Option<f64>,
    /// Time before anything is measured.
    pub warm_up: Duration,
    /// Time in which it is measured.
    pub duration: Duration,
    /// What is asked, in turn.
    pub requests: Vec<Vec<u8>>,
    /// The core on which user space runs.
    pub pin: Option<usize>,
    /// Before everything else that wants that core (`SCHED_FIFO`).
    pub realtime: bool,
    /// A core of this machine whose busy time is measured: the server's.
    pub watch: Option<usize>,
}

/// Why there is no result.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The generator.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The ordinary connections.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The core to watch.
    #[error(transparent)]
    Busy(#[from] BusyError),
    /// Too many, too long, or none.
    #[error("{0}")]
    Requests(String),
    /// The address of the clients.
    #[error(
        "the clients' addresses must be of the target's family, and their last 16 bits zero, such \
         as 10.64.0.0: {0} is not"
    )]
    Clients(IpAddr),
    /// Nothing passed the generator's interface.
    #[error(
        "the target answers, but not through {0}: the generator plays on the interface towards it"
    )]
    OtherWay(String),
    /// The thread that lends time.
    #[error("the thread of the load generator cannot be woken: {0}")]
    Signal(io::Error),
    /// Pinning.
    #[error("this process cannot be pinned to core {core}: {source}")]
    Pin {
        /// The core.
        core: usize,
        /// What the kernel says.
        source: io::Error,
    },
}

/// How long connections may take to end.
const DRAIN: Duration = Duration::from_secs(2);

/// Plays it.
pub fn run(setup: &Setup) -> Result<Report, BenchError> {
    if let Some(core) = setup.pin {
        pin(core).map_err(|source| BenchError::Pin { core, source })?;
    }
    let requests = &setup.requests;
    check(requests)?;
    let mut config = config(setup)?;
    let mut generator = Generator::attach(
        &setup.interface,
        setup.generic,
        setup.connections,
        requests.len() as u32,
    )?;
    generator.listen_to(&config);
    let exchanges = probe::learn(setup.target, requests, setup.per_connection == Some(1))?;
    let neighbour =
        generator.neighbour().ok_or_else(|| BenchError::OtherWay(setup.interface.name.clone()))?;
    config.link[..6].copy_from_slice(&neighbour);
    for (index, exchange) in exchanges.iter().enumerate() {
        let (request, reply) = layouts(index, exchange);
        generator.set_exchange(index, &request, &reply);
    }

    let seeding = Seeding::start(generator.seeder()?, setup.realtime)?;
    config.begin_ns = monotonic();
    generator.begin(&config)?;
    thread::sleep(setup.warm_up);
    let measured = Config { flags: config.flags | FLAG_RECORD, ..config };
    generator.change(&measured);
    let (begin, before) = (Instant::now(), generator.counts()?);
    let busy = setup.watch.map(Busy::begin).transpose()?;
    thread::sleep(setup.duration);
    let busy = busy.map(|busy| busy.end()).transpose()?;
    let (elapsed, after) = (begin.elapsed(), generator.counts()?);
    drain(&generator, &config)?;
    seeding.stop()?;
    let window = before.iter().zip(&after).map(|(before, after)| after - before);
    let window: Vec<_> = window.collect();
    let (totals, latencies) = (generator.counts()?, generator.latencies()?);
    Ok(Report::new(setup, &exchanges, elapsed, &window, &totals, &latencies, busy))
}

fn check(requests: &[Vec<u8>]) -> Result<(), BenchError> {
    if requests.is_empty() {
        return Err(BenchError::Requests("there is no request to ask".to_owned()));
    }
    match requests.iter().find(|request| request.is_empty() || request.len() > REQUEST_MAX) {
        None => Ok(()),
        Some(request) => Err(BenchError::Requests(format!(
            "a request of {} bytes does not fit into a segment: at most {REQUEST_MAX}",
            request.len()
        ))),
    }
}

fn config(setup: &Setup) -> Result<Config, BenchError> {
    let Setup { target, clients, interface, .. } = setup;
    let [.., high, low] = address(*clients);
    if target.is_ipv4() != clients.is_ipv4() || [high, low] != [0, 0] {
        return Err(BenchError::Clients(*clients));
    }
    let mut config = Config {
        server: Address::from_bytes(address(target.ip())),
        clients: Address::from_bytes(address(*clients)),
        server_port: target.port().to_be(),
        version: if target.is_ipv4() { 4 } else { 6 },
        interface: interface.index,
        flags: if setup.redirect { FLAG_REDIRECT } else { 0 },
        slots: setup.connections.clamp(1, SLOTS_MAX),
        requests: setup.requests.len() as u32,
        per_connection: setup.per_connection.unwrap_or(u32::MAX),
        #[allow(clippy::cast_sign_loss, reason = "a rate is positive")]
        interval_ns: setup.rate.map_or(0, |rate| (1e9 / rate).max(1.0) as u64),
        ..Config::zeroed()
    };
    config.link[6..12].copy_from_slice(&interface.address);
    let ethertype: u16 = if target.is_ipv4() { 0x0800 } else { 0x86dd };
    config.link[12..14].copy_from_slice(&ethertype.to_be_bytes());
    Ok(config)
}

/// 16 bytes; IPv4 in its mapped form.
const fn address(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// As the programs read it. Each request has a reply of its own.
fn layouts(index: usize, exchange: &Exchange) -> (Request, Reply) {
    let (mut request, mut reply) = (Request::zeroed(), Reply::zeroed());
    request.len = exchange.request.len() as u32;
    request.sum = u32::from(Sum::of(&exchange.request).fold());
    request.reply = index as u32;
    request.bytes[..exchange.request.len()].copy_from_slice(&exchange.request);
    let len = exchange.reply.len().min(REPLY_MAX);
    reply.len = len as u32;
    reply.bytes[..len].copy_from_slice(&exchange.reply[..len]);
    reply.mask[..len].copy_from_slice(&exchange.mask[..len]);
    (request, reply)
}

/// No more arrivals; every connection ends after the reply that it waits for.
fn drain(generator: &Generator, config: &Config) -> Result<(), BenchError> {
    /// Some centuries.
    const NEVER: u64 = 1 << 62;
    let last = Config { per_connection: 0, interval_ns: 1, begin_ns: NEVER, ..*config };
    generator.change(&last);
    let begin = Instant::now();
    loop {
        let counts = generator.counts()?;
        let count = |count: Count| counts[count as usize];
        if count(Count::Opened) <= count(Count::Closed) || begin.elapsed() > DRAIN {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A thread that lends the clients its time.
struct Seeding {
    thread: JoinHandle<Result<(), LoadError>>,
    stop: Arc<AtomicBool>,
}

impl Seeding {
    fn start(seeder: Seeder, realtime: bool) -> Result<Self, BenchError> {
        let nothing = SigAction::new(SigHandler::Handler(wake), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing at all. Without `SA_RESTART` it ends a system call.
        unsafe { sigaction(Signal::SIGUSR1, &nothing) }
            .map_err(|errno| BenchError::Signal(errno.into()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                if realtime {
                    before_all_others().map_err(LoadError::Seed)?;
                }
                seeder.run(&stop)
            }
        });
        Ok(Self { thread, stop })
    }

    fn stop(self) -> Result<(), BenchError> {
        self.stop.store(true, Ordering::Relaxed);
        // Again and again: a signal that comes before the call that it is to end is lost.
        while !self.thread.is_finished() {
            // Where the thread has just ended there is nobody to wake.
            pthread_kill(self.thread.as_pthread_t(), Signal::SIGUSR1).ok();
            thread::sleep(Duration::from_millis(1));
        }
        match self.thread.join() {
            Ok(result) => Ok(result?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Makes this thread run whenever it can, but for threads of a higher priority.
fn before_all_others() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameters live until the call returns; 0 is this thread.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn wake(_: libc::c_int) {}

fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// The clock of the programs.
fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
