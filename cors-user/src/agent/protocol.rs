//! What is said on the agent's socket: one request as a line of JSON, one answer as a document of
//! JSON, and the connection is closed; of a trace, answers until whoever asked has enough.

use std::{collections::BTreeMap, error::Error, fmt, path::Path};

use serde::{Deserialize, Serialize};

use super::{live::Policy, reload::seconds, status::Status};
use crate::{
    config::{Problem, difference::Difference, values},
    cors::Shown,
};

/// What somebody asks of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Its status.
    Status,
    /// The policy that is in use.
    Policy,
    /// To read the policy file again.
    Reload {
        /// Only to say what would change.
        dry_run: bool,
    },
    /// To go back to the policy before.
    Rollback,
    /// To hand over its listening sockets: they come with the answer, as descriptors.
    Sockets,
    /// To end, now that another agent is in its place.
    Leave,
    /// To tell its decisions as they are made: one document on each line, the first of which is
    /// [`Answer::Tracing`], until whoever asked goes.
    Trace {
        /// Only what a policy denies.
        denied: bool,
        /// Only requests of this origin.
        origin: Option<String>,
    },
}

/// What the agent answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Its status.
    Status(Box<Status>),
    /// The policy that is in use.
    Policy(Box<Effective>),
    /// The policy is in use, or would be.
    Loaded(Loaded),
    /// It is not, and nothing has changed.
    Refused(Refused),
    /// The listening sockets come with this; how many there are.
    Sockets(usize),
    /// It goes.
    Left,
    /// Decisions follow.
    Tracing,
    /// A decision.
    Traced(Box<Traced>),
    /// The request is none.
    Error(String),
}

/// What a reload or a rollback did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// Whether it was only asked for what would be done.
    pub dry_run: bool,
    /// The generation that is in use now.
    pub generation: u32,
    /// What changes by it.
    pub difference: Difference,
    /// How many requests were rehearsed in the kernel.
    pub rehearsed: usize,
    /// What is legal in the file and probably not meant, for people.
    pub warnings: String,
}

/// Why a policy is not in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// One sentence.
    pub reason: String,
    /// Everything, for people; empty where the sentence is everything.
    pub report: String,
    /// What is wrong with the file; empty where something else is.
    pub problems: Vec<Problem>,
}

/// A decision on a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// When it was made, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who made it: `driver` or `proxy`.
    pub tier: String,
    /// The interface that the request came in on; of the driver's decisions alone.
    pub interface: Option<String>,
    /// What became of it, or why.
    pub reason: String,
    /// The policy that decided, where one did.
    pub policy: Option<String>,
    /// The request.
    pub request: Shown,
    /// Decisions that were left out since the one before.
    pub left_out: u64,
}

impl Traced {
    /// The same, when so many were left out before it.
    pub(super) fn leaving_out(&self, left_out: u64) -> Answer {
        Answer::Traced(Box::new(Self { left_out, ..self.clone() }))
    }
}

/// The policy that is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effective {
    /// Its generation.
    pub generation: u32,
    /// See [`super::status::Policy::digest`].
    pub digest: String,
    /// When it was put in use, in seconds since 1970.
    pub loaded_at: u64,
    /// The file that it was read from.
    pub source: String,
    /// Every policy by its name, and in it every value by its key, as the policy file has them.
    pub policies: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Effective {
    pub(super) fn of(policy: &Policy, source: &Path) -> Self {
        let values = |policy| {
            let mut by_key = BTreeMap::<String, Vec<String>>::new();
            for (key, value) in values::policy(policy) {
                by_key.entry(key.to_owned()).or_default().push(value);
            }
            by_key
        };
        let policies = policy.config.policies.iter();
        Self {
            generation: policy.generation,
            digest: format!("{:016x}", policy.summary.digest),
            loaded_at: seconds(policy.loaded),
            source: source.display().to_string(),
            policies: policies.map(|policy| (policy.name.clone(), values(policy))).collect(),
        }
    }
}

/// For people.
impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dry_run, generation, difference, rehearsed, .. } = self;
        difference.fmt(f)?;
        if *dry_run {
            writeln!(f, "dry run: generation {generation} stays in use")
        } else {
            let requests = if *rehearsed == 1 { "request" } else { "requests" };
            writeln!(f, "generation {generation} is in use ({rehearsed} {requests} rehearsed)")
        }
    }
}

/// For people.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, report, .. } = self;
        writeln!(f, "{report}refused: {reason}; the policy that is in use stays")
    }
}

impl Refused {
    /// For a reason that is a sentence.
    pub(super) fn because(reason: impl Into<Box<dyn Error>>) -> Self {
        Self { reason: reason.into().to_string(), report: String::new(), problems: Vec::new() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn requests_are_lines_that_people_can_write() {
        for (text, expected) in [
            (r#"{"request":"status"}"#, Request::Status),
            (r#"{"request":"reload","dry_run":true}"#, Request::Reload { dry_run: true }),
            (r#"{"request":"rollback"}"#, Request::Rollback),
            (
                r#"{"request":"trace","denied":true,"origin":null}"#,
                Request::Trace { denied: true, origin: None },
            ),
        ] {
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), expected);
            assert_eq!(serde_json::to_string(&expected).unwrap(), text);
        }
        for text in ["", "{}", r#"{"request":"stop"}"#, r#"{"request":"reload"}"#] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }
}
