//! The client: curl, one process and so one connection for requests that belong together.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::child::tie;
use crate::shell::output;

/// What to ask.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Request {
    /// Method and target, as the first line has them.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What came back.
pub(super) struct Exchange {
    pub(super) status: u16,
    /// Status line and headers.
    pub(super) head: String,
    pub(super) body: String,
    /// How many connections curl had to open for this.
    pub(super) new_connections: u32,
}

impl Exchange {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// Sends the requests one after the other on one connection to `address`.
pub(super) fn ask(requests: &[&Request], address: &str, scratch: &Path) -> Result<Vec<Exchange>> {
    let file = |kind: &str, index: usize| scratch.join(format!("{kind}.{index}"));
    let mut curl = Command::new("curl");
    for (index, request) in requests.iter().enumerate() {
        if index > 0 {
            curl.arg("--next");
        }
        curl.args(["--silent", "--show-error", "--max-time", "10", "--request", &request.method])
            .args(["--connect-to", &format!("::{address}")])
            .args(["--write-out", "%{http_code} %{num_connects}\n"])
            .arg("--dump-header")
            .arg(file("head", index))
            .arg("--output")
            .arg(file("body", index));
        for (name, value) in &request.headers {
            curl.args(["--header", &format!("{name}: {value}")]);
        }
        curl.arg(format!("http://{}{}", request.host, request.path));
    }
    let written = output(tie(&mut curl))?;
    let mut exchanges = Vec::new();
    for (index, line) in written.lines().enumerate() {
        let (status, connections) = line.split_once(' ').context("curl wrote something else")?;
        exchanges.push(Exchange {
            status: status.parse()?,
            head: fs::read_to_string(file("head", index))?,
            body: fs::read_to_string(file("body", index)).unwrap_or_default(),
            new_connections: connections.parse()?,
        });
    }
    Ok(exchanges)
}
