//! A time within which something must happen.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// A time that begins with the first poll behind a stop.
#[derive(Debug, Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    running: bool,
}

impl Timer {
    pub(super) fn poll(&mut self, context: &mut Context<'_>, time: Duration) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(time)));
        if !self.running {
            sleep.as_mut().reset(Instant::now() + time);
            self.running = true;
        }
        sleep.as_mut().poll(context)
    }

    pub(super) fn stop(&mut self) {
        self.running = false;
    }
}
