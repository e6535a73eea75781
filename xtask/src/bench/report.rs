//! The table, where it is put, and the file with every sample.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::{Machine, Outcome};
use crate::shell::{say, workspace};

/// The table in README.md is between these lines.
const MARKS: [&str; 2] =
    ["<!-- `cargo xtask bench --write-readme` writes from here -->", "<!-- to here -->"];
/// The samples that the table is of.
const SAMPLES: &str = "docs/bench/results.json";

/// One line of the table.
pub(super) struct Row {
    pub(super) what: String,
    pub(super) measured: String,
    /// What it is to be; empty where nothing was promised.
    pub(super) goal: String,
}

impl Row {
    pub(super) fn new(what: impl Into<String>, measured: String) -> Self {
        Self { what: what.into(), measured, goal: String::new() }
    }

    /// With a goal, and whether it is reached.
    pub(super) fn goal(mut self, goal: &str, reached: bool) -> Self {
        self.goal = format!("{goal}: {}", if reached { "yes" } else { "**no**" });
        self
    }
}

/// What all scenarios found.
pub(super) struct Report {
    machine: Machine,
    quick: bool,
    rows: Vec<Row>,
    notes: Vec<String>,
    samples: Map<String, Value>,
}

impl Report {
    pub(super) fn new(machine: Machine, quick: bool) -> Self {
        Self { machine, quick, rows: Vec::new(), notes: Vec::new(), samples: Map::new() }
    }

    pub(super) fn add(&mut self, scenario: &str, outcome: Outcome) {
        self.rows.extend(outcome.rows);
        self.notes.extend(outcome.notes);
        self.samples.insert(scenario.to_owned(), outcome.samples);
    }

    /// The table, with what it was measured on above it and what to know below.
    pub(super) fn markdown(&self) -> String {
        let quick = if self.quick { " Quick runs, not for quoting." } else { "" };
        let mut text = format!(
            "Medians (least–largest run), A and B in turn: {}.{quick}\n\n| what | measured | goal |\n| --- | --- | --- |\n",
            self.machine.describe(),
        );
        for Row { what, measured, goal } in &self.rows {
            text.extend(["| ", what, " | ", measured, " | ", goal, " |\n"]);
        }
        for note in &self.notes {
            text.extend(["\n- ", note]);
        }
        text.push('\n');
        text
    }

    /// Everything that was measured.
    pub(super) fn json(&self) -> String {
        let Machine { cpu, cores, memory_gib, is_virtual, kernel, load } = &self.machine;
        let document = json!({
            "machine": {
                "cpu": cpu,
                "cores": cores,
                "memory_gib": memory_gib,
                "virtual": is_virtual,
                "kernel": kernel,
                "load_before": load,
            },
            "quick": self.quick,
            "scenarios": self.samples,
        });
        format!("{document}\n")
    }

    /// Puts the table into README.md and the samples beside the documentation.
    pub(super) fn keep(&self) -> Result<()> {
        let path = workspace().join("README.md");
        let readme = fs::read_to_string(&path)?;
        let readme = between(&readme, MARKS, &self.markdown())
            .with_context(|| format!("{} lacks the line {:?}", path.display(), MARKS[0]))?;
        fs::write(&path, readme)?;
        let samples = workspace().join(SAMPLES);
        fs::create_dir_all(samples.parent().unwrap_or(&samples))?;
        fs::write(&samples, self.json())?;
        say(&format!("written: README.md and {SAMPLES}"));
        Ok(())
    }
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
}
