//! Another policy in the place of the one that is in use: the file read again, or the policy
//! before.
//!
//! What takes long (reading, compiling, having programs verified) is done on another thread, and
//! the heartbeat goes on. The rest is quick: the policy is written where nobody looks it up,
//! rehearsed there, and put in use by one word. Whatever fails before that word changes nothing.

use std::{
    collections::VecDeque,
    future::pending,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use cors_common::tcp::handshake::Maker;
use tokio::{sync::oneshot, task::JoinHandle};
use tracing::{error, info};

use super::{
    live::{Agent, Policy, names},
    protocol::{Answer, Loaded, Refused},
    service,
    status::{Reload, Reloads as Counts},
    uneven,
};
use crate::{
    compile::{
        self, Image,
        golden::{self, Golden},
    },
    config::{self, Config, difference},
    cors::Rules,
    kernel::{
        attach::Attachment,
        checks::{check, handshake},
        grow::{Larger, Seed},
        policy::LIMITS,
        rehearsal::Rehearsal,
    },
};

/// What is to be put in use.
#[derive(Debug)]
pub(super) enum Source {
    /// What the file says now.
    File,
    /// The policy before the one that is in use.
    Former,
}

/// A reload that somebody wants.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) source: Source,
    pub(super) dry_run: bool,
    /// Who wants it, for the log and the status.
    pub(super) by: &'static str,
    /// Who waits for what comes of it.
    pub(super) tell: Option<oneshot::Sender<Answer>>,
}

/// Reloads, one after the other.
#[derive(Default)]
pub(super) struct Reloads {
    waiting: VecDeque<Wanted>,
    job: Option<(Wanted, JoinHandle<Done>)>,
    /// What the last one that was not only asked about came to.
    pub(super) last: Option<Reload>,
    pub(super) counts: Counts,
    /// Kept for the next one: the kernel takes long to verify it.
    rehearsal: Option<Rehearsal>,
}

/// What comes back from the other thread.
pub(super) struct Done {
    rehearsal: Option<Rehearsal>,
    result: Result<Candidate, Refused>,
}

/// A policy that may be put in use.
struct Candidate {
    config: Arc<Config>,
    image: Image,
    /// The same for the slow path, in proxy mode.
    rules: Option<Rules>,
    golden: Vec<Golden>,
    larger: Option<Larger>,
    warnings: String,
}

/// What the other thread works with.
struct Job {
    config: Option<Arc<Config>>,
    path: PathBuf,
    dry_run: bool,
    seed: Seed,
    rehearsal: Option<Rehearsal>,
}

impl Reloads {
    /// Waits until the other thread has done its part; without one, for ever.
    pub(super) async fn done(&mut self) -> (Wanted, Done) {
        let Some((_, task)) = &mut self.job else { return pending().await };
        let done = task.await.unwrap_or_else(|error| Done {
            rehearsal: None,
            result: Err(Refused::because(format!("the reload broke off: {error}"))),
        });
        match self.job.take() {
            Some((wanted, _)) => (wanted, done),
            None => pending().await,
        }
    }
}

impl Agent {
    /// Begins a reload, or lets it wait for its turn.
    pub(super) fn want_reload(&mut self, wanted: Wanted) {
        // The file is read when it is this one's turn; another that only waits would read the same.
        let same = |other: &Wanted| {
            matches!((&other.source, &wanted.source), (Source::File, Source::File))
                && other.tell.is_none()
                && wanted.tell.is_none()
        };
        if !self.reloads.waiting.iter().any(same) {
            self.reloads.waiting.push_back(wanted);
        }
        self.next_reload();
    }

