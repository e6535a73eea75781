//! A real browser, without a window.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::{netns::Netns, process::Process, scratch::Scratch};

/// A browser that shows a page; it ends when dropped, with all its processes.
#[derive(Debug)]
pub struct Chromium {
    process: Option<Process>,
    _profile: Scratch,
}

impl Chromium {
    /// Opens a page on a host, with more arguments, such as `--host-resolver-rules=…`.
    pub fn open(host: &Netns, url: &str, arguments: &[&str]) -> Self {
        let profile = Scratch::new("browser");
        // A browser is many processes, and what starts it is a script. In a namespace of their own
        // they all end with the first one.
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child=SIGKILL", "chromium-headless-shell"])
            .args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path("profile").display()))
            .args(arguments)
            .arg(url)
            .env("HOME", profile.dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self { process: Some(host.spawn(command)), _profile: profile }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.end_by(Signal::SIGKILL);
        }
    }
}
