//! Who may read a response, and what of it.

use cors_oracle::{Credentials, Mode, Origin, Request, Step, judge_actual, route, visible_headers};

use crate::support::{ORIGIN, URL, request, response};

#[test]
fn any_status_may_be_shared() {
    let shared = ["Access-Control-Allow-Origin: https://app.example.com"];
    for status in [200, 204, 301, 304, 401, 403, 404, 429, 500, 502, 504] {
        assert!(judge_actual(&request("GET", &[], false), &response(status, &shared)).is_pass());
        let judgement = judge_actual(&request("GET", &[], false), &response(status, &[]));
        assert_eq!(judgement.failed_at(), Some(Step::AllowOriginPresent), "{status}");
    }
}

#[test]
fn lists_are_no_matter_of_the_response() {
    let shared = ["Access-Control-Allow-Origin: https://app.example.com"];
    let put = request("PUT", &[("x-a", "1"), ("authorization", "x")], false);
    assert!(judge_actual(&put, &response(200, &shared)).is_pass());
    let judgement = judge_actual(&request("GET", &[], true), &response(200, &shared));
    assert_eq!(judgement.failed_at(), Some(Step::AllowCredentials));
}

#[test]
fn credentials_that_stay_at_home_are_none() {
    let star = response(200, &["Access-Control-Allow-Origin: *"]);
    for (credentials, expected) in [
        (Credentials::Omit, None),
        (Credentials::SameOrigin, None),
        (Credentials::Include, Some(Step::AllowOriginMatches)),
    ] {
        let request = request("GET", &[], false).with_credentials(credentials);
        assert_eq!(judge_actual(&request, &star).failed_at(), expected, "{credentials:?}");
    }
}

#[test]
fn without_cors_there_is_nothing_to_pass() {
    let page = Origin::of_page(URL).unwrap();
    let mut own = Request::new(page, "PUT", URL).unwrap();
    route(&mut own).unwrap();
    let plain = response(200, &["X-A: 1", "Set-Cookie: a=b"]);
    assert!(judge_actual(&own, &plain).is_pass());
    let names: Vec<_> = visible_headers(&own, &plain).iter().map(|h| &*h.name).collect();
    assert_eq!(names, ["X-A"]);

    let origin = Origin::of_page(ORIGIN).unwrap();
    let opaque = Request::new(origin, "GET", URL).unwrap().with_mode(Mode::NoCors);
    let mut opaque = opaque.unwrap();
    route(&mut opaque).unwrap();
    assert!(judge_actual(&opaque, &plain).is_pass());
    assert_eq!(visible_headers(&opaque, &plain), [] as [&cors_oracle::Header; 0]);
}

#[test]
fn headers_that_scripts_see() {
    let always = ["Content-Type", "content-length", "ETag", "X-Request-Id", "Set-Cookie"];
    for (exposed, credentials, expected) in [
        (None, false, &["Content-Type", "content-length"][..]),
        (Some("etag"), false, &["Content-Type", "content-length", "ETag"]),
        (
            Some("ETag, x-request-id"),
            true,
            &["Content-Type", "content-length", "ETag", "X-Request-Id"],
        ),
        (
            Some("*"),
            false,
            &[
                "Content-Type",
                "content-length",
                "ETag",
                "X-Request-Id",
                "Access-Control-Expose-Headers",
            ],
        ),
        (Some("*"), true, &["Content-Type", "content-length"]),
        (Some("set-cookie, x-nothing"), false, &["Content-Type", "content-length"]),
        (Some("etag x-request-id"), false, &["Content-Type", "content-length"]),
        (Some(""), false, &["Content-Type", "content-length"]),
    ] {
        let mut lines: Vec<String> = always.iter().map(|name| format!("{name}: 1")).collect();
        lines.extend(exposed.map(|list| format!("Access-Control-Expose-Headers: {list}")));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let response = response(200, &lines);
        let request = request("GET", &[], credentials);
        let names: Vec<_> =
            visible_headers(&request, &response).iter().map(|header| &*header.name).collect();
        assert_eq!(names, expected, "{exposed:?} {credentials}");
    }
}

#[test]
fn every_safelisted_response_header() {
    let names = [
        "Cache-Control",
        "Content-Language",
        "Content-Length",
        "Content-Type",
        "Expires",
        "Last-Modified",
        "Pragma",
    ];
    let lines: Vec<String> = names.iter().map(|name| format!("{name}: x")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(visible_headers(&request("GET", &[], true), &response(200, &lines)).len(), 7);
}
