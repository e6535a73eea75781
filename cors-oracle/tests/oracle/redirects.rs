//! What a redirect leads to.

use cors_oracle::{
    Body, Mode, Origin, Reason, Redirect, Request, Response, Route, Step, follow, judge_actual,
    route,
};

use crate::support::{ORIGIN, request, response};

fn to(status: u16, location: &str) -> Response {
    response(status, &[&format!("Location: {location}")])
}

fn next(request: &Request, response: &Response) -> Request {
    let mut next = follow(request, response).unwrap().expect("a redirect");
    route(&mut next).unwrap();
    next
}

#[test]
fn what_is_none() {
    let get = request("GET", &[], false);
    for response in [
        to(200, "https://x.example/"),
        to(304, "https://x.example/"),
        to(300, "https://x.example/"),
        response(302, &[]),
    ] {
        assert_eq!(follow(&get, &response), Ok(None), "{response:?}");
    }
    let manual = get.clone().with_redirect(Redirect::Manual);
    assert_eq!(follow(&manual, &to(302, "/")), Ok(None));
    let error = get.with_redirect(Redirect::Error);
    assert_eq!(follow(&error, &to(302, "/")).unwrap_err().step, Step::RedirectWanted);
}

#[test]
fn methods_and_bodies() {
    for (method, status, expected) in [
        ("GET", 301, "GET"),
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("PUT", 302, "PUT"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
        ("PUT", 303, "GET"),
        ("POST", 303, "GET"),
        ("HEAD", 303, "HEAD"),
    ] {
        let headers = [("content-type", "text/plain"), ("x-a", "1")];
        let mut request = request(method, &headers, false);
        if !matches!(method, "GET" | "HEAD") {
            request = request.with_body(Body::Bytes).unwrap();
        }
        let next = next(&request, &to(status, "/elsewhere"));
        assert_eq!(next.method(), expected, "{method} {status}");
        let became_get = expected != method;
        assert_eq!(next.headers().contains("content-type"), !became_get, "{method} {status}");
        assert!(next.headers().contains("x-a"));
        assert_eq!(next.url().as_str(), "https://api.example.com/elsewhere");
    }
}

#[test]
fn refused() {
    let put = request("PUT", &[], false);
    for (location, expected) in [
        ("https://", Step::LocationParses),
        ("ftp://x.example/", Step::LocationIsHttp),
        ("data:text/plain,x", Step::LocationIsHttp),
        ("https://me:pw@x.example/", Step::LocationWithoutCredentials),
        ("https://me@app.example.com/", Step::LocationWithoutCredentials),
    ] {
        assert_eq!(follow(&put, &to(302, location)).unwrap_err().step, expected, "{location}");
    }
    let stream = put.clone().with_body(Body::Stream).unwrap();
    assert_eq!(follow(&stream, &to(307, "/")).unwrap_err().step, Step::BodyCanRepeat);
    assert_eq!(next(&stream, &to(303, "/")).body(), Body::None);
    let mut request = put;
    for _ in 0..20 {
        request = next(&request, &to(302, "/again"));
    }
    assert_eq!(follow(&request, &to(302, "/again")).unwrap_err().step, Step::RedirectCount);
}

#[test]
fn a_second_foreign_origin_is_asked_by_nobody() {
    let put = request("PUT", &[("authorization", "x")], false);
    let same = next(&put, &to(307, "/v2"));
    assert_eq!(same.serialized_origin(), ORIGIN);
    assert!(same.headers().contains("authorization"));

    let other = next(&put, &to(307, "https://other.example/"));
    assert_eq!(other.serialized_origin(), "null");
    assert!(!other.headers().contains("authorization"));
    let own_name = response(200, &["Access-Control-Allow-Origin: https://app.example.com"]);
    assert_eq!(judge_actual(&other, &own_name).failed_at(), Some(Step::AllowOriginMatches));
    let star = response(200, &["Access-Control-Allow-Origin: *"]);
    assert!(judge_actual(&other, &star).is_pass());
}

#[test]
fn from_the_own_origin_to_a_foreign_one() {
    let page = Origin::of_page(ORIGIN).unwrap();
    let mut own = Request::new(page, "PUT", "https://app.example.com/api").unwrap();
    assert_eq!(route(&mut own), Ok(Route::SameOrigin));
    let mut next = follow(&own, &to(307, "https://api.example.com/")).unwrap().unwrap();
    // Now it is a matter of CORS, and asked for by the page's own name.
    assert_eq!(route(&mut next), Ok(Route::Cors(vec![Reason::Method("PUT".to_owned())])));
    assert_eq!(next.serialized_origin(), ORIGIN);
    assert!(!judge_actual(&next, &response(200, &[])).is_pass());

    // And back home again: still a matter of CORS.
    let mut back = follow(&next, &to(307, "https://app.example.com/")).unwrap().unwrap();
    assert!(matches!(route(&mut back), Ok(Route::Cors(_))));
    assert_eq!(back.serialized_origin(), "null");
}

#[test]
fn within_one_origin_nothing_changes() {
    let page = Origin::of_page(ORIGIN).unwrap();
    let own = Request::new(page, "GET", "https://app.example.com/api").unwrap();
    let mut own = own.with_mode(Mode::SameOrigin).unwrap();
    route(&mut own).unwrap();
    let mut next = follow(&own, &to(302, "../x")).unwrap().unwrap();
    assert_eq!(route(&mut next), Ok(Route::SameOrigin));
    let mut away = follow(&own, &to(302, "https://api.example.com")).unwrap().unwrap();
    assert_eq!(route(&mut away).unwrap_err().step, Step::SameOriginMode);
}
