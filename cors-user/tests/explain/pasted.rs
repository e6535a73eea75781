//! What is said of responses from anywhere.

use cors_user::explain::{BadQuestion, Given, Question, Verdict, by_responses};
use insta::assert_snapshot;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::support::{question, to, told_of, with_credentials};

fn response(text: &str) -> Given<'_> {
    Given { preflight: None, response: Some(text) }
}

fn preflight(text: &str) -> Given<'_> {
    Given { preflight: Some(text), response: None }
}

fn get() -> Question {
    question("GET", &[])
}

#[test]
fn without_any_permission() {
    let text = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{}";
    assert_snapshot!(told_of(&get(), response(text)));
}

#[test]
fn with_a_star_and_credentials() {
    let text = "HTTP/2 200 \naccess-control-allow-origin: *\n\
                access-control-allow-credentials: true\n";
    assert_snapshot!(told_of(&with_credentials(get()), response(text)));
}

#[test]
fn a_preflight_that_is_redirected() {
    let text = "HTTP/1.1 302 Found\nLocation: /login\nAccess-Control-Allow-Origin: *\n\n";
    assert_snapshot!(told_of(&question("PUT", &["x-a: 1"]), preflight(text)));
}

#[test]
fn both_of_them() {
    let given = Given {
        preflight: Some(
            "HTTP/1.1 204 No Content\nAccess-Control-Allow-Origin: https://app.example.com\n\
             Access-Control-Allow-Methods: PUT\nAccess-Control-Max-Age: 3600\n",
        ),
        response: Some(
            "HTTP/1.1 200 OK\nAccess-Control-Allow-Origin: https://app.example.com\n\
             Access-Control-Expose-Headers: etag\nETag: \"1\"\nX-Other: 1\n",
        ),
    };
    assert_snapshot!(told_of(&question("PUT", &[]), given));
}

/// Ways to write one and the same response.
const FORMS: &[(&str, &str)] = &[
    ("CRLF", "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nETag: 1\r\n\r\n"),
    ("LF", "HTTP/1.1 200 OK\nAccess-Control-Allow-Origin: *\nETag: 1\n"),
    ("HTTP/2", "HTTP/2 200\naccess-control-allow-origin: *\netag: 1"),
    ("no status line", "Access-Control-Allow-Origin: *\nETag: 1\n"),
    ("pseudo-headers", ":status: 200\naccess-control-allow-origin: *\netag: 1\n"),
    ("a body", "HTTP/1.1 200 OK\nAccess-Control-Allow-Origin: *\nETag: 1\n\nHTTP/1.1 500 x\n\nx"),
    ("empty lines in front", "\n\r\n\nHTTP/1.1 200 OK\nAccess-Control-Allow-Origin: *\nETag: 1"),
    ("indented", "   HTTP/1.1 200 OK\n   Access-Control-Allow-Origin: *\n   ETag: 1\n"),
    ("folded", "HTTP/1.1 200 OK\nAccess-Control-Allow-Origin:\n   *\nETag: 1\n"),
    ("a space before the colon", "HTTP/1.1 200\nAccess-Control-Allow-Origin : *\nETag: 1\n"),
    ("byte order mark", "\u{feff}HTTP/1.1 200 OK\nAccess-Control-Allow-Origin: *\nETag: 1\n"),
    (
        "curl -v",
        "* Connected to x\n> GET / HTTP/1.1\n> Host: x\n>\n{ [5 bytes data]\n< HTTP/1.1 200 OK\r\n\
         < Access-Control-Allow-Origin: *\r\n< ETag: 1\r\n< \r\n",
    ),
    (
        "names and values on lines of their own",
        "access-control-allow-origin:\n*\netag:\n1\ndate:\nSun, 06 Nov 1994 08:49:37 GMT\n",
    ),
    (
        "interim responses",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nETag: 1\r\n\r\n",
    ),
    (
        "a proxy's answer to CONNECT",
        "HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK\r\n\
         Access-Control-Allow-Origin: *\r\nETag: 1\r\n\r\n",
    ),
];

