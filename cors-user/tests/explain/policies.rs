//! What is said under a policy file.

use cors_user::explain::{Answerer, BadQuestion, Error, Stage, Verdict};
use insta::assert_snapshot;

use crate::support::{ask, file, from, policy, question, to, told, try_ask, with_credentials};

const USUAL: &str = "\
allow_origins = [\"https://app.example.com\", \"https://*.example.org\"]
allow_methods = [\"PUT\", \"PATCH\"]
allow_headers = [\"content-type\"]
expose_headers = [\"x-request-id\"]
max_age = 86400
";

#[test]
fn answered_in_the_driver() {
    let put = question("PUT", &["content-type: application/json"]);
    assert_snapshot!(told(&policy(USUAL), &put));
}

#[test]
fn an_origin_that_is_not_allowed() {
    let put = from("https://evil.example", question("PUT", &[]));
    assert_snapshot!(told(&policy(USUAL), &put));
}

#[test]
fn a_method_and_headers_that_are_not_allowed() {
    let delete = question("DELETE", &["X-B: 1", "X-A: 1", "content-type: application/json"]);
    assert_snapshot!(told(&policy(USUAL), &delete));
}

#[test]
fn credentials_that_the_policy_does_not_have() {
    assert_snapshot!(told(&policy(USUAL), &with_credentials(question("PUT", &[]))));
}

#[test]
fn no_preflight_and_no_permission() {
    let get = from("https://example.org", question("GET", &[]));
    assert_snapshot!(told(&policy(USUAL), &get));
}

#[test]
fn a_sidecar_leaves_it_to_the_server() {
    let source = file(false, &format!("[[policy]]\nname = \"api\"\n{USUAL}"));
    let put = from("https://evil.example", question("PUT", &[]));
    assert_snapshot!(told(&source, &put));
}

#[test]
fn behind_a_proxy_header_the_agent_answers() {
    let plain = policy(USUAL);
    let source = plain.replacen("upstream", "proxy_protocol = true\nupstream", 1);
    assert_ne!(source, plain);
    let put = question("PUT", &[]);
    let by_whom = |source: &str| {
        let explanation = ask(source, &put);
        let preflight = explanation.preflight.expect("a preflight");
        let exit = preflight.driver.expect("a driver").exit;
        (exit, preflight.answered_by, explanation.verdict)
    };
    let allowed = Verdict::Allowed;
    assert_eq!(by_whom(&plain), ("answered", Some(Answerer::Driver), allowed));
    assert_eq!(by_whom(&source), ("not_protected", Some(Answerer::Agent), allowed));
    assert!(told(&source, &put).contains("PROXY header"));
}

#[test]
fn as_a_document() {
    let put = from("https://evil.example", question("PUT", &["x-a: 1", "cookie: a=b"]));
    assert_snapshot!(ask(&policy(USUAL), &put).json());
}

#[test]
fn who_answers() {
    let source = policy(&format!(
        "{USUAL}\n[[policy]]\nname = \"all\"\n\
        match = {{ hosts = [\"api.example.com\"], path_prefix = \"/all\" }}\n\
        allow_origins = [\"*\"]\nallow_methods = [\"*\"]\nallow_headers = [\"*\"]\n"
    ));
    let long = format!("https://api.example.com/all?{}", "a".repeat(900));
    let names: Vec<String> = (10..50).map(|i| format!("x-{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let agent = Some(Answerer::Agent);
    for (url, method, headers, exit, by, verdict) in [
        (
            "https://api.example.com/v1",
            "PUT",
            &[][..],
            "answered",
            Some(Answerer::Driver),
            Verdict::Allowed,
        ),
        ("https://api.example.com/v1", "DELETE", &[], "method_denied", agent, Verdict::Blocked),
        ("https://api.example.com/v1", "PUT", &["x-a"], "header_denied", agent, Verdict::Blocked),
        (&long, "PUT", &[], "head_too_long", agent, Verdict::Allowed),
        ("https://api.example.com/all", "X", &names, "request_headers", agent, Verdict::Allowed),
        ("https://api.example.com/all?a={}", "X", &[], "target", agent, Verdict::Allowed),
        ("https://api.example.com/a%2fb", "PUT", &[], "ambiguous_path", agent, Verdict::Allowed),
        ("https://api.example.com/all%2fb", "PUT", &[], "ambiguous_path", agent, Verdict::Blocked),
        ("https://other.example.com/", "PUT", &[], "unmatched", None, Verdict::Unknown),
        ("https://api.example.com./", "PUT", &[], "host", agent, Verdict::Allowed),
        ("https://[2001:db8::1]/", "PUT", &[], "unmatched", None, Verdict::Unknown),
    ] {
        let explanation = ask(&source, &to(url, question(method, headers)));
        let preflight = explanation.preflight.as_ref().unwrap();
        assert_eq!(preflight.driver.as_ref().unwrap().exit, exit, "{url}");
        assert_eq!(preflight.answered_by, by, "{url}");
        assert_eq!(explanation.verdict, verdict, "{url}");
        let answered = preflight.response.is_some();
        assert_eq!(answered, by.is_some(), "{url}");
        if verdict == Verdict::Unknown {
            assert_ne!(explanation.notes, [""; 0], "{url}");
        }
    }
}

#[test]
fn a_slow_answer_is_the_same_as_a_fast_one() {
    let source = policy(USUAL);
    let url = |query: &str| format!("https://api.example.com/v1?{query}");
    let answer = |query: &str| {
        let explanation = ask(&source, &to(&url(query), question("PUT", &[])));
        explanation.preflight.unwrap().response.unwrap()
    };
    assert_eq!(answer("a"), answer(&"a".repeat(2000)));
    let long_path = format!("https://api.example.com/{}", "a/".repeat(1000));
    let explanation = ask(&source, &to(&long_path, question("PUT", &[])));
    assert_eq!(explanation.preflight.unwrap().response.unwrap(), answer("a"));
}

#[test]
fn a_sidecar_that_cannot_answer_does_not_know() {
    let source = file(false, &format!("[[policy]]\nname = \"api\"\n{USUAL}"));
    let url = format!("https://any.example/?{}", "a".repeat(900));
    let explanation = ask(&source, &to(&url, question("PUT", &[])));
    assert_eq!(explanation.verdict, Verdict::Unknown);
    assert_eq!(explanation.preflight.unwrap().answered_by, Some(Answerer::Server));
}

#[test]
fn before_anything_is_sent() {
    let source = policy(USUAL);
    for (page, url, step) in [
        ("https://app.example.com", "http://api.example.com/", Some("not_mixed_content")),
        ("https://app.example.com", "https://api.example.com:6667/", Some("port_not_bad")),
        ("https://app.example.com", "ftp://api.example.com/", Some("scheme_is_http")),
        ("https://api.example.com", "https://api.example.com/", None),
    ] {
        let explanation = ask(&source, &from(page, to(url, question("PUT", &[]))));
        assert_eq!(explanation.preflight, None, "{url}");
        assert_eq!(explanation.failure.as_ref().map(|failed| failed.step), step, "{url}");
        if let Some(failed) = &explanation.failure {
            assert_eq!(failed.stage, Stage::Request);
            assert_eq!(explanation.changes.len(), 1, "{url}");
        } else {
            assert_eq!(explanation.verdict, Verdict::Allowed);
        }
    }
}

#[test]
fn nearly_allowed_origins() {
    let source = policy(
        "allow_origins = [\"https://a.example\", \"http://b.example:8080\", \
         \"https://*.c.example\", \"https://*.d.example:8443\"]",
    );
    for (origin, note) in [
        ("http://a.example", "another scheme"),
        ("https://a.example:8443", "another port"),
        ("https://www.a.example", "with `www.` and without"),
        ("https://w.a.example", "does not stand for names below it"),
        ("https://b.example", "another scheme"),
        ("http://b.example", "another port"),
        ("https://c.example", "not for `c.example` itself"),
        ("http://x.c.example", "another scheme"),
        ("https://xc.example", "whole labels"),
        ("https://x.d.example", "another port"),
        ("https://aa.example", "a letter or two"),
        ("null", "no policy can allow it"),
    ] {
        let explanation = ask(&source, &from(origin, question("PUT", &[])));
        assert_eq!(explanation.verdict, Verdict::Blocked, "{origin}");
        let found = explanation.notes.iter().any(|text| text.contains(note));
        assert!(found, "{origin}: {:?}", explanation.notes);
    }
    let explanation = ask(&source, &from("https://quite.different.test", question("PUT", &[])));
    assert!(!explanation.notes.iter().any(|note| note.contains("The policy has")));
}

#[test]
fn what_else_there_is_to_know() {
    let source = policy(USUAL);
    for (question, note) in [
        (from("https://App.example.com/page?x", question("PUT", &[])), "origin is `https://app"),
        (question("PUT", &["Sec-A: x"]), "Browsers ignore `sec-a`"),
        (question("patch", &[]), "`patch` is not `PATCH`"),
        (question("PUT", &[]), "plaintext HTTP/1.1"),
        (
            from(
                "http://app.example.com",
                to("http://api.example.com:8080/", question("PUT", &[])),
            ),
            "has port 8080",
        ),
    ] {
        let explanation = ask(&source, &question);
        let found = explanation.notes.iter().any(|text| text.contains(note));
        assert!(found, "{note}: {:?}", explanation.notes);
    }
    let source = policy(USUAL).replace("api.example.com", "localhost");
    let explanation = ask(&source, &to("http://localhost/", question("PUT", &[])));
    assert_eq!(explanation.verdict, Verdict::Allowed);
    assert!(explanation.notes.iter().any(|text| text.contains("asks the user")));
}

#[test]
fn questions_that_are_none() {
    let source = policy(USUAL);
    for question in [
        from("app.example.com", question("PUT", &[])),
        question("P UT", &[]),
        question("TRACE", &[]),
        question("PUT", &["a b: c"]),
        question("PUT", &[": c"]),
        to("api.example.com", question("PUT", &[])),
        to("https://me@api.example.com", question("PUT", &[])),
    ] {
        assert!(matches!(try_ask(&source, &question), Err(Error::Question(_))), "{question:?}");
    }
    let two = format!("{source}[[policy]]\nname = \"b\"\nallow_origins = [\"*\"]\n");
    let error = try_ask(&two, &question("PUT", &[])).unwrap_err();
    assert!(matches!(error, Error::Question(BadQuestion::Url(2))), "{error}");
    assert!(try_ask(&two, &to("https://x.example", question("PUT", &[]))).is_ok());
}

#[test]
fn a_long_file_is_not_shown_whole() {
    let origins: Vec<String> = (0..5000).map(|i| format!("\"https://a{i}.example\"")).collect();
    let put = from("https://evil.test", question("PUT", &[]));
    for separator in [", ", ",\n"] {
        let list = format!("allow_origins = [{}]\n", origins.join(separator));
        let text = told(&policy(&list), &put);
        assert!(text.lines().count() < 60 && text.len() < 6000, "{}", text.len());
        assert!(text.contains("add \"https://evil.test\" to allow_origins"), "{text}");
        assert!(text.contains("--> policy.toml:"), "{text}");
    }
}

#[test]
fn limits_of_the_driver_are_named() {
    let long_origin = format!("https://{0}.{0}.example.com", "a".repeat(60));
    let lines = format!(
        "allow_origins = [\"*\"]\nallow_methods = [\"*\"]\nallow_headers = [\"*\"]\n\n\
         [[policy]]\nname = \"v1\"\nallow_origins = [{long_origin:?}]\nallow_methods = [\"PUT\"]\n\
         match = {{ hosts = [\"api.example.com\"], path_prefix = \"/v1\" }}\n"
    );
    let names: Vec<String> = (10..43).map(|i| format!("x-{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let long_name = "x".repeat(65);
    let url = |path: &str| format!("https://api.example.com/{path}");
    for (question, note) in [
        (to(&url(&"a".repeat(300)), question("PUT", &[])), "The path has 301 bytes"),
        (to(&url(&format!("?{}", "a".repeat(900))), question("PUT", &[])), "The head has 1"),
        (to(&url(""), question("PUT", &names)), "33 headers are asked for"),
        (to(&url(""), question("PUT", &[&long_name])), "A name has 65 bytes"),
        (to(&url(""), question(&"M".repeat(65), &[])), "The method has 65 bytes"),
        (from(&long_origin, to(&url("v1"), question("PUT", &[]))), "The origin has 141 bytes"),
    ] {
        let explanation = ask(&policy(&lines), &question);
        let found = explanation.notes.iter().any(|text| text.contains(note));
        assert!(found, "{note}: {explanation:#?}");
    }
}

#[test]
fn names_of_very_many_labels_are_below_nothing() {
    let lines = "allow_origins = [\"https://*.example.com\"]\nallow_methods = [\"PUT\"]\n";
    for (labels, verdict) in [(22, Verdict::Allowed), (23, Verdict::Blocked)] {
        let origin = format!("https://{}.example.com", vec!["a"; labels].join("."));
        let explanation = ask(&policy(lines), &from(&origin, question("PUT", &[])));
        assert_eq!(explanation.verdict, verdict, "{labels}");
        assert_eq!(explanation.changes.is_empty(), verdict == Verdict::Allowed, "{labels}");
    }
}

#[test]
fn policies_that_answer_in_another_way() {
    for (lines, method, status, answers, step) in [
        ("preflight = { success_status = 200 }", "PUT", "200", true, None),
        (
            "preflight = { denied_status = 404 }",
            "DELETE",
            "404",
            false,
            Some("allow_origin_present"),
        ),
        ("preflight = { validate = \"static\" }", "DELETE", "204", true, Some("method_allowed")),
        ("preflight = { validate = \"static\" }", "PUT", "204", true, None),
        ("preflight = { advertise = \"minimal\" }", "PATCH", "204", false, None),
    ] {
        let source = policy(&format!("{USUAL}{lines}\n"));
        let explanation = ask(&source, &question(method, &[]));
        let preflight = explanation.preflight.as_ref().unwrap();
        let answer = preflight.response.as_deref().unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{lines} {method}: {answer}");
        assert_eq!(preflight.driver.as_ref().unwrap().answers, answers, "{lines} {method}");
        assert_eq!(explanation.failure.as_ref().map(|failed| failed.step), step, "{lines}");
        if step.is_some() {
            assert_ne!(explanation.changes, [], "{lines}");
            assert!(explanation.policy.unwrap().path.ends_with("allow_methods"), "{lines}");
        }
    }
}
