//! Which policy a host and a path have.

use cors_common::exit::Exit;

use crate::support::{Engine, Request};

/// The name of the policy that answers: each has a method of that name, and only that.
fn chosen(engine: &Engine, request: &Request, names: &[&str]) -> Option<String> {
    let mut found = names.iter().filter(|name| engine.answers(&request.clone().method(name)));
    let first = found.next().map(|name| (*name).to_owned());
    assert_eq!(found.next(), None, "{request:?}");
    first
}

/// Policies of these names and `match` tables.
fn policies(policies: &[(&str, &str)]) -> Engine {
    let policy = |(name, matching): &(&str, &str)| {
        format!(
            "[[policy]]\nname = \"{name}\"\n{matching}\n\
             allow_origins = [\"https://app.example.com\"]\nallow_methods = [\"{name}\"]\n"
        )
    };
    Engine::new(&policies.iter().map(policy).collect::<String>())
}

#[test]
fn hosts_as_browsers_write_them() {
    let engine = policies(&[
        ("A", "match = { hosts = [\"api.example.com\", \"localhost\"] }"),
        ("B", "match = { hosts = [\"10.0.0.1\", \"[2001:db8::1]\", \"[::1]\"] }"),
    ]);
    for (host, name) in [
        ("api.example.com", "A"),
        ("api.example.com:80", "A"),
        ("api.example.com:65535", "A"),
        ("localhost", "A"),
        ("localhost:3000", "A"),
        ("10.0.0.1", "B"),
        ("10.0.0.1:8080", "B"),
        ("[2001:db8::1]", "B"),
        ("[2001:db8::1]:8080", "B"),
        ("[::1]:1", "B"),
    ] {
        let request = Request::new().host(host);
        assert_eq!(chosen(&engine, &request, &["A", "B"]).as_deref(), Some(name), "{host}");
    }
    for host in [
        "API.example.com",
        "api.example.com.",
        ".api.example.com",
        "api.example.com.:80",
        "api.example.com:",
        "api.example.com:0",
        "api.example.com:080",
        "api.example.com:123456",
        "api.example.com:80a",
        "api.example.com:+80",
        "api.example.com:80:80",
        "api.example.com/",
        "api.example.com,api.example.com",
        "api.example.com, api.example.com",
        "api.example.com api.example.com",
        "user@api.example.com",
        "http://api.example.com",
        "api%2eexample.com",
        "*",
        "[",
        "[::1",
        "[::1]80",
        "[::1]x:80",
        "[::1]:",
        "[::1%25eth0]",
        "[2001:DB8::1]",
        "[api.example.com]",
        "::1]",
        "2001:db8::1",
        ":80",
        ".",
    ] {
        assert_eq!(engine.refuses(&Request::new().host(host)), Some(Exit::Host), "{host}");
    }
    for host in ["example.com", "api.example.co", "api.example.comm", "10.0.0.2", "[::2]", "a"] {
        assert_eq!(engine.refuses(&Request::new().host(host)), Some(Exit::Unmatched), "{host}");
    }
}

#[test]
fn a_host_is_read_to_its_end_however_long() {
    let engine = policies(&[("A", "")]);
    let ask = |host: &str| engine.refuses(&Request::new().method("A").host(host));
    assert_eq!(ask(&"a".repeat(253)), None);
    for len in 1..500 {
        for end in ["A", "/", " x", "@b", ".", ":", ":x", ",b"] {
            let host = "a".repeat(len) + end;
            assert_eq!(ask(&host), Some(Exit::Host), "{len} and {end:?}");
        }
    }
}

#[test]
fn the_longest_prefix_of_whole_segments_wins() {
    let engine = policies(&[
        ("ALL", "match = { hosts = [\"api.example.com\"] }"),
        ("ONE", "match = { hosts = [\"api.example.com\"], path_prefix = \"/v1\" }"),
        ("TWO", "match = { hosts = [\"api.example.com\"], path_prefix = \"/v1/users/\" }"),
        ("DEEP", "match = { hosts = [\"api.example.com\"], path_prefix = \"/v1/users/a/b/c\" }"),
    ]);
    let names = ["ALL", "ONE", "TWO", "DEEP"];
    for (target, name) in [
        ("/", "ALL"),
        ("/?v1", "ALL"),
        ("/v", "ALL"),
        ("/v10", "ALL"),
        ("/v1x/users", "ALL"),
        ("/V1", "ALL"),
        ("/a/v1", "ALL"),
        ("/v1", "ONE"),
        ("/v1/", "ONE"),
        ("/v1?x", "ONE"),
        ("/v1/?x", "ONE"),
        ("/v1/user", "ONE"),
        ("/v1/users2", "ONE"),
        ("/v1?/users", "ONE"),
        ("/v1/users", "TWO"),
        ("/v1/users/", "TWO"),
        ("/v1/users?", "TWO"),
        ("/v1/users/a/b/", "TWO"),
        ("/v1/users/a/b/cc", "TWO"),
        ("/v1/users/a/b/c", "DEEP"),
        ("/v1/users/a/b/c/", "DEEP"),
        ("/v1/users/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t", "DEEP"),
    ] {
        assert_eq!(
            chosen(&engine, &Request::to(target), &names).as_deref(),
            Some(name),
            "{target}"
        );
    }
}

