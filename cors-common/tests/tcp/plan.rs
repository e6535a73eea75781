//! What a client wants of its connection, and the bytes of it.

use cors_common::{exit::Exit, policy::Answer, wire::segment::Family};

use crate::support::{answer, last_answer};

/// What the client asks for at the end of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It closes once it has every answer.
    Fin,
    /// Its last preflight says `Connection: close`.
    Close,
    /// It closes behind its last request, before it has the answer.
    HalfClose,
    /// A request that is not tier 1's.
    Get,
}

/// What the client wants to have.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) family: Family,
    pub(crate) isn: u32,
    /// For each preflight, how long it and its answer are.
    pub(crate) preflights: Vec<(usize, usize)>,
    pub(crate) ending: Ending,
    /// Whether it sends a request before it has the answers to those before.
    pub(crate) pipelines: bool,
    /// Whether it rests between an answer and the next request, for which its timer stands.
    pub(crate) pauses: bool,
}

impl Plan {
    /// The bytes of a request.
    pub(crate) fn request(&self, index: usize) -> Vec<u8> {
        let Some((len, _)) = self.preflights.get(index) else {
            return b"GET / HTTP/1.1\r\n\r\n".to_vec();
        };
        let mut text = format!("OPTIONS /{index} HTTP/1.1\r\nPad: {}", "x".repeat(*len));
        text.push_str("\r\n\r\n");
        text.into_bytes()
    }

    /// No two answers are alike, so bytes at the wrong place are noticed.
    pub(crate) fn reply(&self, index: usize) -> Vec<u8> {
        let (_, len) = self.preflights[index];
        (0..len).map(|at| (index * 37 + at * 5) as u8).collect()
    }

    fn closes(&self, index: usize) -> bool {
        self.ending == Ending::Close && index + 1 == self.preflights.len()
    }

    /// Which preflight these bytes are: the shell would read them for the driver.
    pub(crate) fn read(&self, text: &[u8]) -> Result<usize, Exit> {
        (0..self.preflights.len()).find(|index| self.request(*index) == text).ok_or(
            if text.ends_with(b"\r\n\r\n") { Exit::HeadTrailing } else { Exit::HeadIncomplete },
        )
    }

    /// What the policy says to it.
    pub(crate) fn answer(&self, index: usize) -> Answer {
        let len = self.preflights[index].1;
        if self.closes(index) { last_answer(len) } else { answer(len) }
    }
}
