//! The ring buffer in which `edge` tells of its decisions while somebody traces them.

use std::io;

use aya::{
    Ebpf,
    maps::{MapData, MapError, RingBuf},
};
use cors_common::trace::Event;
use thiserror::Error;
use tokio::io::{Interest, unix::AsyncFd};

use super::object::LoadError;

/// Why nothing can be traced.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The object.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The ring buffer.
    #[error("the decisions of the kernel programs cannot be read: {0}")]
    Buffer(#[from] MapError),
    /// The event loop.
    #[error("the decisions of the kernel programs cannot be waited for: {0}")]
    Wait(#[from] io::Error),
}

/// The ring buffer.
pub struct Decisions(AsyncFd<RingBuf<MapData>>);

/// So many are read before something else has its turn.
const AT_ONCE: usize = 256;

impl Decisions {
    /// Must be called inside a tokio runtime.
    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self, TraceError> {
        let ring = RingBuf::try_from(super::take(ebpf, "TRACE")?)?;
        // SAFETY: the descriptor is the map's, which the buffer owns and never exchanges.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        Ok(Self(ring.map_err(io::Error::from)?))
    }

    /// Waits for decisions, each with the bytes of its request's head. Nothing is lost where the
    /// future is dropped before it is ready.
    pub async fn next(&mut self) -> io::Result<Vec<(Event, Vec<u8>)>> {
        let mut ready = self.0.readable_mut().await?;
        let ring = ready.get_inner_mut();
        let mut read = Vec::new();
        while read.len() < AT_ONCE {
            match ring.next() {
                Some(bytes) => read.extend(event(&bytes)),
                None => break,
            }
        }
        if read.len() < AT_ONCE {
            ready.clear_ready();
        }
        Ok(read)
    }
}

/// An event and the head behind it.
fn event(bytes: &[u8]) -> Option<(Event, Vec<u8>)> {
    let (event, head) = bytes.split_first_chunk::<{ size_of::<Event>() }>()?;
    let event: Event = bytemuck::pod_read_unaligned(event);
    // The kernel pads what it hands out.
    Some((event, head.get(..event.len as usize)?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_is_no_event() {
        let told = Event { len: 3, exit: 7, ..bytemuck::Zeroable::zeroed() };
        let bytes = [bytemuck::bytes_of(&told), b"abcde"].concat();
        assert_eq!(event(&bytes), Some((told, b"abc".to_vec())));
        assert_eq!(event(&bytes[..size_of::<Event>() + 2]), None);
        assert_eq!(event(&bytes[..4]), None);
    }
}