#[test]
fn fifteen_segments() {
    let prefix = "/a".repeat(15);
    let engine = policies(&[("A", &format!("match = {{ path_prefix = \"{prefix}\" }}"))]);
    for (target, answered) in [
        (prefix.clone(), true),
        (format!("{prefix}/a"), true),
        (format!("{prefix}a"), false),
        ("/a".repeat(14), false),
        ("/a".repeat(400), true),
    ] {
        assert_eq!(engine.answers(&Request::to(&target).method("A")), answered, "{target}");
    }
}

#[test]
fn a_policy_for_the_host_goes_before_one_for_every_host() {
    let engine = policies(&[
        ("ANY", ""),
        ("ANYV1", "match = { path_prefix = \"/v1\" }"),
        ("HOSTV2", "match = { hosts = [\"a\", \"b\"], path_prefix = \"/v2\" }"),
        ("HOST", "match = { hosts = [\"b\"] }"),
    ]);
    let names = ["ANY", "ANYV1", "HOSTV2", "HOST"];
    for (host, target, name) in [
        ("c", "/", "ANY"),
        ("c", "/v1", "ANYV1"),
        ("c", "/v2", "ANY"),
        ("a", "/", "ANY"),
        ("a", "/v1/x", "ANYV1"),
        ("a", "/v2", "HOSTV2"),
        ("b", "/", "HOST"),
        ("b", "/v1/x", "HOST"),
        ("b", "/v2/x", "HOSTV2"),
    ] {
        let request = Request::to(target).host(host);
        assert_eq!(chosen(&engine, &request, &names).as_deref(), Some(name), "{host}{target}");
    }
}

const AMBIGUOUS: [&str; 25] = [
    "/%61dmin",
    "/v1/%7e",
    "/v1;x/y",
    "//",
    "//v1",
    "/v1//",
    "/v1//x",
    "/./v1",
    "/v1/.",
    "/v1/./x",
    "/v1/..",
    "/v1/../x",
    "/..",
    "/.",
    "/v1/..;x/y",
    "/v1/...",
    "/v1%2fx",
    "/v1%2Fx",
    "/v1/%2e%2e/x",
    "/v1/.%2e/x",
    "/v1/%2E",
    "/v1%5cx",
    "/v1%5Cx",
    "/v1/x%2",
    "/v1/..?x",
];

#[test]
fn ambiguous_paths_are_refused_where_a_prefix_matters() {
    let engine = policies(&[("A", "match = { path_prefix = \"/v1\" }"), ("B", "")]);
    for target in AMBIGUOUS {
        let exit = engine.refuses(&Request::to(target));
        assert_eq!(exit, Some(Exit::AmbiguousPath), "{target}");
    }
    // Far behind every segment that a prefix can have.
    for target in ["/..", "//a", "/%2e", "/."] {
        let target = "/a".repeat(40) + target;
        assert_eq!(engine.refuses(&Request::to(&target)), Some(Exit::AmbiguousPath), "{target}");
    }
    for target in
        ["/v1/.hidden", "/v1/a.b", "/v1/a..b", "/v1/a.", "/v1/?//", "/v1/?..", "/v1/%C3%A4"]
    {
        assert!(engine.answers(&Request::to(target).method("A")), "{target}");
    }
}

#[test]
fn ambiguous_paths_are_fine_where_no_prefix_matters() {
    let engine = policies(&[
        ("A", "match = { hosts = [\"a\"] }"),
        ("B", "match = { hosts = [\"b\"], path_prefix = \"/v1\" }"),
    ]);
    for target in AMBIGUOUS {
        assert!(engine.answers(&Request::to(target).host("a").method("A")), "{target}");
        let exit = engine.refuses(&Request::to(target).host("b"));
        assert_eq!(exit, Some(Exit::AmbiguousPath), "{target}");
        assert_eq!(engine.refuses(&Request::to(target).host("c")), Some(Exit::Unmatched));
    }
}

#[test]
fn a_path_that_is_longer_than_every_prefix() {
    let engine = Engine::new(
        "[[policy]]\nname = \"p\"\nmatch = { path_prefix = \"/a/b\" }\n\
         allow_origins = [\"https://app.example.com\"]\nallow_methods = [\"PUT\"]",
    );
    // Behind the longest prefix and one byte more, where the slow path cuts it, segments go on.
    for target in ["/v1/.z/x", "/abcd.z", "/v1/%c3%a4", "/a/bc"] {
        let exit = engine.refuses(&Request::to(target));
        assert_eq!(exit, Some(Exit::Unmatched), "{target}");
    }
    for target in ["/a/b/.z", "/a/b/%c3%a4", "/a/b"] {
        assert_eq!(engine.refuses(&Request::to(target)), None, "{target}");
    }
}
