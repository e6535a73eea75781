//! The agent while it runs, and how it comes to that: check, compile, load, attach.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use cors_common::cookie::Keys;
use tokio::{
    net::UnixStream,
    time::{self, sleep},
};
use tracing::{error, info, warn};

use super::{
    control::{Asked, Control},
    follow::Follow,
    gather,
    heartbeat::{Heartbeat, LEASE},
    network::{Network, NetworkError, View},
    protocol::{Answer, Effective, Request},
    reload::{Reloads, Source, Wanted},
    run::{RunError, Setup, system},
    service,
    startup::{Startup, Stopwatch},
    succession::Estate,
    traces::Tracing,
    uneven, upkeep,
};
use crate::{
    compile::{self, Image, Summary},
    config::model::Config,
    host::watch::Watch,
    kernel::{
        Programs, ProgramsError, Sizes,
        checks::{Refusal, check, handshake},
        messages::Messages,
        pins::Pins,
        policy::LIMITS,
    },
    proxy::{Proxy, Sockets},
};

/// Everything that lives as long as the agent runs.
pub(super) struct Agent {
    pub(super) source: PathBuf,
    pub(super) measure: bool,
    pub(super) drain: Duration,
    /// Where what outlives the agent has its names.
    pin: Option<PathBuf>,
    // Before the programs, so that nothing is attached any more when their maps go.
    pub(super) network: Network,
    pub(super) programs: Programs,
    pub(super) messages: Messages,
    pub(super) tracing: Tracing,
    /// Serves the protected sockets, in proxy mode.
    pub(super) proxy: Option<Proxy>,
    pub(super) heartbeat: Heartbeat,
    /// None where it broke; the next beat makes another.
    pub(super) watch: Option<Watch>,
    /// So many beats are left before the network is read anew.
    pub(super) beats: u32,
    /// What is wrong with the network and was said.
    pub(super) trouble: Option<String>,
    /// Interfaces of the command line; none: those of the policy file.
    named: Vec<String>,
    pub(super) policy: Policy,
    pub(super) reloads: Reloads,
    pub(super) control: Control,
    /// What is handed over to another agent.
    pub(super) estate: Estate,
    /// Tells when the policy file changes, where that is wanted.
    pub(super) follow: Option<Follow>,
    pub(super) started: Instant,
    pub(super) born: SystemTime,
    pub(super) startup: Startup,
}

/// The policy that is in use.
pub(super) struct Policy {
    pub(super) generation: u32,
    pub(super) summary: Summary,
    pub(super) loaded: SystemTime,
    /// What the file said: to tell what another one would change.
    pub(super) config: Arc<Config>,
    /// What it said before.
    pub(super) former: Option<Arc<Config>>,
}

impl Agent {
    /// On an error everything that was attached before it is detached.
    pub(super) fn start(
        setup: Setup,
        there: &mut Sockets,
        stopwatch: &mut Stopwatch,
    ) -> Result<Self, RunError> {
        let started = Instant::now();
        let Setup {
            config,
            source,
            interfaces: named,
            xdp,
            measure,
            drain,
            pin,
            follow,
            file_us,
            ..
        } = setup;
        let config = Arc::new(config);
        let mut startup = Startup { file_us, ..Startup::default() };
        let interfaces = interfaces(&named, &config);
        let pins = pin.as_deref().map(Pins::open).transpose()?;
        let ours = pins.as_ref().map(Pins::interfaces).unwrap_or_default();
        check(&interfaces, xdp, &ours)?;
        startup.other_us = stopwatch.lap();
        let image = compile::compile(&config, LIMITS)?;
        startup.compile_us = stopwatch.lap();
        // Before anything is answered: the driver makes handshakes only where somebody listens.
        let is_proxy = config.server.proxy.is_some();
        let proxy = is_proxy.then(|| Proxy::start_on(&config, there)).transpose()?;
        let estate = Estate::default();
        for (_, socket) in proxy.iter().flat_map(Proxy::sockets) {
            estate.add(socket.try_clone().map_err(system("a socket cannot be kept"))?.into());
        }
        let network = Network::new(interfaces, config.server.protected(), xdp, !measure);
        let follow = follow.then(|| Follow::new(&source)).transpose()?;
        let watch = Watch::new().map_err(system("changes of addresses cannot be watched"))?;
        let mut programs = load(measure, &image, pins)?;
        let maker = handshake(&config.server, programs.features())?;
        let messages = programs.messages()?;
        let tracing = Tracing::new(programs.decisions()?);
        startup.programs_us = stopwatch.lap();
        let prepared = programs.prepare(&image)?;
        programs.count_for(&prepared, &names(&config)).map_err(NetworkError::from)?;
        let generation = programs.activate(prepared);
        programs.state.set_tracking(config.server.track);
        programs.state.set_handshake(maker);
        startup.policy_us = stopwatch.lap();
        let mut agent = Self {
            source,
            measure,
            drain,
            pin,
            network,
            programs,
            messages,
            tracing,
            proxy,
            heartbeat: Heartbeat::default(),
            watch: Some(watch),
            beats: upkeep::BEATS,
            trouble: None,
            named,
            policy: Policy {
                generation,
                summary: image.summary,
                loaded: SystemTime::now(),
                config,
                former: None,
            },
            reloads: Reloads::default(),
            control: Control::new(estate.clone()),
            estate,
            follow,
            started,
            born: SystemTime::now(),
            startup,
        };
        let view = View::read()?;
        agent.network.describe(&view, &mut agent.programs)?;
        if agent.policy.config.server.is_behind_a_header() {
            info!("connections begin with a PROXY header: the driver leaves them to the proxy");
        } else if agent.programs.protected().is_empty() {
            warn!("nothing that `listen` covers is an address here: nothing is protected yet");
        }
        agent.beat()?;
        agent.network.attach(&view, &agent.programs)?;
        Ok(agent)
    }

