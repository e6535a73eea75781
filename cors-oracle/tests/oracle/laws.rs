//! What holds for every request and every response.

use cors_oracle::{
    Browser, Cache, Request, Response, Step, judge_actual, judge_preflight, needs_preflight,
    preflight_request, unsafe_names, visible_headers,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::support::from;

const PAGES: &[&str] = &["https://app.example.com", "http://localhost:3000", "null"];
const METHODS: &[&str] = &["GET", "POST", "PUT", "patch", "PATCH", "X"];
const NAMES: &[&str] = &["accept", "authorization", "content-type", "x-a", "X-B", "range"];
const VALUES: &[&str] = &["x", "text/plain", "application/json", "bytes=0-", ""];

fn requests() -> impl Strategy<Value = Request> {
    let headers = vec((select(NAMES), select(VALUES)), 0..5);
    (select(PAGES), select(METHODS), headers, any::<bool>())
        .prop_map(|(page, method, headers, credentials)| from(page, method, &headers, credentials))
}

fn responses() -> impl Strategy<Value = Response> {
    let origins =
        select(&["*", "null", "https://app.example.com", "http://localhost:3000", ""][..]);
    let methods = vec(select(&["*", "PUT", "PATCH", "patch", "X", "GET"][..]), 0..4);
    let names = vec(select(&["*", "x-a", "x-b", "AUTHORIZATION", "accept", "a b"][..]), 0..5);
    let status = select(&[200, 204, 302, 403][..]);
    (status, vec(origins, 0..3), any::<bool>(), option::of(methods), option::of(names)).prop_map(
        |(status, origins, credentials, methods, names)| {
            let mut lines: Vec<(&str, String)> = Vec::new();
            lines.extend(origins.iter().map(|o| ("Access-Control-Allow-Origin", (*o).to_owned())));
            lines.extend(credentials.then(|| ("Access-Control-Allow-Credentials", "true".into())));
            lines.extend(methods.map(|m| ("Access-Control-Allow-Methods", m.join(","))));
            lines.extend(names.map(|n| ("Access-Control-Allow-Headers", n.join(", "))));
            Response::new(status, lines)
        },
    )
}

fn with(response: &Response, name: &str, value: &str) -> Response {
    let mut response = response.clone();
    response.headers.add(name, value);
    response
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_preflight_that_passes_passes_the_check_of_a_response(
        request in requests(),
        response in responses(),
    ) {
        let judgement = judge_preflight(&request, &response);
        if judgement.is_pass() {
            prop_assert!(judge_actual(&request, &response).is_pass());
            prop_assert!((200..300).contains(&response.status));
        }
    }

    #[test]
    fn what_passes_with_credentials_passes_without(request in requests(), response in responses()) {
        let without = request.clone().with_credentials(cors_oracle::Credentials::Omit);
        if judge_preflight(&request, &response).is_pass() {
            prop_assert!(judge_preflight(&without, &response).is_pass());
        }
    }

    #[test]
    fn the_whole_list_lets_everything_pass(request in requests()) {
        // What a server that allows exactly this request answers.
        let mut response = Response::new(204, [
            ("Access-Control-Allow-Origin", request.serialized_origin()),
            ("Access-Control-Allow-Credentials", "true".to_owned()),
            ("Access-Control-Allow-Methods", request.method().to_owned()),
        ]);
        for name in unsafe_names(request.headers()) {
            prop_assert!(
                judge_preflight(&request, &response).failed_at()
                    >= Some(Step::AuthorizationAllowed)
            );
            response.headers.add("access-control-allow-headers", name);
        }
        prop_assert!(judge_preflight(&request, &response).is_pass());
    }

    #[test]
    fn a_second_allow_origin_spoils_it(request in requests(), response in responses()) {
        let mut one = response;
        one.headers.remove("access-control-allow-origin");
        let one = with(&one, "access-control-allow-origin", &request.serialized_origin());
        let two = with(&one, "access-control-allow-origin", &request.serialized_origin());
        let failed = judge_preflight(&request, &two).failed_at();
        prop_assert_eq!(failed, Some(Step::AllowOriginMatches));
    }

    #[test]
    fn steps_are_told_in_order(request in requests(), response in responses()) {
        let judgement = judge_preflight(&request, &response);
        prop_assert!(judgement.passed.is_sorted());
        if let Some(failed) = judgement.failed_at() {
            prop_assert!(judgement.passed.iter().all(|step| *step < failed));
        }
    }

    #[test]
    fn what_is_granted_is_remembered(request in requests(), response in responses()) {
        if let Ok(grant) = judge_preflight(&request, &response).outcome {
            let mut cache = Cache::new(Browser::Firefox);
            cache.store(&request, &grant, 0);
            prop_assert!(cache.covers(&request, 4));
            prop_assert!(!cache.covers(&request, 5) || needs_preflight(&request).is_empty());
        }
    }

    #[test]
    fn what_is_asked_is_in_the_form_of_browsers(request in requests()) {
        let preflight = preflight_request(&request);
        if let Some(list) = &preflight.headers {
            let names: Vec<&str> = list.split(',').collect();
            prop_assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(names.iter().all(|name| *name == name.to_ascii_lowercase()));
        }
        let asks = !needs_preflight(&request).is_empty();
        let only_safelisted = ["GET", "HEAD", "POST"].contains(&request.method());
        prop_assert_eq!(asks, preflight.headers.is_some() || !only_safelisted);
    }

    #[test]
    fn what_is_seen_was_there(request in requests(), response in responses()) {
        let response = with(&response, "access-control-expose-headers", "*");
        let seen = visible_headers(&request, &response);
        prop_assert!(seen.iter().all(|header| response.headers.contains(&header.name)));
        prop_assert_eq!(seen.is_empty(), request.includes_credentials());
    }
}