#[test]
fn in_every_form() {
    for (form, text) in FORMS {
        let explanation = by_responses(&get(), response(text)).unwrap();
        assert_eq!(explanation.verdict, Verdict::Allowed, "{form}");
        assert_eq!(explanation.responses.len(), 1, "{form}");
        assert_eq!(explanation.responses[0].visible_headers, [""; 0], "{form}");
        let exposing = text.replace("ETag: 1", "Access-Control-Expose-Headers: etag\nETag: 1");
        if exposing != *text && !text.starts_with(' ') && !text.contains("< ") {
            let explanation = by_responses(&get(), response(&exposing)).unwrap();
            assert_eq!(explanation.responses[0].visible_headers, ["ETag"], "{form}");
        }
        let denied = text.to_ascii_lowercase().replace("allow-origin", "allow-nothing");
        let denied = denied.replace("http/", "HTTP/");
        let explanation = by_responses(&get(), response(&denied)).unwrap();
        assert_eq!(explanation.verdict, Verdict::Blocked, "{form}");
    }
}

#[test]
fn redirects_are_followed() {
    let allowed = "Access-Control-Allow-Origin: https://app.example.com";
    let url = "https://api.example.com/a";
    for (text, verdict, step) in [
        (
            format!(
                "HTTP/1.1 301 x\nLocation: /b\n{allowed}\n\nmoved\n\nHTTP/1.1 200 x\n{allowed}\n"
            ),
            Verdict::Allowed,
            None,
        ),
        (
            format!("HTTP/1.1 301 x\nLocation: /b\n{allowed}\n\nHTTP/1.1 200 x\n"),
            Verdict::Blocked,
            Some("allow_origin_present"),
        ),
        (
            "HTTP/1.1 301 x\nLocation: /b\n".to_owned(),
            Verdict::Blocked,
            Some("allow_origin_present"),
        ),
        (format!("HTTP/1.1 301 x\nLocation: /b\n{allowed}\n"), Verdict::Unknown, None),
        (
            format!(
                "HTTP/1.1 307 x\nLocation: https://other.example/\n{allowed}\n\n\
                 HTTP/1.1 200 x\n{allowed}\n"
            ),
            Verdict::Blocked,
            Some("allow_origin_matches"),
        ),
        (
            format!("HTTP/1.1 307 x\nLocation: http://api.example.com/\n{allowed}\n\n"),
            Verdict::Blocked,
            Some("not_mixed_content"),
        ),
        (
            format!("HTTP/1.1 302 x\nLocation: data:,x\n{allowed}\n"),
            Verdict::Blocked,
            Some("location_is_http"),
        ),
    ] {
        let explanation = by_responses(&to(url, get()), response(&text)).unwrap();
        assert_eq!(explanation.verdict, verdict, "{text}");
        assert_eq!(explanation.failure.map(|failed| failed.step), step, "{text}");
    }
}

#[test]
fn the_answer_to_a_preflight_is_not_the_response() {
    let text =
        "HTTP/1.1 204 x\nAccess-Control-Allow-Origin: *\nAccess-Control-Allow-Methods: PUT\n";
    let put = question("PUT", &[]);
    let explanation = by_responses(&put, preflight(text)).unwrap();
    assert_eq!(explanation.verdict, Verdict::Allowed);
    assert!(explanation.notes.iter().any(|note| note.contains("was not given")));
    // Whether it is sent at all is not known.
    let explanation = by_responses(&put, response(text)).unwrap();
    assert_eq!(explanation.verdict, Verdict::Unknown);
    assert!(explanation.notes.iter().any(|note| note.contains("--preflight-response")));
    assert!(explanation.notes.iter().any(|note| note.contains("looks like")));
    // But where even the response is not shared, it does not matter.
    let explanation = by_responses(&put, response("HTTP/1.1 200 OK\nA: b\n")).unwrap();
    assert_eq!(explanation.verdict, Verdict::Blocked);
    // A request without a preflight has no use for its answer.
    let given = Given { preflight: Some("HTTP/1.1 403 x\nA: b\n"), response: Some(text) };
    assert_eq!(by_responses(&get(), given).unwrap().verdict, Verdict::Allowed);
}

