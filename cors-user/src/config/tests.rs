//! Whole files: what is said about them, where, how much at once, and what valid ones mean.

mod proxy;
mod refusals;

use super::model::{
    Expose, Handshake, Headers, Methods, OriginPattern, Origins, WildcardPort, WildcardScheme,
};
use super::problem::Position;
use super::*;

use Reason::{Forbidden, Incompatible, Invalid, Missing, Prohibited};

/// A policy with these lines and what every file needs.
fn policy(lines: &str) -> String {
    format!("[server]\nlisten = [\"0.0.0.0:80\"]\n[[policy]]\nname = \"p\"\n{lines}\n")
}

/// A policy with this origin.
fn origin(origin: &str) -> String {
    policy(&format!("allow_origins = [\"{origin}\"]"))
}

/// A policy with this origin, and credentials.
fn trusted(origin: &str) -> String {
    policy(&format!("allow_origins = [\"{origin}\"]\nallow_credentials = true"))
}

/// A policy with an origin, and these lines.
fn with(lines: &str) -> String {
    policy(&format!("allow_origins = [\"https://a.example\"]\n{lines}"))
}

fn errors(source: &str) -> Vec<Problem> {
    parse(source).config.err().unwrap_or_default()
}

fn config(source: &str) -> Config {
    parse(source).config.unwrap_or_else(|errors| panic!("{source}\n{errors:#?}"))
}

/// The path and a word of the hint of each warning of a valid file.
fn warnings(source: &str) -> Vec<(String, String)> {
    let checked = parse(source);
    assert!(checked.config.is_ok(), "{source}\n{:#?}", checked.config);
    checked.warnings.into_iter().map(|warning| (warning.path, warning.hint)).collect()
}

