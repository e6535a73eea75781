//! What must go on all the while: the heartbeat, and following the network.

use std::{io, time::Duration};

use tokio::time::sleep;
use tracing::{error, info};

use super::{
    live::Agent,
    run::{RunError, system},
    service,
};
use crate::host::watch::Watch;

/// So many beats after it was last read the network is read anew: not every change is told.
/// Changes of routes are not even asked for, of which a router has very many.
pub(super) const BEATS: u32 = 5;

impl Agent {
    pub(super) fn beat(&mut self) -> Result<(), RunError> {
        self.heartbeat
            .beat(&mut self.programs.state)
            .map_err(system("the clock cannot be read"))?;
        service::beat();
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
    pub(super) async fn changed(&mut self, changed: io::Result<()>) {
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
    pub(super) fn refresh(&mut self) {
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
}
