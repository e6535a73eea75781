//! The engine and plain string code say the same, on random policies and random requests.

use std::{cell::Cell, collections::HashSet};

use cors_user::config::model::{
    Admin, Conduct, Config, Expose, Handshake, Headers, Methods, OriginPattern, Origins, Policy,
    Server, WildcardPort, WildcardScheme,
};
use proptest::{collection::vec, option, prelude::*, sample::select, test_runner::TestRunner};

use crate::{
    plain,
    support::{DATE, Dice, Engine, Request},
};

const HOSTS: &[&str] = &["a.example", "b.example", "localhost", "10.0.0.1", "[::1]", "x"];
const PREFIXES: &[&str] = &["/v1", "/v1/x", "/v1/x/y", "/v2", "/v10", "/a/b/c/d/e/f/g/h/i/j/k"];
const METHODS: &[&str] = &["PUT", "PATCH", "DELETE", "put", "X-ANY"];
const NAMES: &[&str] =
    &["a", "a-b", "ab", "authorization", "content-type", "x-a-header-with-a-rather-long-name-1"];

fn origin_patterns() -> Vec<OriginPattern> {
    let mut patterns = Vec::new();
    for host in
        ["app.example.com", "b.example.org", "localhost", "a.very.long.host.name.example.com"]
    {
        for scheme in ["https", "http"] {
            patterns.push(OriginPattern::Exact(format!("{scheme}://{host}")));
            patterns.push(OriginPattern::Exact(format!("{scheme}://{host}:8443")));
            patterns.push(OriginPattern::AnyPort(format!("{scheme}://{host}")));
        }
        for scheme in [WildcardScheme::Http, WildcardScheme::Https] {
            for port in [WildcardPort::Default, WildcardPort::Exact(8443), WildcardPort::Any] {
                let (_, domain) = host.split_once('.').unwrap_or(("", host));
                for suffix in [host, domain] {
                    let suffix = suffix.to_owned();
                    patterns.push(OriginPattern::Subdomains { scheme, suffix, port });
                }
            }
        }
    }
    patterns
}

/// Origins that are near the patterns: allowed by some, and not by others.
fn origins() -> Vec<String> {
    let mut origins = vec!["null".to_owned(), "https://".to_owned(), "a,b".to_owned()];
    for host in
        ["app.example.com", "b.example.org", "localhost", "a.very.long.host.name.example.com"]
    {
        for front in ["", "w.", "w.w.", "w", ".", "W."] {
            for scheme in ["https://", "http://", "ftp://"] {
                for end in ["", ":8443", ":1", ":65535", ":65536", ":0", ":", "."] {
                    origins.push(format!("{scheme}{front}{host}{end}"));
                }
            }
        }
    }
    origins
}

fn owned(names: Vec<&str>) -> Vec<String> {
    let mut seen = HashSet::new();
    names.into_iter().filter(|name| seen.insert(*name)).map(str::to_owned).collect()
}

fn policy() -> impl Strategy<Value = Policy> {
    let seldom = prop::bool::weighted(0.2);
    let scope = (vec(select(HOSTS), 0..3), option::of(select(PREFIXES)));
    let origins = vec(select(origin_patterns()), 0..6);
    let lists = (vec(select(METHODS), 0..4), vec(select(NAMES), 0..5));
    let rest = (seldom, seldom, seldom, any::<bool>(), option::of(0..=86_400u32));
    (scope, origins, lists, rest).prop_map(|((hosts, prefix), origins, (methods, names), rest)| {
        let (any_origin, any_method, any_header, allow_credentials, max_age) = rest;
        Policy {
            name: String::new(),
            hosts: owned(hosts),
            path_prefix: prefix.map(str::to_owned),
            origins: if any_origin { Origins::Any } else { Origins::List(origins) },
            methods: if any_method { Methods::Any } else { Methods::List(owned(methods)) },
            headers: Headers { any: any_header, names: owned(names) },
            expose: Expose::List(Vec::new()),
            allow_credentials,
            max_age,
            conduct: Conduct::default(),
        }
    })
}

/// Policies of which no two are for the same host and prefix.
fn config() -> impl Strategy<Value = Config> {
    vec(policy(), 1..6).prop_map(|policies| {
        let mut taken = HashSet::new();
        let mut kept = Vec::new();
        for mut policy in policies {
            let any_host = policy.hosts.is_empty();
            policy.hosts.retain(|host| taken.insert((host.clone(), policy.path_prefix.clone())));
            let free = taken.insert((String::new(), policy.path_prefix.clone())) || !any_host;
            if any_host && free || !policy.hosts.is_empty() {
                policy.name = format!("p{}", kept.len());
                kept.push(policy);
            }
        }
        let server = Server {
            listen: Vec::new(),
            interfaces: Vec::new(),
            track: true,
            handshake: Handshake::Auto,
            proxy: None,
        };
        Config { server, admin: Admin::Usual, policies: kept }
    })
}

