//! An explanation for people, in 80 columns. Pure.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Patch, Renderer, Snippet};
use cors_oracle::Browser;

use super::{
    by_responses::SOMEWHERE,
    explanation::{
        Answer, Answerer, Because, Change, Explanation, Failed, Place, Preflight, Stage, Verdict,
    },
};
use crate::config::report::Lines;

const WIDTH: usize = 80;
/// The column in which everything behind a label starts.
const INDENT: usize = 11;
/// Lines that are longer are not shown with what is to be changed in them.
const LINE_MAX: usize = 400;

/// A policy file, to show places of.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its text.
    pub source: &'a str,
}

/// The explanation as text.
pub fn human(explanation: &Explanation, file: Option<Shown<'_>>, colour: bool) -> String {
    let mut page = Page { text: String::new(), colour };
    page.title(explanation);
    if let Some(preflight) = &explanation.preflight {
        page.preflight(preflight);
    }
    let failed = explanation.failure.as_ref();
    if let Some(failed) = failed.filter(|failed| failed.stage == Stage::Preflight) {
        page.failure("browser", "sends nothing more", failed);
    }
    for answer in &explanation.responses {
        page.answer(answer);
    }
    match failed {
        Some(failed) if failed.stage == Stage::Request => {
            page.failure("browser", "sends nothing", failed);
        }
        Some(failed) if failed.stage == Stage::Response => {
            page.failure("browser", "keeps the response from the script", failed);
        }
        Some(failed) if failed.stage == Stage::Redirect => {
            page.failure("browser", "does not follow the redirect", failed);
        }
        _ => {}
    }
    for note in &explanation.notes {
        page.entry("note", note);
    }
    if let Some(file) = file {
        page.places(explanation, file);
    } else {
        for change in &explanation.changes {
            page.entry("change", &format!("{}.", capitalized(&change.text)));
        }
    }
    page.text
}

struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn title(&mut self, explanation: &Explanation) {
        let (word, paint) = match explanation.verdict {
            Verdict::Allowed => ("Allowed", "\u{1b}[1;32m"),
            Verdict::Blocked => ("Blocked", "\u{1b}[1;31m"),
            Verdict::Unknown => ("Not known", "\u{1b}[1;33m"),
        };
        let asked = &explanation.request;
        let with = if asked.credentials { ", with credentials" } else { "" };
        if self.colour {
            self.text.extend([paint, word, "\u{1b}[0m"]);
        } else {
            self.text += word;
        }
        let url = if asked.url == SOMEWHERE { "to another origin" } else { &asked.url };
        let rest = format!(": {} {url}\nfrom a page of {}{with}\n", asked.method, asked.origin);
        self.text += &rest;
        self.text.push('\n');
    }

    fn preflight(&mut self, preflight: &Preflight) {
        self.entry("preflight", &because(&preflight.because));
        let mut lines = preflight.head.lines();
        self.verbatim(lines.next().unwrap_or_default());
        let mut others = 0;
        for line in lines.filter(|line| !line.is_empty()) {
            if is_of_cors(line) {
                self.verbatim(line);
            } else {
                others += 1;
            }
        }
        let size = preflight.head.len();
        self.more(&format!(
            "({others} more headers of {}, {size} bytes in all)",
            preflight.browser
        ));
        if let Some(driver) = &preflight.driver {
            let what = if driver.answers { "answers" } else { "passes it on" };
            self.entry("driver", &format!("{what}: {}", driver.exit));
            self.more(driver.help);
        }
        if let Some(by) = preflight.answered_by {
            match &preflight.response {
                Some(response) => {
                    self.entry("answer", of(by));
                    self.lines(response);
                }
                None => self.entry("answer", &format!("{}, not known here", of(by))),
            }
        }
        if !preflight.remembered.is_empty() {
            self.entry("browser", &format!("sends the request, {}", remembered(preflight)));
        }
    }

    fn answer(&mut self, answer: &Answer) {
        let what = match answer.answered_by {
            Answerer::Given if answer.url == SOMEWHERE => "as it was given".to_owned(),
            Answerer::Given => format!("of {}", answer.url),
            Answerer::Agent => "of the upstream, on which the agent puts".to_owned(),
            Answerer::Driver | Answerer::Server => {
                "of the server behind, which must say".to_owned()
            }
        };
        self.entry("response", &what);
        self.lines(&answer.response);
        if !answer.visible_headers.is_empty() {
            let names = answer.visible_headers.join(", ");
            let what = match answer.answered_by {
                Answerer::Given => "scripts see",
                _ => "scripts see, beside the safelisted ones,",
            };
            self.entry("browser", &format!("{what} {names}"));
        }
    }

    fn failure(&mut self, label: &str, what: &str, failed: &Failed) {
        self.entry(label, &format!("{what}: {}.", failed.said));
        self.more(&format!("The rule: {}", failed.rule));
        self.more(&format!("{}: {}", failed.section, failed.link));
    }

    fn places(&mut self, explanation: &Explanation, file: Shown<'_>) {
        let renderer = if self.colour { Renderer::styled() } else { Renderer::plain() };
        let lines = Lines::of(file.source);
        if let Some(place) = &explanation.policy {
            self.text.push('\n');
            self.text += &decided(&renderer, file, &lines, place);
            self.text.push('\n');
        }
        for change in &explanation.changes {
            self.text.push('\n');
            self.text += &changed(&renderer, file, &lines, change);
            self.text.push('\n');
        }
    }

    /// A label, and a text that is broken at spaces.
    fn entry(&mut self, label: &str, text: &str) {
        let start = self.text.len();
        self.more(text);
        self.text.replace_range(start..start + label.len(), label);
    }

    /// A text that is broken at spaces.
    fn more(&mut self, text: &str) {
        let mut column = 0;
        for word in clean(text).split(' ') {
            if column > INDENT && column + 1 + word.chars().count() > WIDTH {
                self.text.push('\n');
                column = 0;
            }
            if column == 0 {
                self.text.extend([' '; INDENT]);
                column = INDENT;
            } else {
                self.text.push(' ');
                column += 1;
            }
            self.text += word;
            column += word.chars().count();
        }
        self.text.push('\n');
    }

    /// The lines of a head.
    fn lines(&mut self, head: &str) {
        for line in head.lines().filter(|line| !line.is_empty()) {
            self.verbatim(line);
        }
    }

    /// A line as it is.
    fn verbatim(&mut self, line: &str) {
        self.text.extend([' '; INDENT]);
        self.text += &clean(line);
        self.text.push('\n');
    }
}

