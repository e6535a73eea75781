//! When no preflight is sent because of an earlier one.

use cors_oracle::{Browser, Cache, Grant, Request};

use crate::support::{from, request};

fn grant(methods: &[&str], headers: &[&str], max_age: u64) -> Grant {
    let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    Grant { methods: owned(methods), headers: owned(headers), max_age }
}

fn put(names: &[&str], credentials: bool) -> Request {
    let headers: Vec<_> = names.iter().map(|name| (*name, "x")).collect();
    request("PUT", &headers, credentials)
}

#[test]
fn each_method_and_header_that_was_listed() {
    let mut cache = Cache::new(Browser::Chromium);
    cache.store(&put(&["x-a"], false), &grant(&["PUT", "DELETE"], &["X-A", "x-b"], 60), 0);
    for (request, expected) in [
        (put(&["x-a"], false), true),
        (put(&["x-a", "X-B"], false), true),
        (put(&[], false), true),
        (request("DELETE", &[("x-b", "1")], false), true),
        (request("GET", &[("x-b", "1")], false), true),
        (put(&["x-c"], false), false),
        (request("PATCH", &[], false), false),
        (put(&["x-a"], true), false),
        (from("https://other.example", "PUT", &[], false), false),
        (request("POST", &[], false).with_upload_listener(), false),
    ] {
        assert_eq!(cache.covers(&request, 1), expected, "{request:?}");
    }
}

#[test]
fn what_was_granted_with_credentials_holds_without() {
    let mut cache = Cache::new(Browser::Chromium);
    cache.store(&put(&[], true), &grant(&["PUT"], &[], 60), 0);
    assert!(cache.covers(&put(&[], true), 1));
    assert!(cache.covers(&put(&[], false), 1));
}

#[test]
fn wildcards() {
    let mut cache = Cache::new(Browser::Chromium);
    cache.store(&put(&[], false), &grant(&["*"], &["*"], 60), 0);
    assert!(cache.covers(&put(&["x-anything"], false), 1));
    assert!(!cache.covers(&put(&["authorization"], false), 1));
    assert!(!cache.covers(&put(&[], true), 1));
}

#[test]
fn until_it_is_too_old_for_the_browser() {
    for (browser, max_age, lasts) in [
        (Browser::Chromium, 60, 60_u64),
        (Browser::Chromium, 86_400, 7_200),
        (Browser::Firefox, 86_400, 86_400),
        (Browser::Firefox, u64::from(u32::MAX), 86_400),
        (Browser::WebKit, 86_400, 600),
        (Browser::WebKit, 0, 0),
    ] {
        let mut cache = Cache::new(browser);
        cache.store(&put(&[], false), &grant(&["PUT"], &[], max_age), 1000);
        for (at, expected) in [(0, lasts > 0), (lasts.saturating_sub(1), lasts > 0), (lasts, false)]
        {
            let found = cache.clone().covers(&put(&[], false), 1000 + at);
            assert_eq!(found, expected, "{browser:?} {max_age} {at}");
        }
        cache.store(&put(&[], false), &grant(&["PUT"], &[], max_age), 1000 + lasts / 2);
        assert_eq!(cache.covers(&put(&[], false), 1000 + lasts), lasts > 0);
    }
}

#[test]
fn until_a_request_fails() {
    let mut cache = Cache::new(Browser::Chromium);
    cache.store(&put(&[], false), &grant(&["PUT"], &[], 60), 0);
    cache.clear(&from("https://other.example", "PUT", &[], false));
    assert!(cache.covers(&put(&[], false), 1));
    cache.clear(&put(&[], true));
    assert!(!cache.covers(&put(&[], false), 1));
}
