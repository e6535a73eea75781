//! The arguments.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use cors_oracle::Browser;
use cors_user::kernel::attach::Wish;

use crate::{RUNTIME_DIR, bench_command::Bench, logging::Format, trace_command::Trace};

/// Answers CORS preflights in the network driver, and hands everything else to the kernel.
#[derive(Debug, Parser)]
#[command(name = "cors-edge", version)]
pub(crate) struct Cli {
    /// What is logged to standard error: a level, or a list like `warn,cors_user=debug`
    /// [default: $RUST_LOG, or info]
    #[arg(long, value_name = "FILTER", global = true)]
    pub(crate) log: Option<String>,
    /// The form of the log
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "auto", global = true)]
    pub(crate) log_format: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
    Validate(Validate),
    Explain(Explain),
    Status(StatusOf),
    #[cfg(feature = "top")]
    Top(Top),
    Trace(Trace),
    Reload(Reload),
    Rollback(Rollback),
    Detach(Detach),
    Bench(Bench),
    #[command(hide = true)]
    Generate(Generate),
}

/// Where the packages have what outlives the agent.
const PIN_DIR: &str = "/sys/fs/bpf/cors-edge";

/// Attach to the interfaces and answer, until SIGTERM or SIGINT
///
/// SIGHUP makes it read its policy file again, as `cors-edge reload` does. Needs CAP_BPF,
/// CAP_NET_ADMIN and CAP_PERFMON, and Linux 6.9 or later. Everything that was attached is detached
/// at the end, unless --pin says otherwise. A proxy uses sockets that a service manager gives it
/// where the policy file names their addresses. Exit code 0 after a signal, 2 if the policy file has
/// errors, 1 if something else keeps the agent from running.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The policy file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// An interface to answer on; may be given several times, and replaces those of the file
    #[arg(long, value_name = "IF")]
    pub(crate) interface: Vec<String>,
    /// Where packets are answered
    #[arg(long, value_name = "MODE", value_enum, default_value = "auto")]
    pub(crate) xdp: Xdp,
    /// Count what would be answered, and let everything pass
    #[arg(long)]
    pub(crate) measure: bool,
    /// Directory of the status socket, made if it is not there
    #[arg(long, value_name = "DIR", default_value = RUNTIME_DIR)]
    pub(crate) runtime_dir: PathBuf,
    /// Keep what must not be lost in this directory, which must be in a BPF file system: after
    /// SIGTERM, or when the agent is killed, the programs stay attached for the next agent, and
    /// pass everything in five seconds unless there is one; SIGINT and `cors-edge detach` detach
    #[arg(long, value_name = "DIR")]
    pub(crate) pin: Option<PathBuf>,
    /// Load the policy file anew whenever it changes
    #[arg(long)]
    pub(crate) watch: bool,
    /// Where an agent with this runtime directory is running, take its place without a gap: have its
    /// listening sockets, and with the same --pin its programs, and when all is ready tell it to end,
    /// which it does when its connections have got their next response, or after its --drain
    #[arg(long)]
    pub(crate) replace: bool,
    /// At the end, begin no connection and wait so long for the next request of those that are
    /// open, which hands them over; a proxy answers it, and ends when nothing is under way any more;
    /// fractions are allowed, 0 ends at once, as a second signal does
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) drain: Duration,
}

/// The longest wait that is accepted: a day.
const LONGEST: f64 = 86_400.0;

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=LONGEST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("write seconds, from 0 to {LONGEST}, such as 1 or 0.5")),
    }
}

/// Check a policy file, and say everything that is wrong with it
///
/// Exit code 0 if it is valid (warnings are no errors), 2 if it is not, 1 if it cannot be read.
#[derive(Args, Debug)]
pub(crate) struct Validate {
    /// The policy file
    pub(crate) file: PathBuf,
    /// Write a list of {path, value, reason, hint}; it is empty if there is nothing to say
    #[arg(long)]
    pub(crate) json: bool,
}

/// Say what a browser would do with a request, and why
///
/// With --config: is a preflight sent, who answers it and why not the driver, does the script get
/// the response, and if not, which line of the policy is responsible and what would change it.
/// With --response or --preflight-response: what is wrong with a response from anywhere. Exit code
/// 0 if the script gets the response, 3 if the browser blocks it, 2 if that cannot be said from
/// what was given or the input is wrong, 1 if a file cannot be read.
#[derive(Args, Debug)]
#[command(group(
    ArgGroup::new("subject").required(true).multiple(true)
        .args(["config", "response", "preflight_response"])
))]
pub(crate) struct Explain {
    /// The policy file to ask
    #[arg(long, value_name = "FILE", conflicts_with_all = ["response", "preflight_response"])]
    pub(crate) config: Option<PathBuf>,
    /// A response to judge, as curl -i or a browser's tools show it; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) response: Option<PathBuf>,
    /// The response to its preflight, the same way
    #[arg(long, value_name = "FILE")]
    pub(crate) preflight_response: Option<PathBuf>,
    /// The origin of the page, or its URL, or null
    #[arg(long)]
    pub(crate) origin: String,
    /// The method of the request
    #[arg(long, default_value = "GET")]
    pub(crate) method: String,
    /// A header that the script sets, `name: value` or a name; may be given several times
    #[arg(long = "header", value_name = "HEADER")]
    pub(crate) headers: Vec<String>,
    /// The script says credentials: "include", or withCredentials
    #[arg(long)]
    pub(crate) credentials: bool,
    /// The script listens to the progress of an upload
    #[arg(long)]
    pub(crate) upload: bool,
    /// Where the request goes [default: somewhere that the one policy is for]
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Whose preflight is looked at
    #[arg(long, value_enum, default_value = "chromium")]
    pub(crate) browser: WhichBrowser,
    /// Write one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// A browser engine.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum WhichBrowser {
    /// Chrome, Edge, and others
    Chromium,
    /// Firefox
    Firefox,
    /// Safari, and every browser on iOS
    Webkit,
}

