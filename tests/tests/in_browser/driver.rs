//! The driver's answers before a real browser: the page gets what the policy allows, with every
//! preflight answered in the driver, and where it does not allow, nothing is sent.
//!
//! The server behind knows nothing of preflights, and puts the headers of CORS on its responses.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use cors_tests::{
    agent::Agent,
    chromium::Chromium,
    counter, eventually, for_each_family,
    topology::{Pair, server_at, sockets},
    web,
};
use serde_json::{Value, json};

use crate::site::{PAGE, SCRIPT};

/// What a script asks for, and whether it gets it.
type Asked = (&'static str, &'static [(&'static str, &'static str)], &'static str, bool);

const CASES: &[Asked] = &[
    ("PUT", &[("content-type", "application/json")], "same-origin", true),
    ("put", &[], "omit", true),
    ("PATCH", &[("authorization", "Bearer x")], "include", true),
    ("DELETE", &[], "include", true),
    ("GET", &[("Authorization", "Bearer x")], "same-origin", true),
    ("POST", &[("content-type", "application/json"), ("X-Requested-With", "x")], "omit", true),
    ("GET", &[], "include", true),
    ("patch", &[], "omit", false),
    ("PUT", &[("x-other", "1")], "same-origin", false),
    ("X-ANY", &[], "omit", false),
    ("PUT", &[("content-type", "application/json")], "include", true),
];

fn policy() -> String {
    let listen: Vec<String> = sockets().iter().map(|at| format!("{:?}", at.to_string())).collect();
    format!(
        "[server]\nlisten = [{}]\n[[policy]]\nname = \"api\"\nallow_origins = [{PAGE:?}]\n\
         allow_methods = [\"PUT\", \"PATCH\", \"DELETE\"]\n\
         allow_headers = [\"authorization\", \"content-type\", \"x-requested-with\"]\n\
         allow_credentials = true\n",
        listen.join(", ")
    )
}

/// The page: it asks one after the other, so that each connection is used for one request. What it
/// does not get it asks for twice more: on a busy machine the driver may pass one on.
fn document() -> String {
    let case = |(number, (method, headers, credentials, _)): (usize, &Asked)| {
        let url = format!("http://api.example.com/{number}");
        json!([number, { "url": url, "method": method, "headers": headers,
            "credentials": credentials }])
    };
    let cases = Value::from(CASES.iter().enumerate().map(case).collect::<Vec<_>>());
    format!(
        "<!doctype html><script>{SCRIPT}\n(async () => {{ const all = {{}};\n\
         for (const one of {cases}) for (let left = 3; left && !all[one[0]]; left--)\n\
           Object.assign(all, await run([one]));\n\
         await fetch('/results', {{ method: 'POST', body: JSON.stringify(all) }}); }})();\n\
         </script>"
    )
}

for_each_family! {
    fn a_page_gets_what_the_policy_allows(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let arrived = Arc::new(Mutex::new(Vec::<String>::new()));
        let seen = Arc::clone(&arrived);
        web::serve(&pair.server, at, move |request| {
            let line = format!("{} {}", request.method, request.path);
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            if request.is_preflight() {
                return web::response(403, &[], "");
            }
            let shared = [
                ("Access-Control-Allow-Origin", PAGE),
                ("Access-Control-Allow-Credentials", "true"),
                ("Vary", "Origin"),
            ];
            web::response(200, &shared, "{}")
        });
        let results = Arc::new(Mutex::new(None));
        let reported = Arc::clone(&results);
        web::serve(&pair.client, (Ipv4Addr::LOCALHOST, 8001).into(), move |request| {
            if request.path == "/results" {
                let results: Value = serde_json::from_slice(&request.body).expect("results");
                *reported.lock().unwrap_or_else(PoisonError::into_inner) = Some(results);
            }
            let content = if request.path == "/" { document() } else { String::new() };
            web::response(200, &[("Content-Type", "text/html")], &content)
        });
        let agent = Agent::start(&pair.server, Pair::INTERFACE, policy());

        let mut got = Value::Null;
        let counted = agent.counted(|| {
            let rules = format!("--host-resolver-rules=MAP api.example.com:80 {at}");
            let browser = Chromium::open(&pair.client, &format!("{PAGE}/"), &[&rules]);
            got = eventually("the page has its results", || {
                results.lock().unwrap_or_else(PoisonError::into_inner).clone()
            });
            drop(browser);
        });

        let arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let arrived: BTreeSet<&str> = arrived.iter().map(String::as_str).collect();
        let mut answered = 0;
        for (number, (method, headers, _, allowed)) in CASES.iter().enumerate() {
            let result = &got[number.to_string()];
            let told = || format!("{method} {headers:?}: {result} {:?}", counted.nonzero());
            assert_eq!(result.is_array(), *allowed, "{}", told());
            let method = if *method == "put" { "PUT" } else { method };
            let sent = arrived.contains(&*format!("{method} /{number}"));
            assert_eq!(sent, *allowed, "{method} {headers:?}");
            if !allowed {
                assert!(arrived.contains(&*format!("OPTIONS /{number}")), "{method} {headers:?}");
            }
            let is_simple = *method == *"GET" && headers.is_empty();
            answered += u64::from(*allowed && !is_simple);
        }
        // The server refuses every preflight, so each that was granted is one of the driver's.
        assert_eq!(counted.get(counter::ANSWERED), answered);
    }
}
