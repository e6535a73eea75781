//! A connection to an upstream, with a request on it.
//!
//! A connection of HTTP/1.1 is driven by the very task that has a request on it, so that no other
//! one has to be woken on the way there and back. Only where more is to happen than a request without
//! a body and its response (a body on its way up while the response comes down, another protocol)
//! does it get a task of its own.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{body::Outgoing, connector::Stream};
use crate::config::model::Timeouts;

type Driver = http1::Connection<Stream, Outgoing>;

/// Bytes of a response that are held here at once, and the longest head that it may have.
const BUFFER: usize = 64 << 10;

/// A connection of HTTP/1.1: one request at a time.
pub(super) struct Line {
    sender: http1::SendRequest<Outgoing>,
    /// What moves its bytes; none where a task does that.
    driver: Option<Box<Driver>>,
    /// For the response; kept, as to set it further costs nothing.
    patience: Pin<Box<Sleep>>,
    since: Instant,
}

/// A connection of HTTP/2: any number of requests at a time.
pub(super) type Lanes = http2::SendRequest<Outgoing>;

/// Why a request has no response.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// Nothing of it was sent: it can go elsewhere.
    Unsent(Box<Request<Outgoing>>),
    /// The connection broke.
    Broken(hyper::Error),
    /// It took too long.
    TimedOut,
}

impl From<TrySendError<Request<Outgoing>>> for Unanswered {
    fn from(mut error: TrySendError<Request<Outgoing>>) -> Self {
        match error.take_message() {
            Some(request) => Self::Unsent(Box::new(request)),
            None => Self::Broken(error.into_error()),
        }
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("driven", &self.driver.is_some()).finish_non_exhaustive()
    }
}

impl Line {
    /// Begins to speak HTTP/1.1.
    pub(super) async fn new(stream: Stream) -> hyper::Result<Self> {
        let mut builder = http1::Builder::new();
        builder.title_case_headers(true).max_buf_size(BUFFER);
        let (sender, connection) = builder.handshake(stream).await?;
        let driver = Some(Box::new(connection));
        let since = Instant::now();
        Ok(Self { sender, driver, patience: Box::pin(sleep_until(since)), since })
    }

    /// When it was made.
    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    /// Moves what there is to be moved.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && Pin::new(&mut **driver).poll(context).is_ready()
        {
            // Whatever went wrong is told to the request.
            self.driver = None;
        }
    }

    /// Whether it can take a request. Of a connection that nobody drives this looks at what came
    /// meanwhile.
    pub(super) fn is_ready(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.sender.is_ready()
    }

    /// Leaves it to a task of its own.
    pub(super) fn detach(&mut self) {
        if let Some(driver) = self.driver.take() {
            tokio::spawn(driver.with_upgrades());
        }
    }

    /// Whether it has one, or has ended.
    pub(super) const fn is_detached(&self) -> bool {
        self.driver.is_none()
    }

    /// Waits until it can take a request; whether it ever can. It must be detached.
    pub(super) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request and waits for the response: for so long behind the last piece of its body.
    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
        within: Duration,
    ) -> Result<Response<Incoming>, Unanswered> {
        let body = request.body().clone();
        let mut response = pin!(self.sender.try_send_request(request));
        let (driver, patience) = (&mut self.driver, &mut self.patience);
        patience.as_mut().reset(Instant::now() + within);
        poll_fn(|context| {
            if let Some(connection) = driver
                && Pin::new(&mut **connection).poll(context).is_ready()
            {
                *driver = None;
            }
            if let Poll::Ready(response) = response.as_mut().poll(context) {
                return Poll::Ready(response.map_err(Unanswered::from));
            }
            poll_patience(patience.as_mut(), &body, within, context)
        })
        .await
    }
}

/// Begins to speak HTTP/2, without waiting for the other side to do so.
pub(super) async fn lanes(stream: Stream, times: &Timeouts) -> hyper::Result<Lanes> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new());
    builder.keep_alive_interval(times.idle).keep_alive_timeout(times.header);
    let (sender, connection) = builder.handshake(stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// [`Line::send`] by HTTP/2.
pub(super) async fn send(
    lanes: &mut Lanes,
    request: Request<Outgoing>,
    within: Duration,
) -> Result<Response<Incoming>, Unanswered> {
    let body = request.body().clone();
    let mut response = pin!(lanes.try_send_request(request));
    let mut patience = pin!(sleep_until(Instant::now() + within));
    poll_fn(|context| {
        if let Poll::Ready(response) = response.as_mut().poll(context) {
            return Poll::Ready(response.map_err(Unanswered::from));
        }
        poll_patience(patience.as_mut(), &body, within, context)
    })
    .await
}

/// Ready when it has taken too long: what comes of the body moves the end.
fn poll_patience<T>(
    mut patience: Pin<&mut Sleep>,
    body: &Outgoing,
    within: Duration,
    context: &mut Context<'_>,
) -> Poll<Result<T, Unanswered>> {
    while patience.as_mut().poll(context).is_ready() {
        match body.progress() {
            Some(last) if last + within > Instant::now() => patience.as_mut().reset(last + within),
            _ => return Poll::Ready(Err(Unanswered::TimedOut)),
        }
    }
    Poll::Pending
}
