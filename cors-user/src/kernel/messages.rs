//! What the kernel programs say in words: anomalies, never packets.
//!
//! They come through a ring buffer (aya-log) and go into the agent's own log, no more than a few a
//! second: a refusal by the kernel may come with every packet of a flood.

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use thiserror::Error;
use tokio::io::{Interest, unix::AsyncFd};
use tracing::warn;

/// So many messages of one second are written.
const A_SECOND: u32 = 5;

/// Why nothing can be heard.
#[derive(Debug, Error)]
pub enum MessagesError {
    /// The ring buffer.
    #[error("the messages of the kernel programs cannot be read: {0}")]
    Buffer(#[from] aya_log::Error),
    /// The event loop.
    #[error("the messages of the kernel programs cannot be waited for: {0}")]
    Wait(#[from] io::Error),
}

/// The ring buffer of the programs' messages.
pub struct Messages(AsyncFd<EbpfLogger<Limited>>);

impl Messages {
    /// Must be called inside a tokio runtime.
    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self, MessagesError> {
        let logger = EbpfLogger::init_with_logger(ebpf, Limited::default())?;
        // SAFETY: the descriptor is the map's, which the logger owns and never exchanges.
        let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
        Ok(Self(logger.map_err(io::Error::from)?))
    }

    /// Waits for messages and writes them to the log. Nothing is lost where the future is dropped
    /// before it is ready.
    pub async fn write(&mut self) -> Result<(), MessagesError> {
        let mut ready = self.0.readable_mut().await?;
        ready.get_inner_mut().flush();
        ready.clear_ready();
        Ok(())
    }
}

/// The agent's log, with a limit.
#[derive(Default)]
struct Limited(Mutex<Option<Second>>);

/// One second of messages.
struct Second {
    start: Instant,
    heard: u32,
}

impl Limited {
    /// Whether one more may be written now.
    fn admits(&self, now: Instant) -> bool {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let second = match &mut *second {
            Some(second) if now.duration_since(second.start) < Duration::from_secs(1) => second,
            old => old.insert(Second { start: now, heard: 0 }),
        };
        second.heard = second.heard.saturating_add(1);
        if second.heard == A_SECOND + 1 {
            warn!("the kernel programs say more than is written here; the counters have it all");
        }
        second.heard <= A_SECOND
    }
}

impl Log for Limited {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        log::logger().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.admits(Instant::now()) {
            log::logger().log(record);
        }
    }

    fn flush(&self) {
        log::logger().flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_the_next_second_is_heard_again() {
        let limited = Limited::default();
        let start = Instant::now();
        let heard = |at: u64| {
            let now = start + Duration::from_millis(at);
            (0..100).filter(|_| limited.admits(now)).count()
        };
        assert_eq!(heard(0), A_SECOND as usize);
        assert_eq!(heard(999), 0);
        assert_eq!(heard(1000), A_SECOND as usize);
    }
}
