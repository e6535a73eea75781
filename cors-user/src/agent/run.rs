//! The life cycle: check, compile, load, attach; then the heartbeat until a signal; then detach.

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use cors_common::{cookie::Keys, exit::Exit};
use thiserror::Error;
use tokio::{
    net::UnixStream,
    select,
    signal::unix::{Signal, SignalKind, signal},
    time::{sleep, sleep_until},
};
use tracing::{error, info, warn};

use super::{
    addresses, clock,
    directory::{Directory, DirectoryError},
    startup::{Startup, Stopwatch},
    status::{self, Status},
};
use crate::{
    compile::{self, CompileError, Image, Summary},
    config::model::{Config, Server},
    host::{Interface, interface, watch::Watch},
    kernel::{
        Programs, ProgramsError, Sizes,
        attach::{AttachError, Attachment, Wish},
        checks::{Refusal, check},
        maps::MapsError,
        policy::{LIMITS, PolicyError},
        statistics::StatisticsError,
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
    /// A map.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// A program cannot be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
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

/// Runs the agent until it is told to stop by SIGTERM or SIGINT. Whatever it attached is detached
/// when this returns, in whichever way. Must be called inside a tokio runtime.
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
    loop {
        select! {
            name = stop.signal() => {
                info!("stopping, by {name}");
                return Ok(());
            }
            () = sleep_until(next_second) => {
                agent.beat()?;
                next_second = clock::next_second();
            }
            changed = agent.watch.changed() => agent.changed(changed).await?,
            connection = socket.listener.accept() => agent.tell(connection.map(|(c, _)| c)).await,
        }
    }
}

/// Everything that lives as long as the agent runs.
struct Agent {
    server: Server,
    source: PathBuf,
    measure: bool,
    // Before the programs, so that nothing is attached any more when their maps go.
    attachments: Vec<Attachment>,
    programs: Programs,
    watch: Watch,
    generation: u32,
    summary: Summary,
    started: Instant,
    startup: Startup,
}

impl Agent {
    /// On an error everything that was attached before it is detached.
    fn start(setup: Setup, stopwatch: &mut Stopwatch) -> Result<Self, RunError> {
        let started = Instant::now();
        let Setup { config, source, mut interfaces, xdp, measure, file_us, .. } = setup;
        let mut startup = Startup { file_us, ..Startup::default() };
        if config.server.upstream.is_some() {
            return Err(RunError::Proxy);
        }
        if interfaces.is_empty() {
            interfaces.clone_from(&config.server.interfaces);
        }
        let interfaces = check(&interfaces, xdp)?;
        startup.other_us = stopwatch.lap();
        let image = compile::compile(&config, LIMITS)?;
        startup.compile_us = stopwatch.lap();
        // From here on the image is the policy; the lists of a long file need not be kept.
        let Config { server, .. } = config;
        let watch = Watch::new().map_err(system("changes of addresses cannot be watched"))?;
        let mut programs = load(measure, &image)?;
        startup.programs_us = stopwatch.lap();
        let generation = programs.set_policy(&image)?;
        startup.policy_us = stopwatch.lap();
        let Image { summary, .. } = image;
        let attachments = Vec::new();
        let mut agent = Self {
            server,
            source,
            measure,
            attachments,
            programs,
            watch,
            generation,
            summary,
            started,
            startup,
        };
        agent.protect(&interfaces)?;
        if agent.programs.protected.sockets().is_empty() {
            warn!("no interface has an address that `listen` covers: nothing is protected yet");
        }
        agent.beat()?;
        for interface in &interfaces {
            let attachment = agent.programs.attach(interface, xdp, !measure)?;
            agent.attachments.push(attachment);
        }
        Ok(agent)
    }

    /// The second, the cookie epoch, the lease.
    fn beat(&mut self) -> Result<(), RunError> {
        clock::beat(&mut self.programs.state).map_err(system("the clock cannot be read"))
    }

    /// Writes what is protected on these interfaces, and what they announce.
    fn protect(&mut self, interfaces: &[Interface]) -> Result<(), RunError> {
        for Interface { index, mtu, .. } in interfaces {
            self.programs.interfaces.set(*index, *mtu)?;
        }
        let indexes: Vec<u32> = interfaces.iter().map(|interface| interface.index).collect();
        let listen = &self.server.listen;
        let sockets = addresses::protected(listen, &indexes)
            .map_err(system("the addresses of the interfaces cannot be read"))?;
        let before = self.programs.protected.sockets();
        for (said, sockets) in [
            ("protected from now on", sockets.difference(before)),
            ("not protected any more", before.difference(&sockets)),
        ] {
            let list: Vec<_> = sockets.map(ToString::to_string).collect();
            if !list.is_empty() {
                info!("{said}: {}", list.join(", "));
            }
        }
        Ok(self.programs.protected.set(sockets)?)
    }

    /// Something about links or addresses is not what it was.
    async fn changed(&mut self, changed: io::Result<()>) -> Result<(), RunError> {
        changed.map_err(system("changes of addresses cannot be watched any more"))?;
        // Changes come in bursts; none of those that come meanwhile is lost.
        sleep(Duration::from_millis(20)).await;
        let all = interface::all().map_err(system("the list of interfaces cannot be read"))?;
        let indexes: Vec<_> = self.attachments.iter().map(|on| on.index).collect();
        self.attachments.retain(|on| {
            let there = all.iter().any(|interface| interface.index == on.index);
            if !there {
                error!("the interface {} is gone, and with it what was attached", on.interface);
            }
            there
        });
        let ours: Vec<_> =
            all.into_iter().filter(|interface| indexes.contains(&interface.index)).collect();
        match self.protect(&ours) {
            // What is protected already stays so; the next change may bring it back into bounds.
            Err(RunError::Maps(error @ MapsError::TooManySockets { .. })) => {
                error!("{error}");
                Ok(())
            }
            result => result,
        }
    }

    /// Tells the status to whoever connected.
    async fn tell(&self, connection: io::Result<UnixStream>) {
        let document = self.status().and_then(|status| Ok(serde_json::to_string(&status)?));
        match (connection, document) {
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

    fn status(&self) -> Result<Status, StatusError> {
        let interfaces = self.attachments.iter().map(|on| status::Interface {
            name: on.interface.clone(),
            index: on.index,
            xdp: on.mode.to_string(),
        });
        let programs = self.programs.statistics()?.into_iter().map(|program| status::Program {
            name: program.name.to_owned(),
            id: program.id,
            run_count: program.run_count,
            run_time_ns: program.run_time_ns,
        });
        let names = Exit::ALL.iter().map(|exit| exit.name().to_owned());
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            mode: "sidecar".to_owned(),
            measure: self.measure,
            uptime_seconds: self.started.elapsed().as_secs(),
            startup: self.startup.clone(),
            policy: status::Policy {
                generation: self.generation,
                policies: self.summary.policies as u64,
                origins: self.summary.origins as u64,
                source: self.source.display().to_string(),
            },
            interfaces: interfaces.collect(),
            programs: programs.collect(),
            protected: self.programs.protected.sockets().iter().map(ToString::to_string).collect(),
            flows: self.programs.flows()?,
            counters: names.zip(self.programs.counters()?).collect(),
        })
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

/// Why a status cannot be told.
#[derive(Debug, Error)]
enum StatusError {
    #[error(transparent)]
    Maps(#[from] MapsError),
    #[error(transparent)]
    Statistics(#[from] StatisticsError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// The signals that end the agent.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one of them, and names it.
    async fn signal(&mut self) -> &'static str {
        select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
