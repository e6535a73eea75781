//! When there is a preflight, and what is in it.

use cors_oracle::{
    Body, Origin, Preflight, Reason, Request, needs_preflight, preflight_request, route,
};

use crate::support::{ORIGIN, request};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_forms_could_always_send_needs_none() {
    for (method, headers) in [
        ("GET", &[][..]),
        ("head", &[]),
        ("POST", &[("content-type", "text/plain")]),
        ("POST", &[("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")]),
        ("GET", &[("accept", "application/json"), ("accept-language", "de")]),
        ("GET", &[("range", "bytes=0-99")]),
    ] {
        assert_eq!(needs_preflight(&request(method, headers, false)), [], "{method} {headers:?}");
        assert_eq!(needs_preflight(&request(method, headers, true)), [], "{method} {headers:?}");
    }
}

#[test]
fn what_they_could_not_needs_one() {
    for (method, headers, expected) in [
        ("put", &[][..], vec![Reason::Method("PUT".to_owned())]),
        ("patch", &[], vec![Reason::Method("patch".to_owned())]),
        ("OPTIONS", &[], vec![Reason::Method("OPTIONS".to_owned())]),
        ("GET", &[("X-Requested-With", "x")], vec![Reason::Headers(names(&["x-requested-with"]))]),
        (
            "DELETE",
            &[("X-B", ""), ("authorization", "x"), ("accept", "*/*")],
            vec![
                Reason::Method("DELETE".to_owned()),
                Reason::Headers(names(&["authorization", "x-b"])),
            ],
        ),
        (
            "POST",
            &[("content-type", "application/json")],
            vec![Reason::Headers(names(&["content-type"]))],
        ),
        ("GET", &[("accept", "a{b}")], vec![Reason::Headers(names(&["accept"]))]),
    ] {
        let reasons = needs_preflight(&request(method, headers, false));
        assert_eq!(reasons, expected, "{method} {headers:?}");
    }
}

#[test]
fn upload_listeners_and_streams_need_one_for_any_method() {
    let post = || request("POST", &[], false);
    assert_eq!(needs_preflight(&post().with_upload_listener()), [Reason::UploadListener]);
    let stream = post().with_body(Body::Stream).unwrap();
    assert_eq!(needs_preflight(&stream), [Reason::StreamBody]);
    assert_eq!(needs_preflight(&post().with_body(Body::Bytes).unwrap()), []);
    let preflight = preflight_request(&stream);
    assert_eq!((&*preflight.method, preflight.headers), ("POST", None));
}

#[test]
fn what_it_asks() {
    let headers = [("X-B", "1"), ("Content-Type", "application/json"), ("x-a", "2"), ("X-b", "3")];
    let preflight = preflight_request(&request("put", &headers, true));
    let expected = Preflight {
        target: "/v1/users?id=1".to_owned(),
        host: "api.example.com".to_owned(),
        origin: ORIGIN.to_owned(),
        method: "PUT".to_owned(),
        headers: Some("content-type,x-a,x-b".to_owned()),
    };
    assert_eq!(preflight, expected);
}

#[test]
fn hosts_and_targets_are_written_as_the_url_standard_does() {
    for (url, host, target) in [
        ("https://api.example.com", "api.example.com", "/"),
        ("https://API.example.com:443/a#b", "api.example.com", "/a"),
        ("https://api.example.com:8443/?", "api.example.com:8443", "/?"),
        ("https://api.example.com/a/../b/./c", "api.example.com", "/b/c"),
        ("https://api.example.com/%2e%2e/a b", "api.example.com", "/a%20b"),
        ("https://api.example.com\\a", "api.example.com", "/a"),
        ("https://api.example.com/\u{e4}?\u{e4}", "api.example.com", "/%C3%A4?%C3%A4"),
        ("https://[2001:DB8:0::1]:8080/", "[2001:db8::1]:8080", "/"),
        ("https://b\u{fc}cher.example/", "xn--bcher-kva.example", "/"),
    ] {
        let mut request = Request::new(Origin::of_page(ORIGIN).unwrap(), "PUT", url).unwrap();
        route(&mut request).unwrap();
        let preflight = preflight_request(&request);
        assert_eq!((&*preflight.host, &*preflight.target), (host, target), "{url}");
    }
}
