//! Requests and responses in few words.

use cors_oracle::{Credentials, Origin, Request, Response, Route, route};

pub(crate) const ORIGIN: &str = "https://app.example.com";
pub(crate) const URL: &str = "https://api.example.com/v1/users?id=1";

/// A request from a page of [`ORIGIN`] to another origin, routed.
pub(crate) fn request(method: &str, headers: &[(&str, &str)], credentials: bool) -> Request {
    from(ORIGIN, method, headers, credentials)
}

/// The same from another page.
pub(crate) fn from(
    page: &str,
    method: &str,
    headers: &[(&str, &str)],
    credentials: bool,
) -> Request {
    let mut request = Request::new(Origin::of_page(page).unwrap(), method, URL).unwrap();
    for (name, value) in headers {
        assert!(request.add_header(name, value).unwrap(), "{name} is ignored");
    }
    if credentials {
        request = request.with_credentials(Credentials::Include);
    }
    assert!(matches!(route(&mut request), Ok(Route::Cors(_))));
    request
}

/// A response with the headers in these lines.
pub(crate) fn response(status: u16, lines: &[&str]) -> Response {
    Response::new(status, lines.iter().map(|line| line.split_once(':').unwrap()))
}
