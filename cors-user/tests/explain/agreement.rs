//! The engine, its explanation, and the oracle, on random policies and random requests.

use cors_oracle::Browser;
use cors_user::explain::{Explanation, Question, Verdict};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::support::{ask, file};

const HOSTS: &[&str] = &["a.example", "b.example", "[2001:db8::1]", "10.0.0.1"];
const PREFIXES: &[&str] = &["/v1", "/v1/x", "/v2", "/"];
const ORIGINS: &[&str] = &[
    "https://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com:*",
    "https://*.example.com",
    "https://*.example.com:8443",
    "https://*.w.example.com:*",
    "https://other.test",
];
const METHODS: &[&str] = &["PUT", "PATCH", "DELETE", "patch", "X-ANY"];
const NAMES: &[&str] = &["x-a", "x-b", "authorization", "content-type", "accept"];

fn list(names: &[&str]) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if !seen.contains(name) {
            seen.push(name);
        }
    }
    format!("{seen:?}")
}

/// The lines of a policy; with credentials there is no `*` in it.
fn policies() -> impl Strategy<Value = String> {
    let scope = (vec(select(HOSTS), 0..3), option::of(select(PREFIXES)));
    let lists = (vec(select(ORIGINS), 1..4), vec(select(METHODS), 0..4), vec(select(NAMES), 0..4));
    let stars = (prop::bool::weighted(0.2), any::<bool>(), any::<bool>(), any::<bool>());
    (scope, lists, stars).prop_map(
        |((hosts, prefix), (mut origins, mut methods, mut names), stars)| {
            let (any_origin, any_method, any_header, credentials) = stars;
            if !credentials {
                if any_origin {
                    origins = vec!["*"];
                }
                if any_method {
                    methods = vec!["*"];
                }
                if any_header {
                    names.push("*");
                }
            }
            let mut scope = Vec::new();
            if !hosts.is_empty() {
                scope.push(format!("hosts = {}", list(&hosts)));
            }
            scope.extend(prefix.map(|prefix| format!("path_prefix = {prefix:?}")));
            format!(
                "match = {{ {} }}\nallow_origins = {}\nallow_methods = {}\nallow_headers = {}\n\
                 allow_credentials = {credentials}\n",
                scope.join(", "),
                list(&origins),
                list(&methods),
                list(&names),
            )
        },
    )
}

/// A file; policies that are for the same requests as an earlier one are left out.
fn files() -> impl Strategy<Value = String> {
    (vec(policies(), 1..5), any::<bool>()).prop_map(|(policies, upstream)| {
        let mut kept = String::new();
        for (number, lines) in policies.iter().enumerate() {
            let longer = format!("{kept}[[policy]]\nname = \"p{number}\"\n{lines}\n");
            if cors_user::config::parse(&file(upstream, &longer)).config.is_ok() {
                kept = longer;
            }
        }
        file(upstream, &kept)
    })
}

fn questions() -> impl Strategy<Value = Question> {
    let pages = select(
        &[
            "https://app.example.com",
            "https://app.example.com:8443",
            "https://w.example.com",
            "https://v.w.example.com:1",
            "https://example.com",
            "https://other.test",
            "http://app.example.com",
            "null",
        ][..],
    );
    let urls = (select(HOSTS), select(&["/v1", "/v1/x/y", "/v10", "/v2?q", "/", "/v1/%2e"][..]));
    let methods = select(&["GET", "POST", "PUT", "PATCH", "patch", "DELETE", "X-ANY"][..]);
    let headers = vec(select(NAMES), 0..3);
    let browsers = select(&Browser::ALL[..]);
    (pages, urls, methods, headers, any::<bool>(), browsers).prop_map(
        |(page, (host, path), method, headers, credentials, browser)| Question {
            origin: page.to_owned(),
            method: method.to_owned(),
            headers: headers.iter().map(|name| format!("{name}: application/json")).collect(),
            credentials,
            upload: false,
            url: Some(format!("https://{host}{path}")),
            browser,
        },
    )
}

/// Which key of the policy an explanation blames.
fn blamed(explanation: &Explanation) -> &str {
    let place = explanation.policy.as_ref().unwrap();
    match place.says.strip_prefix("it has no ") {
        Some(rest) => rest.split(':').next().unwrap(),
        None => place.path.split('.').nth(1).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_its_explanation_and_the_oracle(source in files(), question in questions()) {
        prop_assume!(source.contains("[[policy]]"));
        let explanation = ask(&source, &question);
        let driver = explanation.preflight.as_ref().and_then(|p| p.driver.as_ref());
        let denied = explanation.failure.is_some();
        match driver.map(|driver| driver.exit) {
            // What the engine answers, a browser takes, unless the page has credentials that the
            // policy has not.
            Some("answered") if denied => {
                prop_assert!(question.credentials);
                prop_assert_eq!(blamed(&explanation), "allow_credentials");
            }
            Some("answered") => {
                prop_assert_eq!(explanation.verdict, Verdict::Allowed);
                prop_assert!(blamed(&explanation).starts_with("allow_origins"));
            }
            // What it refuses, the browser does not get, and the explanation blames the same key.
            Some("origin_denied") => prop_assert_eq!(blamed(&explanation), "allow_origins"),
            Some("method_denied") => prop_assert_eq!(blamed(&explanation), "allow_methods"),
            Some("header_denied") => prop_assert_eq!(blamed(&explanation), "allow_headers"),
            // The proxy knows more spellings of hosts and paths, another server behind says nothing.
            Some("unmatched" | "ambiguous_path") => {
                let is_proxy = source.contains("upstream");
                prop_assert!(is_proxy || explanation.verdict == Verdict::Unknown);
            }
            Some(other) => prop_assert!(false, "{}", other),
            None => {}
        }
        if driver.is_some_and(|driver| driver.exit.ends_with("_denied")) {
            prop_assert_eq!(explanation.verdict, Verdict::Blocked);
        }
        // Where the policy is to blame, there is something to change, short of the impossible.
        if explanation.verdict == Verdict::Blocked && question.origin.starts_with("https://") {
            prop_assert!(!explanation.changes.is_empty(), "{}\n{:#?}", source, explanation);
        }
    }
}