/// Whether a line of a preflight matters to whoever answers it.
fn is_of_cors(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    name.eq_ignore_ascii_case("host")
        || name.eq_ignore_ascii_case("origin")
        || name.to_ascii_lowercase().starts_with("access-control-")
}

/// Without what a terminal would act on.
fn clean(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

fn because(reasons: &[Because]) -> String {
    let reasons: Vec<String> = reasons
        .iter()
        .map(|reason| match reason.what {
            "method" => format!("the method {}", reason.names.join(", ")),
            "headers" => {
                let plural = if reason.names.len() == 1 { "" } else { "s" };
                format!("the header{plural} {}", reason.names.join(", "))
            }
            "upload_listener" => "a listener for the progress of the upload".to_owned(),
            _ => "a body that is a stream".to_owned(),
        })
        .collect();
    format!("because of {}", reasons.join(", and "))
}

const fn of(by: Answerer) -> &'static str {
    match by {
        Answerer::Driver => "of the driver",
        Answerer::Agent => "of the agent",
        Answerer::Server => "of the server behind",
        Answerer::Given => "as it was given",
    }
}

fn remembered(preflight: &Preflight) -> String {
    let longest = preflight.remembered.iter().map(|it| it.seconds).max().unwrap_or_default();
    if longest == 0 {
        return "and asks again before the next one".to_owned();
    }
    let all_alike = preflight.remembered.iter().all(|it| it.seconds == longest);
    if all_alike {
        return format!("and remembers the answer for {longest} s");
    }
    let each: Vec<String> =
        preflight.remembered.iter().map(|it| format!("{} {} s", it.browser, it.seconds)).collect();
    debug_assert_eq!(each.len(), Browser::ALL.len());
    format!("and remembers the answer ({})", each.join(", "))
}

fn decided(renderer: &Renderer, file: Shown<'_>, lines: &Lines<'_>, place: &Place) -> String {
    let (number, excerpt, span) = lines.around(&place.span);
    let annotation = AnnotationKind::Primary.span(span).label(&*place.says);
    let snippet =
        Snippet::source(excerpt).line_start(number).path(file.name).annotation(annotation);
    let title = format!("policy `{}` decides: {}", clean(&place.name), place.path);
    renderer.render(&[Level::NOTE.primary_title(title).element(snippet)])
}

fn changed(renderer: &Renderer, file: Shown<'_>, lines: &Lines<'_>, change: &Change) -> String {
    let title = Level::HELP.primary_title(&*change.text);
    let Some(edit) = &change.edit else { return renderer.render(&[Group::with_title(title)]) };
    let (number, excerpt, span) = lines.around(&(edit.start..edit.end));
    if excerpt.len() > LINE_MAX {
        let column = excerpt[..span.start].chars().count() + 1;
        let place = Origin::path(file.name).line(number).char_column(column);
        return renderer.render(&[title.element(place)]);
    }
    let patch = Patch::new(span, &*edit.replacement);
    let snippet = Snippet::source(excerpt).line_start(number).path(file.name).patch(patch);
    renderer.render(&[title.element(snippet)])
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase().to_string()).unwrap_or_default()
        + chars.as_str()
}
