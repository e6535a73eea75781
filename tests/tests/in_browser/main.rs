//! Against a real browser: the driver's answers are taken (`driver`), and the proxy's (`proxied`);
//! and the oracle foretells what happens, also where a preflight is remembered (`remembered`). Of many requests and many answers,
//! right and wrong, both say whether there is a preflight, what is in it, whether the request
//! follows, where redirects lead, and what the script sees of the response.
//!
//! The browser runs in a namespace of its own, where nothing but its own servers can be reached.

mod cases;
mod driver;
mod font;
mod proxied;
mod remembered;
mod site;

use std::collections::BTreeSet;

use cors_oracle::{
    Body, Browser, Credentials, Origin, Request, Response, Route, Step, follow, judge_actual,
    judge_preflight, preflight_request, route, visible_headers,
};
use cors_tests::{chromium::Chromium, eventually, netns::Netns};

use cases::{Case, Head, Leg, Page, cases, url};
use site::{PAGE, Seen, Site};

/// What happens to one request.
#[derive(Debug, PartialEq, Eq)]
struct Happened {
    /// What happens at each URL that it gets to, or that a preflight gets to.
    legs: Vec<Arrival>,
    /// The names of the headers that the script sees, if it gets a response.
    visible: Option<BTreeSet<String>>,
}

/// What happens at one URL.
#[derive(Debug, PartialEq, Eq)]
struct Arrival {
    /// The preflight: the values of `Origin`, `-Request-Method`, `-Request-Headers`.
    preflight: Option<[Option<String>; 3]>,
    /// Whether the request was sent.
    sent: bool,
}

/// What the oracle says; nothing where the standard and Chromium part ways.
fn foretold(case: &Case, number: usize) -> Option<Happened> {
    let mut happened = Happened { legs: Vec::new(), visible: None };
    let mut request = request(case, number);
    for leg in &case.legs {
        let asks = match route(&mut request).expect("a request that is sent") {
            Route::Cors(reasons) => !reasons.is_empty(),
            Route::SameOrigin | Route::Opaque => false,
        };
        let preflight = asks.then(|| {
            let preflight = preflight_request(&request);
            [Some(preflight.origin), Some(preflight.method), preflight.headers]
        });
        let judgement = judge_preflight(&request, &response(&leg.preflight));
        if asks && is_disputed(judgement.failed_at(), leg) {
            return None;
        }
        let sent = !asks || judgement.is_pass();
        happened.legs.push(Arrival { preflight, sent });
        let answer = response(&leg.response);
        if !sent || !judge_actual(&request, &answer).is_pass() {
            break;
        }
        let Some(next) = follow(&request, &answer).expect("a redirect that is followed") else {
            let seen = visible_headers(&request, &answer);
            let names = seen.iter().map(|header| header.name.to_ascii_lowercase());
            happened.visible = Some(names.collect());
            break;
        };
        request = next;
    }
    Some(happened)
}

/// For Chromium `*` covers `authorization` as well. Which of the two a version follows is left open
/// here.
fn is_disputed(failed: Option<Step>, leg: &Leg) -> bool {
    failed == Some(Step::AuthorizationAllowed)
        && leg.preflight.headers.iter().any(|(_, value)| value == "*")
}

fn request(case: &Case, number: usize) -> Request {
    let page = match case.page {
        Page::Own => Origin::of_page(PAGE).expect("an origin"),
        Page::Sandboxed => Origin::Opaque,
    };
    let url = url(case.legs[0].at, number, 0);
    let mut request = Request::new(page, &case.method, &url).expect("a request");
    for (name, value) in &case.headers {
        request.add_header(name, value).expect("a header");
    }
    if case.listens {
        request = request.with_upload_listener().with_body(Body::Bytes).expect("a body");
    }
    request.with_credentials(match &*case.credentials {
        "include" => Credentials::Include,
        "omit" => Credentials::Omit,
        _ => Credentials::SameOrigin,
    })
}

fn response(head: &Head) -> Response {
    Response::new(head.status, head.lines().iter().map(|(name, value)| (name, value)))
}

/// What the browser did.
fn observed(case: &Case, seen: &Seen, number: usize) -> Happened {
    let arrival = |leg: usize| {
        let preflight = seen.preflights.get(&(number, leg)).map(|preflight| {
            ["origin", "access-control-request-method", "access-control-request-headers"]
                .map(|name| preflight.header(name).map(str::to_owned))
        });
        Arrival { preflight, sent: seen.requests.contains(&(number, leg)) }
    };
    let legs = (0..case.legs.len()).map(arrival);
    Happened {
        legs: legs.take_while(|leg| leg.sent || leg.preflight.is_some()).collect(),
        visible: seen.results[number].clone().map(|names| names.into_iter().collect()),
    }
}

#[test]
fn chromium_does_what_the_oracle_says() {
    let host = Netns::new("browser");
    let cases = cases();
    let site = Site::serve(&host, &cases);
    let browser = Chromium::open(&host, &format!("{PAGE}/"), &[]);
    let seen = eventually("the browser has seen every case", || site.finished());
    drop(browser);

    let mut wrong = Vec::new();
    let mut all = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let Some(foretold) = foretold(case, number) else { continue };
        let observed = observed(case, &seen, number);
        if foretold != observed {
            wrong.push(format!("{case:#?}\nforetold {foretold:#?}\nobserved {observed:#?}"));
        }
        all.push(observed);
    }
    let count = wrong.len();
    assert!(wrong.is_empty(), "{count} of {}:\n{}", cases.len(), wrong[..count.min(5)].join("\n"));

    // Enough of each kind to mean something.
    for (what, of) in [
        ("no preflight", (|h| h.legs[0].preflight.is_none()) as fn(&Happened) -> bool),
        ("a refused preflight", |h| h.legs[0].preflight.is_some() && !h.legs[0].sent),
        ("a granted one", |h| h.legs[0].preflight.is_some() && h.legs[0].sent),
        ("a response that is shared", |h| h.visible.is_some()),
        ("one that is not", |h| h.legs[0].sent && h.visible.is_none()),
        ("a redirect that is followed", |h| h.legs.len() > 1),
        ("a preflight behind one", |h| h.legs.len() > 1 && h.legs[1].preflight.is_some()),
    ] {
        let count = all.iter().filter(|happened| of(happened)).count();
        assert!(count * 40 > cases.len(), "{what}: {count} of {}", cases.len());
    }

    // The head as a whole: every name in its place, and the values but for the version. A browser
    // without a window has no language.
    let versions = ["User-Agent", "Accept-Encoding"];
    for (at @ (number, _), preflight) in seen.preflights.iter().filter(|((_, leg), _)| *leg == 0) {
        // What is in a frame without a URL refers to the page around it.
        if matches!(cases[*number].page, Page::Sandboxed) {
            continue;
        }
        let foretold = Browser::Chromium.head(&request(&cases[*number], *number));
        let lines = |head: &str| -> Vec<String> {
            let line = |line: &str| match line.split_once(": ") {
                Some((name, _)) if versions.contains(&name) => name.to_owned(),
                _ => line.to_owned(),
            };
            head.lines().map(line).filter(|line| !line.starts_with("Accept-Language")).collect()
        };
        assert_eq!(lines(&preflight.head), lines(&String::from_utf8_lossy(&foretold)), "{at:?}");
    }
}
