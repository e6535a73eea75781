//! Which methods and headers are allowed.

use cors_common::exit::Exit;

use crate::support::{Engine, Request};

fn policy(lines: &str) -> Engine {
    Engine::policy(&format!("allow_origins = [\"https://app.example.com\"]\n{lines}"))
}

#[test]
fn methods_are_byte_exact() {
    let long = "M".repeat(64);
    let engine = policy(&format!("allow_methods = [\"PUT\", \"PATCH\", \"M-SEARCH\", \"{long}\"]"));
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "M-SEARCH", &long] {
        assert!(engine.answers(&Request::new().method(method)), "{method}");
    }
    let longer = "M".repeat(65);
    for method in [
        "put",
        "Put",
        "patch",
        "PUTT",
        "PU",
        "P",
        "DELETE",
        "OPTIONS",
        "get",
        "Get",
        "GETT",
        "GE",
        "HEADX",
        "POSTS",
        "PUT,PATCH",
        "PUT, PATCH",
        "PUT PATCH",
        "*",
        "GET,HEAD",
        "\"GET\"",
        &longer,
        &long[1..],
    ] {
        let exit = engine.refuses(&Request::new().method(method));
        assert_eq!(exit, Some(Exit::MethodDenied), "{method}");
    }
}

#[test]
fn safelisted_methods_need_no_list() {
    let engine = policy("");
    for method in ["GET", "HEAD", "POST"] {
        assert!(engine.answers(&Request::new().method(method)), "{method}");
    }
    assert_eq!(engine.refuses(&Request::new()), Some(Exit::MethodDenied));
}

#[test]
fn any_method() {
    let engine = policy("allow_methods = [\"*\"]");
    let long = "M".repeat(64);
    for method in ["GET", "PUT", "patch", "X-ANY", "1", &long] {
        assert!(engine.answers(&Request::new().method(method)), "{method}");
    }
    let longer = "M".repeat(65);
    for method in ["PUT,PATCH", "PUT PATCH", "*", "PU(T", "PUT;", "P@T", "P[T", &longer] {
        let exit = engine.refuses(&Request::new().method(method));
        assert_eq!(exit, Some(Exit::MethodDenied), "{method}");
    }
}

#[test]
fn headers_in_the_form_of_browsers() {
    let engine = policy(
        "allow_methods = [\"PUT\"]\nallow_headers = [\"b\", \"a-b\", \"a\", \"x-long-header-name\"]",
    );
    for list in
        ["a", "b", "a,b", "a,a-b", "a,a-b,b", "a-b,b,x-long-header-name", "x-long-header-name"]
    {
        assert!(engine.answers(&Request::new().asks(list)), "{list}");
    }
    for list in [
        "b,a",
        "a-b,a",
        "a,a",
        "a,b,b",
        "a,b,a",
        "A",
        "a,B",
        "X-Long-Header-Name",
        "a, b",
        "a ,b",
        ",",
        ",a",
        "a,",
        "a,,b",
        "a;b",
        "a b",
        "a:b",
        "\"a\"",
        "a\\b",
        "a_b",
        "*",
        "a,*",
        "a@",
        "x-long-header-name,a",
    ] {
        let exit = engine.refuses(&Request::new().asks(list));
        assert_eq!(exit, Some(Exit::RequestHeaders), "{list}");
    }
    for list in
        ["c", "a,c", "a,b,c", "aa", "a-", "a-b-c", "x-long-header-nam", "x-long-header-namee", "0"]
    {
        let exit = engine.refuses(&Request::new().asks(list));
        assert_eq!(exit, Some(Exit::HeaderDenied), "{list}");
    }
}

#[test]
fn names_are_sorted_by_all_their_bytes() {
    let names = ["a", "a-", "a0", "aa", "aaaaaaaa", "aaaaaaaaa", "aaaaaaaab", "ab", "b"];
    let engine = policy(&format!("allow_methods = [\"PUT\"]\nallow_headers = {names:?}"));
    for a in names {
        for b in names {
            let expected = if a < b { None } else { Some(Exit::RequestHeaders) };
            assert_eq!(engine.refuses(&Request::new().asks(&format!("{a},{b}"))), expected);
        }
    }
}

#[test]
fn up_to_thirty_two_names_of_sixty_four_bytes() {
    let names: Vec<String> = (10..43).map(|i| format!("x-{i}")).collect();
    let engine = policy(&format!("allow_methods = [\"PUT\"]\nallow_headers = {names:?}"));
    for count in 1..=32 {
        assert!(engine.answers(&Request::new().asks(&names[..count].join(","))), "{count}");
    }
    let exit = engine.refuses(&Request::new().asks(&names.join(",")));
    assert_eq!(exit, Some(Exit::RequestHeaders));

    for len in 1..=64 {
        let names = ["x".repeat(len - 1) + "a", "x".repeat(len - 1) + "b"];
        let engine = policy(&format!("allow_methods = [\"PUT\"]\nallow_headers = {names:?}"));
        assert!(engine.answers(&Request::new().asks(&names.join(","))), "{len}");
        let [a, b] = &names;
        let exit = engine.refuses(&Request::new().asks(&format!("{b},{a}")));
        assert_eq!(exit, Some(Exit::RequestHeaders));
        if len > 1 {
            let exit = engine.refuses(&Request::new().asks(&a[1..]));
            assert_eq!(exit, Some(Exit::HeaderDenied));
        }
        assert!(engine.refuses(&Request::new().asks(&format!("{b}x"))).is_some());
    }
}

#[test]
fn any_header_but_authorization() {
    let engine = policy("allow_methods = [\"PUT\"]\nallow_headers = [\"*\"]");
    for list in ["a", "a,b", "authorizatio", "authorizations", "x-authorization", "a,xuthorization"]
    {
        assert!(engine.answers(&Request::new().asks(list)), "{list}");
    }
    for list in ["authorization", "a,authorization", "authorization,b"] {
        let exit = engine.refuses(&Request::new().asks(list));
        assert_eq!(exit, Some(Exit::HeaderDenied), "{list}");
    }
    for list in ["b,a", "A", "a, b", "a,,b", "*"] {
        let exit = engine.refuses(&Request::new().asks(list));
        assert_eq!(exit, Some(Exit::RequestHeaders), "{list}");
    }
    let engine = policy("allow_methods = [\"PUT\"]\nallow_headers = [\"*\", \"authorization\"]");
    for list in ["authorization", "a,authorization,b"] {
        assert!(engine.answers(&Request::new().asks(list)), "{list}");
    }
}

#[test]
fn no_name_longer_than_the_limit_is_read() {
    let engine = policy("allow_methods = [\"PUT\"]\nallow_headers = [\"*\"]");
    assert!(engine.answers(&Request::new().asks(&"x".repeat(64))));
    for len in [65, 66, 71, 72, 73, 80, 200] {
        for list in ["x".repeat(len), format!("a,{}", "x".repeat(len)), "x".repeat(len) + ",y"] {
            let exit = engine.refuses(&Request::new().asks(&list));
            assert_eq!(exit, Some(Exit::RequestHeaders), "{len}");
        }
    }
}

#[test]
fn nothing_asked_for_needs_nothing_allowed() {
    let engine = policy("allow_methods = [\"PUT\"]");
    assert!(engine.answers(&Request::new()));
    // Also what needs no permission in a simple request has to be listed once it is asked for.
    for list in ["accept", "content-type", "x"] {
        let exit = engine.refuses(&Request::new().asks(list));
        assert_eq!(exit, Some(Exit::HeaderDenied), "{list}");
    }
}
