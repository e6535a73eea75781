//! One request: judged, answered or forwarded, and what comes back put right.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use cors_common::{
    exit::Exit,
    framing::head::{is_host, is_path},
    state::{DATE_LEN, Date},
};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;

use super::{
    body::{ReplyBody, Timed},
    conduct::{self, Client},
    counters::{Event, Outcome},
    forward,
    pool::{Home, Pool},
    service::Shared,
    turn::{EndsTurn, HandOver, Turn},
    upstream::Target,
};
use crate::{
    config::model::CorsHeaders,
    cors::{Actual, Asked, Judgement, Kind, Rules, Verdict, actual::sends_own},
};

/// A connection, as its requests see it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) shared: Arc<Shared>,
    /// Who serves it.
    worker: usize,
    pub(super) origin: conduct::Origin,
    /// Of HTTP/1 alone.
    pub(super) turn: Option<Turn>,
}

impl Peer {
    /// A connection of this client, which this worker serves.
    pub(super) fn new(shared: &Arc<Shared>, worker: usize, client: Client, http2: bool) -> Self {
        Self {
            shared: Arc::clone(shared),
            worker,
            origin: conduct::Origin::new(client),
            turn: (!http2).then(Turn::default),
        }
    }

    /// The connections to upstreams that it may use.
    pub(super) fn pool(&self) -> &Pool {
        &self.shared.pools[self.worker]
    }

    /// Where a connection to an upstream goes when it is free again.
    pub(super) fn home(&self, target: &Target) -> Home {
        Home { shared: Arc::clone(&self.shared), worker: self.worker, target: target.index }
    }
}

/// An answer of ours in the place of an upstream's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) event: Event,
    /// The connection cannot be used any further.
    pub(super) close: bool,
}

/// Answers one request.
pub(super) async fn answer(peer: &Peer, mut request: Request<Incoming>) -> Response<ReplyBody> {
    // From here on, so that also a request that is given up ends its turn.
    let ends = peer.turn.clone().map(EndsTurn);
    peer.shared.counters.event(Event::Request);
    let mut upgrade = HandOver::of(&mut request);
    let mut timed = Timed::begin(&peer.shared);
    let mut response = respond(peer, request, &mut upgrade, &mut timed).await;
    if response.status().is_informational() {
        return response;
    }
    response = response.map(|body| body.timed(timed));
    if peer.shared.is_draining() && peer.turn.is_some() {
        // Whoever is told does not ask here again (RFC 9112 §9.6).
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(turn) = ends {
        response = response.map(|body| body.ending(turn));
    }
    response
}

async fn respond(
    peer: &Peer,
    request: Request<Incoming>,
    upgrade: &mut HandOver,
    timed: &mut Timed,
) -> Response<ReplyBody> {
    let shared = &*peer.shared;
    let Some(host) = host(&request) else {
        shared.counters.broken(cors_common::framing::Broken::Host);
        return ours(StatusCode::BAD_REQUEST, true);
    };
    let version = request.version();
    let path = request.uri().path();
    let asked = Asked {
        method: request.method(),
        // It has the bytes of one.
        host: host.to_str().unwrap_or_default(),
        path: if path.is_empty() { "/" } else { path },
        headers: request.headers(),
        close: version != Version::HTTP_2 && says_close(&request),
    };
    let rules = shared.rules();
    // Only an answer of ours says when it was made.
    let is_preflight = asked.kind() == Kind::Preflight;
    let date = if is_preflight { date() } else { Date::new(&[b' '; DATE_LEN]) };
    let judgement = rules.judge(&asked, &date);
    shared.watch.decided(&rules, &asked, request.uri().query().is_some(), &judgement);
    let actual = match judgement {
        Judgement::Preflight(reply) => {
            shared.counters.exit(reply.exit);
            let allowed = matches!(reply.exit, Exit::Answered | Exit::AnsweredClose);
            timed.becomes(if allowed { Outcome::Answered } else { Outcome::Denied });
            // HTTP/2 says by itself that there is no body.
            let http2 = version == Version::HTTP_2;
            let body = if http2 { ReplyBody::ours(Bytes::new()) } else { ReplyBody::nothing() };
            let mut response = Response::new(body);
            *response.status_mut() = reply.status;
            *response.headers_mut() = reply.headers;
            return response;
        }
        Judgement::Unmatched => {
            shared.counters.exit(Exit::Unmatched);
            None
        }
        Judgement::Actual(actual) => {
            if let Verdict::Denied(exit) = actual.verdict() {
                shared.counters.exit(*exit);
            }
            if actual.enforced(&rules, &asked).is_some() {
                shared.counters.event(Event::Enforced);
                timed.becomes(Outcome::Denied);
                let mut response = ours(StatusCode::FORBIDDEN, false);
                actual.apply(&rules, response.headers_mut());
                return response;
            }
            Some(actual)
        }
    };
    let mut response = match forward::forward(peer, request, &host, upgrade).await {
        Ok((response, own)) => {
            timed.becomes(Outcome::Forwarded);
            // Only an upstream's answer can have headers of its own.
            if own {
                shared.counters.event(Event::UpstreamCors);
            }
            response
        }
        Err(Failure { status, event, close }) => {
            shared.counters.event(event);
            ours(status, close && version != Version::HTTP_2)
        }
    };
    if let Some(actual) = actual
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        rewrite(shared, &actual, &rules, &mut response);
    }
    response
}

fn rewrite(shared: &Shared, actual: &Actual, rules: &Rules, response: &mut Response<ReplyBody>) {
    match shared.proxy.cors_headers {
        CorsHeaders::Replace => actual.apply(rules, response.headers_mut()),
        CorsHeaders::Passthrough => actual.complete(rules, response.headers_mut()),
    }
}

/// The host that a request is for; `None` where it does not say, or says two.
///
/// Of HTTP/1 the gate has seen to it; HTTP/2 may have an authority, a `Host`, or both.
fn host<B>(request: &Request<B>) -> Option<HeaderValue> {
    let mut lines = request.headers().get_all(header::HOST).iter();
    let line = lines.next();
    if lines.next().is_some() || request.method() == Method::CONNECT {
        return None;
    }
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let host = match (authority, line) {
        (Some(authority), Some(line)) if !authority.eq_ignore_ascii_case(line.as_bytes()) => {
            return None;
        }
        (Some(host), _) => HeaderValue::from_bytes(host).ok()?,
        (None, Some(host)) => host.clone(),
        // HTTP/1.0 need not say.
        (None, None) if request.version() == Version::HTTP_10 => {
            HeaderValue::from_static("localhost")
        }
        (None, None) => return None,
    };
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let asterisk = target == "*" && request.method() == Method::OPTIONS;
    (is_host(host.as_bytes()) && (asterisk || is_path(target.as_bytes()))).then_some(host)
}

/// Whether the client ends the connection behind this request.
fn says_close<B>(request: &Request<B>) -> bool {
    let lines = request.headers().get_all(header::CONNECTION).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// An answer without a body.
fn ours(status: StatusCode, close: bool) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::ours(Bytes::new()));
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if close {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The date of this second.
fn date() -> Date {
    let text = httpdate::fmt_http_date(SystemTime::now());
    Date::new(text.as_bytes().first_chunk::<DATE_LEN>().unwrap_or(&[b' '; DATE_LEN]))
}

/// Whether an upstream's answer has CORS headers of its own, and what goes on of it.
pub(super) fn take_over<B>(response: &mut Response<B>) -> bool {
    let own = sends_own(response.headers());
    conduct::remove_hop_by_hop(response.headers_mut());
    let version = response.version();
    conduct::say_via(response.headers_mut(), version);
    own
}
