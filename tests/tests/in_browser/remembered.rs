//! What the browser remembers of an answer: a second request to the same URL asks again, or does
//! not, as the oracle's cache says.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use cors_oracle::{Browser, Cache, judge_actual, judge_preflight, needs_preflight, route};
use cors_tests::{chromium::Chromium, eventually, netns::Netns, web};
use serde_json::Value;

use crate::{
    cases::{Case, Page, cases},
    is_disputed, request, response,
    site::{API, PAGE, SCRIPT},
};

/// Two requests to one URL, with the answers of the first one.
struct Pair {
    first: Case,
    second: Case,
}

/// Pairs of cases from the one page, with an age for each answer.
fn pairs() -> Vec<Pair> {
    let simple = |case: &Case| {
        matches!(case.page, Page::Own) && case.legs.len() == 1 && case.legs[0].at == API
    };
    let cases: Vec<Case> = cases().into_iter().filter(simple).collect();
    let pair = |(number, two): (usize, &[Case])| {
        let [mut first, mut second] = [two[0].clone(), two[1].clone()];
        // An age in between would be a race with the clock.
        let age = if number % 4 == 0 { "0" } else { "600" };
        let max_age = ("Access-Control-Max-Age".to_owned(), age.to_owned());
        first.legs[0].preflight.headers.push(max_age);
        if number % 2 == 0 {
            // The same once more: otherwise little of it would be covered.
            second = first.clone();
        }
        second.legs.clone_from(&first.legs);
        Pair { first, second }
    };
    cases.chunks_exact(2).enumerate().map(pair).collect()
}

/// How many preflights there are for both; nothing where the standard and Chromium part ways: by the
/// standard a response that is not shared makes the browser forget the preflight before it.
fn foretold(pair: &Pair, number: usize) -> Option<usize> {
    let mut cache = Cache::new(Browser::Chromium);
    let mut count = 0;
    for case in [&pair.first, &pair.second] {
        let mut request = request(case, number);
        route(&mut request).expect("a request that is sent");
        if needs_preflight(&request).is_empty() || cache.covers(&request, 1) {
            continue;
        }
        count += 1;
        let judgement = judge_preflight(&request, &response(&case.legs[0].preflight));
        if is_disputed(judgement.failed_at(), &case.legs[0]) {
            return None;
        }
        let is_shared = judge_actual(&request, &response(&case.legs[0].response)).is_pass();
        match judgement.outcome {
            Ok(_) if !is_shared => return None,
            Ok(grant) => cache.store(&request, &grant, 0),
            Err(_) => cache.clear(&request),
        }
    }
    Some(count)
}

/// The page: each pair one after the other, many pairs at a time.
fn document(pairs: &[Pair]) -> String {
    let pair = |(number, pair): (usize, &Pair)| {
        let one = |case: &Case| Value::from(vec![Value::from(number), case.document(number)]);
        Value::from(vec![one(&pair.first), one(&pair.second)])
    };
    let pairs = Value::from(pairs.iter().enumerate().map(pair).collect::<Vec<_>>());
    format!(
        "<!doctype html><script>{SCRIPT}\n(async () => {{\n\
         await Promise.all({pairs}.map(async ([first, second]) => {{\n\
           await run([first]); await run([second]); }}));\n\
         await fetch('/done'); }})();</script>"
    )
}

#[test]
fn chromium_remembers_what_the_oracle_says() {
    let host = Netns::new("browser");
    let pairs = Arc::new(pairs());
    let counts = Arc::new(Mutex::new(BTreeMap::<usize, usize>::new()));
    let done = Arc::new(Mutex::new(false));
    let (asked, counted) = (Arc::clone(&pairs), Arc::clone(&counts));
    web::serve(&host, (Ipv4Addr::LOCALHOST, 8002).into(), move |request| {
        let number: usize =
            request.path.split('/').nth(1).and_then(|n| n.parse().ok()).expect("a number");
        let leg = &asked[number].first.legs[0];
        if request.is_preflight() {
            let mut counts = counted.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry(number).or_default() += 1;
            leg.preflight.text()
        } else {
            leg.response.text()
        }
    });
    let (shown, finished) = (document(&pairs), Arc::clone(&done));
    web::serve(&host, (Ipv4Addr::LOCALHOST, 8001).into(), move |request| {
        if request.path == "/done" {
            *finished.lock().unwrap_or_else(PoisonError::into_inner) = true;
        }
        let content = if request.path == "/" { &*shown } else { "" };
        web::response(200, &[("Content-Type", "text/html")], content)
    });
    let browser = Chromium::open(&host, &format!("{PAGE}/"), &[]);
    eventually("the browser is done", || {
        (*done.lock().unwrap_or_else(PoisonError::into_inner)).then_some(())
    });
    drop(browser);

    let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let mut of_each = [0; 3];
    for (number, pair) in pairs.iter().enumerate() {
        let count = counts.get(&number).copied().unwrap_or(0);
        let Pair { first, second } = pair;
        let Some(foretold) = foretold(pair, number) else { continue };
        assert_eq!(count, foretold, "{first:#?}\n{second:#?}");
        of_each[count] += 1;
    }
    // Enough of each to mean something: none, one for both, one for each.
    assert!(of_each.iter().all(|count| count * 20 > pairs.len()), "{of_each:?}");
}