    fn next_reload(&mut self) {
        while self.reloads.job.is_none()
            && let Some(wanted) = self.reloads.waiting.pop_front()
        {
            let config = match (&wanted.source, &self.policy.former) {
                (Source::File, _) => None,
                (Source::Former, Some(former)) => Some(Arc::clone(former)),
                (Source::Former, None) => {
                    let reason = "there is no policy to go back to: this is the first one";
                    self.end_reload(wanted, Err(Refused::because(reason)));
                    continue;
                }
            };
            let seed = match self.programs.seed() {
                Ok(seed) => seed,
                Err(error) => {
                    self.end_reload(wanted, Err(Refused::because(error)));
                    continue;
                }
            };
            let job = Job {
                config,
                path: self.source.clone(),
                dry_run: wanted.dry_run,
                seed,
                rehearsal: self.reloads.rehearsal.take(),
            };
            if !wanted.dry_run {
                service::reloading();
            }
            self.reloads.job = Some((wanted, tokio::task::spawn_blocking(|| job.run())));
        }
    }

    /// The rest of a reload, and the begin of the next.
    pub(super) fn finish_reload(&mut self, wanted: Wanted, done: Done) {
        let Done { mut rehearsal, result } = done;
        let result = result.and_then(|candidate| {
            if wanted.dry_run {
                self.would_do(&candidate)
            } else {
                self.put_in_use(candidate, &mut rehearsal)
            }
        });
        self.reloads.rehearsal = rehearsal;
        self.end_reload(wanted, result);
        self.next_reload();
    }

    /// Says what came of it: to the log, the status, and whoever waits for it.
    fn end_reload(&mut self, wanted: Wanted, result: Result<Loaded, Refused>) {
        let Wanted { dry_run, by, tell, .. } = wanted;
        if !dry_run {
            match &result {
                Ok(Loaded { generation, difference, rehearsed, warnings, .. }) => {
                    let [new, gone, changed] = difference.counts();
                    info!(
                        "generation {generation} is in use, by {by}: policies new {new}, gone \
                         {gone}, changed {changed}; {rehearsed} requests rehearsed{}",
                        below(warnings)
                    );
                }
                Err(Refused { reason, report, .. }) => error!(
                    "generation {} stays in use: the one wanted by {by} is refused: {reason}{}",
                    self.policy.generation,
                    below(report)
                ),
            }
            let counts = &mut self.reloads.counts;
            *(if result.is_ok() { &mut counts.done } else { &mut counts.refused }) += 1;
            self.reloads.last = Some(Reload {
                at: seconds(SystemTime::now()),
                by: by.to_owned(),
                error: result.as_ref().err().map(|refused| refused.reason.clone()),
            });
            self.tell_ready();
        }
        if let Some(tell) = tell {
            // Whoever asked may be gone.
            let _ = tell.send(match result {
                Ok(loaded) => Answer::Loaded(loaded),
                Err(refused) => Answer::Refused(refused),
            });
        }
    }

    fn would_do(&self, candidate: &Candidate) -> Result<Loaded, Refused> {
        self.check_server(&candidate.config)?;
        Ok(Loaded {
            dry_run: true,
            generation: self.policy.generation,
            difference: difference::between(&self.policy.config, &candidate.config),
            rehearsed: 0,
            warnings: candidate.warnings.clone(),
        })
    }

    fn put_in_use(
        &mut self,
        candidate: Candidate,
        rehearsal: &mut Option<Rehearsal>,
    ) -> Result<Loaded, Refused> {
        let maker = self.check_server(&candidate.config)?;
        let Candidate { config, image, rules, golden, larger, warnings } = candidate;
        let prepared = match &larger {
            Some(larger) => larger.prepare(&image),
            None => self.programs.prepare(&image),
        };
        let prepared = prepared.map_err(Refused::because)?;
        if let Some(rehearsal) = rehearsal {
            rehearsal.play(&prepared, &image, &golden).map_err(Refused::because)?;
        }
        let former = larger.map(|larger| self.programs.become_larger(larger));
        let counted = self.programs.count_for(&prepared, &names(&config));
        if let Err(error) = counted {
            error!("what is counted for each policy is wrong from now on: {error}");
        }
        let generation = self.programs.activate(prepared);
        self.programs.state.set_tracking(config.server.track);
        self.programs.state.set_handshake(maker);
        if let (Some(proxy), Some(rules)) = (&self.proxy, rules) {
            proxy.set_policy(rules);
        }
        if let Some(former) = former {
            self.network.take_over(&self.programs);
            match self.programs.messages() {
                Ok(messages) => self.messages = messages,
                Err(error) => error!("{error}"),
            }
            if let Err(error) = self.programs.let_go(former) {
                error!("{error}");
            }
            match self.programs.decisions() {
                Ok(decisions) => self.tracing.take_over(decisions),
                Err(error) => error!("{error}"),
            }
        }
        let difference = difference::between(&self.policy.config, &config);
        let names = self.interfaces(&config);
        let stays = |on: &Attachment| names.contains(&on.interface);
        if !self.network.attachments().iter().all(stays) {
            uneven::reset_all(&self.programs.uneven(), "an interface is not named any more");
        }
        self.network.set(names, config.server.protected());
        self.policy = Policy {
            generation,
            summary: image.summary,
            loaded: SystemTime::now(),
            former: Some(Arc::clone(&self.policy.config)),
            config,
        };
        self.refresh();
        Ok(Loaded { dry_run: false, generation, difference, rehearsed: golden.len(), warnings })
    }

