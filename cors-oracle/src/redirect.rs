//! "HTTP-redirect fetch" (Fetch §4.5): the request that follows from a redirect.

use url::Url;

use crate::{
    Body, Failure, Mode, Origin, Redirect, Request, Response, Step, Tainting,
    preflight::AUTHORIZATION,
};

/// The most redirects that are followed.
const MAX: usize = 20;

/// The next request, which is to be routed anew; `None` where the response is the last one.
pub fn follow(request: &Request, response: &Response) -> Result<Option<Request>, Failure> {
    if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    match request.redirect() {
        Redirect::Error => {
            let said = format!("the status is {}", response.status);
            return Err(Failure::new(Step::RedirectWanted, said));
        }
        Redirect::Manual => return Ok(None),
        Redirect::Follow => {}
    }
    let Some(location) = response.headers.get("location") else { return Ok(None) };
    let location = String::from_utf8_lossy(&location).into_owned();
    let url = request
        .url()
        .join(&location)
        .map_err(|error| Failure::new(Step::LocationParses, format!("`{location}`: {error}")))?;
    check(request, response, &url)?;
    Ok(Some(next(request, response.status, url)))
}

fn check(request: &Request, response: &Response, url: &Url) -> Result<(), Failure> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Failure::new(Step::LocationIsHttp, format!("it is `{url}`")));
    }
    if request.redirects() == MAX {
        return Err(Failure::new(Step::RedirectCount, "this is one more"));
    }
    let foreign = !request.origin().is_same(&Origin::of_url(url));
    let with_credentials = !url.username().is_empty() || url.password().is_some();
    if with_credentials
        && (request.mode() == Mode::Cors && foreign || request.tainting() == Tainting::Cors)
    {
        let said = "it has a user name or a password";
        return Err(Failure::new(Step::LocationWithoutCredentials, said));
    }
    if response.status != 303 && request.body() == Body::Stream {
        let said = format!("with status {} it would be sent again", response.status);
        return Err(Failure::new(Step::BodyCanRepeat, said));
    }
    Ok(())
}

fn next(request: &Request, status: u16, url: Url) -> Request {
    let mut next = request.clone();
    let method = request.method();
    if matches!(status, 301 | 302) && method == "POST"
        || status == 303 && !matches!(method, "GET" | "HEAD")
    {
        next.become_get();
    }
    if !Origin::of_url(request.url()).is_same(&Origin::of_url(&url)) {
        next.remove_header(AUTHORIZATION);
    }
    next.go_to(url);
    next
}
