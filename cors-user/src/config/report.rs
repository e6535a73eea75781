//! Says what is wrong with a policy file: to people with the place underlined, to programs as JSON.
//!
//! Pure; whoever calls decides where the text goes and whether colour is wanted.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::problem::{Problem, Severity};

/// The report for people. `file` is what they call the source.
///
/// One paragraph for each problem, then a line with the counts; empty if there is no problem.
pub fn human(file: &str, source: &str, problems: &[Problem], colour: bool) -> String {
    if problems.is_empty() {
        return String::new();
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let lines = Lines::of(source);
    let mut text = String::new();
    for problem in problems {
        text.push_str(&renderer.render(&[paragraph(file, &lines, problem)]));
        text.push_str("\n\n");
    }
    text.push_str(&summary(file, problems));
    text
}

/// The problems as a JSON array of `{path, value, reason, hint}`.
///
/// # Panics
///
/// Never: strings and an enum without data always serialize.
pub fn json(problems: &[Problem]) -> String {
    serde_json::to_string_pretty(problems)
        .expect("strings and an enum without data always serialize")
}

fn paragraph<'a>(file: &'a str, lines: &Lines<'a>, problem: &'a Problem) -> Group<'a> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = if problem.path.is_empty() { "not a TOML document" } else { &problem.path };
    let (number, excerpt, span) = lines.around(&problem.span);
    let annotation = AnnotationKind::Primary.span(span);
    level
        .primary_title(title)
        .id(problem.reason.as_str())
        .element(Snippet::source(excerpt).line_start(number).path(file).annotation(annotation))
        .element(Level::HELP.message(&problem.hint))
}

/// A text and where its lines start, so that each problem is shown with its own lines alone: the
/// renderer reads all that it is given, and a long file may have as many problems as lines.
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let starts = text.match_indices('\n').map(|(newline, _)| newline + 1);
        // The renderer knows no empty line behind the last newline.
        let starts = starts.filter(|start| *start < text.len());
        Self { text, starts: std::iter::once(0).chain(starts).collect() }
    }

    /// The lines that a span is in: the number of the first, their text, and the span in it.
    pub(crate) fn around(&self, span: &Range<usize>) -> (usize, &'a str, Range<usize>) {
        // Line 0 starts at byte 0, so every byte has a line.
        let line = |at: usize| self.starts.partition_point(|start| *start <= at) - 1;
        let (first, last) = (line(span.start), line(span.end.max(span.start)));
        let start = self.starts[first];
        let end = self.starts.get(last + 1).map_or(self.text.len(), |next| *next);
        (first + 1, &self.text[start..end], span.start - start..span.end - start)
    }
}

fn summary(file: &str, problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|p| p.severity == Severity::Error).count();
    let warnings = problems.len() - errors;
    let mut counts = Vec::new();
    for (count, one, many) in [(errors, "error", "errors"), (warnings, "warning", "warnings")] {
        if count > 0 {
            counts.push(format!("{count} {}", if count == 1 { one } else { many }));
        }
    }
    format!("{file}: {}\n", counts.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::super::parse;
    use super::*;

    const SOURCE: &str = "\
[server]
listen = [\"0.0.0.0:80\"]

[[policy]]
name = \"api\"
allow_origins = [\"https://a.example\", \"null\"]
max_age = 86400
";

    #[test]
    fn human_report_underlines_the_value() {
        let report = human("cors.toml", SOURCE, &parse(SOURCE).problems(), false);
        let expected = r#"error[prohibited]: policy[0].allow_origins[1]
 --> cors.toml:6:39
  |
6 | allow_origins = ["https://a.example", "null"]
  |                                       ^^^^^^
  |
  = help: `null` is what any sandboxed frame and any local file sends, also an attacker's: remove it, and serve the page from an origin of its own

warning[invalid]: policy[0].max_age
 --> cors.toml:7:11
  |
7 | max_age = 86400
  |           ^^^^^
  |
  = help: Chromium caps it to 7200 and WebKit to 600: expect no more

cors.toml: 1 error, 1 warning
"#;
        assert_eq!(report, expected);
    }

    #[test]
    fn colour_only_when_asked() {
        let problems = parse(SOURCE).problems();
        assert!(!human("cors.toml", SOURCE, &problems, false).contains('\u{1b}'));
        assert!(human("cors.toml", SOURCE, &problems, true).contains('\u{1b}'));
    }

    #[test]
    fn json_has_four_members_in_file_order() {
        let problems = parse(SOURCE).problems();
        let json: serde_json::Value = serde_json::from_str(&json(&problems)).unwrap();
        let list = json.as_array().unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list[0]["path"], "policy[0].allow_origins[1]");
        assert_eq!(list[0]["value"], "null");
        assert_eq!(list[0]["reason"], "prohibited");
        assert!(list[0]["hint"].as_str().unwrap().contains("sandboxed"));
        assert_eq!(list[0].as_object().unwrap().len(), 4);
        assert_eq!(list[1]["path"], "policy[0].max_age");
    }

    #[test]
    fn nothing_to_say() {
        assert_eq!(human("f", "", &[], true), "");
        assert_eq!(json(&[]), "[]");
    }

    #[test]
    fn every_text_has_a_report() {
        // Empty spans, spans at the very end, several lines, control characters.
        for source in
            ["", "\n", "x", "[server]", "a = [\n1,\n2\n]", "a = \"\u{7}", "\u{feff}", "é = 1"]
        {
            let report = human("f", source, &parse(source).problems(), false);
            assert!(report.contains("error"), "{source:?}");
            assert!(!report.contains('\u{7}'), "{source:?}");
        }
    }

    #[test]
    fn the_lines_of_a_problem_are_shown_as_from_the_whole_text() {
        let example = super::super::EXAMPLE;
        let broken = example.char_indices().step_by(7).flat_map(|(at, _)| {
            ["", "\"", "\n[", "= x\r\n\n"].map(|with| format!("{}{with}", &example[..at]))
        });
        let short =
            ["\n", "x", "a = [\n1,\n2\n]\n", "a = \"\u{7}", "\u{feff}\n\né = 1", "a = \"\"\"\n\n"];
        for source in broken.chain(short.map(str::to_owned)) {
            let whole = Lines { text: &source, starts: vec![0] };
            for problem in parse(&source).problems() {
                let report = |lines| Renderer::plain().render(&[paragraph("f", lines, &problem)]);
                assert_eq!(report(&Lines::of(&source)), report(&whole), "{source:?}");
            }
        }
    }

    #[test]
    fn values_cannot_talk_to_the_terminal() {
        let source = "[[policy]]\nname = \"a\\u001b[31m\"\n\"k\\u001b\" = 1";
        let report = human("f", source, &parse(source).problems(), false);
        assert!(!report.contains('\u{1b}'), "{report}");
    }
}