    /// Whether `[server]` can become what a file says while the agent runs, and who makes the
    /// handshakes then.
    fn check_server(&self, config: &Config) -> Result<Maker, Refused> {
        if config.server.proxy != self.policy.config.server.proxy {
            let reason = "`upstream` cannot change while the agent runs, nor what else is said \
                          of the proxy: restart it";
            return Err(Refused::because(reason));
        }
        if config.admin != self.policy.config.admin {
            let reason = "`admin.listen` cannot change while the agent runs: restart it";
            return Err(Refused::because(reason));
        }
        if self.proxy.is_some() && config.server.listen != self.policy.config.server.listen {
            let reason = "`listen` cannot change while the proxy runs on its sockets: restart it";
            return Err(Refused::because(reason));
        }
        let mut new = self.interfaces(config);
        if new.is_empty() {
            check(&[], self.network.wish(), &[]).map_err(Refused::because)?;
        }
        // On the others is a program already, and it is ours.
        new.retain(|name| !self.network.has(name));
        if !new.is_empty() {
            check(&new, self.network.wish(), &[]).map_err(Refused::because)?;
        }
        handshake(&config.server, self.programs.features()).map_err(Refused::because)
    }
}

impl Job {
    fn run(self) -> Done {
        let Self { config, path, dry_run, seed, mut rehearsal } = self;
        let result = candidate(config, &path).and_then(|mut candidate| {
            if !dry_run {
                candidate.larger = seed.larger_for(&candidate.image).map_err(Refused::because)?;
                if candidate.larger.is_some() || rehearsal.is_none() {
                    let loaded = seed.rehearsal(candidate.larger.as_ref());
                    rehearsal = Some(loaded.map_err(Refused::because)?);
                }
            }
            Ok(candidate)
        });
        Done { rehearsal, result }
    }
}

/// Reads the file, unless there is a policy already, and compiles.
fn candidate(config: Option<Arc<Config>>, path: &Path) -> Result<Candidate, Refused> {
    let mut warnings = String::new();
    let config = if let Some(config) = config {
        config
    } else {
        let config::Loaded { source, checked } = config::load(path).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            Refused::because(format!("{error}{}", cause.unwrap_or_default()))
        })?;
        let problems = checked.problems();
        let report = config::report::human(&path.to_string_lossy(), &source, &problems, false);
        match checked.config {
            Ok(config) => {
                warnings = report;
                Arc::new(config)
            }
            Err(errors) => {
                let reason = format!(
                    "{} has {} {}",
                    path.display(),
                    errors.len(),
                    if errors.len() == 1 { "error" } else { "errors" }
                );
                return Err(Refused { reason, report, problems });
            }
        }
    };
    let image = compile::compile(&config, LIMITS).map_err(Refused::because)?;
    let rules = config.server.proxy.is_some().then(|| Rules::new(&config, LIMITS)).transpose();
    let rules = rules.map_err(Refused::because)?;
    let golden = golden::derive(&config);
    Ok(Candidate { config, image, rules, golden, larger: None, warnings })
}

/// A text on lines of its own behind a sentence.
fn below(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() { String::new() } else { format!("\n{text}") }
}

/// Seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
