//! Whether what is advised does what is promised: every edit is made, and the question is asked
//! again.

use cors_user::explain::{Edit, Explanation, Question, Verdict};

use crate::support::{ask, file, from, policy, question, with_credentials};

/// The file with the edits made.
fn edited(source: &str, explanation: &Explanation) -> String {
    let mut edits: Vec<&Edit> =
        explanation.changes.iter().filter_map(|change| change.edit.as_ref()).collect();
    edits.sort_by_key(|edit| edit.start);
    let mut text = source.to_owned();
    for edit in edits.iter().rev() {
        text.replace_range(edit.start..edit.end, &edit.replacement);
    }
    text
}

/// Follows the advice on a question that is blocked; returns the file that results.
fn follow(source: &str, question: &Question) -> String {
    let explanation = ask(source, question);
    assert_eq!(explanation.verdict, Verdict::Blocked, "{source}");
    assert_ne!(explanation.changes, [], "{source}\n{:?}", explanation.notes);
    let edited = edited(source, &explanation);
    assert_eq!(ask(&edited, question).verdict, Verdict::Allowed, "{edited}");
    edited
}

const ONE: &str = "allow_origins = [\"https://app.example.com\"]";

#[test]
fn lists_in_every_form() {
    for lines in [
        "allow_origins = [\"https://a.example\"]",
        "allow_origins = [ 'https://a.example' , ] # one",
        "allow_origins = [\n    \"https://a.example\", # the first\n    # and no other\n]",
        "allow_origins = [\n    \"https://a.example\"\n]",
        "allow_origins = [\"\"\"https://a.example\"\"\"]",
    ] {
        let text = follow(&policy(lines), &question("GET", &[]));
        assert!(text.contains("\"https://app.example.com\""), "{text}");
        assert!(!lines.contains('#') || text.contains("# "), "{text}");
    }
}

#[test]
fn keys_that_are_missing() {
    let put = question("PUT", &["x-a", "X-B", "authorization"]);
    let text = follow(&policy(ONE), &with_credentials(put.clone()));
    for line in [
        "allow_methods = [\"PUT\"]",
        "allow_headers = [\"authorization\", \"x-a\", \"x-b\"]",
        "allow_credentials = true",
    ] {
        assert!(text.lines().any(|found| found == line), "{text}");
    }
    // With CRLF, without an end of line at the end, with a comment behind the name.
    follow(&policy(ONE).replace('\n', "\r\n"), &put);
    let last = file(true, &format!("[[policy]]\n{ONE}\nname = \"api\""));
    follow(&last, &put);
    follow(&policy(ONE).replace("\"api\"\n", "\"api\" # the name\n"), &put);
    // And in a table in one line.
    let inline = format!("policy = [{{ name = \"api\", {ONE} }}]\n");
    follow(
        &format!("{inline}[server]\nlisten = [\"0.0.0.0:80\"]\nupstream = \"http://u\"\n"),
        &put,
    );
}

#[test]
fn empty_lists_and_false_flags() {
    let lines =
        format!("{ONE}\nallow_methods = []\nallow_headers = [ ]\nallow_credentials = false\n");
    let text = follow(&policy(&lines), &with_credentials(question("PUT", &["x-a"])));
    assert!(text.contains("allow_methods = [\"PUT\"]\n"), "{text}");
    assert!(text.contains("allow_credentials = true\n"), "{text}");
}

#[test]
fn stars_and_credentials() {
    let lines = "allow_origins = [\"*\"]\nallow_methods = [\"*\"]\n\
                 allow_headers = [\"x-b\", \"*\", \"authorization\"]\n";
    let put = with_credentials(question("PUT", &["x-a", "authorization", "x-b"]));
    let text = follow(&policy(lines), &put);
    assert!(text.contains("allow_headers = [\"x-b\", \"authorization\", \"x-a\"]"), "{text}");
    assert!(!text.contains('*'), "{text}");
    follow(&policy(lines), &with_credentials(question("POST", &["x-a"])));
    follow(&policy(lines), &with_credentials(question("GET", &[])));
}

#[test]
fn authorization_is_not_covered() {
    let lines = format!("{ONE}\nallow_headers = [\"*\"]\n");
    let text = follow(&policy(&lines), &question("GET", &["authorization", "x-a"]));
    assert!(text.contains("[\"*\", \"authorization\"]"), "{text}");
}

#[test]
fn a_method_in_lower_case_is_the_scripts_mistake() {
    let lines = format!("{ONE}\nallow_methods = [\"PATCH\"]\n");
    let explanation = ask(&policy(&lines), &question("patch", &["x-a"]));
    let texts: Vec<&str> = explanation.changes.iter().map(|change| &*change.text).collect();
    assert_eq!(
        texts,
        [
            "write the method in upper case in the script: PATCH is allowed",
            "add the line allow_headers = [\"x-a\"]",
        ]
    );
    let edited = edited(&policy(&lines), &explanation);
    assert_eq!(ask(&edited, &question("PATCH", &["x-a"])).verdict, Verdict::Allowed);
}

#[test]
fn what_no_policy_can_allow_is_not_advised() {
    // Nobody's origin.
    let explanation = ask(&policy(ONE), &from("null", question("PUT", &[])));
    assert_eq!((explanation.verdict, &explanation.changes[..]), (Verdict::Blocked, &[][..]));
    // A dangerous one: the validator's words say why not.
    let put = from("http://app.example.com", with_credentials(question("GET", &[])));
    let put = Question { url: Some("http://api.example.com/".to_owned()), ..put };
    let explanation = ask(&policy(ONE), &put);
    assert_eq!((explanation.verdict, &explanation.changes[..]), (Verdict::Blocked, &[][..]));
    assert!(explanation.notes.iter().any(|note| note.contains("use https")), "{explanation:?}");
}
