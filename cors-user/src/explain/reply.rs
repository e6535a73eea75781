//! The answers of the slow path: to preflights that the driver passes on, and on responses.

use cors_common::{exit::Exit, state::Date};
use cors_oracle::{Preflight, Request, Response, preflight_request};

use super::{driver, reading::Reading};
use crate::{
    compile::Image,
    config::model::{Expose, Origins, Policy},
};

/// The answer to a preflight that the policy allows.
///
/// `None` where the engine finds no policy for it.
pub(super) fn granted(image: &Image, date: &Date, request: &Request) -> Option<Vec<u8>> {
    // The answer is a policy's, the origin and the date aside: it does not depend on what is asked.
    let Preflight { target, host, origin, .. } = preflight_request(request);
    let path = target.split('?').next().unwrap_or_default();
    let ask = |path: &str| {
        let head = format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: GET\r\n\r\n"
        );
        driver::ask_without_limits(image, date, head.as_bytes())
    };
    match ask(path) {
        // What is behind the longest prefix that there can be makes no difference.
        Err(Exit::HeadTooLong) => ask(path.get(..PREFIX_MAX)?).ok(),
        answer => answer.ok(),
    }
}

/// Longer than any prefix of a policy.
const PREFIX_MAX: usize = 400;

/// The answer to a preflight that it does not.
pub(super) fn denied(date: &Date) -> Vec<u8> {
    let date = String::from_utf8_lossy(&date.text[..cors_common::state::DATE_LEN]).into_owned();
    format!(
        "HTTP/1.1 403 Forbidden\r\nDate: {date}\r\nContent-Length: 0\r\n\
         Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n\r\n"
    )
    .into_bytes()
}

/// What belongs on the response to the request itself.
pub(super) fn on_responses(reading: &Reading<'_>, request: &Request) -> Response {
    let policy = reading.policy;
    let echoed = policy.origins != Origins::Any || policy.allow_credentials;
    let mut response = Response { status: 200, ..Response::default() };
    let headers = &mut response.headers;
    if reading.origin.is_some() {
        let origin = if echoed { request.serialized_origin() } else { "*".to_owned() };
        headers.add("Access-Control-Allow-Origin", origin);
        if policy.allow_credentials {
            headers.add("Access-Control-Allow-Credentials", "true");
        }
        let exposed = exposed(policy);
        if !exposed.is_empty() {
            headers.add("Access-Control-Expose-Headers", exposed.join(", "));
        }
    }
    if echoed {
        headers.add("Vary", "Origin");
    }
    response
}

/// The response headers that a policy exposes.
pub(super) fn exposed(policy: &Policy) -> Vec<String> {
    match &policy.expose {
        Expose::Any => vec!["*".to_owned()],
        Expose::List(names) => names.clone(),
    }
}
