//! The way between the clients and the interface: it delays, loses, repeats, reorders and cuts.

use crate::{packet::Packet, rng::Rng};

/// What a network does to frames, in cases of a thousand, until it heals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Lost.
    pub loss: u64,
    /// Delivered twice.
    pub duplicates: u64,
    /// Overtaken by others.
    pub reorders: u64,
    /// Cut into two segments, on the way up alone: of what fits the client's segment size nothing
    /// is cut on its way down, and only the kernel could send the rest of an answer again.
    pub cuts: u64,
    /// What every frame takes, in microseconds.
    pub delay: u64,
    /// What a frame may take more than that, in microseconds.
    pub jitter: u64,
    /// From here on nothing but delay happens.
    pub heals_at: u64,
}

impl Weather {
    /// Any weather.
    pub fn new(rng: &mut Rng) -> Self {
        let delay = rng.pick(&[5, 50, 200, 2000, 20_000, 60_000]);
        let jitter = rng.pick(&[0, delay / 10, delay]);
        let calm = Self { delay, jitter, ..Self::default() };
        let most = match rng.below(10) {
            0..=2 => return calm,
            3..=6 => 30,
            7 | 8 => 120,
            _ => 300,
        };
        let mut some = |of: u64| if rng.permille(600) { rng.below(of) } else { 0 };
        Self {
            loss: some(most),
            duplicates: some(most),
            reorders: some(most * 2),
            cuts: some(most),
            heals_at: 1_000_000 + some(40_000_000),
            ..calm
        }
    }
}

/// One direction.
#[derive(Clone, Debug)]
pub struct Link {
    weather: Weather,
    rng: Rng,
    /// When the last frame arrives that is in its order.
    last: u64,
}

impl Link {
    /// A way with this weather.
    pub const fn new(weather: Weather, rng: Rng) -> Self {
        Self { weather, rng, last: 0 }
    }

    /// When the frame arrives, and in which pieces.
    pub fn carry(&mut self, frame: Vec<u8>, now: u64, arrive: &mut Vec<(u64, Vec<u8>)>) {
        if now >= self.weather.heals_at {
            let at = self.in_order(now);
            arrive.push((at, frame));
            return;
        }
        if self.rng.permille(self.weather.cuts)
            && let Ok(packet) = Packet::read(&frame)
            && packet.payload.len() > 1
        {
            let len = self.rng.range(1, packet.payload.len() as u64 - 1) as usize;
            for piece in cut(packet, len) {
                self.toss(piece.frame(), now, arrive);
            }
        } else {
            self.toss(frame, now, arrive);
        }
    }

    fn in_order(&mut self, now: u64) -> u64 {
        let Weather { delay, jitter, .. } = self.weather;
        self.last = self.last.max(now + delay + self.rng.below(jitter + 1));
        self.last
    }

    fn toss(&mut self, frame: Vec<u8>, now: u64, arrive: &mut Vec<(u64, Vec<u8>)>) {
        let Weather { loss, duplicates, reorders, .. } = self.weather;
        if self.rng.permille(duplicates) {
            let late = self.rng.below(300_000);
            arrive.push((self.late(now, late), frame.clone()));
        }
        if self.rng.permille(loss) {
            return;
        }
        let at = if self.rng.permille(reorders) {
            let late = self.rng.below(40_000);
            self.late(now, late)
        } else {
            self.in_order(now)
        };
        arrive.push((at, frame));
    }

    const fn late(&self, now: u64, late: u64) -> u64 {
        now + self.weather.delay + late
    }
}

/// In two, at this byte of the payload.
fn cut(packet: Packet, at: usize) -> [Packet; 2] {
    use crate::packet::flag::{FIN, PSH};
    let mut first = packet.clone();
    first.payload.truncate(at);
    first.flags &= !(FIN | PSH);
    let mut second = packet;
    second.payload.drain(..at);
    second.seq = second.seq.wrapping_add(at as u32);
    [first, second]
}
