//! The program on top of a client's TCP: when it writes what, and what it must read.

use crate::{rng::Rng, talk::Talk};

/// After so long without a byte a client gives its connection up, in microseconds: a lost reset is
/// not sent again.
const PATIENCE: u64 = 300_000_000;

/// How a client ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It closes when it has every response.
    Closes,
    /// It closes its side behind the last request, and reads on.
    HalfCloses,
    /// It waits for the server to close, for so long.
    Waits(u64),
    /// It gives up at some time.
    Aborts(u64),
}

/// Who a response comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Driver,
    Server,
}

/// The program.
#[derive(Clone, Debug)]
pub struct Script {
    ending: Ending,
    /// It does not wait for responses.
    pipelines: bool,
    /// The longest time between a response and the next request, in microseconds.
    thinks: u64,
    /// It reads what has come only every so many microseconds; 0: at once.
    reads_every: u64,
    rng: Rng,
    // Where it is.
    request: usize,
    offset: usize,
    /// It does not write before.
    rests_until: u64,
    /// Where it has rested last.
    rested: Option<(usize, usize)>,
    /// How long it waits for a `100 Continue`.
    continues_at: Option<u64>,
    asleep_until: u64,
    /// Bytes of the response that is being read, and whose it may be.
    read: usize,
    may_be: [bool; 2],
    got_end: bool,
    idle_since: Option<u64>,
    /// When something was read or written last.
    active_at: u64,
    /// It has nothing more to do.
    pub is_over: bool,
}

impl Script {
    /// A program with habits of its own.
    pub fn new(rng: &mut Rng) -> Self {
        let ending = match rng.below(20) {
            0..=10 => Ending::Closes,
            11..=14 => Ending::HalfCloses,
            15..=18 => Ending::Waits(rng.range(1_000, 20_000_000)),
            _ => Ending::Aborts(rng.range(100, 3_000_000)),
        };
        let thinks = rng.pick(&[0, 0, 1000, 50_000, 1_000_000, 8_000_000]);
        let pipelines = rng.permille(120);
        // Who pipelines reads at once: what it has read is what it has got, then.
        let reads_late = !pipelines && rng.permille(60);
        Self {
            ending,
            pipelines,
            thinks,
            reads_every: if reads_late { rng.range(1000, 400_000) } else { 0 },
            rng: rng.fork(),
            request: 0,
            offset: 0,
            rests_until: 0,
            rested: None,
            continues_at: None,
            asleep_until: 0,
            read: 0,
            may_be: [true; 2],
            got_end: false,
            idle_since: None,
            active_at: 0,
            is_over: false,
        }
    }

    /// It gives up so long after this.
    pub const fn begin(&mut self, now: u64) {
        self.active_at = now;
        if let Ending::Aborts(after) = &mut self.ending {
            *after += now;
        }
    }

    /// Whether it does not read now.
    pub const fn is_asleep(&mut self, now: u64) -> bool {
        if self.reads_every == 0 || now >= self.asleep_until {
            self.asleep_until = now + self.reads_every;
            return false;
        }
        true
    }

    /// When it does something by itself.
    pub fn next_at(&self, now: u64) -> Option<u64> {
        if self.is_over {
            return None;
        }
        let given_up = if let Ending::Aborts(at) = self.ending { Some(at) } else { None };
        let waited = match (self.ending, self.idle_since) {
            (Ending::Waits(long), Some(since)) => Some(since + long),
            _ => None,
        };
        let awake = (self.reads_every != 0).then_some(self.asleep_until);
        let tired = Some(self.active_at + PATIENCE);
        [Some(self.rests_until), tired, self.continues_at, given_up, waited, awake]
            .into_iter()
            .flatten()
            .filter(|at| *at > now)
            .min()
    }

    // === Reading ===

    /// Bytes came.
    pub fn take(&mut self, mut bytes: &[u8], talk: &mut Talk, now: u64) -> Result<(), String> {
        self.active_at = now;
        while !bytes.is_empty() {
            let at = talk.completed;
            let exchange = talk.exchanges.get(at).filter(|exchange| exchange.is_sent);
            let Some(exchange) = exchange else {
                return Err(format!(
                    "a response to nothing, behind {at}: {:?}",
                    String::from_utf8_lossy(&bytes[..bytes.len().min(60)])
                ));
            };
            let driver = exchange.request.driver.as_deref().unwrap_or_default();
            let candidates = [driver, &exchange.response.bytes];
            // As far as one of the two is as long as what is read.
            let lens = candidates.map(|text| text.len().saturating_sub(self.read));
            let most = (0..2).filter(|i| self.may_be[*i]).map(|i| lens[i]).filter(|len| *len > 0);
            let len = most.min().unwrap_or(0).min(bytes.len());
            let (here, behind) = bytes.split_at(len);
            for (may_be, text) in self.may_be.iter_mut().zip(candidates) {
                *may_be &= text.get(self.read..self.read + len) == Some(here) && len > 0;
            }
            if self.may_be == [false; 2] {
                return Err(format!(
                    "from byte {} the response to request {at} is {:?}",
                    self.read,
                    String::from_utf8_lossy(&bytes[..bytes.len().min(60)])
                ));
            }
            self.read += len;
            bytes = behind;
            let by =
                [By::Driver, By::Server].into_iter().zip(candidates).zip(self.may_be).find_map(
                    |((by, text), may_be)| (may_be && text.len() == self.read).then_some(by),
                );
            if by == Some(By::Server) && exchange.response.until_close {
                // More may come, and must not.
                continue;
            }
            if let Some(by) = by {
                self.complete(by, talk, now)?;
            } else if self.read >= exchange.response.interim && exchange.response.interim > 0 {
                self.continues_at = self.continues_at.map(|at| at.min(now));
            }
        }
        Ok(())
    }

