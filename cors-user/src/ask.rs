//! `cors-edge explain`: files and standard input in, text and exit code out.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use cors_common::state::Date;
use cors_user::{
    config::{self, Loaded},
    explain::{
        Error, Explanation, Given, PolicyFile, Question, Shown, Verdict, by_policy, by_responses,
        human,
    },
    kernel::policy::LIMITS,
};

use crate::{INVALID, cli::Explain, print};

/// The exit code of a request that a browser blocks.
const BLOCKED: u8 = 3;
/// A response head is a few kilobytes; a body may be pasted with it.
const MAX_PASTE: u64 = 16 << 20;

/// Answers the question and prints the answer.
pub(crate) fn run(arguments: Explain) -> Result<ExitCode> {
    let Explain { config, response, preflight_response, json, .. } = &arguments;
    let (json, config) = (*json, config.clone());
    let pastes = [preflight_response, response].map(Clone::clone);
    let question = question(arguments);
    match config {
        Some(path) => of_policy(&question, &path, json),
        None => of_responses(&question, pastes.each_ref().map(Option::as_deref), json),
    }
}

fn question(arguments: Explain) -> Question {
    let Explain { origin, method, headers, credentials, upload, url, browser, .. } = arguments;
    Question { origin, method, headers, credentials, upload, url, browser: browser.into() }
}

fn of_policy(question: &Question, path: &Path, json: bool) -> Result<ExitCode> {
    let Loaded { source, checked } = config::load(path)?;
    let name = path.to_string_lossy();
    let problems = checked.problems();
    let Ok(config) = &checked.config else {
        let colour = io::stderr().is_terminal();
        eprint!("{}", config::report::human(&name, &source, &problems, colour));
        return Ok(ExitCode::from(INVALID));
    };
    let date = Date::new(&cors_user::agent::clock::date_of_now());
    let file = PolicyFile { source: &source, config, limits: LIMITS };
    let explained = by_policy(question, file, &date);
    finish(explained, Some(Shown { name: &name, source: &source }), json)
}

fn of_responses(
    question: &Question,
    [preflight, response]: [Option<&Path>; 2],
    json: bool,
) -> Result<ExitCode> {
    let is_stdin = |path: Option<&Path>| path == Some(Path::new("-"));
    if is_stdin(preflight) && is_stdin(response) {
        eprintln!("cors-edge: only one of the two responses can come from standard input");
        return Ok(ExitCode::from(INVALID));
    }
    let read = |path: Option<&Path>| path.map(paste).transpose();
    let (preflight, response) = (read(preflight)?, read(response)?);
    let given = Given { preflight: preflight.as_deref(), response: response.as_deref() };
    finish(by_responses(question, given).map_err(Error::from), None, json)
}

/// What was pasted into a file or into standard input. A body that is no text is none of it.
fn paste(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().take(MAX_PASTE).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_PASTE).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn finish(
    explained: Result<Explanation, Error>,
    file: Option<Shown<'_>>,
    json: bool,
) -> Result<ExitCode> {
    let explanation = match explained {
        Ok(explanation) => explanation,
        Err(error) => {
            eprintln!("cors-edge: {error}");
            return Ok(ExitCode::from(INVALID));
        }
    };
    let text = if json {
        explanation.json() + "\n"
    } else {
        human(&explanation, file, io::stdout().is_terminal())
    };
    print(&text)?;
    Ok(match explanation.verdict {
        Verdict::Allowed => ExitCode::SUCCESS,
        Verdict::Blocked => ExitCode::from(BLOCKED),
        Verdict::Unknown => ExitCode::from(INVALID),
    })
}
