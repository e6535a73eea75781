//! The life cycle: check, compile, load, attach; then the heartbeat until a signal; then drain, and
//! detach.

use std::{
    future::pending,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use cors_common::cookie::Keys;
use thiserror::Error;
use tokio::{
    net::UnixStream,
    select,
    time::{self, sleep, sleep_until},
};
use tracing::{error, info, warn};

use super::{
    clock,
    directory::{Directory, DirectoryError},
    gather,
    heartbeat::Heartbeat,
    network::{Network, NetworkError, View},
    signals::Stop,
    startup::{Startup, Stopwatch},
    status,
};
use crate::{
    compile::{self, CompileError, Image, Summary},
    config::model::Config,
    host::watch::Watch,
    kernel::{
        Programs, ProgramsError, Sizes,
        attach::Wish,
        checks::{Refusal, check},
        messages::{Messages, MessagesError},
        policy::{LIMITS, PolicyError},
    },
};

/// What the agent is to do.
#[derive(Clone, Debug)]
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
    /// How long reading and checking the policy file took, in microseconds.
    pub file_us: u64,
}

/// Why the agent does not start, or does not go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// A mode that this build does not have.
    #[error(
        "`upstream` needs the proxy mode, which this build does not have: leave it out, and the \
         server behind keeps its port (sidecar mode)"
    )]
    Proxy,
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
    /// The runtime directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
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

fn system(what: &'static str) -> impl Fn(io::Error) -> RunError {
    move |source| RunError::System { what, source }
}

