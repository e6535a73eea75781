//! At which step an answer to a preflight fails.

use cors_oracle::{Grant, Step, judge_preflight};

use crate::support::{from, request, response};

const ORIGIN: &str = "Access-Control-Allow-Origin: https://app.example.com";
const CREDENTIALS: &str = "Access-Control-Allow-Credentials: true";

/// A request in short: the method, headers that need permission, and whether credentials go along.
type Asked<'a> = (&'a str, &'a [&'a str], bool);

fn step(asked: Asked<'_>, status: u16, lines: &[&str]) -> Option<Step> {
    let (method, names, credentials) = asked;
    let headers: Vec<_> = names.iter().map(|name| (*name, "x")).collect();
    let judgement =
        judge_preflight(&request(method, &headers, credentials), &response(status, lines));
    if let Err(failure) = &judgement.outcome {
        assert!(!judgement.passed.contains(&failure.step));
        assert!(!failure.said.is_empty() && !failure.said.ends_with('.'), "{}", failure.said);
    }
    assert!(judgement.passed.is_sorted(), "{:?}", judgement.passed);
    judgement.failed_at()
}

const GET: Asked<'_> = ("GET", &["x-a"], false);

#[test]
fn the_origin() {
    let listed = "Access-Control-Allow-Headers: x-a";
    for (lines, expected) in [
        (&[ORIGIN][..], None),
        (&["access-control-allow-origin:https://app.example.com  "], None),
        (&["Access-Control-Allow-Origin: *"], None),
        (&[], Some(Step::AllowOriginPresent)),
        (&["Access-Control-Allow-Origins: *"], Some(Step::AllowOriginPresent)),
        (&["Access-Control-Allow-Origin:"], Some(Step::AllowOriginMatches)),
        (&["Access-Control-Allow-Origin: null"], Some(Step::AllowOriginMatches)),
        (
            &["Access-Control-Allow-Origin: https://app.example.com/"],
            Some(Step::AllowOriginMatches),
        ),
        (&["Access-Control-Allow-Origin: https://App.example.com"], Some(Step::AllowOriginMatches)),
        (&["Access-Control-Allow-Origin: http://app.example.com"], Some(Step::AllowOriginMatches)),
        (
            &["Access-Control-Allow-Origin: https://app.example.com:443"],
            Some(Step::AllowOriginMatches),
        ),
        (&["Access-Control-Allow-Origin: app.example.com"], Some(Step::AllowOriginMatches)),
        (&["Access-Control-Allow-Origin: https://*.example.com"], Some(Step::AllowOriginMatches)),
        (
            &["Access-Control-Allow-Origin: https://app.example.com, https://b.example"],
            Some(Step::AllowOriginMatches),
        ),
        (&[ORIGIN, ORIGIN], Some(Step::AllowOriginMatches)),
        (&["Access-Control-Allow-Origin: *", ORIGIN], Some(Step::AllowOriginMatches)),
        (
            &["Access-Control-Allow-Origin: *", "Access-Control-Allow-Origin: *"],
            Some(Step::AllowOriginMatches),
        ),
    ] {
        let lines: Vec<_> = lines.iter().copied().chain([listed]).collect();
        assert_eq!(step(GET, 204, &lines), expected, "{lines:?}");
    }
}

#[test]
fn credentials() {
    let listed = "Access-Control-Allow-Headers: x-a";
    for (lines, expected) in [
        (&[ORIGIN, CREDENTIALS][..], None),
        (&[ORIGIN], Some(Step::AllowCredentials)),
        (&[ORIGIN, "Access-Control-Allow-Credentials: True"], Some(Step::AllowCredentials)),
        (&[ORIGIN, "Access-Control-Allow-Credentials: false"], Some(Step::AllowCredentials)),
        (&[ORIGIN, "Access-Control-Allow-Credentials: 1"], Some(Step::AllowCredentials)),
        (&[ORIGIN, CREDENTIALS, CREDENTIALS], Some(Step::AllowCredentials)),
        (&["Access-Control-Allow-Origin: *", CREDENTIALS], Some(Step::AllowOriginMatches)),
    ] {
        let lines: Vec<_> = lines.iter().copied().chain([listed]).collect();
        assert_eq!(step(("GET", &["x-a"], true), 204, &lines), expected, "{lines:?}");
        // Without them, what is said of them does not matter.
        if lines.contains(&ORIGIN) {
            assert_eq!(step(GET, 204, &lines), None, "{lines:?}");
        }
    }
}

