//! Man pages and completions, which follow from the arguments.

use std::{fs, io, path::Path};

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;

/// Writes `man/*.1` and `completions/*` into a directory.
pub(crate) fn generate(directory: &Path) -> io::Result<()> {
    let [man, completions] = ["man", "completions"].map(|name| directory.join(name));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(Cli::command(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "cors-edge", &completions)?;
    }
    Ok(())
}