    fn complete(&mut self, by: By, talk: &mut Talk, now: u64) -> Result<(), String> {
        let at = talk.completed;
        let exchange = &talk.exchanges[at];
        let (seen, answered) = (exchange.is_seen, exchange.is_answered);
        if (by == By::Driver) != answered || (by == By::Server) != seen {
            return Err(format!(
                "the response to request {at} is the {by:?}'s; answered: {answered}, seen: {seen}"
            ));
        }
        talk.completed += 1;
        self.read = 0;
        self.may_be = [true; 2];
        if self.thinks > 0 && !self.pipelines {
            self.rests_until = now + self.rng.below(self.thinks);
        }
        Ok(())
    }

    /// The server has closed.
    pub fn take_end(&mut self, talk: &mut Talk) -> Result<(), String> {
        if self.got_end {
            return Ok(());
        }
        self.got_end = true;
        let Some(exchange) = talk.exchanges.get(talk.completed) else { return Ok(()) };
        if exchange.response.until_close && self.read == exchange.response.bytes.len() {
            return self.complete(By::Server, talk, 0);
        }
        let driver_closed = talk.completed > 0
            && talk.exchanges[talk.completed - 1].is_answered
            && talk.exchanges[talk.completed - 1].request.closes;
        if talk.cut.is_none() && !driver_closed {
            return Err(format!("the end comes in front of response {}", talk.completed));
        }
        Ok(())
    }

    // === Writing ===

    /// What is to be written now.
    pub fn next_bytes<'a>(&mut self, talk: &'a Talk, now: u64) -> Option<&'a [u8]> {
        let exchange = talk.exchanges.get(self.request)?;
        if self.got_end || now < self.rests_until {
            return None;
        }
        let waits = !self.pipelines || exchange.request.is_raw;
        if self.offset == 0 && waits && talk.completed < self.request {
            return None;
        }
        if self.request > 0 {
            let before = &talk.exchanges[self.request - 1];
            // Behind a response that closes there is no other request; whoever pipelines may have
            // sent it already.
            if before.response.closes && talk.completed >= self.request && before.is_seen {
                return None;
            }
            if before.request.upgrades && !before.is_seen {
                return None;
            }
        }
        let request = &exchange.request;
        if request.waits_at == Some(self.offset) {
            let until = *self.continues_at.get_or_insert(now + 1_000_000);
            if now < until && talk.completed <= self.request {
                return None;
            }
        }
        let place = (self.request, self.offset);
        let rest = request.rests.iter().find(|(at, _)| *at == self.offset);
        if let Some((_, rest)) = rest
            && self.rested != Some(place)
        {
            self.rested = Some(place);
            self.rests_until = now + rest;
            return None;
        }
        let stops = request.rests.iter().map(|(at, _)| *at).chain(request.waits_at);
        let end = stops.filter(|at| *at > self.offset).min().unwrap_or(request.bytes.len());
        Some(&request.bytes[self.offset..end])
    }

    /// So much of it was written.
    pub fn written(&mut self, len: usize, talk: &mut Talk, now: u64) {
        self.active_at = now;
        let exchange = &mut talk.exchanges[self.request];
        exchange.is_sent = true;
        self.offset += len;
        if self.offset == exchange.request.bytes.len() {
            self.request += 1;
            self.offset = 0;
            self.continues_at = None;
            // Who does not wait for a response often waits for something else: the next request
            // then comes when this one was acknowledged, and is not answered.
            if self.pipelines && self.rng.permille(500) {
                self.rests_until = now + self.rng.below(400_000);
            }
        }
    }

    /// Whether it has waited for too long.
    pub const fn is_tired(&self, now: u64) -> bool {
        now >= self.active_at + PATIENCE
    }

    /// Whether it gives up now.
    pub const fn aborts(&self, now: u64) -> bool {
        if let Ending::Aborts(at) = self.ending { now >= at } else { false }
    }

    /// Whether its TCP gives up a connection that was cut, and that it has closed: a kernel does not
    /// send its FIN for ever, as this one does.
    pub const fn is_forgotten(&self, talk: &Talk, now: u64) -> bool {
        talk.cut.is_some() && now >= self.active_at + 2 * PATIENCE
    }

    /// Whether it closes now.
    pub fn closes(&mut self, talk: &Talk, now: u64) -> bool {
        // What it has begun to write it writes to its end, but for a server that has closed.
        if self.got_end || self.is_tired(now) {
            return true;
        }
        let all = talk.exchanges.len();
        let ends_early = talk.completed > 0 && talk.completed < all && self.offset == 0 && {
            let last = &talk.exchanges[talk.completed - 1];
            last.response.closes && last.is_seen && self.request <= talk.completed
        };
        if self.ending == Ending::HalfCloses {
            return self.request == all || ends_early;
        }
        if talk.completed < all && !ends_early {
            return false;
        }
        match self.ending {
            Ending::Waits(long) => now >= *self.idle_since.get_or_insert(now) + long,
            Ending::Closes | Ending::HalfCloses | Ending::Aborts(_) => true,
        }
    }
}