#[test]
fn the_status() {
    for status in [200, 201, 204, 206, 299] {
        let lines = [ORIGIN, "Access-Control-Allow-Headers: x-a"];
        assert_eq!(step(GET, status, &lines), None, "{status}");
    }
    for status in [0, 100, 199, 300, 301, 302, 304, 307, 400, 401, 403, 404, 405, 500, 502] {
        let lines = [ORIGIN, "Access-Control-Allow-Headers: x-a"];
        assert_eq!(step(GET, status, &lines), Some(Step::StatusIsOk), "{status}");
        // The check comes first.
        assert_eq!(step(GET, status, &[]), Some(Step::AllowOriginPresent), "{status}");
    }
}

#[test]
fn methods() {
    for (method, credentials, list, allowed) in [
        ("PUT", false, "PUT", true),
        ("PUT", false, "GET, PUT,DELETE", true),
        ("put", false, "PUT", true),
        ("PUT", false, "put", false),
        ("patch", false, "PATCH", false),
        ("patch", false, "patch", true),
        ("PATCH", false, "PATCH", true),
        ("PUT", false, "*", true),
        ("PUT", true, "*", false),
        ("PUT", true, "*, PUT", true),
        ("*", true, "*", true),
        ("PUT", false, "", false),
        ("PUT", false, "PUTT, PU", false),
        ("GET", false, "", true),
        ("HEAD", true, "PUT", true),
        ("POST", true, "", true),
        ("OPTIONS", false, "GET", false),
    ] {
        let line = format!("Access-Control-Allow-Methods: {list}");
        let found = step((method, &[], credentials), 204, &[ORIGIN, CREDENTIALS, &line]);
        let expected = (!allowed).then_some(Step::MethodAllowed);
        assert_eq!(found, expected, "{method} {credentials} {list}");
    }
    let two = ["Access-Control-Allow-Methods: DELETE", "Access-Control-Allow-Methods: PUT"];
    assert_eq!(step(("PUT", &[], false), 204, &[ORIGIN, two[0], two[1]]), None);
    assert_eq!(step(("PUT", &[], false), 204, &[ORIGIN]), Some(Step::MethodAllowed));
    // `Allow` has nothing to do with it.
    assert_eq!(step(("PUT", &[], false), 204, &[ORIGIN, "Allow: PUT"]), Some(Step::MethodAllowed));
}

#[test]
fn headers() {
    let (no, auth) = (Some(Step::HeadersAllowed), Some(Step::AuthorizationAllowed));
    for (names, credentials, list, expected) in [
        (&["x-a"][..], false, "x-a", None),
        (&["x-a"], false, "X-A", None),
        (&["X-A"], false, "x-b,x-a", None),
        (&["x-a", "x-b"], false, "x-a", no),
        (&["x-a"], false, "", no),
        (&["x-a"], false, "x-aa", no),
        (&["x-a"], false, "*", None),
        (&["x-a"], true, "*", no),
        (&["x-a"], true, "*,x-a", None),
        (&["authorization"], false, "*", auth),
        (&["Authorization", "x-a"], false, "*, authorization", None),
        (&["authorization", "x-a"], false, "AUTHORIZATION", no),
        (&["authorization"], true, "*", auth),
        (&["authorization"], true, "Authorization", None),
        (&["content-type"], false, "x-a", no),
    ] {
        let line = format!("Access-Control-Allow-Headers: {list}");
        let found = step(("GET", names, credentials), 204, &[ORIGIN, CREDENTIALS, &line]);
        assert_eq!(found, expected, "{names:?} {credentials} {list}");
    }
}

#[test]
fn lists_that_are_none() {
    for line in [
        "Access-Control-Allow-Headers: x-a x-b",
        "Access-Control-Allow-Headers: x-a; x-b",
        "Access-Control-Allow-Headers: \"x-a\"",
        "Access-Control-Allow-Headers: x-a, [\"x-b\"]",
        "Access-Control-Allow-Methods: GET PUT",
        "Access-Control-Allow-Methods: GET/PUT",
    ] {
        let lines = [ORIGIN, "Access-Control-Allow-Headers: x-a", line];
        assert_eq!(step(GET, 204, &lines), Some(Step::ListsParse), "{line}");
    }
    let lines = [ORIGIN, "Access-Control-Allow-Headers: ,x-a,,", "Access-Control-Allow-Methods:"];
    assert_eq!(step(GET, 204, &lines), None);
}

