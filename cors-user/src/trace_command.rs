//! `cors-edge trace`: its arguments, and what it prints.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Result, bail};
use clap::Args;
use cors_user::agent::{
    client::Stream,
    protocol::{Answer, Request, Traced},
};
use tokio::{
    select,
    signal::{
        ctrl_c,
        unix::{SignalKind, signal},
    },
    time::sleep,
};

use crate::{RUNTIME_DIR, cli::seconds};

/// Follow the decisions of a running agent, request by request
///
/// Of each request on which was decided: when, where it came in, what became of it (the reasons are
/// those of `cors-edge status --all`), the policy, and what it asked. The query of a path is left
/// out. Each CPU tells about 240 a second at most, and how many were left out is said. Ends
/// with Ctrl-C, with exit code 0.
#[derive(Args, Debug)]
pub(crate) struct Trace {
    /// Only what a policy denies
    #[arg(long)]
    pub(crate) denied: bool,
    /// Only requests of this origin, as the browser writes it
    #[arg(long)]
    pub(crate) origin: Option<String>,
    /// Write a JSON document on each line
    #[arg(long)]
    pub(crate) json: bool,
    /// End after so long
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) time: Option<Duration>,
    /// The runtime directory of the agent
    #[arg(long, value_name = "DIR", default_value = RUNTIME_DIR)]
    pub(crate) runtime_dir: PathBuf,
}

/// Follows them until somebody ends it.
pub(crate) fn run(arguments: Trace) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(follow(arguments))
}

async fn follow(arguments: Trace) -> Result<ExitCode> {
    let Trace { denied, origin, json, time, runtime_dir } = arguments;
    let mut stream = Stream::open(&runtime_dir, &Request::Trace { denied, origin }).await?;
    let mut terminated = signal(SignalKind::terminate())?;
    let end = async {
        match time {
            Some(time) => sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    loop {
        let answer = select! {
            answer = stream.next() => answer?,
            _ = ctrl_c() => return Ok(ExitCode::SUCCESS),
            _ = terminated.recv() => return Ok(ExitCode::SUCCESS),
            () = &mut end => return Ok(ExitCode::SUCCESS),
        };
        match answer {
            None => {
                eprintln!("cors-edge: the agent has ended");
                return Ok(ExitCode::SUCCESS);
            }
            Some(Answer::Tracing) => eprintln!("cors-edge: tracing; Ctrl-C ends it"),
            Some(Answer::Traced(traced)) => {
                let text =
                    if json { serde_json::to_string(&traced)? + "\n" } else { human(&traced) };
                // Whoever reads our output may have read enough.
                match io::stdout().write_all(text.as_bytes()) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                        return Ok(ExitCode::SUCCESS);
                    }
                    written => written?,
                }
            }
            Some(_) => bail!("the agent answers something else"),
        }
    }
}

/// One line, and another one before it where decisions were left out.
fn human(traced: &Traced) -> String {
    let Traced { at_ms, tier, interface, reason, policy, request, left_out } = traced;
    let mut text = String::new();
    // Writing to a string cannot fail.
    if *left_out > 0 {
        let _ = writeln!(text, "({left_out} more were left out)");
    }
    let of_the_day = at_ms % 86_400_000;
    let (seconds, ms) = (of_the_day / 1000, of_the_day % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let place = interface.as_ref().unwrap_or(tier);
    let _ = write!(text, "{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z  {place:<8}  {reason:<15}");
    let _ = write!(text, "  {:<12}", policy.as_deref().unwrap_or("-"));
    let host = request.host.as_deref().unwrap_or_default();
    let _ = write!(text, "  {} {host}{}", request.method, request.path);
    if let Some(origin) = &request.origin {
        let _ = write!(text, "  from {origin}");
    }
    if let Some(method) = &request.request_method {
        let _ = write!(text, "  for {method}");
    }
    if let Some(headers) = &request.request_headers {
        let _ = write!(text, " with {headers}");
    }
    text.push('\n');
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_who_asked_for_what_and_why_not() {
        let mut traced: Traced = serde_json::from_value(json!({
            "at_ms": 784_111_777_042_u64, "tier": "driver", "interface": "eth0",
            "reason": "origin_denied", "policy": "api", "left_out": 0,
            "request": {"method": "OPTIONS", "host": "api.example.com", "path": "/v1/users?…",
                        "origin": "https://evil.example", "request_method": "PUT",
                        "request_headers": "authorization"}
        }))
        .unwrap();
        let line = "08:49:37.042Z  eth0      origin_denied    api           \
                    OPTIONS api.example.com/v1/users?…  from https://evil.example  \
                    for PUT with authorization\n";
        assert_eq!(human(&traced), line);
        traced.left_out = 7;
        assert_eq!(human(&traced), format!("(7 more were left out)\n{line}"));
        traced = serde_json::from_value(json!({
            "at_ms": 0, "tier": "driver", "interface": null, "reason": "head_too_long",
            "policy": null, "left_out": 0, "request": {"method": "", "path": ""}
        }))
        .unwrap();
        assert!(human(&traced).starts_with("00:00:00.000Z  driver    head_too_long    -  "));
    }
}
