//! Preflights: when there is one, what it asks, and what its answer grants (Fetch §4.8).

use crate::{
    Failure, Judgement, Request, Response, Step,
    check::cors_check,
    list::{Unreadable, seconds, tokens},
    method::is_safelisted_method,
    safelist::unsafe_names,
    step::take,
};

/// The header that lists methods.
pub const ALLOW_METHODS: &str = "Access-Control-Allow-Methods";
/// The header that lists request headers.
pub const ALLOW_HEADERS: &str = "Access-Control-Allow-Headers";
/// The header that says how long a grant lasts.
pub const MAX_AGE: &str = "Access-Control-Max-Age";

/// The header that `*` does not cover ("CORS non-wildcard request-header name").
pub(crate) const AUTHORIZATION: &str = "authorization";

/// How long a grant lasts where the answer does not say so, in seconds.
const DEFAULT_MAX_AGE: u64 = 5;

/// Why a request is preceded by a preflight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The method is not GET, HEAD or POST.
    Method(String),
    /// These headers are not on the safelist, by their name or by their value.
    Headers(Vec<String>),
    /// The progress of the upload is listened to.
    UploadListener,
    /// The body is a stream.
    StreamBody,
}

/// Why a request to another origin needs a preflight, cache aside; empty where it needs none.
pub fn needs_preflight(request: &Request) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if !is_safelisted_method(request.method()) {
        reasons.push(Reason::Method(request.method().to_owned()));
    }
    let names = unsafe_names(request.headers());
    if !names.is_empty() {
        reasons.push(Reason::Headers(names));
    }
    if request.has_upload_listener() {
        reasons.push(Reason::UploadListener);
    }
    if request.body() == crate::Body::Stream {
        reasons.push(Reason::StreamBody);
    }
    reasons
}

/// What the standard says a preflight has; browsers add headers of their own
/// ([`crate::Browser::head`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight {
    /// The path and the query.
    pub target: String,
    /// The host, and the port where it is not the scheme's own.
    pub host: String,
    /// `Origin`.
    pub origin: String,
    /// `Access-Control-Request-Method`.
    pub method: String,
    /// `Access-Control-Request-Headers`, where any header needs permission.
    pub headers: Option<String>,
}

/// The preflight of a request.
pub fn preflight_request(request: &Request) -> Preflight {
    let url = request.url();
    let mut target = url.path().to_owned();
    if let Some(query) = url.query() {
        target.extend(["?", query]);
    }
    let mut host = url.host_str().unwrap_or_default().to_owned();
    if let Some(port) = url.port() {
        host.extend([":", &port.to_string()]);
    }
    let names = unsafe_names(request.headers());
    Preflight {
        target,
        host,
        origin: request.serialized_origin(),
        method: request.method().to_owned(),
        headers: (!names.is_empty()).then(|| names.join(",")),
    }
}

/// What an answer to a preflight grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Methods, as they were listed.
    pub methods: Vec<String>,
    /// Headers, as they were listed.
    pub headers: Vec<String>,
    /// For how many seconds, before the browser's own limit.
    pub max_age: u64,
}

/// What a browser makes of the answer to a preflight.
pub fn judge_preflight(request: &Request, response: &Response) -> Judgement<Grant> {
    Judgement::of(|passed| {
        cors_check(request, &response.headers, passed)?;
        take(passed, Step::StatusIsOk, (200..300).contains(&response.status), || {
            let status = response.status;
            let redirect = (300..400).contains(&status);
            let more = if redirect { ": a preflight is never redirected" } else { "" };
            format!("the status is {status}{more}")
        })?;
        let list = |name| {
            tokens(&response.headers, name).map_err(|Unreadable(element)| {
                Failure::new(Step::ListsParse, format!("{name} has `{element}`, which is no name"))
            })
        };
        let (mut methods, headers) = (list(ALLOW_METHODS)?, list(ALLOW_HEADERS)?);
        passed.push(Step::ListsParse);
        if methods.is_none() && request.always_asks() {
            methods = Some(vec![request.method().to_owned()]);
        }
        let (methods, headers) = (methods.unwrap_or_default(), headers.unwrap_or_default());
        check_method(request, &methods, passed)?;
        check_headers(request, &headers, passed)?;
        let max_age = seconds(&response.headers, MAX_AGE).ok().flatten().unwrap_or(DEFAULT_MAX_AGE);
        Ok(Grant { methods, headers, max_age })
    })
}

fn check_method(
    request: &Request,
    methods: &[String],
    passed: &mut Vec<Step>,
) -> Result<(), Failure> {
    let method = request.method();
    let wildcard = has_wildcard(methods);
    if methods.iter().any(|listed| listed == method)
        || is_safelisted_method(method)
        || !request.includes_credentials() && wildcard
    {
        passed.push(Step::MethodAllowed);
        return Ok(());
    }
    let mut said = not_listed(ALLOW_METHODS, methods, &[method.to_owned()]);
    if wildcard {
        said += ", and with credentials `*` is an ordinary name";
    } else if methods.iter().any(|listed| listed.eq_ignore_ascii_case(method)) {
        said += ": upper and lower case differ";
    }
    Err(Failure::about(Step::MethodAllowed, vec![method.to_owned()], said))
}

fn check_headers(
    request: &Request,
    headers: &[String],
    passed: &mut Vec<Step>,
) -> Result<(), Failure> {
    let listed = |name: &str| headers.iter().any(|listed| listed.eq_ignore_ascii_case(name));
    let wildcard = has_wildcard(headers);
    if request.headers().contains(AUTHORIZATION) && !listed(AUTHORIZATION) {
        let names = vec![AUTHORIZATION.to_owned()];
        let mut said = not_listed(ALLOW_HEADERS, headers, &names);
        if wildcard {
            said += ", and `*` does not cover it";
        }
        return Err(Failure::about(Step::AuthorizationAllowed, names, said));
    }
    passed.push(Step::AuthorizationAllowed);
    if request.includes_credentials() || !wildcard {
        let mut names = unsafe_names(request.headers());
        names.retain(|name| !listed(name));
        if !names.is_empty() {
            let mut said = not_listed(ALLOW_HEADERS, headers, &names);
            if wildcard {
                said += ", and with credentials `*` is an ordinary name";
            }
            return Err(Failure::about(Step::HeadersAllowed, names, said));
        }
    }
    passed.push(Step::HeadersAllowed);
    Ok(())
}

fn has_wildcard(list: &[String]) -> bool {
    list.iter().any(|listed| listed == "*")
}

fn not_listed(header: &str, list: &[String], names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let names = names.join(", ");
    if list.is_empty() {
        format!("{header} lists nothing, {names} is asked for")
    } else {
        format!("{header} is `{}`, without {names}", list.join(", "))
    }
}
