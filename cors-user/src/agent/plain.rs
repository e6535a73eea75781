//! The proxy alone, with nothing in the kernel: for hosts where the agent has no privilege, or a
//! kernel that does not know what the programs need.
//!
//! There is no socket to ask it for its status; what it does is in its log.

use std::{future::pending, path::Path};

use tokio::{
    select,
    time::{Instant, sleep_until},
};
use tracing::{error, info};

use super::{
    run::{RunError, Setup},
    service,
    signals::{Signals, Told},
    succession,
};
use crate::{
    config::{self, Config},
    cors::Rules,
    kernel::policy::LIMITS,
    proxy::Proxy,
};

/// Serves until a signal.
pub(super) async fn run(setup: Setup, mut signals: Signals) -> Result<(), RunError> {
    let Setup { config, source, drain, mut sockets, .. } = setup;
    let mut proxy = Proxy::start_on(&config, &mut sockets)?;
    succession::keep(&proxy, &sockets);
    info!("ready: the proxy alone, nothing is answered in the driver");
    service::ready("the proxy alone");
    let mut end = None;
    loop {
        select! {
            told = signals.told() => match told {
                Told::Reload => match rules(&source, &config) {
                    Ok(rules) => {
                        proxy.set_policy(rules);
                        info!("the policy file was read again and is in use");
                    }
                    Err(reason) => error!("the policy stays as it is: {reason}"),
                },
                told if end.is_some() || drain.is_zero() => {
                    info!("stopping at once, by {}", told.name());
                    return Ok(());
                }
                told => {
                    service::stopping();
                    proxy.drain();
                    info!("stopping, by {}: requests have {drain:?} to end", told.name());
                    end = Some(Instant::now() + drain);
                }
            },
            () = until(end) => return Ok(()),
            () = proxy.drained(), if end.is_some() => return Ok(()),
        }
    }
}

/// What the file says now, where only policies have changed.
fn rules(source: &Path, running: &Config) -> Result<Rules, String> {
    let loaded = config::load(source).map_err(|error| error.to_string())?;
    let problems = config::report::human(
        &source.to_string_lossy(),
        &loaded.source,
        &loaded.checked.problems(),
        false,
    );
    let config = loaded.checked.config.map_err(|_| problems)?;
    if config.server != running.server {
        return Err("[server] cannot change while the proxy runs: restart it".to_owned());
    }
    Rules::new(&config, LIMITS).map_err(|error| error.to_string())
}

/// Waits for that instant; without one, for ever.
async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => pending().await,
    }
}
