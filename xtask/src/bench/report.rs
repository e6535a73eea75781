//! What all scenarios found, as one document, and the pages that are made of it: `docs/benchmarks.md`
//! with its plots, and the table in README.md. The document is kept as JSON; the pages can be made
//! of it again.

use std::{fmt::Write as _, fs};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Machine, Outcome, chart::Chart};
use crate::shell::{say, workspace};

/// The table in README.md is between these lines.
const MARKS: [&str; 2] =
    ["<!-- `cargo xtask bench --write-docs` writes from here -->", "<!-- to here -->"];
/// Where the document and the plots are.
const DIRECTORY: &str = "docs/bench";
/// The document.
const RESULTS: &str = "docs/bench/results.json";
/// All tables and plots.
const PAGE: &str = "docs/benchmarks.md";

/// One line of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) measured: String,
    /// What it is to be; empty where nothing was promised.
    pub(super) goal: String,
    /// Whether it is in the table of README.md.
    pub(super) headline: bool,
}

impl Row {
    pub(super) fn new(what: impl Into<String>, measured: String) -> Self {
        Self { what: what.into(), measured, goal: String::new(), headline: false }
    }

    /// With a goal, and whether it is reached.
    pub(super) fn goal(mut self, goal: &str, reached: bool) -> Self {
        self.goal = format!("{goal}: {}", if reached { "yes" } else { "**no**" });
        self
    }

    /// In README.md, too.
    pub(super) fn headline(mut self) -> Self {
        self.headline = true;
        self
    }
}

/// What one scenario found.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Section {
    scenario: String,
    rows: Vec<Row>,
    notes: Vec<String>,
    charts: Vec<Chart>,
}

/// What all scenarios found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    machine: Machine,
    quick: bool,
    sections: Vec<Section>,
    /// Every sample.
    samples: Map<String, Value>,
}

impl Report {
    pub(super) fn new(machine: Machine, quick: bool) -> Self {
        Self { machine, quick, sections: Vec::new(), samples: Map::new() }
    }

    /// The document that was kept.
    pub(super) fn kept() -> Result<Self> {
        let path = workspace().join(RESULTS);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    pub(super) fn add(&mut self, scenario: &str, outcome: Outcome) {
        let Outcome { rows, notes, charts, samples } = outcome;
        self.sections.push(Section { scenario: scenario.to_owned(), rows, notes, charts });
        self.samples.insert(scenario.to_owned(), samples);
    }

    /// All tables, each with what to know below, and with links to the plots.
    pub(super) fn markdown(&self, plots: bool) -> String {
        let mut text = self.first_line();
        for Section { scenario, rows, notes, charts } in &self.sections {
            let _ = write!(text, "\n\n## {scenario}\n");
            for chart in charts.iter().filter(|_| plots) {
                let _ = write!(text, "\n![{}](bench/{}.svg)\n", chart.title, chart.name);
            }
            if !rows.is_empty() {
                text.push('\n');
                text += &table(rows);
            }
            for note in notes {
                text.extend(["\n- ", note]);
            }
        }
        text.push('\n');
        text
    }

    /// The few lines that say most.
    fn summary(&self) -> String {
        let rows = self.sections.iter().flat_map(|section| &section.rows);
        let rows: Vec<_> = rows.filter(|row| row.headline).cloned().collect();
        format!("{}\n\n{}", self.first_line(), table(&rows))
    }

    fn first_line(&self) -> String {
        let quick = if self.quick { " Quick runs, not for quoting." } else { "" };
        format!("Medians (least–largest run), A and B in turn: {}.{quick}", self.machine.describe())
    }

    /// Everything that was measured.
    pub(super) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }

    /// Keeps the document, and makes the pages of it.
    pub(super) fn keep(&self) -> Result<()> {
        fs::create_dir_all(workspace().join(DIRECTORY))?;
        fs::write(workspace().join(RESULTS), self.json()?)?;
        self.render()
    }

    /// Makes the pages.
    pub(super) fn render(&self) -> Result<()> {
        let path = workspace().join("README.md");
        let readme = fs::read_to_string(&path)?;
        let readme = between(&readme, MARKS, &self.summary())
            .with_context(|| format!("{} lacks the line {:?}", path.display(), MARKS[0]))?;
        fs::write(&path, readme)?;
        let page = format!(
            "# Benchmarks\n\nWritten by `cargo xtask bench --write-docs` from \
             [every sample](bench/results.json); [how it is measured](benchmarking.md).\n\n{}",
            self.markdown(true)
        );
        fs::write(workspace().join(PAGE), page)?;
        for chart in self.sections.iter().flat_map(|section| &section.charts) {
            let file = workspace().join(DIRECTORY).join(format!("{}.svg", chart.name));
            fs::write(file, chart.svg())?;
        }
        say(&format!("written: README.md, {PAGE} and {DIRECTORY}"));
        Ok(())
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = "| what | measured | goal |\n| --- | --- | --- |\n".to_owned();
    for Row { what, measured, goal, .. } in rows {
        text.extend(["| ", what, " | ", measured, " | ", goal, " |\n"]);
    }
    text
}

/// The text with other lines between the marks.
fn between(text: &str, [begin, end]: [&str; 2], lines: &str) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{}\n{end}{after}", lines.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let replaced = between("a\n<\nold\n>\nb\n", ["<", ">"], "new\n").expect("both marks");
        assert_eq!(replaced, "a\n<\nnew\n>\nb\n");
        assert_eq!(between(&replaced, ["<", ">"], "new\n"), Some(replaced.clone()));
        assert_eq!(between("a > b < c", ["<", ">"], ""), None);
    }

    #[test]
    fn the_readme_has_a_place_for_the_table() {
        let readme = fs::read_to_string(workspace().join("README.md")).expect("README.md");
        assert!(between(&readme, MARKS, "").is_some());
    }

    #[test]
    fn the_document_is_read_as_it_was_written() {
        let mut report = Report::new(Machine::read(), true);
        let rows = vec![
            Row::new("a", "1".to_owned()).goal("≤ 2", true).headline(),
            Row::new("b", "3".to_owned()),
        ];
        let outcome = Outcome { rows, ..Outcome::default() };
        report.add("first", outcome);
        let again: Report = serde_json::from_str(&report.json().expect("text")).expect("the same");
        assert_eq!(again.markdown(true), report.markdown(true));
        assert!(report.markdown(true).contains("## first\n"));
        assert!(report.summary().contains("| a | 1 | ≤ 2: yes |\n"));
        assert!(!report.summary().contains("| b |"));
    }
}