    /// From here on it is this agent that has the interfaces, and what one before it has left there
    /// and this one does not use goes.
    pub(super) fn settle(&mut self) {
        self.programs.forget_all_but(self.network.attachments());
        self.network.set_stays(false);
    }

    /// Whether what is attached outlives the agent.
    pub(super) const fn pins(&self) -> bool {
        self.pin.is_some()
    }

    /// Whether everything is left as it is for the agent that comes next, which needs a place to
    /// find it; see [`Agent::depart`].
    pub(super) fn leaves(&self) -> bool {
        let Some(pin) = &self.pin else { return false };
        info!(
            "leaving the programs attached, in {}: they pass everything in {} s unless an agent \
             takes over",
            pin.display(),
            LEASE.as_secs()
        );
        true
    }

    /// Detaches, and removes what would have outlived the agent.
    pub(super) fn detach(self) -> Result<(), RunError> {
        let pin = self.pin.clone();
        uneven::reset_all(&self.programs.uneven(), "the agent stops");
        drop(self);
        if let Some(pin) = pin {
            Pins::remove(&pin)?;
        }
        Ok(())
    }

    /// Gives open connections the time to make their next request; returns until when, or nothing
    /// where the agent is to end at once.
    pub(super) fn stop(&mut self, name: &str, again: bool) -> Option<time::Instant> {
        let drain = self.drain;
        self.heartbeat.drain(&mut self.programs.state);
        if let Some(proxy) = &mut self.proxy {
            proxy.drain();
            self.estate.clear();
        }
        service::stopping();
        if again || drain.is_zero() {
            info!("stopping at once, by {name}");
            return None;
        }
        info!("stopping, by {name}: open connections have {drain:?} for their next request");
        Some(time::Instant::now() + drain)
    }

    /// Says that it is ready, with a line on what it does.
    pub(super) fn tell_ready(&self) {
        let Policy { generation, summary, .. } = &self.policy;
        let on: Vec<_> = self.network.attachments().iter().map(|on| &*on.interface).collect();
        let failed = self.reloads.last.as_ref().and_then(|last| last.error.as_deref());
        service::ready(&format!(
            "generation {generation} ({} policies, {} origins) on {}{}",
            summary.policies,
            summary.origins,
            on.join(", "),
            failed.map(|error| format!("; last reload refused: {error}")).unwrap_or_default(),
        ));
    }

    /// Why nothing is answered at the moment; nothing where it is.
    pub(super) fn idle(&self) -> Option<String> {
        let nowhere = || {
            let attached = !self.network.attachments().is_empty();
            (!attached).then(|| "none of the interfaces is there".to_owned())
        };
        self.heartbeat.idle().or_else(nowhere)
    }

    /// The interfaces that a policy file stands for.
    pub(super) fn interfaces(&self, config: &Config) -> Vec<String> {
        interfaces(&self.named, config)
    }

    /// Serves whoever connected to the socket.
    pub(super) async fn serve(&self, connection: io::Result<UnixStream>) {
        match connection {
            Ok(connection) => self.control.serve(connection),
            Err(error) => {
                error!("a connection to the agent's socket fails: {error}");
                // As it does where there are no descriptors left: not at once again.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Does what somebody asks for on the socket.
    pub(super) fn answer(&mut self, Asked { request, answer }: Asked) {
        let reload = |source, dry_run, by| Wanted { source, dry_run, by, tell: None };
        let mut wanted = match request {
            Request::Status => {
                // Whoever asked may be gone, here and below.
                let _ = answer.send(match gather::status(self) {
                    Ok(status) => Answer::Status(Box::new(status)),
                    Err(error) => Answer::Error(format!("there is no status: {error}")),
                });
                return;
            }
            Request::Policy => {
                let _ = answer
                    .send(Answer::Policy(Box::new(Effective::of(&self.policy, &self.source))));
                return;
            }
            Request::Reload { dry_run } => reload(Source::File, dry_run, "reload"),
            Request::Rollback => reload(Source::Former, false, "rollback"),
            // Answered elsewhere.
            Request::Trace { .. } | Request::Sockets | Request::Leave => return,
        };
        wanted.tell = Some(answer);
        self.want_reload(wanted);
    }
}

/// The names of a file's policies, in its order.
pub(super) fn names(config: &Config) -> Vec<String> {
    config.policies.iter().map(|policy| policy.name.clone()).collect()
}

fn interfaces(named: &[String], config: &Config) -> Vec<String> {
    if named.is_empty() { config.server.interfaces.clone() } else { named.to_owned() }
}

/// Loads the programs, with room for the policy in their maps, and the cookie secret that was kept
/// or a new one.
fn load(measure: bool, image: &Image, pins: Option<Pins>) -> Result<Programs, RunError> {
    let sizes = Sizes::for_image(image);
    let mut secret = [0; size_of::<Keys>()];
    getrandom::fill(&mut secret)?;
    let mut keys: Keys = bytemuck::cast(secret);
    if let Some(pins) = &pins {
        keys = pins.keys(keys)?;
    }
    let mut programs = Programs::load_with(sizes, pins)
        .map_err(|error: ProgramsError| Refusal::of_programs(error, sizes))?;
    programs.state.begin(keys, measure);
    Ok(programs)
}
