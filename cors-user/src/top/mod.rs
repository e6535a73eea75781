//! `cors-edge top`: what an agent does, second by second, on a terminal.
//!
//! The agent is asked for its status once a second; rates are differences between two of them. What
//! is shown is a function of what was told ([`screen`]), and the terminal is touched here alone.

mod history;
mod screen;

use std::{
    env, io,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use cors_user::agent::{
    client,
    protocol::{Answer, Request},
    status::Status,
};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};

use history::History;
use screen::{Look, Sort};

/// How often the agent is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// Shows it until `q`.
pub(crate) fn run(runtime_dir: &Path, all: bool) -> Result<()> {
    // Before the terminal is touched: whoever has no agent sees a sentence and no flicker.
    let mut history = History::new(status(runtime_dir)?);
    let mut look = Look {
        sort: Sort::default(),
        all,
        // https://no-color.org
        colour: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, &mut history, &mut look, runtime_dir);
    ratatui::try_restore()?;
    shown
}

fn show(
    terminal: &mut DefaultTerminal,
    history: &mut History,
    look: &mut Look,
    runtime_dir: &Path,
) -> Result<()> {
    let mut next = Instant::now() + INTERVAL;
    loop {
        terminal.draw(|frame| screen::draw(frame, history, *look))?;
        if event::poll(next.saturating_duration_since(Instant::now()))? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                let control = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('c') if control => return Ok(()),
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('s') => look.sort = look.sort.next(),
                    KeyCode::Char('a') => look.all = !look.all,
                    _ => {}
                }
            }
            continue;
        }
        next = Instant::now() + INTERVAL;
        // An agent that is being restarted is waited for.
        match status(runtime_dir) {
            Ok(status) => history.add(status, Instant::now()),
            Err(error) => history.lost(error.to_string()),
        }
    }
}

fn status(runtime_dir: &Path) -> Result<Status> {
    match client::ask(runtime_dir, &Request::Status) {
        Ok(Answer::Status(status)) => Ok(*status),
        Ok(_) => bail!("the agent answers something else"),
        Err(error) => Err(io::Error::other(error).into()),
    }
}
