//! Compiles the kernel programs (`cors-ebpf`, and the load generator `cors-load`) for
//! `bpfel-unknown-none`, so that the agent carries them inside:
//! `include_bytes!(env!("CORS_EDGE_EBPF"))`.
//!
//! `cargo xtask setup` has written down which compiler and linker to use in `.toolchain.toml`;
//! this script chooses nothing and installs nothing.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

const TARGET: &str = "bpfel-unknown-none";

/// A package, the program in it, and the variable that tells where its object is.
const OBJECTS: [[&str; 3]; 2] = [
    ["cors-ebpf", "cors-edge-ebpf", "CORS_EDGE_EBPF"],
    ["cors-load", "cors-load-ebpf", "CORS_LOAD_EBPF"],
];

/// What the outer cargo (`cargo clippy` above all) says to build scripts and the inner one must
/// not hear.
const NOT_FOR_THE_INNER_CARGO: &[&str] = &[
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "CLIPPY_ARGS",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

fn main() -> Result<()> {
    let workspace = workspace_root()?;
    let toolchain = toolchain(&workspace.join(".toolchain.toml"))?;
    rerun_if_changed(&workspace);
    for [package, binary, variable] in OBJECTS {
        let object = build(&workspace, &toolchain, package, binary)?;
        println!("cargo:rustc-env={variable}={}", object.display());
    }
    Ok(())
}

fn workspace_root() -> Result<PathBuf> {
    let package = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    Ok(package.parent().context("cors-user has no parent directory")?.to_owned())
}

/// Reads the `key = "value"` lines that `cargo xtask setup` wrote.
fn toolchain(path: &Path) -> Result<BTreeMap<String, String>> {
    println!("cargo:rerun-if-changed={}", path.display());
    let Ok(text) = fs::read_to_string(path) else {
        bail!(
            "no eBPF tool chain is set up ({} is missing): run `cargo xtask setup`",
            path.display()
        )
    };
    Ok(text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
        .collect())
}

fn rerun_if_changed(workspace: &Path) {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", workspace.join("Cargo.toml").display());
    for package in ["cors-common", "cors-ebpf", "cors-load"] {
        for part in ["src", "Cargo.toml", "build.rs"] {
            let path = workspace.join(package).join(part);
            // A path that does not exist would rerun this script on every build.
            if path.exists() {
                println!("cargo:rerun-if-changed={}", path.display());
            }
        }
    }
}

/// Runs the inner cargo and returns the path of the object file.
fn build(
    workspace: &Path,
    toolchain: &BTreeMap<String, String>,
    package: &str,
    binary: &str,
) -> Result<PathBuf> {
    let tool = |key: &str| {
        toolchain
            .get(key)
            .with_context(|| format!("`.toolchain.toml` lacks `{key}`: run `cargo xtask setup`"))
    };
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    let arch = if arch.starts_with("riscv64") { "riscv64" } else { &arch };
    let flags = [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // 32-bit arithmetic and jumps; every kernel from 5.1 on has them.
        "-Ctarget-cpu=v3".to_owned(),
        // The head is scanned in words at any offset: one load each instead of eight.
        "-Clink-arg=--cpu-features=+allows-misaligned-mem-access".to_owned(),
        format!("-Clinker={}", tool("bpf_linker")?),
    ];
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let target_dir = inner_target_dir(&out_dir);

    let mut cargo = Command::new(tool("cargo")?);
    cargo
        .current_dir(workspace)
        .args(["build", "--quiet", "--release", "-Zbuild-std=core"])
        .args(["--package", package, "--bin", binary, "--target", TARGET, "--target-dir"])
        .arg(&target_dir);
    for name in NOT_FOR_THE_INNER_CARGO {
        cargo.env_remove(name);
    }
    cargo
        .env("RUSTC", tool("rustc")?)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // bpf-linker takes the first libLLVM that it meets along this path.
        .env("LD_LIBRARY_PATH", tool("llvm_dir")?);
    let output = cargo.output().with_context(|| format!("cannot run {cargo:?}"))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{package} does not build (is the set-up current? `cargo xtask setup`)\n{messages}");
    }
    for line in messages.lines() {
        println!("cargo:warning={line}");
    }
    let object = out_dir.join(binary);
    fs::copy(target_dir.join(TARGET).join("release").join(binary), &object)
        .with_context(|| format!("cannot copy the object to {}", object.display()))?;
    Ok(object)
}

/// A target directory of its own, since the outer cargo holds the lock of the usual one; but one
/// for all profiles, since the kernel programs are the same in all of them. Cargo marks the root
/// of the usual one with a `CACHEDIR.TAG`.
fn inner_target_dir(out_dir: &Path) -> PathBuf {
    let root = out_dir.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    root.unwrap_or(out_dir).join("ebpf")
}
