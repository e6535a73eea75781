//! Between the socket and hyper: lets through what has one reading, request by request.
//!
//! A head is held back until it is whole and was judged; a body is followed byte by byte; and the
//! next request waits until the response is over, so that whatever is wrong with it can be
//! answered in its turn. What is wrong is answered here, with `Connection: close`, and the
//! connection lingers: a client that is still sending must not lose the answer to a reset.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use cors_common::framing::{Body, Broken, Framing, Scan};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::turn::{Next, Turn};

mod timer;
mod writing;

use timer::Timer;

/// Bytes that are read at once.
const READ: usize = 16 * 1024;
/// Bytes that may come while a response is under way.
const AHEAD: usize = 4096;

/// What a gate goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) head_bytes: usize,
    pub(super) headers: usize,
    /// For a whole head, from its first byte.
    pub(super) header: Duration,
    /// For anything at all.
    pub(super) idle: Duration,
}

/// Told what a gate refuses.
pub(super) trait Observer {
    /// A request is refused for this.
    fn refused(&self, broken: Broken);
    /// A head did not come in time.
    fn too_slow(&self);
}

#[derive(Debug)]
enum State {
    /// A head comes.
    Head(Scan),
    /// A body comes.
    Body(Body),
    /// A whole request was let through.
    Answering,
    /// Nothing is looked at any more: another protocol is spoken.
    Opaque,
    /// Nothing is let through any more; the answer to write at the end, if it is not written yet.
    Refused(Option<Vec<u8>>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Gate<S, O> {
    io: S,
    rules: Rules,
    turn: Turn,
    observer: O,
    state: State,
    /// What was read, of which the first `passed` bytes may go on.
    buffer: BytesMut,
    passed: usize,
    /// The client has sent its last byte.
    ended: bool,
    reading: Timer,
    writing: Timer,
    /// What is to be written before the response, as far as it is not written yet.
    interim: Vec<u8>,
    /// Everything of the responses so far was written.
    is_clean: bool,
    /// Bytes that came while it lingered; none until then.
    lingered: Option<usize>,
}

impl<S, O> Gate<S, O> {
    /// In front of requests; `buffer` is what was read already.
    pub(super) fn new(io: S, buffer: BytesMut, rules: Rules, turn: Turn, observer: O) -> Self {
        Self::with(io, buffer, rules, turn, observer, State::Head(Scan::default()))
    }

    /// In front of what needs no gate (HTTP/2 frames its requests without ambiguity): only the
    /// times are kept.
    pub(super) fn open(io: S, buffer: BytesMut, rules: Rules, observer: O) -> Self {
        Self::with(io, buffer, rules, Turn::default(), observer, State::Opaque)
    }

    fn with(io: S, buffer: BytesMut, rules: Rules, turn: Turn, observer: O, state: State) -> Self {
        Self {
            io,
            rules,
            turn,
            observer,
            state,
            buffer,
            passed: 0,
            ended: false,
            reading: Timer::default(),
            writing: Timer::default(),
            interim: Vec::new(),
            is_clean: true,
            lingered: None,
        }
    }
}

impl<S: AsyncRead + Unpin, O: Observer> Gate<S, O> {
    /// Reads some more; the number of bytes is 0 at the end.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        self.buffer.reserve(READ);
        let read = pin!(self.io.read_buf(&mut self.buffer));
        let len = ready!(read.poll(context))?;
        self.ended = len == 0;
        Poll::Ready(Ok(len))
    }

    /// The same within a time; `None` where it is over.
    fn poll_fill_within(
        &mut self,
        context: &mut Context<'_>,
        time: Duration,
    ) -> Poll<io::Result<Option<usize>>> {
        if let Poll::Ready(read) = self.poll_fill(context) {
            return Poll::Ready(read.map(Some));
        }
        self.reading.poll(context, time).map(|()| Ok(None))
    }

    fn refuse(&mut self, status: u16) {
        self.state = State::Refused(Some(writing::answer(status)));
    }

    fn refuse_for(&mut self, broken: Broken) {
        self.observer.refused(broken);
        self.refuse(broken.status());
    }

    /// Goes on with a head. Ready when there is something to decide anew.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let State::Head(scan) = &mut self.state else { return Poll::Ready(Ok(())) };
        match scan.advance(&self.buffer, self.rules.head_bytes, self.rules.headers) {
            Err(broken) => self.refuse_for(broken),
            Ok(Some(end)) => match Framing::of(&self.buffer[..end]) {
                Err(broken) => self.refuse_for(broken),
                Ok(Framing { body, .. }) => {
                    self.reading.stop();
                    self.turn.begin();
                    self.passed = end;
                    self.state = if body.is_done() { State::Answering } else { State::Body(body) };
                }
            },
            Ok(None) => {
                let begun = !self.buffer.is_empty();
                let time = if begun { self.rules.header } else { self.rules.idle };
                match ready!(self.poll_fill_within(context, time))? {
                    Some(0) => self.state = State::Refused(None),
                    // From the first byte on it is the time for a whole head.
                    Some(_) if !begun => self.reading.stop(),
                    Some(_) => {}
                    None if begun => {
                        self.observer.too_slow();
                        self.refuse(408);
                    }
                    None => self.state = State::Refused(None),
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Goes on with a body. Ready when there is something to decide anew.
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let State::Body(body) = &mut self.state else { return Poll::Ready(Ok(())) };
        if self.buffer.is_empty() {
            let time = self.rules.idle;
            return match ready!(self.poll_fill_within(context, time))? {
                Some(0) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Some(_) => {
                    self.reading.stop();
                    Poll::Ready(Ok(()))
                }
                None => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            };
        }
        match body.step(&self.buffer) {
            Ok(step) => {
                self.passed = step.used;
                if step.done {
                    self.state = State::Answering;
                }
                Poll::Ready(Ok(()))
            }
            Err(broken) => {
                // The answer is the service's: it may have begun one.
                self.observer.refused(broken);
                self.turn.broke(broken);
                self.state = State::Refused(None);
                Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
            }
        }
    }

    /// Waits for the end of the response, and for that of the connection meanwhile.
    fn poll_answering(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(next) = self.turn.poll_next(context) {
            self.state = match next {
                Next::Request => State::Head(Scan::default()),
                Next::Opaque => State::Opaque,
            };
            return Poll::Ready(Ok(()));
        }
        if self.buffer.len() >= AHEAD || self.ended {
            return Poll::Pending;
        }
        ready!(self.poll_fill(context))?;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, O: Observer + Unpin> AsyncRead for Gate<S, O> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        // Whoever waits for the response reads meanwhile. What cannot be written yet is by whoever
        // writes the response.
        let _ = gate.poll_interim(context)?;
        loop {
            if gate.passed > 0 {
                let len = gate.passed.min(out.remaining());
                out.put_slice(&gate.buffer[..len]);
                gate.buffer.advance(len);
                gate.passed -= len;
                return Poll::Ready(Ok(()));
            }
            match &mut gate.state {
                State::Head(_) => ready!(gate.poll_head(context))?,
                State::Body(_) => ready!(gate.poll_body(context))?,
                // The end of the connection is told while it is waited for an answer: nobody may
                // want it any more.
                State::Answering if gate.ended && gate.buffer.is_empty() => {
                    return Poll::Ready(Ok(()));
                }
                State::Answering => ready!(gate.poll_answering(context))?,
                State::Opaque if gate.buffer.is_empty() => {
                    return Pin::new(&mut gate.io).poll_read(context, out);
                }
                State::Opaque => gate.passed = gate.buffer.len(),
                State::Refused(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
