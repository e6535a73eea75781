//! The life cycle: start, then whatever comes until a signal, then drain, and detach.
//!
//! What is done about each of the things that come is a file of its own.

use std::{future::pending, io, path::PathBuf, time::Duration};

use thiserror::Error;
use tokio::{
    select,
    time::{self, sleep_until},
};
use tracing::info;

use super::{
    admin::{self, AdminError},
    clock,
    directory::DirectoryError,
    follow::{Follow, FollowError},
    live::Agent,
    network::NetworkError,
    plain,
    protocol::{Answer, Request},
    reload::{Source, Wanted},
    signals::{Signals, Told},
    startup::Stopwatch,
    succession::{self, SuccessionError},
};
use crate::{
    compile::CompileError,
    config::model::Config,
    host::watch::Watch,
    kernel::{
        attach::Wish, checks::Refusal, messages::MessagesError, pins::PinsError,
        policy::PolicyError, trace::TraceError,
    },
    proxy::{ProxyError, Sockets},
};

/// What the agent is to do.
#[derive(Debug)]
pub struct Setup {
    /// The checked policy file.
    pub config: Config,
    /// Where it was read from.
    pub source: PathBuf,
    /// Interfaces; none: those of the policy file.
    pub interfaces: Vec<String>,
    /// How the XDP program is to be attached.
    pub xdp: Wish,
    /// Only count what would be answered.
    pub measure: bool,
    /// Where the status socket goes.
    pub runtime_dir: PathBuf,
    /// How long open connections have at the end to make their next request.
    pub drain: Duration,
    /// A directory in a bpffs, where what is to outlive the agent has its names; none: nothing is.
    pub pin: Option<PathBuf>,
    /// Whether to take the place of an agent that runs with the same runtime directory.
    pub replace: bool,
    /// Listening sockets that are there already.
    pub sockets: Sockets,
    /// Whether to load the policy file anew whenever it changes.
    pub follow: bool,
    /// How long reading and checking the policy file took, in microseconds.
    pub file_us: u64,
}

/// Why the agent does not start, or does not go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// The proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The host, or the kernel.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// The policy does not fit.
    #[error("the policy does not fit: {0}")]
    Compile(#[from] CompileError),
    /// The policy does not fit the maps.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The messages of the kernel programs.
    #[error(transparent)]
    Messages(#[from] MessagesError),
    /// The decisions of the kernel programs.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The runtime directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// What is to outlive the agent.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// There is nobody who could be asked.
    #[error(
        "--replace does not go with --xdp off: the proxy alone has no socket on which it could be \
         asked for its place"
    )]
    NobodyToReplace,
    /// The agent before.
    #[error(transparent)]
    Succession(#[from] SuccessionError),
    /// The admin address.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The policy file cannot be followed.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// No random bytes for the cookie secret.
    #[error("the kernel gives no random bytes for the cookie secret: {0}")]
    Random(#[from] getrandom::Error),
    /// Something that the system always grants.
    #[error("{what}: {source}")]
    System {
        /// What failed.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> RunError {
    move |source| RunError::System { what, source }
}

/// Runs the agent until it is told to stop by SIGTERM or SIGINT. Whatever it attached is detached
/// when this returns, in whichever way, but for one: with [`Setup::pin`], SIGTERM leaves it to the
/// agent that comes next. Must be called inside a tokio runtime.
pub async fn run(mut setup: Setup) -> Result<(), RunError> {
    // First, so that a signal during the start is not lost.
    let mut signals = Signals::new().map_err(system("signals cannot be waited for"))?;
    if setup.xdp == Wish::Off && setup.config.server.proxy.is_some() {
        if setup.replace {
            return Err(RunError::NobodyToReplace);
        }
        return plain::run(setup, signals).await;
    }
    let mut stopwatch = Stopwatch::start();
    let mut there = std::mem::take(&mut setup.sockets);
    let runtime_dir = setup.runtime_dir.clone();
    let directory = succession::lock(&runtime_dir, setup.replace, &mut there)?;
    let mut agent = Agent::start(setup, &mut there, &mut stopwatch)?;
    let directory = match directory {
        Some(directory) => directory,
        None => succession::replace(&runtime_dir).await?,
    };
    let socket = directory.listen()?;
    let admin = admin::start(agent.policy.config.admin, agent.control.asker(), &mut there)?;
    let admin = admin.map(|(task, socket)| {
        agent.estate.add(socket);
        task
    });
    if let Some(proxy) = &agent.proxy {
        succession::keep(proxy, &there);
    }
    agent.startup.other_us += stopwatch.lap();
    agent.settle();
    info!("ready");
    agent.tell_ready();
    let mut next_second = clock::next_second();
    let mut end = None;
    loop {
        select! {
            told = signals.told() => match told {
                Told::Reload => agent.want_reload(reload("SIGHUP")),
                Told::Leave if end.is_none() && agent.leaves() => {
                    let drain = agent.drain;
                    succession::finish(agent.depart(), drain, &mut signals).await;
                    return Ok(());
                }
                told => match agent.stop(told.name(), end.is_some()) {
                    Some(drained) => end = Some(drained),
                    None => return agent.detach(),
                },
            },
            () = until(end) => return agent.detach(),
            () = sleep_until(next_second) => {
                agent.beat()?;
                next_second = clock::next_second();
            }
            heard = agent.messages.write() => heard?,
            changed = changed(agent.watch.as_ref()) => agent.changed(changed).await,
            connection = socket.listener.accept() => agent.serve(connection.map(|(c, _)| c)).await,
            Some(asked) = agent.control.asked.recv() => {
                if asked.request != Request::Leave {
                    agent.answer(asked);
                    continue;
                }
                let stopping = end.is_some().then_some("it is stopping");
                if let Some(reason) = stopping.or_else(|| agent.cannot_be_replaced()) {
                    let _ = asked.answer.send(Answer::Error(reason.to_owned()));
                    continue;
                }
                info!("another agent is in this one's place");
                // What it waits for.
                drop((socket, directory));
                if let Some(admin) = &admin {
                    admin.abort();
                }
                let drain = agent.drain;
                let proxy = agent.depart();
                let _ = asked.answer.send(Answer::Left);
                succession::finish(proxy, drain, &mut signals).await;
                return Ok(());
            }
            Some(heard) = agent.control.heard.recv() => agent.heard(heard),
            events = agent.tracing.next() => agent.decided(events),
            () = followed(agent.follow.as_mut()) => agent.want_reload(reload("file")),
            (wanted, done) = agent.reloads.done() => agent.finish_reload(wanted, done),
        }
    }
}

/// The policy file read again, with nobody waiting for what comes of it.
const fn reload(by: &'static str) -> Wanted {
    Wanted { source: Source::File, dry_run: false, by, tell: None }
}

/// Waits for that instant; without one, for ever.
async fn until(end: Option<time::Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => pending().await,
    }
}

/// Waits for a change; where nothing can be watched, for ever.
async fn changed(watch: Option<&Watch>) -> io::Result<()> {
    match watch {
        Some(watch) => watch.changed().await,
        None => pending().await,
    }
}

/// Waits for a change of the policy file; where it is not followed, for ever.
async fn followed(follow: Option<&mut Follow>) {
    match follow {
        Some(follow) => follow.changed().await,
        None => pending().await,
    }
}
