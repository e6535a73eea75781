//! The table of tracked connections: `cors-ebpf/src/table.rs` without the locks, since there is one
//! processor.

use cors_common::{
    track::{
        Track, flag,
        table::{WAYS, bucket, worth},
    },
    wire::{options::Negotiated, segment::Tuple},
};

/// The table.
#[derive(Clone, Debug)]
pub struct Tracks {
    /// All entries.
    pub(crate) entries: Vec<Track>,
}

impl Tracks {
    /// An empty table with so many entries, a power of two.
    pub fn new(entries: usize) -> Self {
        Self { entries: vec![Track::NONE; entries] }
    }

    fn bucket(&self, tuple: &Tuple) -> std::ops::Range<usize> {
        let first = bucket(tuple, self.entries.len() as u32 - 1) as usize;
        first..first + WAYS as usize
    }

    /// Where a connection's entry is.
    pub fn find(&self, tuple: &Tuple) -> Option<usize> {
        self.bucket(tuple).find(|place| {
            let track = &self.entries[*place];
            track.is(flag::ALIVE) && track.tuple == *tuple
        })
    }

    /// Begins to track a connection; `None` where nobody can be driven out.
    pub fn begin(
        &mut self,
        tuple: &Tuple,
        seq: u32,
        ack: u32,
        kept: Negotiated,
        second: u32,
    ) -> Option<usize> {
        let mut best = 0;
        let mut place = self.find(tuple);
        if place.is_none() {
            for at in self.bucket(tuple) {
                let track = &self.entries[at];
                let worth = if track.tuple == *tuple { u32::MAX } else { worth(track, second) };
                if worth > best {
                    best = worth;
                    place = Some(at);
                }
            }
        }
        let place = place?;
        self.entries[place].begin(tuple, seq, ack, kept, second);
        Some(place)
    }

    /// Forgets what is left of an earlier connection of the same tuple.
    pub fn forget(&mut self, tuple: &Tuple) {
        if let Some(place) = self.find(tuple) {
            self.entries[place].flags = 0;
        }
    }
}