#[test]
fn everything_wrong_is_said_at_once_and_where() {
    let source = r#"[server]
listen = ["0.0.0.0:80", 80, "nowhere", "0.0.0.0:80"]
upstraem = "http://127.0.0.1:8080"

[[policy]]
nmae = "a"
allow_origins = "https://a.example"
allow_methods = ["PUT", 1, "TRACE"]
max_age = "600"

[[policy]]
name = "b"
match = { hosts = ["B.example"], prefix = "/v1" }
allow_origins = ["https://ä.example", "null"]
allow_credentials = "yes"
expose_headers = ["set-cookie"]

[[policy]]
name = "b"
match = [1]
max_age = 86401

[metrics]
on = true
"#;
    let expected = [
        (2, 25, "server.listen[1]", Invalid),
        (2, 29, "server.listen[2]", Invalid),
        (2, 40, "server.listen[3]", Incompatible),
        (3, 1, "server.upstraem", Invalid),
        (6, 1, "policy[0].nmae", Invalid),
        (7, 17, "policy[0].allow_origins", Invalid),
        (8, 25, "policy[0].allow_methods[1]", Invalid),
        (8, 28, "policy[0].allow_methods[2]", Forbidden),
        (9, 11, "policy[0].max_age", Invalid),
        (13, 20, "policy[1].match.hosts[0]", Invalid),
        (13, 34, "policy[1].match.prefix", Invalid),
        (14, 18, "policy[1].allow_origins[0]", Invalid),
        (14, 39, "policy[1].allow_origins[1]", Prohibited),
        (15, 21, "policy[1].allow_credentials", Invalid),
        (16, 19, "policy[1].expose_headers[0]", Forbidden),
        (18, 1, "policy[2].allow_origins", Missing),
        (19, 8, "policy[2].name", Incompatible),
        (20, 9, "policy[2].match", Invalid),
        (21, 11, "policy[2].max_age", Invalid),
        (23, 2, "metrics", Invalid),
    ];
    let errors = errors(source);
    let found: Vec<_> = errors
        .iter()
        .map(|error| {
            let Position { line, column } = error.position(source);
            (line, column, error.path.as_str(), error.reason)
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(errors[0].value, "80");
    assert!(errors[3].hint.contains("did you mean `upstream`?"), "{}", errors[3].hint);
    assert!(errors[10].hint.contains("did you mean `path_prefix`?"), "{}", errors[10].hint);
    assert!(errors[11].hint.contains("`xn--4ca.example`"), "{}", errors[11].hint);
    assert!(errors[16].hint.contains("policy[1].name"), "{}", errors[16].hint);
    assert!(errors[19].hint.contains("server, admin, policy"), "{}", errors[19].hint);
}

#[test]
fn an_empty_file_lacks_everything() {
    let missing = errors("");
    let paths: Vec<_> = missing.iter().map(|error| (&*error.path, error.reason)).collect();
    assert_eq!(paths, [("server", Missing), ("policy", Missing)]);
    let paths: Vec<_> =
        errors("policy = []\n[server]\nlisten = []").into_iter().map(|e| e.path).collect();
    assert_eq!(paths, ["policy", "server.listen"]);
    let paths: Vec<_> =
        errors("policy = [1]\n[server]\nlisten = [1]").into_iter().map(|e| e.path).collect();
    assert_eq!(paths, ["policy[0]", "server.listen[0]"]);
    let single = errors("[server]\nlisten = [\"1.2.3.4:80\"]\n[policy]\nname = \"a\"");
    assert_eq!(single.len(), 1);
    assert!(single[0].hint.contains("[[policy]]"), "{}", single[0].hint);
}

#[test]
fn text_that_is_no_toml() {
    // What stands before the first stumble is judged, what the parser guesses after it is not.
    let source = "[server]\nlisten = [\"x\"]\n[[policy]]\nname = \"a\nallow_origins = [\"null\"]\n";
    let found: Vec<_> = errors(source)
        .into_iter()
        .map(|error| (error.position(source).line, error.path, error.reason))
        .collect();
    assert_eq!(found, [(2, "server.listen[0]".to_owned(), Invalid), (4, String::new(), Invalid)]);
    let unclosed = "[server]\nlisten = [\"0.0.0.0:80]\n[[policy]]\nname = \"a\"\n";
    let unclosed: Vec<_> = errors(unclosed).into_iter().map(|error| error.path).collect();
    assert_eq!(unclosed, [""]);
    // A key given twice leaves the rest in order.
    let twice = errors(&with("max_age = 1\nmax_age = 2\nallow_methods = [\"TRACE\"]"));
    assert_eq!(twice.len(), 2, "{twice:#?}");
    assert_eq!((&*twice[0].path, &*twice[0].value), ("", "max_age"));
    assert_eq!(twice[1].path, "policy[0].allow_methods[0]");
}

#[test]
fn policies_for_the_same() {
    let two = |first: &str, second: &str| {
        let policy = |name, matching| {
            format!("[[policy]]\nname = \"{name}\"\n{matching}\nallow_origins = [\"*\"]\n")
        };
        let server = "[server]\nlisten = [\"0.0.0.0:80\"]\n";
        format!("{server}{}{}", policy("one", first), policy("two", second))
    };
    for (first, second, expected) in [
        ("", "", Some("policy[1]")),
        ("", "match = {}", Some("policy[1].match")),
        ("", "match = { path_prefix = \"/\" }", Some("policy[1].match.path_prefix")),
        ("", "match = { hosts = [] }", Some("policy[1].match")),
        (
            "match = { path_prefix = \"/v1\" }",
            "match = { path_prefix = \"/v1/\" }",
            Some("policy[1].match.path_prefix"),
        ),
        (
            "match = { hosts = [\"a\", \"b\"] }",
            "match = { hosts = [\"c\", \"b\"], path_prefix = \"/\" }",
            Some("policy[1].match.hosts[1]"),
        ),
        ("", "match = { hosts = [\"a\"] }", None),
        ("", "match = { path_prefix = \"/v1\" }", None),
        ("match = { hosts = [\"a\"] }", "match = { hosts = [\"b\"] }", None),
        ("match = { path_prefix = \"/v1\" }", "match = { path_prefix = \"/v10\" }", None),
        ("match = { hosts = [\"a\", \"a\"] }", "", None),
    ] {
        let source = two(first, second);
        let errors = errors(&source);
        assert_eq!(errors.first().map(|error| &*error.path), expected, "{source}");
        if let Some(error) = errors.first() {
            assert_eq!((errors.len(), error.reason), (1, Incompatible), "{source}");
            assert!(error.hint.contains("`one` (policy[0])"), "{}", error.hint);
        }
    }
    let source = two("", "");
    assert_eq!(errors(&source)[0].position(&source), Position { line: 7, column: 1 });
    // A host that is refused is not taken for "every host".
    let source = two("", "match = { hosts = [\"*\"] }");
    assert_eq!(errors(&source).len(), 1);
    let source = two("", "match = { hosts = [1] }");
    assert_eq!(errors(&source).len(), 1);
}

#[test]
fn legal_and_probably_not_meant() {
    let origins = |list: &str| policy(&format!("allow_origins = [{list}]"));
    // A host of this length.
    let long =
        |len: usize| format!("{}.{}", "a".repeat(60), "b.".repeat(99))[..len - 1].to_owned() + "c";
    for (source, path, part) in [
        (origins("\"https://a\", \"https://a\""), "policy[0].allow_origins[1]", "already"),
        (origins("\"*\", \"*\""), "policy[0].allow_origins[1]", "already"),
        (origins("\"https://a\", \"*\""), "policy[0].allow_origins[0]", "every origin"),
        (
            origins("\"https://x.a.example\", \"https://*.a.example\""),
            "policy[0].allow_origins[0]",
            "`https://*.a.example` covers it",
        ),
        (
            origins("\"https://*.a.example\", \"https://*.b.a.example\""),
            "policy[0].allow_origins[1]",
            "`https://*.a.example` covers it",
        ),
        (
            origins("\"https://a:*\", \"https://a:8443\""),
            "policy[0].allow_origins[1]",
            "`https://a:*` covers it",
        ),
        (
            origins(&format!("\"https://{}\"", long(121))),
            "policy[0].allow_origins[0]",
            "at most 128 bytes",
        ),
        (
            origins(&format!("\"https://{}:*\"", long(121))),
            "policy[0].allow_origins[0]",
            "at most 128 bytes",
        ),
        (
            origins(&format!("\"https://*.{}\"", long(129))),
            "policy[0].allow_origins[0]",
            "at most 128 bytes",
        ),
        (with("allow_methods = [\"patch\"]"), "policy[0].allow_methods[0]", "mean `PATCH`?"),
        (with("allow_methods = [\"put\"]"), "policy[0].allow_methods[0]", "never matches"),
        (with("allow_methods = [\"PUT\", \"PUT\"]"), "policy[0].allow_methods[1]", "already"),
        (with("allow_methods = [\"PUT\", \"*\"]"), "policy[0].allow_methods[0]", "covers"),
        (with("allow_headers = [\"X-A\", \"x-a\"]"), "policy[0].allow_headers[1]", "already"),
        (with("allow_headers = [\"*\", \"x-a\"]"), "policy[0].allow_headers[1]", "covers"),
        (with("allow_headers = [\"x-*\"]"), "policy[0].allow_headers[0]", "ordinary"),
        (with("expose_headers = [\"*\", \"x-a\"]"), "policy[0].expose_headers[1]", "covers"),
        (with("max_age = 7201"), "policy[0].max_age", "Chromium"),
        (with("match = { hosts = [] }"), "policy[0].match.hosts", "every host"),
        (with("match = { hosts = [\"a\", \"a\"] }"), "policy[0].match.hosts[1]", "already"),
        (with("match = { path_prefix = \"/v1/*\" }"), "policy[0].match.path_prefix", "ordinary"),
        (
            with("").replace("\"0.0.0.0:80\"", "\"0.0.0.0:80\", \"10.0.0.1:80\""),
            "server.listen[1]",
            "`0.0.0.0:80` covers it",
        ),
    ] {
        let found = warnings(&source);
        assert_eq!(found.len(), 1, "{source}\n{found:?}");
        assert_eq!(found[0].0, path, "{source}");
        assert!(found[0].1.contains(part), "{source}\n{}", found[0].1);
    }
    for source in [
        origins("\"https://a\", \"https://a:8443\", \"http://a\", \"https://*.a\""),
        origins(&format!("\"https://{0}\", \"http://{0}:*\"", long(120))),
        origins(&format!("\"https://*.{}\"", long(128))),
        with("allow_methods = [\"GET\", \"HEAD\", \"POST\", \"PATCH\"]"),
        with("allow_headers = [\"*\", \"Authorization\"]"),
        with("max_age = 7200"),
        with("").replace("\"0.0.0.0:80\"", "\"0.0.0.0:80\", \"10.0.0.1:81\", \"[::]:80\""),
    ] {
        assert_eq!(warnings(&source), [], "{source}");
    }
}

#[test]
fn names_of_policies() {
    let named = |name: &str| with("").replace("\"p\"", name);
    for (name, reason) in [
        ("\"\"", Some(Missing)),
        ("\"a\\u0007\"", Some(Invalid)),
        (&*format!("\"{}\"", "a".repeat(65)), Some(Invalid)),
        (&*format!("\"{}\"", "a".repeat(64)), None),
        ("7", Some(Invalid)),
    ] {
        let errors = errors(&named(name));
        assert_eq!(errors.first().map(|error| error.reason), reason, "{name}");
        assert!(errors.iter().all(|error| error.path == "policy[0].name"), "{name}");
    }
}

#[test]
fn the_example_is_valid_and_means_what_it_says() {
    assert_eq!(warnings(EXAMPLE), []);
    let config = config(EXAMPLE);
    assert_eq!(config.server.listen, ["0.0.0.0:80".parse().unwrap()]);
    assert_eq!((config.server.interfaces, config.server.proxy), (Vec::new(), None));
    let policy = &config.policies[0];
    assert_eq!(config.policies.len(), 1);
    assert_eq!(policy.name, "api");
    assert_eq!(policy.hosts, ["api.example.com"]);
    assert_eq!(policy.path_prefix.as_deref(), Some("/v1"));
    let wildcard = OriginPattern::Subdomains {
        scheme: WildcardScheme::Https,
        suffix: "example.org".to_owned(),
        port: WildcardPort::Default,
    };
    let exact = OriginPattern::Exact("https://app.example.com".to_owned());
    assert_eq!(policy.origins, Origins::List(vec![exact, wildcard]));
    let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(policy.methods, Methods::List(list(&["PUT", "PATCH", "DELETE"])));
    let names = list(&["authorization", "content-type"]);
    assert_eq!(policy.headers, Headers { any: false, names });
    assert_eq!(policy.expose, Expose::List(list(&["x-request-id"])));
    assert!(policy.allow_credentials);
    assert_eq!(policy.max_age, Some(600));
}

#[test]
fn what_is_commented_out_in_the_example_is_valid_too() {
    let all = EXAMPLE.replace("# interface", "interface").replace("# upstream", "upstream");
    let config = config(&all);
    assert_eq!(config.server.interfaces, ["eth0"]);
    let proxy = config.server.proxy.unwrap();
    assert_eq!(proxy.upstreams[0].to_string(), "http://127.0.0.1:8080");
}

#[test]
fn the_least_policy() {
    let config = config(&origin("*"));
    let policy = &config.policies[0];
    assert_eq!((policy.hosts.len(), &policy.path_prefix), (0, &None));
    assert_eq!(policy.origins, Origins::Any);
    assert_eq!(policy.methods, Methods::List(Vec::new()));
    assert_eq!(policy.headers, Headers { any: false, names: Vec::new() });
    assert_eq!(policy.expose, Expose::List(Vec::new()));
    assert_eq!((policy.allow_credentials, policy.max_age), (false, None));
}

#[test]
fn handshakes() {
    let server = |lines: &str| origin("*").replace("[server]", &format!("[server]\n{lines}"));
    for (lines, expected) in [
        ("", Handshake::Auto),
        ("handshake = \"auto\"", Handshake::Auto),
        ("handshake = \"xdp\"\ntrack = false", Handshake::Xdp),
        ("handshake = \"auto\"\ntrack = false", Handshake::Auto),
        ("handshake = \"kernel\"\ntrack = true", Handshake::Kernel),
    ] {
        assert_eq!(config(&server(lines)).server.handshake, expected, "{lines}");
    }
    for (lines, reason, hint) in [
        ("handshake = \"kernal\"", Invalid, "kernel"),
        ("handshake = true", Invalid, "quotes"),
        ("handshake = \"kernel\"\ntrack = false", Incompatible, "leave one of the two out"),
    ] {
        let errors = errors(&server(lines));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!((&*errors[0].path, errors[0].reason), ("server.handshake", reason));
        assert!(errors[0].hint.contains(hint), "{}", errors[0].hint);
    }
}

#[test]
fn header_names_are_stored_in_lower_case_and_star_beside_authorization() {
    let config = config(&with(
        "allow_headers = [\"*\", \"Authorization\"]\nexpose_headers = [\"X-Request-ID\"]",
    ));
    let policy = &config.policies[0];
    let names = vec!["authorization".to_owned()];
    assert_eq!(policy.headers, Headers { any: true, names });
    assert_eq!(policy.expose, Expose::List(vec!["x-request-id".to_owned()]));
}

#[test]
fn files() {
    let missing = load(Path::new("/nonexistent/cors.toml")).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read /nonexistent/cors.toml");
    let path = std::env::temp_dir().join(format!("cors-edge-config-{}.toml", std::process::id()));
    std::fs::write(&path, EXAMPLE).unwrap();
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.source, EXAMPLE);
    assert!(loaded.checked.config.is_ok());
    std::fs::write(&path, b"a = \"\xff\"").unwrap();
    assert!(matches!(load(&path), Err(LoadError::NotUtf8 { offset: 5, .. })));
    std::fs::write(&path, vec![b'#'; 32 << 20]).unwrap();
    assert!(load(&path).is_ok());
    std::fs::write(&path, vec![b'#'; (32 << 20) + 1]).unwrap();
    assert!(matches!(load(&path), Err(LoadError::TooLarge { .. })));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn no_text_makes_it_panic() {
    let judge = |text: &str| {
        let problems = parse(text).problems();
        let _ = (report::human("f", text, &problems, false), report::json(&problems));
    };
    for (at, old) in EXAMPLE.char_indices() {
        judge(&EXAMPLE[..at]);
        if at % 5 == 0 {
            for new in ['"', '[', '}', '=', '\n', '\u{0}', '\u{e4}', '1'] {
                judge(&format!("{}{new}{}", &EXAMPLE[..at], &EXAMPLE[at + old.len_utf8()..]));
            }
        }
    }
}
