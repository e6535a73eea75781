//! Where the log goes, and in which form.
//!
//! To people on a terminal, as lines of JSON elsewhere, and where systemd has the journal at the
//! other end, to the journal with its fields. No request is ever written to it, so there is no
//! query string to leave out.

use std::{
    env,
    fs::File,
    io::{self, IsTerminal as _},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, layer::SubscriberExt as _};

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The journal under systemd, text on a terminal, JSON elsewhere
    Auto,
    /// Text
    Text,
    /// A JSON document on each line
    Json,
    /// The journal of systemd
    Journal,
}

/// Starts it. `filter` is that of the command line.
pub(crate) fn start(filter: Option<&str>, format: Format) -> Result<()> {
    let filter = match filter {
        Some(filter) => EnvFilter::try_new(filter).context("--log is no filter")?,
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
    };
    let terminal = io::stderr().is_terminal();
    let format = match format {
        Format::Auto if is_journal() => Format::Journal,
        Format::Auto if terminal => Format::Text,
        Format::Auto => Format::Json,
        chosen => chosen,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    let layer = match format {
        Format::Journal => {
            let journal = tracing_journald::layer().context("the journal cannot be written to")?;
            journal.with_syslog_identifier("cors-edge".to_owned()).boxed()
        }
        Format::Json => lines.json().flatten_event(true).boxed(),
        Format::Auto | Format::Text => lines.with_ansi(terminal).boxed(),
    };
    let subscriber = Registry::default().with(layer.with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).context("there is a log already")?;
    // What the libraries say that know only `log`.
    tracing_log::LogTracer::init().context("there is a log already")
}

/// Whether what is written to the standard error goes to the journal: systemd says which file that
/// is, since a child may have been given another one (systemd.exec(5), `JOURNAL_STREAM`).
fn is_journal() -> bool {
    let named = env::var("JOURNAL_STREAM").unwrap_or_default();
    let own = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    own.and_then(|file| file.metadata())
        .is_ok_and(|file| named == format!("{}:{}", file.dev(), file.ino()))
}
