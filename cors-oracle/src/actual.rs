//! What a browser makes of the response to the request itself (Fetch §4.1, §2.2.6).

use crate::{
    Header, Judgement, Request, Response, Tainting, check::cors_check,
    forbidden::is_forbidden_response_header, list::tokens,
};

/// The header that lists the response headers that scripts may read.
const EXPOSE_HEADERS: &str = "Access-Control-Expose-Headers";

/// "CORS-safelisted response-header name", without what the response adds to it.
const SAFE: [&str; 7] = [
    "cache-control",
    "content-language",
    "content-length",
    "content-type",
    "expires",
    "last-modified",
    "pragma",
];

/// Whether a script may read the response. Where CORS has no part in it there is no step to pass.
///
/// It is asked after [`crate::route`]. The status does not matter: an error that is shared is a
/// response like any other.
pub fn judge_actual(request: &Request, response: &Response) -> Judgement<()> {
    Judgement::of(|passed| match request.tainting() {
        Tainting::Cors => cors_check(request, &response.headers, passed),
        Tainting::Basic | Tainting::Opaque => Ok(()),
    })
}

/// The headers of a response that a script may read, where it may read the response.
pub fn visible_headers<'a>(request: &Request, response: &'a Response) -> Vec<&'a Header> {
    let all = response.headers.iter().filter(|header| !is_forbidden_response_header(&header.name));
    match request.tainting() {
        Tainting::Basic => all.collect(),
        Tainting::Opaque => Vec::new(),
        Tainting::Cors => {
            // A list that cannot be read exposes nothing.
            let exposed = tokens(&response.headers, EXPOSE_HEADERS).ok().flatten();
            let exposed = exposed.unwrap_or_default();
            let every = !request.includes_credentials() && exposed.iter().any(|name| name == "*");
            let visible = |header: &&Header| {
                every
                    || SAFE.iter().any(|name| header.is(name))
                    || exposed.iter().any(|name| header.is(name))
            };
            all.filter(visible).collect()
        }
    }
}