#[test]
fn the_first_failure_of_several() {
    let bad_list = "Access-Control-Allow-Headers: a b";
    let asked = ("PUT", &["authorization", "x-a"][..], true);
    let mut lines: Vec<&str> = Vec::new();
    for (status, line, expected) in [
        (403, "", Step::AllowOriginPresent),
        (403, "Access-Control-Allow-Origin: *", Step::AllowOriginMatches),
        (403, ORIGIN, Step::AllowCredentials),
        (403, CREDENTIALS, Step::StatusIsOk),
        (204, bad_list, Step::ListsParse),
        (204, "Access-Control-Allow-Headers: *", Step::MethodAllowed),
        (204, "Access-Control-Allow-Methods: PUT", Step::AuthorizationAllowed),
        (204, "Access-Control-Allow-Headers: authorization", Step::HeadersAllowed),
    ] {
        // Each line repairs what the one before it failed at.
        lines.retain(|earlier| !earlier.ends_with("Origin: *") && *earlier != bad_list);
        if !line.is_empty() {
            lines.push(line);
        }
        assert_eq!(step(asked, status, &lines), Some(expected), "{lines:?}");
    }
    lines.push("Access-Control-Allow-Headers: x-a");
    assert_eq!(step(asked, 204, &lines), None);
}

#[test]
fn grants() {
    let grant = |lines: &[&str]| {
        judge_preflight(&request("PUT", &[], false), &response(204, lines)).outcome.unwrap()
    };
    let methods = "Access-Control-Allow-Methods: PUT, DELETE";
    for (line, seconds) in [
        ("Access-Control-Max-Age: 600", 600),
        ("Access-Control-Max-Age: 0", 0),
        ("Access-Control-Max-Age: -1", 5),
        ("Access-Control-Max-Age: 10m", 5),
        ("X: y", 5),
    ] {
        let expected = Grant {
            methods: vec!["PUT".to_owned(), "DELETE".to_owned()],
            headers: Vec::new(),
            max_age: seconds,
        };
        assert_eq!(grant(&[ORIGIN, methods, line]), expected, "{line}");
    }
    let twice = ["Access-Control-Max-Age: 60", "Access-Control-Max-Age: 60"];
    assert_eq!(grant(&[ORIGIN, methods, twice[0], twice[1]]).max_age, 5);
    // Asked for an upload listener's sake, it grants the method although nothing is listed.
    let upload = request("POST", &[], false).with_upload_listener();
    let grant = judge_preflight(&upload, &response(204, &[ORIGIN])).outcome.unwrap();
    assert_eq!(grant.methods, ["POST"]);
}

#[test]
fn opaque_origins() {
    let null = from("null", "PUT", &[], false);
    let methods = "Access-Control-Allow-Methods: PUT";
    for (line, expected) in [
        ("Access-Control-Allow-Origin: null", None),
        ("Access-Control-Allow-Origin: *", None),
        ("Access-Control-Allow-Origin: NULL", Some(Step::AllowOriginMatches)),
        (ORIGIN, Some(Step::AllowOriginMatches)),
    ] {
        let judgement = judge_preflight(&null, &response(204, &[line, methods]));
        assert_eq!(judgement.failed_at(), expected, "{line}");
    }
}

#[test]
fn what_is_said_names_the_mistake() {
    for (lines, said) in [
        (&["Access-Control-Allow-Origin: https://app.example.com/"][..], "without a slash"),
        (&["Access-Control-Allow-Origin: https://APP.example.com"], "upper and lower case"),
        (&["Access-Control-Allow-Origin: http://app.example.com"], "the scheme differs"),
        (&["Access-Control-Allow-Origin: https://*.example.com"], "a wildcard in an origin"),
        (&["Access-Control-Allow-Origin: a, b"], "not a list"),
        (&[ORIGIN, ORIGIN], "there are 2 Access-Control-Allow-Origin"),
    ] {
        let judgement = judge_preflight(&request("PUT", &[], false), &response(204, lines));
        let failure = judgement.outcome.unwrap_err();
        assert!(failure.said.contains(said), "{}", failure.said);
    }
}
