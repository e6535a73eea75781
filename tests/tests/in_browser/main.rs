//! The oracle against a real browser: of many requests and many answers, right and wrong, both say
//! whether there is a preflight, what is in it, whether the request follows, and what the script
//! sees of the response.
//!
//! The browser runs in a namespace of its own, where nothing but its two servers can be reached.

mod cases;
mod site;

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use cors_oracle::{
    Browser, Credentials, Origin, Request, Response, Route, Step, judge_actual, judge_preflight,
    route, visible_headers,
};
use cors_tests::{eventually, netns::Netns, scratch::Scratch};
use nix::sys::signal::Signal;

use cases::{Case, Head, Page, cases};
use site::{API, PAGE, Seen, Site};

/// What happens to one request.
#[derive(Debug, PartialEq, Eq)]
struct Happened {
    /// The preflight: the values of `Origin`, `-Request-Method`, `-Request-Headers`.
    preflight: Option<[Option<String>; 3]>,
    /// Whether the request was sent.
    sent: bool,
    /// The names of the headers that the script sees, if it gets the response.
    visible: Option<BTreeSet<String>>,
}

/// What the oracle says.
fn foretold(case: &Case, number: usize) -> Happened {
    let request = request(case, number);
    let asks = !cors_oracle::needs_preflight(&request).is_empty();
    let preflight = asks.then(|| {
        let preflight = cors_oracle::preflight_request(&request);
        [Some(preflight.origin), Some(preflight.method), preflight.headers]
    });
    let sent = !asks || judge_preflight(&request, &response(&case.preflight)).is_pass();
    let answer = response(&case.response);
    let visible = (sent && judge_actual(&request, &answer).is_pass()).then(|| {
        let seen = visible_headers(&request, &answer);
        seen.iter().map(|header| header.name.to_ascii_lowercase()).collect()
    });
    Happened { preflight, sent, visible }
}

fn request(case: &Case, number: usize) -> Request {
    let page = match case.page {
        Page::Own => Origin::of_page(PAGE).expect("an origin"),
        Page::Sandboxed => Origin::Opaque,
    };
    let url = format!("{API}/case/{number}");
    let mut request = Request::new(page, &case.method, &url).expect("a request");
    for (name, value) in &case.headers {
        request.add_header(name, value).expect("a header");
    }
    let mut request = request.with_credentials(match &*case.credentials {
        "include" => Credentials::Include,
        "omit" => Credentials::Omit,
        _ => Credentials::SameOrigin,
    });
    assert!(matches!(route(&mut request), Ok(Route::Cors(_))));
    request
}

fn response(head: &Head) -> Response {
    Response::new(head.status, head.lines().iter().map(|(name, value)| (name, value)))
}

/// Whether the standard and Chromium part ways: for it `*` covers `authorization` as well. Which of
/// the two a version follows is left open here.
fn is_disputed(case: &Case, number: usize) -> bool {
    let judgement = judge_preflight(&request(case, number), &response(&case.preflight));
    let starred = case.preflight.headers.iter().any(|(_, value)| value == "*");
    judgement.failed_at() == Some(Step::AuthorizationAllowed) && starred
}

/// What the browser did.
fn observed(seen: &Seen, number: usize) -> Happened {
    let preflight = seen.preflights.get(&number).map(|head| {
        ["origin", "access-control-request-method", "access-control-request-headers"]
            .map(|name| site::value(head, name).map(str::to_owned))
    });
    Happened {
        preflight,
        sent: seen.requests.contains(&number),
        visible: seen.results[number].clone().map(|names| names.into_iter().collect()),
    }
}

#[test]
fn chromium_does_what_the_oracle_says() {
    let host = Netns::new("browser");
    let cases = cases();
    let site = Site::serve(&host, &cases);
    let scratch = Scratch::new("browser");
    // A browser is many processes, and what starts it is a script. In a namespace of their own they
    // all end with the first one.
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child=SIGKILL", "chromium-headless-shell"])
        .args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--disable-background-networking", "--remote-debugging-port=0"])
        .arg(format!("--user-data-dir={}", scratch.path("profile").display()))
        .arg(PAGE)
        .env("HOME", scratch.dir())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let browser = host.spawn(command);
    let seen = eventually("the browser has seen every case", || site.finished());
    browser.end_by(Signal::SIGKILL);

    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        if is_disputed(case, number) {
            continue;
        }
        let (foretold, observed) = (foretold(case, number), observed(&seen, number));
        if foretold != observed {
            wrong.push(format!("{case:#?}\nforetold {foretold:#?}\nobserved {observed:#?}"));
        }
    }
    let count = wrong.len();
    assert!(wrong.is_empty(), "{count} of {}:\n{}", cases.len(), wrong[..count.min(5)].join("\n"));

    // Enough of each kind to mean something.
    let count = |of: fn(&Happened) -> bool| {
        (0..cases.len()).filter(|number| of(&observed(&seen, *number))).count()
    };
    for (what, of) in [
        ("no preflight", (|h| h.preflight.is_none()) as fn(&Happened) -> bool),
        ("a refused preflight", |h| h.preflight.is_some() && !h.sent),
        ("a granted one", |h| h.preflight.is_some() && h.sent),
        ("a response that is shared", |h| h.visible.is_some()),
        ("one that is not", |h| h.sent && h.visible.is_none()),
    ] {
        assert!(count(of) * 20 > cases.len(), "{what}: {} of {}", count(of), cases.len());
    }

    // The head as a whole: every name in its place, and the values but for the version. A browser
    // without a window has no language.
    let versions = ["User-Agent", "Accept-Encoding"];
    let own = |number: &&usize| matches!(cases[**number].page, Page::Own);
    for number in seen.preflights.keys().filter(own) {
        let foretold = Browser::Chromium.head(&request(&cases[*number], *number));
        let lines = |head: &str| -> Vec<String> {
            let line = |line: &str| match line.split_once(": ") {
                Some((name, _)) if versions.contains(&name) => name.to_owned(),
                _ => line.to_owned(),
            };
            head.lines().map(line).filter(|line| !line.starts_with("Accept-Language")).collect()
        };
        assert_eq!(lines(&seen.preflights[number]), lines(&String::from_utf8_lossy(&foretold)));
    }
}