#[test]
fn caches_must_be_told() {
    let one = "HTTP/1.1 200 OK\nAccess-Control-Allow-Origin: https://app.example.com\n";
    for (vary, told) in [
        ("", true),
        ("Vary: Accept-Encoding\n", true),
        ("Vary: X-Origin\n", true),
        ("Vary: accept, ORIGIN\n", false),
        ("Vary: a\nVary: Origin\n", false),
        ("Vary: *\n", false),
    ] {
        let text = format!("{one}{vary}");
        let explanation = by_responses(&get(), response(&text)).unwrap();
        assert_eq!(explanation.verdict, Verdict::Allowed);
        let found = explanation.notes.iter().any(|note| note.contains("Vary: Origin"));
        assert_eq!(found, told, "{vary}");
    }
}

#[test]
fn what_is_no_response() {
    for (text, line) in [
        ("", 1),
        ("\n\n", 1),
        ("HTTP/1.1 100 Continue\n\n", 1),
        ("HTTP/1.1 200 OK\nAccess-Control-Allow-Origin\n", 2),
        ("<html>\n<body>\n", 1),
        ("HTTP/1.1 200 OK\nA: b\nc d: e\n", 3),
        (":status: abc\n", 1),
        ("{\"a\": 1}\n", 1),
    ] {
        let error = by_responses(&get(), response(text)).unwrap_err();
        let BadQuestion::Response { line: found, .. } = &error else { panic!("{error}") };
        assert_eq!(*found, line, "{text:?}: {error}");
    }
}

#[test]
fn nothing_that_was_pasted_talks_to_the_terminal() {
    let text = "HTTP/1.1 200 OK\nAccess-Control-Allow-Origin: \u{1b}[31mred\nX: \u{9b}1m\u{7}\n";
    let told = told_of(&get(), response(text));
    assert!(!told.contains(['\u{1b}', '\u{9b}', '\u{7}']), "{told}");
}

/// Pieces of pastes, some of them out of place.
fn pieces() -> impl Strategy<Value = String> {
    let known = select(
        &[
            "HTTP/1.1 200 OK",
            "HTTP/2 302",
            "HTTP/1.1 100 Continue",
            "Location: /x",
            "access-control-allow-origin: *",
            "access-control-allow-origin:",
            "*",
            "< HTTP/1.1 204",
            "> GET / HTTP/1.1",
            ":status: 200",
            " folded",
            "",
        ][..],
    );
    let line = prop_oneof![4 => known.prop_map(str::to_owned), 1 => ".{0,20}"];
    let end = select(&["\n", "\r\n", "\n\n", "\r", "\u{85}"][..]);
    vec((line, end), 0..12)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_pasted_there_is_an_answer(text in pieces(), credentials in any::<bool>()) {
        let question = Question { credentials, ..question("PUT", &["x-a"]) };
        for given in [response(&text), preflight(&text)] {
            if let Ok(explanation) = by_responses(&question, given) {
                let told = cors_user::explain::human(&explanation, None, false);
                prop_assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{:?}", told);
                let blocked = explanation.verdict == Verdict::Blocked;
                prop_assert_eq!(explanation.failure.is_some(), blocked);
                prop_assert!(!explanation.json().is_empty());
            }
        }
    }

    #[test]
    fn what_is_written_is_read(
        status in select(&[200_u16, 204, 404][..]),
        headers in vec(("[a-zA-Z-]{1,12}", "[ -~]{0,20}"), 0..8),
        crlf in any::<bool>(),
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let mut text = format!("HTTP/1.1 {status} Whatever{end}");
        for (name, value) in &headers {
            text.extend([name, ": ", value, end]);
        }
        text += end;
        let explanation = by_responses(&get(), response(&text)).unwrap();
        let told = &explanation.responses[0].response;
        let expected: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.trim()))
            .collect();
        let found: Vec<&str> = told.trim_end_matches("\r\n\r\n").split("\r\n").skip(1).collect();
        let found: Vec<&str> = found.into_iter().filter(|line| !line.is_empty()).collect();
        prop_assert_eq!(found, expected);
    }
}
