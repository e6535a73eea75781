//! `cors-edge`: answers CORS preflights in the network driver.
//!
//! The command line, and nothing else: arguments in, text and exit code out.

mod ask;
mod bench_command;
mod cli;
mod generate;
mod logging;
#[cfg(feature = "top")]
mod top;
mod trace_command;

use std::{
    error::Error,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use anyhow::{Result, bail};
use clap::Parser as _;
use cors_user::{
    agent::{
        self, client,
        protocol::{Answer, Request},
        report,
        startup::Stopwatch,
    },
    compile,
    config::{self, Loaded},
    kernel::policy::LIMITS,
    proxy::Sockets,
};
use serde::Serialize;

use cli::{Cli, Command, Detach, Reload, Rollback, Run, StatusOf, Validate};

/// Where a running agent has its socket.
const RUNTIME_DIR: &str = "/run/cors-edge";

/// A request of the slow path allocates a dozen times and frees as often; the C library takes twice as
/// long for it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code of a policy file with errors.
const INVALID: u8 = 2;

fn main() -> ExitCode {
    let Cli { log, log_format, command } = Cli::parse();
    let result = logging::start(log.as_deref(), log_format).and_then(|()| match command {
        Command::Run(arguments) => run(arguments),
        Command::Validate(arguments) => validate(&arguments),
        Command::Explain(arguments) => ask::run(arguments),
        Command::Status(arguments) => status(&arguments),
        #[cfg(feature = "top")]
        Command::Top(arguments) => {
            top::run(&arguments.runtime_dir, arguments.all)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Trace(arguments) => trace_command::run(arguments),
        Command::Reload(arguments) => reload(&arguments),
        Command::Rollback(arguments) => rollback(&arguments),
        Command::Detach(arguments) => detach(&arguments),
        Command::Bench(arguments) => bench_command::run(arguments),
        Command::Generate(arguments) => {
            generate::generate(&arguments.directory)?;
            Ok(ExitCode::SUCCESS)
        }
    });
    result.unwrap_or_else(|error| {
        eprintln!("cors-edge: {}", sentence(error.as_ref()));
        ExitCode::FAILURE
    })
}

fn run(arguments: Run) -> Result<ExitCode> {
    let Run { config: path, interface, xdp, measure, runtime_dir, pin, watch, drain, replace } =
        arguments;
    let mut stopwatch = Stopwatch::start();
    let Loaded { source, checked } = config::load(&path)?;
    let colour = io::stderr().is_terminal();
    let problems = checked.problems();
    eprint!("{}", config::report::human(&path.to_string_lossy(), &source, &problems, colour));
    let Ok(config) = checked.config else { return Ok(ExitCode::from(INVALID)) };
    // It can be megabytes, and the agent runs for long.
    drop(source);
    let setup = agent::Setup {
        config,
        // The status may be read from another directory.
        source: std::path::absolute(&path).unwrap_or(path),
        interfaces: interface,
        xdp: xdp.into(),
        measure,
        runtime_dir,
        drain,
        pin,
        follow: watch,
        replace,
        sockets: Sockets::of_the_manager(),
        file_us: stopwatch.lap(),
    };
    // The agent itself has little to do; a proxy has, on threads of its own.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build()?.block_on(agent::run(setup))?;
    Ok(ExitCode::SUCCESS)
}

fn validate(arguments: &Validate) -> Result<ExitCode> {
    let Validate { file, json } = arguments;
    let Loaded { source, checked } = config::load(file)?;
    let mut problems = checked.problems();
    let mut valid = checked.config.is_ok();
    let name = file.to_string_lossy();
    let mut text = String::new();
    // A file without an error may still say more than the kernel's tables hold.
    if let Ok(config) = &checked.config
        && let Err(error) = compile::compile(config, LIMITS)
    {
        valid = false;
        if *json {
            problems.insert(0, does_not_fit(&error));
        } else {
            text = format!("error: {error}\n\n");
        }
    }
    if *json {
        text = config::report::json(&problems) + "\n";
    } else {
        text += &config::report::human(&name, &source, &problems, io::stdout().is_terminal());
        if valid {
            text.extend([&*name, ": valid\n"]);
        }
    }
    print(&text)?;
    Ok(if valid { ExitCode::SUCCESS } else { ExitCode::from(INVALID) })
}

/// About the file as a whole.
fn does_not_fit(error: &compile::CompileError) -> config::Problem {
    config::Problem {
        path: String::new(),
        value: String::new(),
        reason: config::Reason::Invalid,
        hint: error.to_string(),
        span: 0..0,
        severity: config::Severity::Error,
    }
}

fn status(arguments: &StatusOf) -> Result<ExitCode> {
    let StatusOf { json, all, runtime_dir } = arguments;
    let Answer::Status(status) = client::ask(runtime_dir, &Request::Status)? else {
        bail!("the agent answers something else");
    };
    let text = if *json { json_line(&status)? } else { report::human(&status, *all) };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn reload(arguments: &Reload) -> Result<ExitCode> {
    let Reload { dry_run, json, runtime_dir } = arguments;
    loaded(&client::ask(runtime_dir, &Request::Reload { dry_run: *dry_run })?, *json)
}

fn rollback(arguments: &Rollback) -> Result<ExitCode> {
    let Rollback { json, runtime_dir } = arguments;
    loaded(&client::ask(runtime_dir, &Request::Rollback)?, *json)
}

fn detach(arguments: &Detach) -> Result<ExitCode> {
    let Detach { pin, runtime_dir } = arguments;
    let links = agent::detach(runtime_dir, pin)?;
    print(&format!("{links} {} detached\n", if links == 1 { "program" } else { "programs" }))?;
    Ok(ExitCode::SUCCESS)
}

/// What came of a policy.
fn loaded(answer: &Answer, json: bool) -> Result<ExitCode> {
    let code = match answer {
        Answer::Loaded(_) => ExitCode::SUCCESS,
        Answer::Refused(refused) if !refused.problems.is_empty() => ExitCode::from(INVALID),
        Answer::Refused(_) => ExitCode::FAILURE,
        _ => {
            bail!("the agent answers something else")
        }
    };
    if json {
        print(&json_line(answer)?)?;
        return Ok(code);
    }
    match answer {
        Answer::Loaded(loaded) => {
            eprint!("{}", loaded.warnings);
            print(&loaded.to_string())?;
        }
        Answer::Refused(refused) => eprint!("{refused}"),
        _ => {}
    }
    Ok(code)
}

fn json_line(document: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(document)? + "\n")
}

/// Whoever reads our output may have read enough.
fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// An error with its causes, each said once: some errors repeat their cause, others leave it out.
fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
