//! Requests, and what they are answered with.

use cors_tests::{Random, web};
use serde_json::{Value, json};

use crate::site::{API, OTHER, PAGE};

/// Where the script runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Page {
    /// In the page.
    Own,
    /// In a sandboxed frame of it, whose origin is nobody's.
    Sandboxed,
}

/// The head of a response.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    /// The whole response.
    pub(crate) fn text(&self) -> Vec<u8> {
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        web::response(self.status, &headers, "")
    }

    /// All its headers: what is needed to carry it is part of what the browser sees.
    pub(crate) fn lines(&self) -> Vec<(String, String)> {
        let text = String::from_utf8_lossy(&self.text()).into_owned();
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// One request of a script, and what it leads to.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) page: Page,
    pub(crate) method: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) credentials: String,
    /// Whether the progress of the upload is listened to.
    pub(crate) listens: bool,
    /// Where it goes, and from each to the next by a redirect.
    pub(crate) legs: Vec<Leg>,
}

/// One URL, and the two answers there.
#[derive(Clone, Debug)]
pub(crate) struct Leg {
    /// Its origin.
    pub(crate) at: &'static str,
    pub(crate) preflight: Head,
    pub(crate) response: Head,
}

/// The URL of a leg.
pub(crate) fn url(at: &str, number: usize, leg: usize) -> String {
    format!("{at}/{number}/{leg}")
}

impl Case {
    /// What the script needs to know.
    pub(crate) fn document(&self, number: usize) -> Value {
        json!({
            "url": url(self.legs[0].at, number, 0),
            "sandboxed": matches!(self.page, Page::Sandboxed),
            "method": self.method,
            "headers": self.headers,
            "credentials": self.credentials,
            "listens": self.listens,
        })
    }
}

/// How many of them.
const COUNT: usize = 1500;

/// The same ones in every run.
pub(crate) fn cases() -> Vec<Case> {
    let mut random = Random::new(7);
    (0..COUNT).map(|number| case(number, &mut random)).collect()
}

fn pick<T: Copy>(random: &mut Random, items: &[T]) -> T {
    items[random.next() as usize % items.len()]
}

