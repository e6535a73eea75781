//! The agent as the proxy, judged as a browser judges it: whoever answers a preflight, the driver
//! or the agent, and whatever the upstream says of CORS itself, the page gets what the policy
//! allows and nothing else.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use cors_oracle::{
    Browser, Credentials, Origin, Request, Response, Step, judge_actual, judge_preflight, route,
    visible_headers,
};
use cors_tests::{
    agent::Agent,
    client::{self, Http},
    counter, for_each_family,
    policy::{self, FOREIGN_ORIGIN, HOST, ORIGIN},
    topology::{Pair, server_at, sockets},
    web,
};

const UPSTREAM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Every path, and an upstream.
fn file() -> String {
    let listen = "[server]\n";
    policy::file(&sockets()).replace(listen, &format!("{listen}upstream = \"http://{UPSTREAM}\"\n"))
}

fn request(page: &str, method: &str, headers: &[&str], path: &str, credentials: bool) -> Request {
    let page = Origin::of_page(page).expect("an origin");
    let url = format!("https://{HOST}{path}");
    let mut request = Request::new(page, method, &url).expect("a request");
    for name in headers {
        assert_eq!(request.add_header(name, "application/json"), Ok(true), "{name}");
    }
    if credentials {
        request = request.with_credentials(Credentials::Include);
    }
    route(&mut request).expect("a request that is sent");
    request
}

fn response(response: &client::Response) -> Response {
    Response::new(response.status, response.headers.iter().map(|(name, value)| (name, value)))
}

/// What the upstream says, which is all wrong.
fn upstream(pair: &Pair) -> Arc<Mutex<Vec<String>>> {
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&arrived);
    web::serve(&pair.server, UPSTREAM, move |request| {
        let line = format!("{} {}", request.method, request.path);
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        let wrong = [
            ("Access-Control-Allow-Origin", "https://evil.example"),
            ("Access-Control-Allow-Origin", "*"),
            ("Access-Control-Expose-Headers", "x-secret"),
            ("X-Request-Id", "1"),
            ("X-Secret", "2"),
        ];
        web::response(200, &wrong, "{}")
    });
    arrived
}

for_each_family! {
    fn preflights_have_one_answer(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let arrived = upstream(&pair);
        let agent = Agent::start(&pair.server, Pair::INTERFACE, file());
        let long = format!("/v1/a?{}", "a".repeat(800));
        let (mut of_driver, mut of_agent) = (0, 0);
        let counted = agent.counted(|| {
            for (method, headers) in
                [("PUT", &["content-type"][..]), ("DELETE", &[]), ("GET", &["authorization"])]
            {
                for (credentials, browser) in
                    Browser::ALL.into_iter().flat_map(|b| [(false, b), (true, b)])
                {
                    let mut answers = Vec::new();
                    for path in ["/v1/a", &long] {
                        let request = request(ORIGIN, method, headers, path, credentials);
                        let mut http = Http::connect(&pair.client, at);
                        let mut answer = http.ask(&browser.head(&request));
                        let judgement = judge_preflight(&request, &response(&answer));
                        assert!(judgement.is_pass(), "{judgement:?}");
                        answer.headers.retain(|(name, _)| name != "date");
                        answers.push(answer);
                    }
                    // The driver's and the agent's.
                    assert_eq!(answers[0], answers[1]);
                    of_driver += 1;
                    of_agent += 1;
                }
            }
        });
        assert_eq!(counted.get(counter::ANSWERED), of_driver);
        assert_eq!(counted.get("head_too_long"), of_agent);
        assert!(arrived.lock().unwrap_or_else(PoisonError::into_inner).is_empty());
    }

    fn what_the_policy_denies_goes_nowhere(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let arrived = upstream(&pair);
        let agent = Agent::start(&pair.server, Pair::INTERFACE, file());
        let counted = agent.counted(|| {
            for (page, method, headers) in [
                (FOREIGN_ORIGIN, "PUT", &[][..]),
                ("https://example.org", "PUT", &[]),
                ("null", "PUT", &[]),
                (ORIGIN, "patch", &[]),
                (ORIGIN, "X-ANY", &[]),
                (ORIGIN, "PUT", &["x-other"]),
            ] {
                let request = request(page, method, headers, "/v1/a", false);
                for browser in Browser::ALL {
                    let mut http = Http::connect(&pair.client, at);
                    let answer = http.ask(&browser.head(&request));
                    assert_eq!(answer.status, 403, "{page} {method}");
                    let failed = judge_preflight(&request, &response(&answer)).failed_at();
                    assert_eq!(failed, Some(Step::AllowOriginPresent), "{page} {method}");
                }
            }
        });
        assert_eq!(counted.get(counter::ANSWERED), 0);
        assert!(arrived.lock().unwrap_or_else(PoisonError::into_inner).is_empty());
    }

    fn responses_say_what_the_policy_says(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let _arrived = upstream(&pair);
        let _agent = Agent::start(&pair.server, Pair::INTERFACE, file());
        for (page, credentials, is_shared) in [
            (ORIGIN, false, true),
            (ORIGIN, true, true),
            ("https://www.example.org", true, true),
            (FOREIGN_ORIGIN, false, false),
            (FOREIGN_ORIGIN, true, false),
            ("null", false, false),
        ] {
            let request = request(page, "GET", &[], "/v1/a", credentials);
            let origin = request.serialized_origin();
            let head = [("Host", HOST), ("Origin", &*origin)];
            let mut http = Http::connect(&pair.client, at);
            let answer = http.ask(&policy::head("GET /v1/a HTTP/1.1", &head));
            assert_eq!(answer.body, b"{}");
            let answer = response(&answer);
            assert_eq!(judge_actual(&request, &answer).is_pass(), is_shared, "{page} {answer:?}");
            let vary = answer.headers.get("vary").unwrap_or_default().to_ascii_lowercase();
            assert!(vary.windows(6).any(|word| word == b"origin"), "{answer:?}");
            if is_shared {
                let seen = visible_headers(&request, &answer);
                assert!(seen.iter().any(|header| header.is("x-request-id")), "{answer:?}");
                assert!(!seen.iter().any(|header| header.is("x-secret")), "{answer:?}");
            }
        }
    }
}