/// Runs the agent until it is told to stop by SIGTERM, SIGINT or SIGHUP. Whatever it attached is
/// detached when this returns, in whichever way. Must be called inside a tokio runtime.
pub async fn run(setup: Setup) -> Result<(), RunError> {
    // First, so that a signal during the start is not lost.
    let mut stop = Stop::new().map_err(system("signals cannot be waited for"))?;
    let mut stopwatch = Stopwatch::start();
    let directory = Directory::lock(&setup.runtime_dir)?;
    let mut agent = Agent::start(setup, &mut stopwatch)?;
    let socket = directory.listen()?;
    agent.startup.other_us += stopwatch.lap();
    info!("ready");
    let mut next_second = clock::next_second();
    let mut end = None;
    loop {
        select! {
            name = stop.signal() => match agent.stop(name, end.is_some()) {
                Some(drained) => end = Some(drained),
                None => return Ok(()),
            },
            () = until(end) => return Ok(()),
            () = sleep_until(next_second) => {
                agent.beat()?;
                next_second = clock::next_second();
            }
            heard = agent.messages.write() => heard?,
            changed = changed(agent.watch.as_ref()) => agent.changed(changed).await,
            connection = socket.listener.accept() => agent.tell(connection.map(|(c, _)| c)).await,
        }
    }
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

/// So many beats after it was last read the network is read anew: not every change is told.
/// Changes of routes are not even asked for, of which a router has very many.
const BEATS: u32 = 5;

/// Everything that lives as long as the agent runs.
pub(super) struct Agent {
    pub(super) source: PathBuf,
    pub(super) measure: bool,
    drain: Duration,
    // Before the programs, so that nothing is attached any more when their maps go.
    pub(super) network: Network,
    pub(super) programs: Programs,
    messages: Messages,
    heartbeat: Heartbeat,
    /// None where it broke; the next beat makes another.
    watch: Option<Watch>,
    /// So many beats are left before the network is read anew.
    beats: u32,
    /// What is wrong with the network and was said.
    trouble: Option<String>,
    pub(super) generation: u32,
    pub(super) summary: Summary,
    pub(super) started: Instant,
    pub(super) startup: Startup,
}

impl Agent {
    /// On an error everything that was attached before it is detached.
    fn start(setup: Setup, stopwatch: &mut Stopwatch) -> Result<Self, RunError> {
        let started = Instant::now();
        let Setup { config, source, mut interfaces, xdp, measure, drain, file_us, .. } = setup;
        let mut startup = Startup { file_us, ..Startup::default() };
        if config.server.upstream.is_some() {
            return Err(RunError::Proxy);
        }
        if interfaces.is_empty() {
            interfaces.clone_from(&config.server.interfaces);
        }
        check(&interfaces, xdp)?;
        startup.other_us = stopwatch.lap();
        let image = compile::compile(&config, LIMITS)?;
        startup.compile_us = stopwatch.lap();
        // From here on the image is the policy; the lists of a long file need not be kept.
        let Config { server, .. } = config;
        let network = Network::new(interfaces, server.listen, xdp, !measure);
        let watch = Watch::new().map_err(system("changes of addresses cannot be watched"))?;
        let mut programs = load(measure, &image)?;
        let messages = programs.messages()?;
        startup.programs_us = stopwatch.lap();
        let generation = programs.set_policy(&image)?;
        startup.policy_us = stopwatch.lap();
        let mut agent = Self {
            source,
            measure,
            drain,
            network,
            programs,
            messages,
            heartbeat: Heartbeat::default(),
            watch: Some(watch),
            beats: BEATS,
            trouble: None,
            generation,
            summary: image.summary,
            started,
            startup,
        };
        let view = View::read()?;
        agent.network.describe(&view, &mut agent.programs)?;
        if agent.programs.protected.sockets().is_empty() {
            warn!("nothing that `listen` covers is an address here: nothing is protected yet");
        }
        agent.beat()?;
        agent.network.attach(&view, &agent.programs)?;
        Ok(agent)
    }

    fn beat(&mut self) -> Result<(), RunError> {
        self.heartbeat
            .beat(&mut self.programs.state)
            .map_err(system("the clock cannot be read"))?;
        self.beats = self.beats.saturating_sub(1);
        if self.watch.is_none() {
            self.watch = Watch::new().ok();
            self.beats = 0;
        }
        if self.beats == 0 {
            self.refresh();
        }
        Ok(())
    }

    /// Something about links or addresses is not what it was.
    async fn changed(&mut self, changed: io::Result<()>) {
        if let Err(error) = changed {
            error!("changes of the network cannot be watched: {error}; trying again");
            self.watch = None;
            return;
        }
        // Changes come in bursts; none of those that come meanwhile is lost.
        sleep(Duration::from_millis(20)).await;
        self.refresh();
    }

    /// Brings everything in line with the network as it is. What fails may succeed with the next
    /// beat; what is protected already stays so.
    fn refresh(&mut self) {
        match self.network.refresh(&mut self.programs) {
            Ok(()) => {
                self.beats = BEATS;
                if self.trouble.take().is_some() {
                    info!("the programs know the network as it is again");
                }
            }
            Err(error) => {
                self.beats = 1;
                let text = error.to_string();
                if self.trouble.as_ref() != Some(&text) {
                    error!("{text}; trying again");
                    self.trouble = Some(text);
                }
            }
        }
    }

    /// Gives open connections the time to make their next request; returns until when, or nothing
    /// where the agent is to end at once.
    fn stop(&mut self, name: &str, again: bool) -> Option<time::Instant> {
        let drain = self.drain;
        self.heartbeat.drain(&mut self.programs.state);
        if again || drain.is_zero() {
            info!("stopping at once, by {name}");
            return None;
        }
        info!("stopping, by {name}: open connections have {drain:?} for their next request");
        Some(time::Instant::now() + drain)
    }

    /// Tells the status to whoever connected.
    async fn tell(&self, connection: io::Result<UnixStream>) {
        match (connection, gather::document(self)) {
            (Ok(connection), Ok(document)) => {
                tokio::spawn(status::tell(connection, document));
            }
            (_, Err(error)) => error!("there is no status: {error}"),
            (Err(error), _) => {
                error!("a connection to the status socket fails: {error}");
                // As it does where there are no descriptors left: not at once again.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Loads the programs, with room for the policy in their maps and a new cookie secret.
fn load(measure: bool, image: &Image) -> Result<Programs, RunError> {
    let sizes = Sizes::for_image(image);
    let mut programs =
        Programs::load(sizes).map_err(|error: ProgramsError| Refusal::of_programs(error, sizes))?;
    let mut secret = [0; size_of::<Keys>()];
    getrandom::fill(&mut secret)?;
    programs.state.begin(bytemuck::cast(secret), measure);
    Ok(programs)
}
