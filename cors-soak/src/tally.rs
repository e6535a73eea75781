//! What a run counts.

use cors_common::exit::Exit;

/// Sums over worlds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Connections.
    pub connections: u64,
    /// Requests that clients wrote.
    pub requests: u64,
    /// Preflights among them that the policy allows.
    pub allowed: u64,
    /// Those of them that the driver answered.
    pub answered: u64,
    /// Those of them that were answered on connections with timestamps.
    pub stamped: u64,
    /// Responses that clients have.
    pub responses: u64,
    /// Bytes that the server read.
    pub received: u64,
    /// Frames at the interface.
    pub frames: u64,
    /// Connections that were cut short, for a reason that was foreseen.
    pub cut: u64,
    /// Connections that a copy of a first segment opened when all was over.
    pub replays: u64,
    /// Frames by exit.
    pub exits: Vec<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            connections: 0,
            requests: 0,
            allowed: 0,
            answered: 0,
            stamped: 0,
            responses: 0,
            received: 0,
            frames: 0,
            cut: 0,
            replays: 0,
            exits: vec![0; Exit::COUNT],
        }
    }
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.requests += other.requests;
        self.allowed += other.allowed;
        self.answered += other.answered;
        self.stamped += other.stamped;
        self.responses += other.responses;
        self.received += other.received;
        self.frames += other.frames;
        self.cut += other.cut;
        self.replays += other.replays;
        for (sum, count) in self.exits.iter_mut().zip(&other.exits) {
            *sum += count;
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let share = self.answered as f64 * 100.0 / (self.allowed as f64).max(1.0);
        let mut text = format!(
            "{} connections ({} cut short as foreseen), {} requests, {} responses\n\
             {} allowed preflights, of which the driver answered {} ({share:.1} %), {} of them with \
             timestamps\n\
             {} frames at the interface, {} bytes read by the server, {} replayed hand-overs\n",
            self.connections,
            self.cut,
            self.requests,
            self.responses,
            self.allowed,
            self.answered,
            self.stamped,
            self.frames,
            self.received,
            self.replays,
        );
        for (exit, count) in Exit::ALL.iter().zip(&self.exits) {
            if *count > 0 {
                text += &format!("  {:24} {count}\n", exit.name());
            }
        }
        text
    }
}
