//! A request and its response at an upstream: on a connection that waits, or a new one; and at the next
//! upstream, where one cannot be connected to.

use std::io;

use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header, uri::PathAndQuery};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::{
    body::Outgoing,
    counters::Event,
    forward::failure,
    interim,
    line::{self, Lanes, Line, Unanswered},
    request::{Failure, Peer},
    upstream::{Ended, Target},
};
use crate::config::model::Scheme;

/// A response, where it comes from, and the connection that is free once it is over.
pub(super) struct Answered<'a> {
    pub(super) response: Response<Incoming>,
    pub(super) target: &'a Target,
    pub(super) line: Option<Line>,
}

/// It took too long.
const fn timed_out() -> Failure {
    failure(StatusCode::GATEWAY_TIMEOUT, Event::UpstreamTimeout, false)
}

/// A connection.
enum Way {
    Line(Line),
    Lanes(Lanes),
}

/// Sends a request to one upstream after the other, until one can be connected to. With `protocols`
/// it asks to go on in one of those; nobody waits for it beyond `end`.
pub(super) async fn send<'a>(
    peer: &'a Peer,
    mut request: Request<Outgoing>,
    protocols: Option<&HeaderValue>,
    end: Option<Instant>,
) -> Result<Answered<'a>, Failure> {
    let shared = &*peer.shared;
    let host = request.headers().get(header::HOST).cloned();
    interim::watch(peer, &mut request);
    let broken = failure(StatusCode::BAD_GATEWAY, Event::UpstreamBroken, false);
    'targets: for target in shared.upstreams.order() {
        // Another protocol can only be asked for in HTTP/1.1.
        let may_http2 = protocols.is_none() || target.scheme == Scheme::H2c;
        loop {
            let (way, is_new) = match waiting(peer, target, may_http2) {
                Some(way) => (way, false),
                None => match connect(peer, target, may_http2).await {
                    Ok(way) => (way, true),
                    Err(error) => {
                        debug!("{} cannot be reached: {error:?}", target.name);
                        shared.upstreams.failed(target);
                        target.ended(Ended::Unreachable);
                        continue 'targets;
                    }
                },
            };
            let began = Instant::now();
            let within = shared.proxy.timeouts.response;
            let (result, line) = match way {
                Way::Line(mut line) => {
                    for_http1(&mut request, host.as_ref(), protocols);
                    if protocols.is_some() || !request.body().is_nothing() {
                        line.detach();
                    }
                    (until(end, line.send(request, within)).await, Some(line))
                }
                Way::Lanes(mut lanes) => {
                    for_http2(&mut request, host.as_ref(), target);
                    (until(end, line::send(&mut lanes, request, within)).await, None)
                }
            };
            match result {
                Ok(response) => {
                    target.answered();
                    target.ended(Ended::Answered);
                    target.measured.first_byte.add(began.elapsed());
                    return Ok(Answered { response, target, line });
                }
                // Closed while it waited.
                Err(Unanswered::Unsent(unsent)) if !is_new => request = *unsent,
                Err(Unanswered::Unsent(_)) => {
                    target.ended(Ended::Broken);
                    return Err(broken);
                }
                Err(Unanswered::Broken(error)) => {
                    debug!("{} broke off: {error:?}", target.name);
                    target.ended(Ended::Broken);
                    return Err(broken);
                }
                Err(Unanswered::TimedOut) => {
                    target.ended(Ended::Timeout);
                    return Err(timed_out());
                }
            }
        }
    }
    Err(failure(StatusCode::BAD_GATEWAY, Event::UpstreamUnreachable, false))
}

/// What comes of a request until then.
async fn until<T>(
    end: Option<Instant>,
    sent: impl Future<Output = Result<T, Unanswered>>,
) -> Result<T, Unanswered> {
    match end {
        Some(end) => timeout_at(end, sent).await.unwrap_or(Err(Unanswered::TimedOut)),
        None => sent.await,
    }
}

/// A connection that waits.
fn waiting(peer: &Peer, target: &Target, may_http2: bool) -> Option<Way> {
    let pool = peer.pool();
    let lanes = if may_http2 { pool.lanes(target.index) } else { None };
    lanes.map(Way::Lanes).or_else(|| pool.line(target.index).map(Way::Line))
}

/// A new connection.
async fn connect(peer: &Peer, target: &Target, may_http2: bool) -> io::Result<Way> {
    let shared = &*peer.shared;
    let began = Instant::now();
    let (stream, http2) = shared.connector.connect(target, may_http2).await?;
    target.measured.connect.add(began.elapsed());
    if http2 {
        let lanes = line::lanes(stream, &shared.proxy.timeouts).await.map_err(io::Error::other)?;
        peer.pool().share(target.index, lanes.clone());
        return Ok(Way::Lanes(lanes));
    }
    Ok(Way::Line(Line::new(stream).await.map_err(io::Error::other)?))
}

/// As HTTP/1.1 says it.
fn for_http1(
    request: &mut Request<Outgoing>,
    host: Option<&HeaderValue>,
    protocols: Option<&HeaderValue>,
) {
    *request.version_mut() = Version::HTTP_11;
    if request.uri().authority().is_some() {
        let path = request.uri().path_and_query().cloned();
        // `OPTIONS *` in absolute form has no path (RFC 9112 §3.2.4).
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
    let headers = request.headers_mut();
    if let Some(host) = host
        && !headers.contains_key(header::HOST)
    {
        headers.insert(header::HOST, host.clone());
    }
    if let Some(protocols) = protocols {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocols.clone());
    }
}

/// As HTTP/2 says it: the host is part of the URL, and there is no other protocol to go on in.
fn for_http2(request: &mut Request<Outgoing>, host: Option<&HeaderValue>, target: &Target) {
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    for name in [header::HOST, header::CONNECTION, header::UPGRADE] {
        headers.remove(name);
    }
    let path = request.uri().path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let scheme = if target.scheme == Scheme::Https { "https" } else { "http" };
    let authority = host.map_or(&b"localhost"[..], HeaderValue::as_bytes);
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    if let Ok(uri) = uri {
        *request.uri_mut() = uri;
    }
}
