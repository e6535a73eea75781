//! What can be wrong with a policy file, and where: pure data, and the place that collects it.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// One thing wrong with a policy file.
///
/// Serialized as `{path, value, reason, hint}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which value it is about, such as `policy[0].allow_origins[2]`; empty: the file as a whole.
    pub path: String,
    /// The value, or the source text of one with the wrong type; empty when it is missing.
    pub value: String,
    /// What kind of wrong it is.
    pub reason: Reason,
    /// What to do about it.
    pub hint: String,
    /// Where it is: bytes of the source.
    #[serde(skip)]
    pub span: Range<usize>,
    /// Whether it makes the file invalid.
    #[serde(skip)]
    pub severity: Severity,
}

impl Problem {
    /// Where it starts in `source`.
    pub fn position(&self, source: &str) -> Position {
        Position::of(source, self.span.start)
    }

    /// The sort key that puts problems in the order of the file.
    pub(super) fn order(&self) -> (usize, usize) {
        (self.span.start, self.span.end)
    }
}

/// Why a value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Something that has to be there is not.
    Missing,
    /// It does not have the form it must have, or can never match anything.
    Invalid,
    /// The standards allow it, this program does not: it is a known way to get hurt.
    Prohibited,
    /// The Fetch Standard rules it out: no browser would act on it.
    Forbidden,
    /// It cannot stand together with something else in the file.
    Incompatible,
}

impl Reason {
    /// The word for it, as it is serialized.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Prohibited => "prohibited",
            Self::Forbidden => "forbidden",
            Self::Incompatible => "incompatible",
        }
    }
}

/// Whether a problem makes the file invalid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Severity {
    /// It does: nothing of the file is taken.
    #[default]
    Error,
    /// It does not: the file is taken as it is.
    Warning,
}

/// A place in a text, as editors count: both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// The place of byte `offset` in `source`; past the end is the end.
    pub fn of(source: &str, offset: usize) -> Self {
        let before = &source[..source.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// A value with its name and its place in the file.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) path: String,
    pub(super) span: Range<usize>,
    pub(super) value: T,
}

impl<T> At<T> {
    /// The same place, without the value.
    pub(super) fn place(&self) -> At<()> {
        At { path: self.path.clone(), span: self.span.clone(), value: () }
    }
}

/// Collects problems, in any order.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// `at` is refused.
    pub(super) fn error(&mut self, at: &At<String>, reason: Reason, hint: impl Into<String>) {
        self.0.push(about(at, reason, hint.into(), Severity::Error));
    }

    /// `at` is accepted, and probably not what was meant.
    pub(super) fn warning(&mut self, at: &At<String>, reason: Reason, hint: impl Into<String>) {
        self.0.push(about(at, reason, hint.into(), Severity::Warning));
    }

    /// `key`, which belongs into `parent`, is not there.
    pub(super) fn missing(&mut self, parent: &At<()>, key: &str, hint: impl Into<String>) {
        let dot = if parent.path.is_empty() || key.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{key}", parent.path);
        let at = At { path, span: parent.span.clone(), value: String::new() };
        self.error(&at, Reason::Missing, hint);
    }

    /// The text is no TOML from `start` on: drops what was concluded from the parser's guesses.
    ///
    /// Whatever was accepted before that place was read as it was written, but something that
    /// seems to be missing may be in the part that could not be read.
    pub(super) fn distrust_from(&mut self, start: usize) {
        self.0.retain(|problem| {
            // Only the text itself has no path.
            problem.path.is_empty()
                || (problem.span.end < start && problem.reason != Reason::Missing)
        });
    }

    /// Errors and warnings, each in the order of the file.
    pub(super) fn finish(mut self) -> (Vec<Problem>, Vec<Problem>) {
        // Stable, so that of two problems with one value the graver, found first, stays first.
        self.0.sort_by_key(Problem::order);
        self.0.into_iter().partition(|problem| problem.severity == Severity::Error)
    }
}

fn about(at: &At<String>, reason: Reason, hint: String, severity: Severity) -> Problem {
    Problem {
        path: at.path.clone(),
        value: at.value.clone(),
        reason,
        hint,
        span: at.span.clone(),
        severity,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let source = "a\n\u{e4}bc\n";
        for (offset, line, column) in
            [(0, 1, 1), (1, 1, 2), (2, 2, 1), (3, 2, 1), (4, 2, 2), (7, 3, 1), (99, 3, 1)]
        {
            assert_eq!(Position::of(source, offset), Position { line, column }, "at {offset}");
        }
    }

    #[test]
    fn the_word_is_the_serialized_one() {
        for reason in [
            Reason::Missing,
            Reason::Invalid,
            Reason::Prohibited,
            Reason::Forbidden,
            Reason::Incompatible,
        ] {
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(json, format!("{:?}", reason.as_str()));
        }
    }
}
