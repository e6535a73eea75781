//! The program behind the listener: records every byte, reads requests with a parser of its own,
//! and answers each with the response that was made for its number.

use std::collections::VecDeque;

use cors_common::wire::segment::Tuple;

use crate::{
    kernel::socket::Socket,
    parser::{Found, Parser},
    talk::Talk,
};

/// A part of a response that is to be written.
#[derive(Clone, Copy, Debug)]
struct Job {
    exchange: usize,
    at: usize,
    end: usize,
    /// Not before.
    from: u64,
    /// Places at which it has rested.
    rested: usize,
}

/// One connection, as the server sees it.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// Whose.
    pub tuple: Tuple,
    /// Which talk it is.
    pub talk: usize,
    parser: Parser,
    /// Which request is being read, and how much of it was.
    request: usize,
    offset: usize,
    jobs: VecDeque<Job>,
    /// When it was idle for so long it closes, in microseconds.
    patience: u64,
    quiet_since: u64,
    /// Nothing is read before.
    asleep_until: u64,
    has_closed: bool,
    /// What was read, in all.
    pub received: u64,
}

impl Conversation {
    /// A connection that was just accepted.
    pub const fn new(tuple: Tuple, talk: usize, patience: u64, now: u64) -> Self {
        Self {
            tuple,
            talk,
            parser: Parser::new(),
            request: 0,
            offset: 0,
            jobs: VecDeque::new(),
            patience,
            quiet_since: now,
            asleep_until: 0,
            has_closed: false,
            received: 0,
        }
    }

    /// The server does not read for a while.
    pub const fn sleep_until(&mut self, until: u64) {
        self.asleep_until = until;
    }

    /// When it does something by itself.
    pub fn next_at(&self, socket: &Socket) -> Option<u64> {
        if self.asleep_until != 0 {
            return Some(self.asleep_until);
        }
        let job = self.jobs.front().map(|job| job.from);
        let idle = (self.jobs.is_empty() && socket.may_write())
            .then_some(self.quiet_since + self.patience);
        [job, idle].into_iter().flatten().min()
    }

    /// Reads, writes and closes.
    pub fn run(&mut self, socket: &mut Socket, talk: &mut Talk, now: u64) -> Result<(), String> {
        if now < self.asleep_until {
            return Ok(());
        }
        self.asleep_until = 0;
        let data = socket.read();
        if !data.is_empty() {
            self.quiet_since = now;
            self.received += data.len() as u64;
            self.take(&data, talk, now)?;
        }
        if socket.was_reset {
            talk.cut("the client reset");
        }
        while self.write(socket, talk, now) {
            self.quiet_since = now;
        }
        if self.jobs.is_empty() && socket.may_write() {
            if socket.is_at_end() {
                socket.close(now);
                self.has_closed = true;
            } else if now >= self.quiet_since + self.patience {
                talk.cut("the server grew tired");
                socket.close(now);
                self.has_closed = true;
            }
        }
        Ok(())
    }

    /// Every byte must be the next one of the requests that the driver did not answer.
    fn take(&mut self, mut data: &[u8], talk: &mut Talk, now: u64) -> Result<(), String> {
        while !data.is_empty() {
            if self.offset == 0 {
                // Where its flow was evicted nobody remembers that it was answered, and a client that
                // has not got the answer sends it again.
                let (was_cut, completed) = (talk.cut.is_some(), talk.completed);
                while let Some(next) = talk.exchanges.get_mut(self.request)
                    && next.is_answered
                {
                    let mut pairs = data.iter().zip(&next.request.bytes);
                    if was_cut && self.request >= completed && pairs.all(|(a, b)| a == b) {
                        next.is_answered = false;
                        break;
                    }
                    self.request += 1;
                }
            }
            let at = self.request;
            let Some(exchange) = talk.exchanges.get_mut(at) else {
                return Err(format!("{} bytes behind the last request", data.len()));
            };
            if exchange.is_seen && self.offset == 0 {
                return Err(format!("the server gets request {at} twice"));
            }
            exchange.is_seen = true;
            let rest = &exchange.request.bytes[self.offset..];
            let len = rest.len().min(data.len());
            if let Some(wrong) = (0..len).find(|i| rest[*i] != data[*i]) {
                let near = &data[wrong..data.len().min(wrong + 40)];
                return Err(format!(
                    "byte {} of request {at} came to the server as {:?}",
                    self.offset + wrong,
                    String::from_utf8_lossy(near)
                ));
            }
            let (here, behind) = data.split_at(len);
            data = behind;
            self.offset += len;
            let is_end = self.offset == exchange.request.bytes.len();
            if exchange.request.is_raw {
                if is_end {
                    self.respond(at, 0, exchange.response.bytes.len(), now);
                }
            } else {
                self.parse(here, talk, now)?;
            }
            if is_end {
                self.request += 1;
                self.offset = 0;
            }
        }
        Ok(())
    }

    fn parse(&mut self, data: &[u8], talk: &Talk, now: u64) -> Result<(), String> {
        let exchange = &talk.exchanges[self.request];
        let response = &exchange.response;
        for byte in data {
            match self.parser.take(*byte)? {
                Found::Nothing => {}
                Found::Head(head) => {
                    if head.id != exchange.id {
                        return Err(format!("the server reads request {:x} elsewhere", head.id));
                    }
                    if head.expects {
                        self.respond(self.request, 0, response.interim, now);
                    } else if response.is_early || head.is_whole {
                        self.respond(self.request, 0, response.bytes.len(), now);
                    }
                }
                Found::End if response.is_early => {}
                Found::End => {
                    self.respond(self.request, response.interim, response.bytes.len(), now);
                }
            }
        }
        Ok(())
    }

    fn respond(&mut self, exchange: usize, at: usize, end: usize, now: u64) {
        self.jobs.push_back(Job { exchange, at, end, from: now, rested: 0 });
    }

    /// Writes up to the next rest. Whether there may be more to write now.
    fn write(&mut self, socket: &mut Socket, talk: &mut Talk, now: u64) -> bool {
        let Some(job) = self.jobs.front_mut() else { return false };
        if self.has_closed || !socket.may_write() {
            self.jobs.clear();
            return false;
        }
        if now < job.from {
            return false;
        }
        let response = &talk.exchanges[job.exchange].response;
        let rest = response.rests.iter().filter(|(at, _)| *at >= job.at && *at < job.end);
        let mut end = job.end;
        if let Some((at, rest)) = rest.clone().nth(job.rested) {
            if *at == job.at {
                job.from = now + rest;
                job.rested += 1;
                return true;
            }
            end = *at;
        }
        let aborts = response.aborts_at.filter(|at| (job.at..=end).contains(at));
        let upto = aborts.unwrap_or(end);
        socket.write(&response.bytes[job.at..upto], now);
        if aborts.is_some() {
            talk.cut("the server aborts");
            socket.abort();
            self.jobs.clear();
            return false;
        }
        job.at = end;
        job.rested = 0;
        if job.at == job.end {
            let is_last = job.end == response.bytes.len();
            let closes = is_last && response.closes;
            self.jobs.pop_front();
            if closes {
                talk.cut("the server closes");
                socket.close(now);
                self.has_closed = true;
                self.jobs.clear();
            }
        }
        true
    }
}
