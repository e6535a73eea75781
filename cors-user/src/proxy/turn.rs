//! Whose turn it is on a connection: the client's, to send a request, or the server's, to answer.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use cors_common::framing::Broken;
use http::{Request, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

/// What the connection is, once a response is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another request may come.
    Request,
    /// Bytes of another protocol: the response was `101`.
    Opaque,
}

#[derive(Debug, Default)]
struct State {
    next: Option<Next>,
    waker: Option<Waker>,
    broken: Option<Broken>,
    /// To be sent before the response.
    interim: Vec<u8>,
}

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    /// Whether there is anything in `interim`: asked much more often than said.
    has_interim: AtomicBool,
}

/// What the gate of a connection and the service behind it tell each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn(Arc<Inner>);

impl Turn {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Bytes of an interim response are to go before the response.
    pub(super) fn interim(&self, bytes: &[u8]) {
        let waker = self.with(|state| {
            state.interim.extend_from_slice(bytes);
            self.0.has_interim.store(true, Relaxed);
            state.waker.take()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes them.
    pub(super) fn take_interim(&self) -> Option<Vec<u8>> {
        if !self.0.has_interim.load(Relaxed) {
            return None;
        }
        self.with(|state| {
            self.0.has_interim.store(false, Relaxed);
            Some(mem::take(&mut state.interim))
        })
    }

    /// A request is on its way; what comes behind it is not known yet.
    pub(super) fn begin(&self) {
        self.with(|state| state.next = None);
    }

    /// Waits for the end of the response.
    pub(super) fn poll_next(&self, context: &Context<'_>) -> Poll<Next> {
        self.with(|state| {
            if let Some(next) = state.next {
                return Poll::Ready(next);
            }
            state.waker = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// The response is over. What is said first holds.
    pub(super) fn end(&self, next: Next) {
        let waker = self.with(|state| {
            state.next.get_or_insert(next);
            state.waker.take()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The body of the request that is being answered cannot be read.
    pub(super) fn broke(&self, broken: Broken) {
        self.with(|state| state.broken = Some(broken));
    }

    /// Why it cannot.
    pub(super) fn broken(&self) -> Option<Broken> {
        self.with(|state| state.broken)
    }
}

/// Says that the response is over when it goes: it was sent, or nobody wants it any more.
#[derive(Debug)]
pub(super) struct EndsTurn(pub(super) Turn);

impl Drop for EndsTurn {
    fn drop(&mut self) {
        self.0.end(Next::Request);
    }
}

/// A connection that hyper hands over when another protocol was asked for.
///
/// It does so also where that was declined, at the end of the connection: it is then closed in
/// order here, or whatever the gate has still to say would be lost.
#[derive(Debug)]
pub(super) struct HandOver(Option<OnUpgrade>);

impl HandOver {
    /// Of a request.
    pub(super) fn of<B>(request: &mut Request<B>) -> Self {
        let asked = request.headers().contains_key(header::UPGRADE);
        Self(asked.then(|| hyper::upgrade::on(request)))
    }

    /// The other protocol begins.
    pub(super) fn take(&mut self) -> Option<OnUpgrade> {
        self.0.take()
    }
}

impl Drop for HandOver {
    fn drop(&mut self) {
        if let Some(declined) = self.0.take() {
            tokio::spawn(async move {
                if let Ok(connection) = declined.await {
                    // The client may be gone.
                    let _ = TokioIo::new(connection).shutdown().await;
                }
            });
        }
    }
}
