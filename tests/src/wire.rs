//! A bad cable: two interfaces joined by threads that lose, double, reorder or delay frames.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{Random, packet, tap::Tap};

/// How long a direction may be silent before frames that are held back go on.
const SILENCE: Duration = Duration::from_millis(2);

/// What happens to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Deliver,
    /// It is lost.
    Drop,
    /// It arrives twice.
    Duplicate,
    /// It arrives after so many later ones, or when nothing else comes.
    Overtaken(u8),
}

/// Decides the fate of each frame of one direction.
pub type Script = Box<dyn FnMut(&[u8]) -> Fate + Send>;

/// Everything arrives.
pub fn perfect() -> Script {
    Box::new(|_| Fate::Deliver)
}

/// In so many of a thousand cases each, TCP segments are lost, doubled and overtaken. Other
/// frames arrive: a lost neighbour solicitation costs seconds and teaches nothing.
pub fn bad(seed: u64, lost: u64, doubled: u64, overtaken: u64) -> Script {
    let mut random = Random::new(seed);
    Box::new(move |frame| {
        if packet::parse(frame).is_none() {
            Fate::Deliver
        } else if random.chance(lost) {
            Fate::Drop
        } else if random.chance(doubled) {
            Fate::Duplicate
        } else if random.chance(overtaken) {
            Fate::Overtaken(3)
        } else {
            Fate::Deliver
        }
    })
}

/// Does something to the TCP segments of one direction with these numbers, from 0.
pub fn segments(numbers: &'static [usize], fate: Fate) -> Script {
    let mut number = 0;
    Box::new(move |frame| {
        if packet::parse(frame).is_none() {
            return Fate::Deliver;
        }
        number += 1;
        if numbers.contains(&(number - 1)) { fate } else { Fate::Deliver }
    })
}

/// The cable; pulled when dropped.
#[derive(Debug)]
pub struct Wire {
    pulled: Arc<AtomicBool>,
    disturbed: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Wire {
    /// Joins two interfaces, with a script for each direction.
    pub fn join(left: &Tap, right: &Tap, to_right: Script, to_left: Script) -> Self {
        let pulled = Arc::<AtomicBool>::default();
        let disturbed = Arc::<AtomicU64>::default();
        let threads = [(left, right, to_right), (right, left, to_left)]
            .map(|(from, to, script)| {
                let (from, to) = (from.clone(), to.clone());
                let (pulled, disturbed) = (Arc::clone(&pulled), Arc::clone(&disturbed));
                thread::spawn(move || carry(&from, &to, script, &pulled, &disturbed))
            })
            .into();
        Self { pulled, disturbed, threads }
    }

    /// How many frames did not simply arrive.
    pub fn disturbed(&self) -> u64 {
        self.disturbed.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.pulled.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn carry(from: &Tap, to: &Tap, mut script: Script, pulled: &AtomicBool, disturbed: &AtomicU64) {
    let mut held: Vec<(u8, Vec<u8>)> = Vec::new();
    while !pulled.load(Ordering::Relaxed) {
        let Some(frame) = from.receive(SILENCE) else {
            for (_, frame) in held.drain(..) {
                to.send(&frame);
            }
            continue;
        };
        let fate = script(&frame);
        if fate != Fate::Deliver {
            disturbed.fetch_add(1, Ordering::Relaxed);
        }
        match fate {
            Fate::Drop => continue,
            Fate::Overtaken(by) => {
                held.push((by, frame));
                continue;
            }
            Fate::Duplicate => to.send(&frame),
            Fate::Deliver => {}
        }
        to.send(&frame);
        held.retain_mut(|(by, frame)| {
            *by = by.saturating_sub(1);
            if *by == 0 {
                to.send(frame);
            }
            *by > 0
        });
    }
}