fn request() -> impl Strategy<Value = Request> {
    let hosts =
        ["a.example", "b.example:8080", "localhost", "10.0.0.1", "[::1]:80", "c", "A.example"];
    let targets = [
        "/",
        "/v1",
        "/v1/",
        "/v1/x",
        "/v1/x/y/z?q=//",
        "/v2/x",
        "/v10",
        "/v1x",
        "/v3",
        "/v1//x",
        "/v1/../x",
        "/a/b/c/d/e/f/g/h/i/j/k",
        "/a/b/c/d/e/f/g/h/i/j/k/l",
        "/v1/%2e",
        "/v1/x%20y",
    ];
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "put", "get", "X-ANY", "P,T"];
    let headers = prop_oneof![
        3 => vec(select(NAMES), 0..4).prop_map(|mut names| {
            names.sort_unstable();
            names.dedup();
            names.join(",")
        }),
        1 => vec(select(NAMES), 0..3).prop_map(|names| names.join(",")),
        1 => select(&["A", "a, b", ",", "zz", "a,,ab"][..]).prop_map(str::to_owned),
    ];
    let extra = select(
        &[
            "Connection: close",
            "Connection: keep-alive",
            "Content-Length: 0",
            "te: trailers",
            "Accept: */*",
            "X-Forwarded-For: 10.0.0.2",
            "Cookie: a=b",
        ][..],
    );
    (
        (select(hosts.to_vec()), select(targets.to_vec()), select(methods.to_vec())),
        (select(origins()), option::of(headers), vec(extra, 0..3), any::<u64>()),
    )
        .prop_map(|((host, target, method), (origin, headers, extra, seed))| {
            let mut request = Request::to(target).host(host).origin(&origin).method(method);
            if let Some(headers) = headers {
                request = request.asks(&headers);
            }
            for line in extra {
                request = request.add(line);
            }
            Dice(seed | 1).shuffle(&mut request.headers);
            request
        })
}

/// A change to a head.
#[derive(Clone, Debug)]
enum Change {
    Set(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Copy(usize, usize, usize),
    Cut(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let byte =
        prop_oneof![any::<u8>(), select(&b"\r\n :,-./?0aAzZ[]\t\0\x7f\x80%"[..]), 0x20..0x7fu8,];
    let at = 0..600usize;
    prop_oneof![
        4 => (at.clone(), byte.clone()).prop_map(|(at, byte)| Change::Set(at, byte)),
        3 => (at.clone(), byte).prop_map(|(at, byte)| Change::Insert(at, byte)),
        3 => at.clone().prop_map(Change::Remove),
        1 => (at.clone(), at.clone(), 1..60usize).prop_map(|(from, to, len)| Change::Copy(from, to, len)),
        1 => at.prop_map(Change::Cut),
    ]
}

fn apply(head: &mut Vec<u8>, change: &Change) {
    let len = head.len();
    if len == 0 {
        return;
    }
    match *change {
        Change::Set(at, byte) => head[at % len] = byte,
        Change::Insert(at, byte) => head.insert(at % len, byte),
        Change::Remove(at) => {
            head.remove(at % len);
        }
        Change::Copy(from, to, count) => {
            let from = from % len;
            let piece = head[from..len.min(from + count)].to_vec();
            let to = to % len;
            head.splice(to..to, piece);
        }
        Change::Cut(at) => head.truncate(at % len),
    }
}

fn compare(engine: &Engine, payload: &[u8]) -> bool {
    let answer = engine.ask(payload).ok();
    let expected = plain::answer(&engine.config, payload, DATE).map(String::into_bytes);
    assert_eq!(
        answer.as_deref().map(String::from_utf8_lossy),
        expected.as_deref().map(String::from_utf8_lossy),
        "{}\n{:#?}",
        payload.escape_ascii(),
        engine.config.policies,
    );
    answer.is_some()
}

/// Runs a test on random values; nothing is written where one fails.
fn run<S: Strategy>(strategy: &S, test: impl Fn(S::Value)) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let run = TestRunner::new(config).run(strategy, |value| {
        test(value);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn on_random_policies() {
    run(&(config(), vec(request(), 40)), |(config, requests)| {
        let engine = Engine::of(config);
        for request in requests {
            compare(&engine, &request.bytes());
        }
    });
}

#[test]
fn on_requests_of_which_many_are_allowed() {
    let (asked, answered) = (Cell::new(0), Cell::new(0));
    run(&(config(), vec(request(), 40)), |(mut config, requests)| {
        // One policy that allows most of what is generated.
        config.policies.truncate(1);
        let wide = &mut config.policies[0];
        (wide.hosts, wide.path_prefix) = (Vec::new(), None);
        wide.origins = Origins::List(origin_patterns());
        wide.methods = Methods::Any;
        wide.headers.any = true;
        let engine = Engine::of(config);
        for request in requests {
            asked.set(asked.get() + 1);
            answered.set(answered.get() + u32::from(compare(&engine, &request.bytes())));
        }
    });
    let (asked, answered) = (asked.get(), answered.get());
    assert!(answered * 20 > asked, "{answered} of {asked}");
}

#[test]
fn on_mutated_heads() {
    let changes = vec(vec(change(), 1..4), 40);
    run(&(config(), request(), changes), |(config, request, changes)| {
        let engine = Engine::of(config);
        for changes in changes {
            let mut head = request.bytes();
            for change in &changes {
                apply(&mut head, change);
            }
            compare(&engine, &head);
        }
    });
}

#[test]
fn on_heads_of_every_size_with_lines_of_every_size() {
    let engine =
        Engine::policy("allow_origins = [\"https://app.example.com\"]\nallow_methods = [\"PUT\"]");
    let mut dice = Dice(3);
    let mut answered = 0;
    for _ in 0..3000 {
        let mut request = Request::new();
        let lines = 1 + dice.below(42);
        for _ in 0..lines {
            let longest = if dice.below(8) == 0 { 70 } else { 20 };
            let name = "n".repeat(1 + dice.below(longest));
            request = request.add(format!("{name}:{}", "v".repeat(dice.below(1400 / lines))));
        }
        dice.shuffle(&mut request.headers);
        answered += usize::from(compare(&engine, &request.bytes()));
    }
    assert!((300..2700).contains(&answered), "{answered}");
}
