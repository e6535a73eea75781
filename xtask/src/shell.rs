//! What every verb needs of the machine: where the workspace is, who we are, running commands.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// The root of the workspace, whatever directory cargo was called in.
pub(crate) fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// The cargo that runs this xtask.
pub(crate) fn cargo() -> PathBuf {
    env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")).into()
}

/// Where cargo puts what it builds: `CARGO_TARGET_DIR`, or `target` in the workspace.
pub(crate) fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => env::current_dir().unwrap_or_default().join(dir),
        None => workspace().join("target"),
    }
}

/// The release build of the agent.
pub(crate) fn agent() -> PathBuf {
    target_dir().join("release/cors-edge")
}

/// Builds the release agent.
pub(crate) fn build_agent() -> Result<()> {
    say("building the agent and the kernel programs inside it (release)");
    run(Command::new(cargo()).current_dir(workspace()).args([
        "build",
        "--release",
        "--package",
        "cors-user",
    ]))
}

/// Whether we may do what only root may.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// One line of progress. On the standard error: the standard output belongs to results.
pub(crate) fn say(line: &str) {
    eprintln!("==> {line}");
}

/// Runs a command with our standard streams; a non-zero end is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

/// Runs a command and returns what it printed; a non-zero end is an error that carries what it
/// said.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first file of that name along `PATH`, or in the directories where the administration's
/// programs live. A name that is a whole path is that file, if it is there.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}
