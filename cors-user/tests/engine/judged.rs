//! The engine before the oracle: what it answers, a browser takes, and what it refuses, no browser
//! would take on the word of that policy.

use cors_common::exit::Exit;
use cors_oracle::{
    Browser, Credentials, Origin, Request, Response, Route, Step, judge_actual, judge_preflight,
    route,
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::support::Engine;

const ORIGINS: &[&str] = &[
    "https://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.org",
    "https://w.example.org",
    "https://v.w.example.org:1",
    "https://example.org",
    "http://localhost:3000",
];
const PATTERNS: &[&str] = &[
    "https://app.example.com",
    "https://app.example.com:*",
    "https://*.example.org",
    "https://*.w.example.org:*",
    "http://localhost:*",
];
const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "patch", "X-ANY"];
const NAMES: &[&str] = &["x-a", "X-B", "authorization", "content-type", "accept-language"];

/// The lines of a policy, and whether it has credentials.
fn policies() -> impl Strategy<Value = (String, bool)> {
    let lists =
        (vec(select(PATTERNS), 1..3), vec(select(&METHODS[2..]), 0..4), vec(select(NAMES), 0..4));
    (lists, any::<[bool; 3]>(), any::<bool>()).prop_map(
        |((origins, methods, names), [any_origin, any_method, any_header], credentials)| {
            let list = |names: Vec<&str>, any: bool| {
                format!("{:?}", if any && !credentials { vec!["*"] } else { names })
            };
            let mut names = list(names, false);
            if any_header && !credentials {
                names = names.replacen('[', "[\"*\", ", 1);
            }
            let lines = format!(
                "allow_origins = {}\nallow_methods = {}\nallow_headers = {names}\n\
                 allow_credentials = {credentials}\nmax_age = 600\n",
                list(origins, any_origin),
                list(methods, any_method),
            );
            (lines, credentials)
        },
    )
}

fn requests() -> impl Strategy<Value = Request> {
    let headers = vec((select(NAMES), select(&["x", "application/json", "a_b"][..])), 0..4);
    (select(ORIGINS), select(METHODS), headers, any::<bool>()).prop_map(
        |(page, method, headers, credentials)| {
            let url = "https://api.example.com/v1/users?id=1";
            let mut request = Request::new(Origin::of_page(page).unwrap(), method, url).unwrap();
            for (name, value) in headers {
                assert!(request.add_header(name, value).unwrap());
            }
            if credentials {
                request = request.with_credentials(Credentials::Include);
            }
            assert!(matches!(route(&mut request), Ok(Route::Cors(_))));
            request
        },
    )
}

fn response(reply: &[u8]) -> Response {
    let mut storage = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Response::new(&mut storage);
    assert!(parsed.parse(reply).unwrap().is_complete());
    let headers = parsed.headers.iter().map(|header| (header.name, header.value));
    Response::new(parsed.code.unwrap(), headers)
}

/// What the policy answers to an origin that asks for nothing: all that it says.
fn all_that_it_says(engine: &Engine, origin: &str) -> Option<Response> {
    let head = format!(
        "OPTIONS / HTTP/1.1\r\nHost: api.example.com\r\nOrigin: {origin}\r\n\
         Access-Control-Request-Method: GET\r\n\r\n"
    );
    engine.ask(head.as_bytes()).ok().map(|reply| response(&reply))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_answered_is_taken_and_what_is_refused_would_not_be(
        (lines, has_credentials) in policies(),
        requests in vec(requests(), 20),
    ) {
        let engine = Engine::policy(&lines);
        for request in requests {
            let origin = request.serialized_origin();
            let word = all_that_it_says(&engine, &origin);
            let beyond = request.includes_credentials() && !has_credentials;
            for browser in Browser::ALL {
                match engine.ask(&browser.head(&request)) {
                    Ok(reply) => {
                        let reply = response(&reply);
                        let judgement = judge_preflight(&request, &reply);
                        // Nobody can see whether credentials will follow: there the browser says no.
                        prop_assert_eq!(judgement.is_pass(), !beyond, "{:?}", judgement);
                        prop_assert_eq!(judge_actual(&request, &reply).is_pass(), !beyond);
                        prop_assert_eq!(Some(reply.headers.get("access-control-allow-origin")),
                            word.as_ref().map(|word| word.headers.get("access-control-allow-origin")));
                    }
                    Err(Exit::OriginDenied) => {
                        prop_assert_eq!(&word, &None);
                        // Neither would what is said to another origin do.
                        for other in ORIGINS {
                            let Some(word) = all_that_it_says(&engine, other) else { continue };
                            let failed = judge_preflight(&request, &word).failed_at();
                            prop_assert_eq!(failed, Some(Step::AllowOriginMatches));
                        }
                    }
                    Err(exit @ (Exit::MethodDenied | Exit::HeaderDenied)) => {
                        let judgement = judge_preflight(&request, word.as_ref().unwrap());
                        let failed = judgement.failed_at().unwrap();
                        let expected = match exit {
                            _ if beyond => failed <= Step::AllowCredentials,
                            Exit::MethodDenied => failed == Step::MethodAllowed,
                            _ => failed >= Step::AuthorizationAllowed,
                        };
                        prop_assert!(expected, "{:?} {:?} {}", exit, failed, lines);
                    }
                    Err(exit) => prop_assert!(false, "{:?}", exit),
                }
            }
        }
    }
}
