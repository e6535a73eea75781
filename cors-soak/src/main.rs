//! `cors-soak`: the simulation from a command line. `cargo xtask soak` builds and runs it.

use std::{process::ExitCode, thread};

use clap::Parser;
use cors_soak::run::run;
use indicatif::{ProgressBar, ProgressStyle};

#[derive(Parser)]
#[command(about = "Real TCP clients against the driver's decisions, over a simulated network")]
struct Cli {
    /// Where to begin: the same seed gives the same conversations
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many connections there are at least
    #[arg(long, default_value_t = 100_000)]
    connections: u64,
    /// How many processors to use; by default all
    #[arg(long)]
    threads: Option<usize>,
    /// Count the exits as well
    #[arg(long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let Cli { seed, connections, threads, verbose } = Cli::parse();
    let threads = threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
    let bar = ProgressBar::new(connections);
    let style = ProgressStyle::with_template("    soak {bar:30} {pos}/{len} {per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let (tally, failure) = run(seed, connections, threads, &|done| bar.set_position(done));
    bar.finish_and_clear();
    let text = tally.text();
    let lines = if verbose { usize::MAX } else { 3 };
    text.lines().take(lines).for_each(|line| println!("{line}"));
    let Some(failure) = failure else {
        // Where nothing is answered, nothing is tried.
        let is_enough = tally.connections < 10_000 || tally.answered * 3 > tally.allowed;
        if !is_enough {
            println!("the driver answers too few");
        }
        return if is_enough { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    };
    println!("\n{}\n", failure.trace);
    let port = failure.tuple.map(|tuple| u16::from_be(tuple.client_port));
    println!("seed {}: {}", failure.seed, failure.what);
    if let Some(port) = port {
        println!("on the connection from port {port}");
    }
    println!("replay: cargo xtask soak --seed {} --connections 1", failure.seed);
    ExitCode::FAILURE
}
