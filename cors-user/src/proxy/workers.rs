//! The threads that serve connections: one for each processor, each with a runtime of its own. A
//! connection stays on the thread that took it, and so do those to upstreams that it uses; nothing has
//! to be woken elsewhere.

use std::{io, num::NonZero, sync::mpsc, thread};

use tokio::runtime::{Builder, Handle};

/// How many there are to be: one for each processor that this process may run on.
pub(super) fn count() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Starts a worker, which ends when `end` does, and all that runs on it.
pub(super) fn start(
    number: usize,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<Handle> {
    let (tell, told) = mpsc::channel();
    thread::Builder::new().name(format!("proxy-{number}")).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => {
                // Nobody waits any more: there is nothing to do.
                if tell.send(Ok(runtime.handle().clone())).is_ok() {
                    runtime.block_on(end);
                }
                // A name that is being looked up holds nothing up.
                runtime.shutdown_background();
            }
            Err(error) => drop(tell.send(Err(error))),
        }
    })?;
    told.recv().unwrap_or_else(|_| Err(io::Error::other("the thread has ended")))
}
