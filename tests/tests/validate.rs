//! `cors-edge validate`: what it says of a file, to people and to programs. It needs no host and
//! no privilege.

use std::process::Output;

use cors_tests::{agent::edge, policy, scratch::Scratch, topology::sockets};
use serde_json::{Value, json};

/// Runs it on a file with this content.
fn validate(content: &str, arguments: &[&str]) -> Output {
    let scratch = Scratch::new("validate");
    let path = scratch.write("policy.toml", content);
    edge().arg("validate").args(arguments).arg(path).output().expect("run the agent")
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("text")
}

/// The list that `--json` writes.
fn problems(content: &str, code: i32) -> Vec<Value> {
    let output = validate(content, &["--json"]);
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    let Value::Array(list) = serde_json::from_slice(&output.stdout).expect("JSON") else {
        panic!("no list: {}", text(&output.stdout));
    };
    for problem in &list {
        let members: Vec<_> = problem.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["hint", "path", "reason", "value"]);
        assert!(problem["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{problem}");
    }
    list
}

#[test]
fn a_good_file() {
    let output = validate(&policy::file(&sockets()), &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).ends_with("policy.toml: valid\n"), "{}", text(&output.stdout));
    assert_eq!(problems(&policy::file(&sockets()), 0), [] as [Value; 0]);
}

#[test]
fn everything_that_is_wrong_at_once() {
    let file = policy::file(&sockets())
        .replace("https://app.example.com", "null")
        .replace("max_age = 600", "max_age = 600000\nmax_aeg = 3")
        .replace("\"DELETE\"", "\"TRACE\"");
    let list = problems(&file, 2);
    let wrong: Vec<_> = list
        .iter()
        .map(|problem| json!([problem["path"], problem["value"], problem["reason"]]))
        .collect();
    for expected in [
        json!(["policy[0].allow_origins[0]", "null", "prohibited"]),
        json!(["policy[0].allow_methods[2]", "TRACE", "forbidden"]),
        json!(["policy[0].max_age", "600000", "invalid"]),
    ] {
        assert!(wrong.contains(&expected), "{expected} is not in {wrong:#?}");
    }
    assert_eq!(list.len(), 4, "{wrong:#?}");
    assert!(list[3]["hint"].as_str().is_some_and(|hint| hint.contains("max_age")), "{wrong:#?}");

    let output = validate(&file, &[]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stdout);
    assert!(said.contains("policy.toml: 4 errors"), "{said}");
    assert!(!said.contains("valid\n"), "{said}");
}

#[test]
fn a_file_that_is_no_toml() {
    let list = problems("[server\nlisten = 1", 2);
    assert!(!list.is_empty());
}

#[test]
fn warnings_do_not_fail() {
    let file = policy::file(&sockets()).replace("max_age = 600", "max_age = 86400");
    let list = problems(&file, 0);
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["path"], "policy[0].max_age");
    let output = validate(&file, &[]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stdout);
    assert!(said.contains("warning[") && said.ends_with(": valid\n"), "{said}");
}
