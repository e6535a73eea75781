//! Forwards a request to an upstream, and hands back its answer or says why there is none.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use http::{HeaderValue, Request, Response, StatusCode, Version, header, request::Parts};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{io::copy_bidirectional, select, sync::OwnedSemaphorePermit, time::Instant};

use super::{
    body::{Fate, Outgoing, ReplyBody},
    conduct,
    counters::Event,
    exchange,
    request::{Failure, Peer, take_over},
    service::Shared,
    turn::{HandOver, Next, Turn},
};

pub(super) const fn failure(status: StatusCode, event: Event, close: bool) -> Failure {
    Failure { status, event, close }
}

/// Forwards a request. Returns the answer, and whether it came with CORS headers of its own.
pub(super) async fn forward(
    peer: &Peer,
    request: Request<Incoming>,
    host: &HeaderValue,
    upgrade: &mut HandOver,
) -> Result<(Response<ReplyBody>, bool), Failure> {
    let shared = &peer.shared;
    check(shared, &request)?;
    let permit = Arc::clone(&shared.in_flight)
        .try_acquire_owned()
        .map_err(|_| failure(StatusCode::SERVICE_UNAVAILABLE, Event::Overloaded, false))?;
    let end = shared.proxy.timeouts.total.map(|total| Instant::now() + total);
    let (mut parts, body) = request.into_parts();
    let body = Outgoing::new(body, shared.proxy.limits.body_bytes);
    let protocols = prepare(&mut parts, peer, host);

    let fate = body.clone();
    let request = Request::from_parts(parts, body);
    let sent = exchange::send(peer, request, protocols.as_ref(), end).await;
    let exchange::Answered { mut response, target, line } =
        sent.map_err(|failure| match (fate.fate(), peer.turn.as_ref().and_then(Turn::broken)) {
            (Fate::TooLong, _) => {
                self::failure(StatusCode::PAYLOAD_TOO_LARGE, Event::BodyTooLong, true)
            }
            (Fate::Broken, _) | (_, Some(_)) => {
                self::failure(StatusCode::BAD_REQUEST, Event::BodyBroken, true)
            }
            (Fate::Going, None) => failure,
        })?;
    shared.counters.event(Event::Forwarded);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // Only where it was asked for.
        let client = protocols.and_then(|_| upgrade.take());
        return switch(peer, client, response, permit);
    }
    let own = take_over(&mut response);
    if own {
        target.own_cors.fetch_add(1, Relaxed);
    }
    *response.version_mut() = Version::default();
    let line = line.map(|line| (peer.home(target), line));
    let idle = shared.proxy.timeouts.idle;
    Ok((response.map(|body| ReplyBody::upstream(body, line, idle, end, permit)), own))
}

/// Refuses what would be refused later.
fn check(shared: &Shared, request: &Request<Incoming>) -> Result<(), Failure> {
    let headers = request.headers();
    let expected = headers.get_all(header::EXPECT).iter();
    if expected.into_iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(failure(StatusCode::EXPECTATION_FAILED, Event::Expectation, true));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = length.and_then(|text| text.parse::<u64>().ok());
    if let (Some(length), Some(limit)) = (length, shared.proxy.limits.body_bytes)
        && length > limit
    {
        return Err(failure(StatusCode::PAYLOAD_TOO_LARGE, Event::BodyTooLong, true));
    }
    Ok(())
}

/// Makes the client's headers those of the request to the upstream. Returns the protocols of an
/// upgrade that is asked for.
fn prepare(parts: &mut Parts, peer: &Peer, host: &HeaderValue) -> Option<HeaderValue> {
    let trailers = conduct::takes_trailers(&parts.headers);
    let version = parts.version;
    let protocols = conduct::remove_hop_by_hop(&mut parts.headers);
    let protocols = protocols.filter(|_| peer.turn.is_some());
    let headers = &mut parts.headers;
    // The body is asked for as soon as somebody takes it.
    headers.remove(header::EXPECT);
    headers.insert(header::HOST, host.clone());
    peer.origin.say(headers, host);
    conduct::say_via(headers, version);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if version == Version::HTTP_2 {
        one_cookie_line(headers);
    }
    protocols
}

/// HTTP/2 may cut cookies into lines, HTTP/1.1 may not (RFC 9113 §8.2.3).
fn one_cookie_line(headers: &mut http::HeaderMap) {
    let lines: Vec<&[u8]> =
        headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(one) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, one);
    }
}

/// Joins the two connections once both have changed to the other protocol.
fn switch(
    peer: &Peer,
    upgrade: Option<OnUpgrade>,
    mut response: Response<Incoming>,
    permit: OwnedSemaphorePermit,
) -> Result<(Response<ReplyBody>, bool), Failure> {
    let broken = failure(StatusCode::BAD_GATEWAY, Event::UpstreamBroken, false);
    let (Some(client), Some(turn)) = (upgrade, &peer.turn) else { return Err(broken) };
    let server = hyper::upgrade::on(&mut response);
    let protocol = conduct::remove_hop_by_hop(response.headers_mut());
    let protocol = protocol.ok_or(broken)?;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, protocol);
    peer.shared.counters.event(Event::Upgraded);
    turn.end(Next::Opaque);
    let closed = peer.shared.closed();
    tokio::spawn(async move {
        let _permit = permit;
        let join = async {
            let (client, server) = tokio::try_join!(client, server)?;
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            // Whoever closes closes for both.
            let _ = copy_bidirectional(&mut client, &mut server).await;
            Ok::<_, hyper::Error>(())
        };
        select! {
            _ = join => {}
            () = closed => {}
        }
    });
    Ok((response.map(|_| ReplyBody::ours(bytes::Bytes::new())), false))
}
