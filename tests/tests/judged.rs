//! Answers over real sockets, judged as a browser judges them: the driver's are taken, and where it
//! passes a preflight on to a server that knows nothing of CORS, the browser sends nothing more. And
//! what `cors-edge explain` foretells is what the driver does.

use cors_oracle::{
    Browser, Credentials, Origin, Request, Response, Route, Step, judge_actual, judge_preflight,
    preflight_request, route,
};
use cors_tests::{
    agent::{self, Agent},
    browsers::{self, Headers, WRITERS},
    client::{self, Http},
    counter, for_each_family,
    policy::{self, FOREIGN_ORIGIN, HOST, ORIGIN},
    scratch::Scratch,
    server::Recording,
    topology::{self, Pair, server_at},
};
use serde_json::Value;

/// A request of a page to the API, as the script makes it.
fn request(page: &str, method: &str, headers: &[(&str, &str)], credentials: bool) -> Request {
    let page = Origin::of_page(page).expect("an origin");
    let url = format!("https://{HOST}/v1/json-post");
    let mut request = Request::new(page, method, &url).expect("a request");
    for (name, value) in headers {
        assert_eq!(request.add_header(name, value), Ok(true), "{name}");
    }
    if credentials {
        request = request.with_credentials(Credentials::Include);
    }
    match route(&mut request) {
        Ok(Route::Cors(reasons)) => assert!(!reasons.is_empty(), "{request:?}"),
        other => panic!("{other:?}"),
    }
    request
}

fn response(response: &client::Response) -> Response {
    Response::new(response.status, response.headers.iter().map(|(name, value)| (name, value)))
}

const JSON: (&str, &str) = ("content-type", "application/json");
const TOKEN: (&str, &str) = ("authorization", "Bearer x");

#[test]
fn the_heads_of_the_tests_are_those_of_the_standard() {
    let preflight = preflight_request(&request(ORIGIN, "POST", &[JSON], false));
    let expected = [
        ("Host", Some(preflight.host)),
        ("Origin", Some(preflight.origin)),
        ("Access-Control-Request-Method", Some(preflight.method)),
        ("Access-Control-Request-Headers", preflight.headers),
    ];
    assert_eq!(browsers::REQUEST, format!("OPTIONS {} HTTP/1.1", preflight.target));
    for writer in WRITERS {
        let headers: Headers = writer();
        for (name, value) in &expected {
            let found = headers.iter().find(|(header, _)| header == name);
            assert_eq!(found.map(|(_, value)| *value), value.as_deref(), "{name}");
        }
    }
}

