//! The agent while it runs, and how it comes to that: check, compile, load, attach.

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use cors_common::cookie::Keys;
use tokio::{
    net::UnixStream,
    time::{self, sleep},
};
use tracing::{error, info, warn};

use super::{
    gather,
    heartbeat::Heartbeat,
    network::{Network, View},
    run::{RunError, Setup, system},
    startup::{Startup, Stopwatch},
    status, upkeep,
};
use crate::{
    compile::{self, Image, Summary},
    config::model::Config,
    host::watch::Watch,
    kernel::{
        Programs, ProgramsError, Sizes,
        checks::{Refusal, check},
        messages::Messages,
        policy::LIMITS,
    },
};

/// Everything that lives as long as the agent runs.
pub(super) struct Agent {
    pub(super) source: PathBuf,
    pub(super) measure: bool,
    pub(super) drain: Duration,
    // Before the programs, so that nothing is attached any more when their maps go.
    pub(super) network: Network,
    pub(super) programs: Programs,
    pub(super) messages: Messages,
    pub(super) heartbeat: Heartbeat,
    /// None where it broke; the next beat makes another.
    pub(super) watch: Option<Watch>,
    /// So many beats are left before the network is read anew.
    pub(super) beats: u32,
    /// What is wrong with the network and was said.
    pub(super) trouble: Option<String>,
    pub(super) generation: u32,
    pub(super) summary: Summary,
    pub(super) started: Instant,
    pub(super) startup: Startup,
}

impl Agent {
    /// On an error everything that was attached before it is detached.
    pub(super) fn start(setup: Setup, stopwatch: &mut Stopwatch) -> Result<Self, RunError> {
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
            beats: upkeep::BEATS,
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

    /// Gives open connections the time to make their next request; returns until when, or nothing
    /// where the agent is to end at once.
    pub(super) fn stop(&mut self, name: &str, again: bool) -> Option<time::Instant> {
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
    pub(super) async fn tell(&self, connection: io::Result<UnixStream>) {
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
