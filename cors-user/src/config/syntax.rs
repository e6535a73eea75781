//! What is wrong with a text that is no TOML. Pure.

use std::ops::Range;

use toml::de::{DeTable, Error};

use super::problem::{Problem, Problems, Reason, Severity};

/// How many broken lines are looked for.
const MOST: usize = 20;

/// What the parser calls the one error after which what it read is still what is written: the
/// second key is dropped whole.
const DUPLICATE: &str = "duplicate key";

/// Reports the errors that the parser found in `source`; returns where the text can no longer be
/// trusted.
pub(super) fn check(source: &str, errors: &[Error], problems: &mut Problems) -> Option<usize> {
    let broken_at = first_broken(errors).map(|(span, _)| span.start);
    for error in errors.iter().filter(|error| error.message() == DUPLICATE) {
        let span = error.span().unwrap_or_default();
        if broken_at.is_none_or(|broken_at| span.start < broken_at) {
            report(source, span, "this key is there already: remove one of the two", problems);
        }
    }
    if broken_at.is_some() {
        broken_lines(source, problems);
    }
    broken_at
}

/// Reports one error for each broken line.
///
/// After its first error the parser stumbles over whatever follows: an unclosed string makes an
/// error of every line below. So each broken line is blanked and the rest is parsed again.
fn broken_lines(source: &str, problems: &mut Problems) {
    let mut text = source.as_bytes().to_vec();
    let mut last_line: Option<Range<usize>> = None;
    for _ in 0..MOST {
        // Whole lines are blanked, and they end at ASCII bytes.
        let text_now = std::str::from_utf8(&text).expect("blanking a line keeps UTF-8");
        let Some((span, message)) = first_broken(&DeTable::parse_recoverable(text_now).1) else {
            return;
        };
        let line = line_around(text_now, span.start);
        if let Some(last) = &last_line {
            // An error where a line begins comes from above: a bracket is still open.
            let comes_from_above = text_now[line.start..span.start].trim().is_empty();
            if line.start <= last.start || comes_from_above {
                return;
            }
        }
        report(source, span, &message, problems);
        text[line.clone()].fill(b' ');
        last_line = Some(line);
    }
}

fn first_broken(errors: &[Error]) -> Option<(Range<usize>, String)> {
    let broken = errors.iter().filter(|error| error.message() != DUPLICATE);
    broken
        .map(|error| (error.span().unwrap_or_default(), error.message().to_owned()))
        .min_by_key(|(span, _)| span.start)
}

/// The line that byte `at` of `text` is in, without its end.
fn line_around(text: &str, at: usize) -> Range<usize> {
    let at = text.floor_char_boundary(at);
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    start..end
}

fn report(source: &str, span: Range<usize>, hint: &str, problems: &mut Problems) {
    problems.push(Problem {
        path: String::new(),
        value: excerpt(source, &span),
        reason: Reason::Invalid,
        hint: hint.to_owned(),
        span,
        severity: Severity::Error,
    });
}

/// The source text at `span`, or its beginning if it goes on.
pub(super) fn excerpt(source: &str, span: &Range<usize>) -> String {
    const LONGEST: usize = 120;
    let text = source.get(span.clone()).unwrap_or_default();
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(LONGEST)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_for_each_broken_line() {
        for (source, expected) in [
            ("a = 1\n", &[][..]),
            ("a = \"x\nb = 1\nc = [\"*\"]\n", &[1]),
            ("a = [\"x]\nb = 1\n[c]\nd = 1\n", &[1]),
            ("a = \"x\nb = 1\nc = 1 2\nd = \n", &[1, 3, 4]),
            ("a = [\n1,\n2 3,\n4,\n]\nb = @\n", &[3, 6]),
            ("a = [1,\nb = 1\nc = 1\nd = 1\n", &[2]),
            ("[a\nb = 1\n[[c]\nd = x\n", &[1, 3, 4]),
            ("a = \"\"\"\nb\nc\n", &[4]),
            ("a = \u{e4}\nb = \u{e4}", &[1, 2]),
            ("a = 1\na = 2\nb = 1 2\na = 3\n", &[2, 3]),
        ] {
            let mut problems = Problems::default();
            check(source, &DeTable::parse_recoverable(source).1, &mut problems);
            let (errors, _) = problems.finish();
            let lines: Vec<usize> = errors.iter().map(|e| e.position(source).line).collect();
            assert_eq!(lines, expected, "{source}\n{errors:#?}");
        }
    }

    #[test]
    fn excerpts() {
        assert_eq!(excerpt("abcdef", &(1..3)), "bc");
        assert_eq!(excerpt("a", &(1..9)), "");
        let long = "\u{e4}".repeat(61);
        assert_eq!(excerpt(&long, &(0..122)), format!("{}…", "\u{e4}".repeat(60)));
    }
}
