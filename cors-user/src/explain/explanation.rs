//! What is found out: pure data, and the document that `--json` writes.
//!
//! The members and the words in them are stable: a program may rely on them as long as `version`
//! is the same. Members may be added to a version, never taken away.

use std::ops::Range;

use cors_oracle::{Failure, Judgement, Request, Step};
use serde::Serialize;

/// The version of the document.
pub const VERSION: u32 = 1;

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// [`VERSION`].
    pub version: u32,
    /// How it ends.
    pub verdict: Verdict,
    /// The request as the browser has it.
    pub request: Asked,
    /// The preflight; `null` where none is sent.
    pub preflight: Option<Preflight>,
    /// Responses to the request itself, one for each redirect and one more.
    pub responses: Vec<Answer>,
    /// The step that was not passed; `null` where all were.
    pub failure: Option<Failed>,
    /// The place in the policy file that decided; `null` without a policy file.
    pub policy: Option<Place>,
    /// What would make the verdict `allowed`, all of it together.
    pub changes: Vec<Change>,
    /// What else there is to know, in sentences.
    pub notes: Vec<String>,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The script gets the response.
    Allowed,
    /// It gets an error.
    Blocked,
    /// It depends on an answer that is not known here.
    Unknown,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// Normalized.
    pub method: String,
    /// Where it goes.
    pub url: String,
    /// What stands in `Origin`.
    pub origin: String,
    /// Whether credentials go along.
    pub credentials: bool,
    /// Headers that the script has set.
    pub headers: Vec<Field>,
    /// Headers that it has tried to set, and must not.
    pub ignored: Vec<String>,
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// As it was written.
    pub name: String,
    /// As far as it is text.
    pub value: String,
}

/// A preflight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Preflight {
    /// Why there is one.
    pub because: Vec<Because>,
    /// Whose form it has: `Chromium`, `Firefox`, `WebKit`.
    pub browser: &'static str,
    /// All of it.
    pub head: String,
    /// What the driver does with it; `null` without a policy file.
    pub driver: Option<Driver>,
    /// Who answers; `null` where nothing is known of that.
    pub answered_by: Option<Answerer>,
    /// The answer's head; `null` where it is not known.
    pub response: Option<String>,
    /// Steps that were passed.
    pub passed: Vec<&'static str>,
    /// For how many seconds the browsers remember a granted one; empty for one that is not.
    pub remembered: Vec<Remembered>,
}

/// Why there is a preflight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Because {
    /// `method`, `headers`, `upload_listener` or `stream_body`.
    pub what: &'static str,
    /// The method, or the headers.
    pub names: Vec<String>,
}

/// What the driver does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Driver {
    /// Whether it answers.
    pub answers: bool,
    /// The counter that counts it.
    pub exit: &'static str,
    /// What is counted there.
    pub help: &'static str,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answerer {
    /// The kernel program.
    Driver,
    /// The agent, which is the proxy.
    Agent,
    /// Another program, which listens on the protected socket.
    Server,
    /// Whoever gave the response that was pasted.
    Given,
}

/// How long a browser remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remembered {
    /// Which one.
    pub browser: &'static str,
    /// For how long.
    pub seconds: u64,
}

/// A response to the request itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Where it comes from.
    pub url: String,
    /// Who gives it.
    pub answered_by: Answerer,
    /// Its head, or of a policy what it puts on every response.
    pub response: String,
    /// Steps that were passed.
    pub passed: Vec<&'static str>,
    /// Headers that a script sees; of a policy, those that it exposes.
    pub visible_headers: Vec<String>,
}

/// When something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Before anything was sent.
    Request,
    /// At the answer to the preflight.
    Preflight,
    /// At the response.
    Response,
    /// At following a redirect.
    Redirect,
}

/// The step that was not passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// When.
    pub stage: Stage,
    /// Its name.
    pub step: &'static str,
    /// What must hold.
    pub rule: &'static str,
    /// What was found.
    pub said: String,
    /// Methods or headers that it is about.
    pub names: Vec<String>,
    /// The section of the standard.
    pub section: &'static str,
    /// Where to read it.
    pub link: &'static str,
    /// For whoever decides on it.
    #[serde(skip)]
    pub at: Step,
}

impl Failed {
    pub(super) fn new(stage: Stage, failure: &Failure) -> Self {
        let step = failure.step;
        Self {
            stage,
            step: step.name(),
            rule: step.rule(),
            said: failure.said.clone(),
            names: failure.names.clone(),
            section: step.section(),
            link: step.link(),
            at: step,
        }
    }
}

/// A place in the policy file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The name of the policy.
    pub name: String,
    /// Which value, such as `policy[0].allow_origins[1]`.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What it says on the request, in a few words.
    pub says: String,
    /// Bytes of the file.
    #[serde(skip)]
    pub span: Range<usize>,
    /// Which policy of the file.
    #[serde(skip)]
    pub index: usize,
}

/// Something to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What to do, in one sentence without an end.
    pub text: String,
    /// Which value of the policy file; `null` where it is not in one.
    pub path: Option<String>,
    /// How; `null` where it is not in a policy file.
    pub edit: Option<Edit>,
}

/// Some bytes of the policy file, and what comes in their place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edit {
    /// The first byte.
    pub start: usize,
    /// The first byte that stays again.
    pub end: usize,
    /// What comes instead.
    pub replacement: String,
}

impl Explanation {
    /// About this request, with nothing known yet.
    pub(super) fn of(request: &Request, ignored: Vec<String>) -> Self {
        let headers = request.headers().iter().map(|header| Field {
            name: header.name.clone(),
            value: String::from_utf8_lossy(&header.value).into_owned(),
        });
        Self {
            version: VERSION,
            verdict: Verdict::Unknown,
            request: Asked {
                method: request.method().to_owned(),
                url: request.url().to_string(),
                origin: request.serialized_origin(),
                credentials: request.includes_credentials(),
                headers: headers.collect(),
                ignored,
            },
            preflight: None,
            responses: Vec::new(),
            failure: None,
            policy: None,
            changes: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// It ends here, with an error.
    pub(super) fn fail(&mut self, stage: Stage, failure: &Failure) {
        self.verdict = Verdict::Blocked;
        self.failure = Some(Failed::new(stage, failure));
    }

    /// The document.
    ///
    /// # Panics
    ///
    /// Never: texts, numbers and enums without data always serialize.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self)
            .expect("texts, numbers and enums without data always serialize")
    }
}

/// The names of the steps that were passed.
pub(super) fn names<T>(judgement: &Judgement<T>) -> Vec<&'static str> {
    judgement.passed.iter().map(|step| step.name()).collect()
}
