//! Bodies on their way through: the client's, lent to one attempt after the other, and the
//! response's, with what is held until it was sent.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};

use super::{counters::Outcome, line::Line, pool::Home, service::Shared, turn::EndsTurn};

/// Why a body goes no further.
#[derive(Debug, Error)]
pub(super) enum BodyError {
    /// It is longer than is taken.
    #[error("the body has more bytes than are taken")]
    TooLong,
    /// Nothing came of it in time.
    #[error("nothing came of the body in time")]
    TimedOut,
    /// The connection.
    #[error(transparent)]
    Connection(#[from] hyper::Error),
}

/// What became of a client's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is on its way, or all was taken.
    Going,
    /// It is longer than is taken.
    TooLong,
    /// It broke off.
    Broken,
}

#[derive(Debug)]
struct Client {
    body: Incoming,
    /// Bytes that may still come.
    left: Option<u64>,
    fate: Fate,
    progress: Instant,
}

/// What goes up to an upstream.
#[derive(Clone, Debug)]
pub(super) enum Outgoing {
    /// No body.
    Nothing,
    /// A client's.
    Lent(Lent),
}

impl Outgoing {
    /// Of which so many bytes are taken.
    pub(super) fn new(body: Incoming, limit: Option<u64>) -> Self {
        if body.is_end_stream() { Self::Nothing } else { Self::Lent(Lent::new(body, limit)) }
    }

    /// Whether there is none.
    pub(super) const fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// What became of it.
    pub(super) fn fate(&self) -> Fate {
        match self {
            Self::Nothing => Fate::Going,
            Self::Lent(lent) => lent.client().fate,
        }
    }

    /// When something last came of it, if there is one.
    pub(super) fn progress(&self) -> Option<Instant> {
        match self {
            Self::Nothing => None,
            Self::Lent(lent) => Some(lent.client().progress),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Nothing => Poll::Ready(None),
            Self::Lent(lent) => lent.client().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Lent(lent) => lent.client().body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Lent(lent) => lent.client().body.size_hint(),
        }
    }
}

/// A client's body, on which its request keeps an eye while it is sent.
#[derive(Clone, Debug)]
pub(super) struct Lent(Arc<Mutex<Client>>);

impl Lent {
    fn new(body: Incoming, left: Option<u64>) -> Self {
        let client = Client { body, left, fate: Fate::Going, progress: Instant::now() };
        Self(Arc::new(Mutex::new(client)))
    }

    fn client(&self) -> MutexGuard<'_, Client> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(poll_incoming(&mut self.body, context));
        self.progress = Instant::now();
        Poll::Ready(match frame {
            None => None,
            Some(Err(error)) => {
                self.fate = Fate::Broken;
                Some(Err(error))
            }
            Some(Ok(frame)) => {
                let len = frame.data_ref().map_or(0, |data| data.len() as u64);
                match self.left.map(|left| left.checked_sub(len)) {
                    Some(None) => {
                        self.fate = Fate::TooLong;
                        Some(Err(BodyError::TooLong))
                    }
                    left => {
                        self.left = left.flatten();
                        Some(Ok(frame))
                    }
                }
            }
        })
    }
}

/// The next piece of a body that comes on a connection.
fn poll_incoming(
    body: &mut Incoming,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    let frame = ready!(Pin::new(body).poll_frame(context));
    Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
}

/// A response's body, and what is held until it was sent.
#[derive(Debug)]
pub(super) struct ReplyBody {
    content: Content,
    held: (Option<OwnedSemaphorePermit>, Option<EndsTurn>, Option<Timed>),
}

#[derive(Debug)]
enum Content {
    /// A body of no bytes, for a response that says so itself: hyper would put its word for it
    /// behind all other headers.
    Nothing,
    Ours(Option<Bytes>),
    Upstream(Upstream),
}

/// What an upstream sends, and the times that it has.
#[derive(Debug)]
struct Upstream {
    body: Incoming,
    idle: Duration,
    end: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// It is being waited for.
    waiting: bool,
    /// All of it came.
    ended: bool,
    /// The connection that it comes on, where that is free behind it.
    line: Option<(Home, Line)>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some((home, line)) = self.line.take()
            && (self.ended || self.body.is_end_stream())
        {
            home.put(line);
        }
    }
}

impl ReplyBody {
    /// These bytes.
    pub(super) fn ours(bytes: Bytes) -> Self {
        let content = Content::Ours(Some(bytes).filter(|bytes| !bytes.is_empty()));
        Self { content, held: (None, None, None) }
    }

    /// None, for a response that says so in its headers if it has to be said.
    pub(super) const fn nothing() -> Self {
        Self { content: Content::Nothing, held: (None, None, None) }
    }

    /// What an upstream sends: something within each `idle`, everything until `end`. The request
    /// counts as one in flight as long.
    pub(super) fn upstream(
        body: Incoming,
        line: Option<(Home, Line)>,
        idle: Duration,
        end: Option<Instant>,
        in_flight: OwnedSemaphorePermit,
    ) -> Self {
        let (sleep, waiting, ended) = (None, false, false);
        let upstream = Upstream { body, idle, end, sleep, waiting, ended, line };
        Self { content: Content::Upstream(upstream), held: (Some(in_flight), None, None) }
    }

    /// Measures until this goes.
    pub(super) fn timed(mut self, timed: Timed) -> Self {
        self.held.2 = Some(timed);
        self
    }

    /// Lets the next request come when this goes.
    pub(super) fn ending(mut self, turn: EndsTurn) -> Self {
        self.held.1 = Some(turn);
        self
    }
}

/// Measures how long a request takes; over when it goes.
#[derive(Debug)]
pub(super) struct Timed {
    shared: Arc<Shared>,
    began: Instant,
    outcome: Outcome,
}

impl Timed {
    /// From now on. Unless something else is said, the request has failed.
    pub(super) fn begin(shared: &Arc<Shared>) -> Self {
        let began = Instant::now();
        Self { shared: Arc::clone(shared), began, outcome: Outcome::Failed }
    }

    /// What became of it.
    pub(super) const fn becomes(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.shared.counters.took(self.outcome, self.began.elapsed());
    }
}

impl Upstream {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some((_, line)) = &mut self.line {
            line.drive(context);
        }
        if let Poll::Ready(frame) = poll_incoming(&mut self.body, context) {
            self.waiting = false;
            self.ended = frame.is_none();
            return Poll::Ready(frame);
        }
        let next = || {
            let idle = Instant::now() + self.idle;
            self.end.map_or(idle, |end| end.min(idle))
        };
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                if !self.waiting {
                    sleep.as_mut().reset(next());
                }
                sleep
            }
            none => none.insert(Box::pin(sleep_until(next()))),
        };
        self.waiting = true;
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Some(Err(BodyError::TimedOut)))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().content {
            Content::Nothing => Poll::Ready(None),
            Content::Ours(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Upstream(upstream) => upstream.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Nothing => false,
            Content::Ours(bytes) => bytes.is_none(),
            Content::Upstream(upstream) => upstream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Nothing => SizeHint::with_exact(0),
            Content::Ours(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Content::Upstream(upstream) => upstream.body.size_hint(),
        }
    }
}
