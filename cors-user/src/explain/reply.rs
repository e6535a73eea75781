//! The answers of the slow path: to preflights that the driver passes on, and on responses. What
//! they are is [`crate::cors`]'s to say.

use cors_common::state::Date;
use cors_oracle::{Preflight, Request, Response, preflight_request};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::{
    config::model::{Expose, Policy},
    cors::{Actual, Asked, Judgement, Reply, Rules},
};

/// The answer to the preflight of a request.
///
/// `None` where no policy is for it: then it is forwarded.
pub(super) fn to_preflight(rules: &Rules, date: &Date, request: &Request) -> Option<Reply> {
    let Preflight { target, host, origin, method, headers: names } = preflight_request(request);
    let mut headers = HeaderMap::new();
    add(&mut headers, header::ORIGIN, &origin);
    add(&mut headers, header::ACCESS_CONTROL_REQUEST_METHOD, &method);
    if let Some(names) = names {
        add(&mut headers, header::ACCESS_CONTROL_REQUEST_HEADERS, &names);
    }
    match rules.judge(&asked(&Method::OPTIONS, &host, &target, &headers), date) {
        Judgement::Preflight(reply) => Some(reply),
        Judgement::Unmatched | Judgement::Actual(_) => None,
    }
}

/// What becomes of the response to the request itself.
///
/// `None` where no policy is for it: then the response is left as it is.
pub(super) fn to_request(rules: &Rules, date: &Date, request: &Request) -> Option<Actual> {
    let Preflight { target, host, origin, .. } = preflight_request(request);
    let mut headers = HeaderMap::new();
    add(&mut headers, header::ORIGIN, &origin);
    // The method does not matter, once it may be sent.
    match rules.judge(&asked(&Method::GET, &host, &target, &headers), date) {
        Judgement::Actual(actual) => Some(actual),
        Judgement::Unmatched | Judgement::Preflight(_) => None,
    }
}

/// What the policy puts on the response.
pub(super) fn on_response(rules: &Rules, actual: &Actual) -> Response {
    let mut headers = HeaderMap::new();
    actual.apply(rules, &mut headers);
    Response { status: 200, headers: fields(&headers).collect() }
}

fn asked<'a>(
    method: &'a Method,
    host: &'a str,
    target: &'a str,
    headers: &'a HeaderMap,
) -> Asked<'a> {
    let path = target.split('?').next().unwrap_or_default();
    Asked { method, host, path, headers, close: false }
}

/// Values that a browser sends are values.
fn add(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
    }
}

/// Headers with their names as they are written on an HTTP/1.1 connection.
fn fields(headers: &HeaderMap) -> impl Iterator<Item = (String, &[u8])> {
    headers.iter().map(|(name, value)| {
        let words = name.as_str().split('-').map(|word| {
            let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
            first.to_ascii_uppercase() + rest
        });
        (words.collect::<Vec<_>>().join("-"), value.as_bytes())
    })
}

/// The head of a reply.
pub(super) fn text(reply: &Reply) -> String {
    let reason = reply.status.canonical_reason().unwrap_or_default();
    let mut text = format!("HTTP/1.1 {} {reason}\r\n", reply.status.as_u16());
    for (name, value) in fields(&reply.headers) {
        text.extend([&*name, ": ", &String::from_utf8_lossy(value), "\r\n"]);
    }
    text + "\r\n"
}

/// The response headers that a policy exposes.
pub(super) fn exposed(policy: &Policy) -> Vec<String> {
    match &policy.expose {
        Expose::Any => vec!["*".to_owned()],
        Expose::List(names) => names.clone(),
    }
}