fn case(number: usize, random: &mut Random) -> Case {
    let page = if random.chance(150) { Page::Sandboxed } else { Page::Own };
    let methods = [
        "GET", "get", "POST", "HEAD", "PUT", "put", "PATCH", "patch", "DELETE", "X-ANY", "OPTIONS",
    ];
    let method = pick(random, &methods).to_owned();
    let long = "a".repeat(129);
    let long_safe = "a".repeat(128);
    let values: &[(&str, &str)] = &[
        ("Content-Type", "application/json"),
        ("content-type", "text/plain;charset=UTF-8"),
        ("content-type", "multipart/form-data; boundary=x"),
        ("content-type", "text/plain; a=\"b\""),
        ("content-type", "nonsense"),
        ("Accept", "application/json"),
        ("accept", "a(b)"),
        ("accept", &long),
        ("accept", &long_safe),
        ("Accept-Language", "de-CH"),
        ("accept-language", "de_CH"),
        ("content-language", "en"),
        ("range", "bytes=0-99"),
        ("range", "bytes=-99"),
        ("range", "bytes=0-1,2-3"),
        ("Authorization", "Bearer x"),
        ("X-B", "1"),
        ("x-a", "2"),
        ("x-a", "3"),
        ("cookie", "a=b"),
        ("sec-x", "1"),
        ("dnt", "1"),
        ("X-HTTP-Method-Override", "TRACE"),
        ("x-http-method-override", "PUT"),
    ];
    let mut headers: Vec<(String, String)> = Vec::new();
    for _ in 0..random.next() % 4 {
        let (name, value) = pick(random, values);
        // Of a name that is set twice Chromium judges the values as one, the standard each.
        if headers.iter().all(|(known, _)| !known.eq_ignore_ascii_case(name)) {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    let credentials = pick(random, &["omit", "same-origin", "include", "include"]).to_owned();
    let places = match random.next() % 20 {
        0..=11 => vec![API],
        12..=14 => vec![API, API],
        15 => vec![API, OTHER],
        16 | 17 => vec![PAGE, API],
        18 => vec![API, PAGE],
        _ => vec![PAGE, API, OTHER],
    };
    let legs = (0..places.len()).map(|leg| {
        let origin = origin(page, &places[..=leg]);
        let preflight = answer(random, origin, &method, true);
        let mut response = answer(random, origin, &method, false);
        if let Some(next) = places.get(leg + 1) {
            response.status = pick(random, &[301, 302, 303, 307, 308]);
            response.headers.push(("Location".to_owned(), url(next, number, leg + 1)));
        }
        Leg { at: places[leg], preflight, response }
    });
    let legs = legs.collect();
    // Without a body there is nothing to listen to.
    let listens = method == "POST" && random.chance(500);
    Case { page, method, headers, credentials, listens, legs }
}

/// The origin that is asked for at the last of these places.
fn origin(page: Page, places: &[&'static str]) -> &'static str {
    // Whoever is sent from one foreign place to another is nobody there.
    let is_lost = |pair: &[&str]| pair[0] != PAGE && pair[0] != pair[1];
    match page {
        Page::Own if !places.windows(2).any(is_lost) => PAGE,
        _ => "null",
    }
}

/// An answer that is mostly right.
fn answer(random: &mut Random, origin: &str, method: &str, is_preflight: bool) -> Head {
    let upper = origin.to_ascii_uppercase();
    let slash = format!("{origin}/");
    let two = format!("{origin}, https://b.example");
    let origins: &[&[&str]] = &[
        &[origin],
        &[origin],
        &[origin],
        &[origin],
        &["*"],
        &["*"],
        &[],
        &["null"],
        &[&upper],
        &[&slash],
        &[&two],
        &[origin, origin],
        &["*", "*"],
        &["http://localhost"],
        &["http://*:8001"],
        &[""],
    ];
    let credentials: &[&[&str]] =
        &[&["true"], &["true"], &["true"], &[], &["True"], &["false"], &["true", "true"]];
    let upper = method.to_ascii_uppercase();
    let three = format!("PUT, {method} ,X");
    let methods: &[&[&str]] = &[
        &[method],
        &[method],
        &[&upper],
        &[&three],
        &["GET", method],
        &["*"],
        &[],
        &[""],
        &["GET PUT"],
        &["get,put,patch,x-any"],
        &[",PUT,,PATCH,DELETE,X-ANY,patch"],
    ];
    let all = "content-type,accept,accept-language,range,authorization,x-a,x-b,\
               x-http-method-override,content-language";
    let headers: &[&[&str]] = &[
        &[all],
        &[all],
        &[all, "x"],
        &["*"],
        &["*", "Authorization"],
        &["X-A, x-B"],
        &[],
        &[""],
        &["x-a x-b"],
        &["\"x-a\""],
        &["content-type,range,accept"],
    ];
    // What is in front of each list is right, and often enough all of it is.
    let right = random.chance(400);
    let mut lines = Vec::new();
    let mut add = |name: &str, lists: &[&[&str]]| {
        let values = if right { lists[0] } else { pick(random, lists) };
        lines.extend(values.iter().map(|value| (name.to_owned(), (*value).to_owned())));
    };
    add("Access-Control-Allow-Origin", origins);
    add("access-control-allow-credentials", credentials);
    let statuses: &[u16] = if is_preflight {
        add("Access-Control-Allow-Methods", methods);
        add("Access-Control-Allow-Headers", headers);
        &[204, 200, 204, 206, 299, 302, 403, 500]
    } else {
        for (name, value) in [
            ("X-One", "1"),
            ("X-Two", "2"),
            ("ETag", "\"1\""),
            ("Cache-Control", "no-store"),
            ("Set-Cookie", "a=b"),
        ] {
            add(name, &[&[value]]);
        }
        let exposed: &[&[&str]] =
            &[&[], &["x-one"], &["X-One, etag"], &["*"], &["x one"], &["x-one", "x-two"]];
        lines.extend(
            pick(random, exposed)
                .iter()
                .map(|list| ("Access-Control-Expose-Headers".to_owned(), (*list).to_owned())),
        );
        &[200, 200, 201, 204, 302, 400, 403, 404, 500, 503]
    };
    let status = if right { statuses[0] } else { pick(random, statuses) };
    Head { status, headers: lines }
}
