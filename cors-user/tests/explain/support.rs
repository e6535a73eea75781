//! Questions in few words, and what is answered.

use cors_common::state::Date;
use cors_oracle::Browser;
use cors_user::{
    compile::Limits,
    config,
    explain::{
        Error, Explanation, Given, PolicyFile, Question, Shown, by_policy, by_responses, human,
    },
};

pub(crate) const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

/// A request from `https://app.example.com`.
pub(crate) fn question(method: &str, headers: &[&str]) -> Question {
    Question {
        origin: "https://app.example.com".to_owned(),
        method: method.to_owned(),
        headers: headers.iter().map(|header| (*header).to_owned()).collect(),
        credentials: false,
        upload: false,
        url: None,
        browser: Browser::Chromium,
    }
}

/// With credentials.
pub(crate) fn with_credentials(question: Question) -> Question {
    Question { credentials: true, ..question }
}

/// From another page.
pub(crate) fn from(origin: &str, question: Question) -> Question {
    Question { origin: origin.to_owned(), ..question }
}

/// To a URL.
pub(crate) fn to(url: &str, question: Question) -> Question {
    Question { url: Some(url.to_owned()), ..question }
}

/// A file of a sidecar, or of a proxy.
pub(crate) fn file(upstream: bool, policies: &str) -> String {
    let upstream = if upstream { "upstream = \"http://127.0.0.1:8080\"\n" } else { "" };
    format!("[server]\nlisten = [\"0.0.0.0:80\"]\n{upstream}\n{policies}")
}

/// One policy for `api.example.com`, of a proxy.
pub(crate) fn policy(lines: &str) -> String {
    let head = "[[policy]]\nname = \"api\"\nmatch = { hosts = [\"api.example.com\"] }\n";
    file(true, &format!("{head}{lines}"))
}

/// The explanation under a policy file.
pub(crate) fn ask(source: &str, question: &Question) -> Explanation {
    try_ask(source, question).unwrap()
}

pub(crate) fn try_ask(source: &str, question: &Question) -> Result<Explanation, Error> {
    let config = config::parse(source).config;
    let config = config.unwrap_or_else(|problems| panic!("{source}\n{problems:#?}"));
    let limits = Limits { lines: 1 << 16, policies: 1 << 10 };
    by_policy(question, PolicyFile { source, config: &config, limits }, &Date::new(DATE))
}

/// The same as text.
pub(crate) fn told(source: &str, question: &Question) -> String {
    human(&ask(source, question), Some(Shown { name: "policy.toml", source }), false)
}

/// What is said of a response, as text.
pub(crate) fn told_of(question: &Question, given: Given<'_>) -> String {
    human(&by_responses(question, given).unwrap(), None, false)
}
