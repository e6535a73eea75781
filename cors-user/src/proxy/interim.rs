//! Interim responses (RFC 9110 §15.2) on their way from an upstream to a client: `103 Early Hints` and
//! whatever else comes before the response.
//!
//! Both sides must speak HTTP/1.1. Of an upstream's connection of HTTP/2 the library does not tell
//! them, and on a client's it cannot send them.

use http::{HeaderMap, Request, StatusCode, Version, header};

use super::{body::Outgoing, conduct, request::Peer};
use crate::cors::actual;

/// Has the interim responses to a request passed on, where its client can take them.
pub(super) fn watch(peer: &Peer, request: &mut Request<Outgoing>) {
    let Some(turn) = peer.turn.clone() else { return };
    if request.version() != Version::HTTP_11 {
        return;
    }
    hyper::ext::on_informational(request, move |response| {
        // What has to do with one connection alone ends there.
        if ![StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS].contains(&response.status()) {
            turn.interim(&head(response.status(), response.headers().clone()));
        }
    });
}

fn head(status: StatusCode, mut headers: HeaderMap) -> Vec<u8> {
    conduct::remove_hop_by_hop(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    // Which origin may read is said by the response.
    actual::strip(&mut headers);
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in &headers {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(piece);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}