for_each_family! {
    fn what_the_driver_answers_is_taken(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let mut asked = 0;
        let counted = agent.counted(|| {
            let mut http = Http::connect(&pair.client, at);
            for credentials in [false, true] {
                let post = request(ORIGIN, "POST", &[JSON], credentials);
                for writer in WRITERS {
                    let head = browsers::head(&writer(), str::to_owned);
                    let answer = response(&http.ask(&head));
                    let judgement = judge_preflight(&post, &answer);
                    assert!(judgement.is_pass(), "{judgement:?}");
                    assert!(judge_actual(&post, &answer).is_pass());
                    asked += 1;
                }
                for (page, method, headers) in [
                    (ORIGIN, "PUT", &[][..]),
                    (ORIGIN, "put", &[JSON, TOKEN]),
                    (ORIGIN, "PATCH", &[TOKEN, ("X-Requested-With", "x")]),
                    ("https://a.b.example.org", "DELETE", &[]),
                    ("https://www.example.org/page", "GET", &[TOKEN]),
                ] {
                    let request = request(page, method, headers, credentials);
                    for browser in Browser::ALL {
                        let answer = response(&http.ask(&browser.head(&request)));
                        let judgement = judge_preflight(&request, &answer);
                        let grant = judgement.outcome.expect("a grant");
                        assert_eq!(grant.max_age, 600);
                        asked += 1;
                    }
                }
            }
        });
        assert_eq!(counted.get(counter::ANSWERED), asked);
        assert_eq!(server.count(), 0);
    }

    fn what_it_passes_on_is_not(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let mut asked = 0;
        let counted = agent.counted(|| {
            for (page, method, headers) in [
                (FOREIGN_ORIGIN, "PUT", &[][..]),
                ("https://example.org", "PUT", &[]),
                ("http://app.example.com", "PUT", &[]),
                ("https://app.example.com:8443", "PUT", &[]),
                ("https://barexample.org", "PUT", &[]),
                ("null", "PUT", &[]),
                (ORIGIN, "patch", &[]),
                (ORIGIN, "OPTIONS", &[]),
                (ORIGIN, "PUT", &[("x-other", "1")]),
            ] {
                let request = request(page, method, headers, false);
                for browser in Browser::ALL {
                    let mut http = Http::connect(&pair.client, at);
                    let answer = response(&http.ask(&browser.head(&request)));
                    let failed = judge_preflight(&request, &answer).failed_at();
                    assert_eq!(failed, Some(Step::AllowOriginPresent), "{page} {method}");
                    asked += 1;
                }
            }
        });
        assert_eq!(counted.get(counter::ANSWERED), 0);
        assert_eq!(server.count() as u64, asked);
    }

    fn a_browser_asks_once_for_as_long_as_it_was_told(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let _server = Recording::listen(&pair.server, at);
        let _agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let mut http = Http::connect(&pair.client, at);
        let put = request(ORIGIN, "PUT", &[JSON], true);
        for browser in Browser::ALL {
            let answer = response(&http.ask(&browser.head(&put)));
            let grant = judge_preflight(&put, &answer).outcome.expect("a grant");
            let mut cache = cors_oracle::Cache::new(browser);
            cache.store(&put, &grant, 0);
            assert!(cache.covers(&put, 599));
            // The whole list was sent: other requests need not ask either.
            assert!(cache.covers(&request(ORIGIN, "DELETE", &[TOKEN], false), 599));
            assert!(!cache.covers(&request(ORIGIN, "PUT", &[("x-other", "1")], true), 599));
            assert!(!cache.covers(&put, 600));
        }
    }

    fn what_is_explained_is_what_happens(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let _server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let scratch = Scratch::new("explain");
        let file = scratch.write("policy.toml", policy::file(&topology::sockets()));
        let long = format!("/v1/?{}", "a".repeat(700));
        for (origin, method, headers, path) in [
            (ORIGIN, "PUT", &["content-type: application/json"][..], "/v1/a"),
            ("https://a.example.org:8443", "PUT", &[], "/v1/a"),
            ("https://www.example.org", "DELETE", &["authorization", "x-requested-with"], "/v1"),
            (FOREIGN_ORIGIN, "PUT", &[], "/v1/a"),
            ("null", "PUT", &[], "/v1/a"),
            (ORIGIN, "patch", &[], "/v1/a"),
            (ORIGIN, "PUT", &["x-a", "authorization"], "/v1/a"),
            (ORIGIN, "PUT", &[], "/v10"),
            (ORIGIN, "PUT", &[], "/v1/a%2fb"),
            (ORIGIN, "PUT", &[], "/v1/a//b"),
            (ORIGIN, "PUT", &[], "/v1/?q={}"),
            (ORIGIN, "PUT", &[], &long),
        ] {
            for browser in ["chromium", "firefox", "webkit"] {
                let mut command = agent::edge();
                command.args(["explain", "--json", "--browser", browser, "--config"]).arg(&file);
                command.args(["--origin", origin, "--method", method]);
                command.arg("--url").arg(format!("https://{HOST}{path}"));
                for header in headers {
                    command.args(["--header", header]);
                }
                let output = command.output().expect("run the agent");
                let told: Value = serde_json::from_slice(&output.stdout).expect("a document");
                let preflight = &told["preflight"];
                let head = preflight["head"].as_str().expect("a head");
                let mut answer = None;
                let counted = agent.counted(|| {
                    answer = Some(Http::connect(&pair.client, at).ask(head.as_bytes()));
                });
                let exit = preflight["driver"]["exit"].as_str().expect("an exit");
                assert_eq!(counted.get(exit), 1, "{exit}: {head}\n{counted:?}");
                if preflight["driver"]["answers"] == true {
                    let foretold = preflight["response"].as_str().expect("a response");
                    let mut foretold: Vec<_> = foretold
                        .lines()
                        .filter_map(|line| line.split_once(": "))
                        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                        .collect();
                    let mut answer = answer.expect("an answer").headers;
                    for headers in [&mut foretold, &mut answer] {
                        headers.retain(|(name, _)| name != "date");
                    }
                    assert_eq!(answer, foretold, "{head}");
                }
            }
        }
    }
}