impl From<WhichBrowser> for Browser {
    fn from(browser: WhichBrowser) -> Self {
        match browser {
            WhichBrowser::Chromium => Self::Chromium,
            WhichBrowser::Firefox => Self::Firefox,
            WhichBrowser::Webkit => Self::WebKit,
        }
    }
}

/// Say what a running agent does, and what it has counted
#[derive(Args, Debug)]
pub(crate) struct StatusOf {
    /// Write the whole status as one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Show counters that have counted nothing, too
    #[arg(long, conflicts_with = "json")]
    pub(crate) all: bool,
    /// The runtime directory of the agent
    #[arg(long, value_name = "DIR", default_value = RUNTIME_DIR)]
    pub(crate) runtime_dir: PathBuf,
}

/// Have a running agent read its policy file again
///
/// The policy is put in use as a whole, between two packets, after it was rehearsed in the kernel;
/// open connections go on. A file with an error, or one that fails the rehearsal, changes nothing.
/// Exit code 0 if the policy is in use, 2 if the file has errors, 1 if something else keeps it from
/// being used.
#[derive(Args, Debug)]
pub(crate) struct Reload {
    /// Only say what would change, policy by policy and origin by origin
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write the answer as one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// The runtime directory of the agent
    #[arg(long, value_name = "DIR", default_value = RUNTIME_DIR)]
    pub(crate) runtime_dir: PathBuf,
}

/// Have a running agent go back to the policy before the one that it uses
///
/// That policy is then the one that is used, as a new generation; done twice, it is as before. The
/// policy file is not touched: the next reload reads it.
#[derive(Args, Debug)]
pub(crate) struct Rollback {
    /// Write the answer as one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// The runtime directory of the agent
    #[arg(long, value_name = "DIR", default_value = RUNTIME_DIR)]
    pub(crate) runtime_dir: PathBuf,
}

/// Take off what an agent has left attached
///
/// For an agent that ran with --pin and has ended. Nothing left is no error.
#[derive(Args, Debug)]
pub(crate) struct Detach {
    /// The directory that the agent had with --pin
    #[arg(long, value_name = "DIR", default_value = PIN_DIR)]
    pub(crate) pin: PathBuf,
    /// The runtime directory of the agent: one that is still running is not meant
    #[arg(long, value_name = "DIR", default_value = RUNTIME_DIR)]
    pub(crate) runtime_dir: PathBuf,
}

/// Watch a running agent: rates, reasons and the state of the host, second by second
///
/// `q` ends it, `s` sorts otherwise, `a` shows reasons that nothing was counted for, too. There are no
/// colours where NO_COLOR is set.
#[cfg(feature = "top")]
#[derive(Args, Debug)]
pub(crate) struct Top {
    /// Show reasons that nothing was counted for, too
    #[arg(long)]
    pub(crate) all: bool,
    /// The runtime directory of the agent
    #[arg(long, value_name = "DIR", default_value = RUNTIME_DIR)]
    pub(crate) runtime_dir: PathBuf,
}

/// Write man pages and completions, for packages
#[derive(Args, Debug)]
pub(crate) struct Generate {
    /// A directory, made if it is not there
    pub(crate) directory: PathBuf,
}

/// Where packets are answered.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Xdp {
    /// In the driver where that works, behind it elsewhere (veth, loopback)
    Auto,
    /// In the driver, or not at all
    Native,
    /// Behind the driver, on any interface
    Generic,
    /// Nowhere: the programs are loaded, and everything passes; with `upstream` none is loaded, and
    /// the proxy runs alone, which needs no privilege
    Off,
}

impl From<Xdp> for Wish {
    fn from(xdp: Xdp) -> Self {
        match xdp {
            Xdp::Auto => Self::Auto,
            Xdp::Native => Self::Native,
            Xdp::Generic => Self::Generic,
            Xdp::Off => Self::Off,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seconds_may_have_fractions() {
        for (text, expected) in [("0", 0), ("1", 1000), ("0.25", 250), ("86400", 86_400_000)] {
            assert_eq!(seconds(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        for text in ["", "-1", "1s", "nan", "inf", "86401"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
