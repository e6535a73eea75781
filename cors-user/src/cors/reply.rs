//! The answer to a preflight as a status and headers.
//!
//! One that is allowed has what the driver's bytes say, header by header in their order; whoever
//! writes it must keep the order and write the names as they are written there.

use cors_common::{
    exit::Exit,
    state::{DATE_LEN, Date},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::rules::Facts;

/// The answer to a preflight. It has no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The policy that made it, by its place in the file.
    pub policy: usize,
    /// Its status.
    pub status: StatusCode,
    /// Its headers, `Date` first.
    pub headers: HeaderMap,
    /// How it is counted: answered, or why it is denied.
    pub exit: Exit,
}

/// The most headers that a reply has.
const HEADERS_MAX: usize = 16;

/// From the driver's bytes.
pub(super) fn allowed(policy: usize, bytes: &[u8]) -> Result<Reply, Exit> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    response.parse(bytes).map_err(|_| Exit::Internal)?;
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let mut headers = HeaderMap::with_capacity(HEADERS_MAX);
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Exit::Internal)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Exit::Internal)?;
        headers.append(name, value);
    }
    let exit =
        if headers.contains_key(header::CONNECTION) { Exit::AnsweredClose } else { Exit::Answered };
    Ok(Reply { policy, status: status.ok_or(Exit::Internal)?, headers, exit })
}

/// No `Access-Control-Allow-*` at all, so that a page learns nothing of the policy; what the
/// answer depends on is said all the same, for caches.
pub(super) fn denied(policy: usize, facts: &Facts, exit: Exit, date: &Date) -> Reply {
    let mut headers = HeaderMap::with_capacity(4);
    if let Ok(date) = HeaderValue::from_bytes(&date.text[..DATE_LEN]) {
        headers.append(header::DATE, date);
    }
    let vary = if facts.echoes {
        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    } else {
        "Access-Control-Request-Method, Access-Control-Request-Headers"
    };
    headers.append(header::VARY, HeaderValue::from_static(vary));
    let status = StatusCode::from_u16(facts.conduct.denied_status).unwrap_or(StatusCode::FORBIDDEN);
    if status != StatusCode::NO_CONTENT {
        headers.append(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Reply { policy, status, headers, exit }
}

/// Says no more than was asked for.
pub(super) fn narrow(headers: &mut HeaderMap, method: &str, names: &[String]) {
    for (name, asked) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, method.to_owned()),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, names.join(", ")),
    ] {
        if asked.is_empty() {
            headers.remove(name);
        } else if let Ok(value) = HeaderValue::try_from(asked) {
            headers.insert(name, value);
        }
    }
}
