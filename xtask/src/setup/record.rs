//! `.toolchain.toml`: the tools that were found, and the proof that they work together.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{compiler, linker};
use crate::shell::{output, workspace};

/// The paths of tools that fit each other.
pub(super) struct Record {
    /// The compiler; its `core` source lies in its sysroot.
    pub(super) rustc: PathBuf,
    /// A cargo that drives it.
    pub(super) cargo: PathBuf,
    /// The linker for BPF objects.
    pub(super) bpf_linker: PathBuf,
    /// A directory that holds one libLLVM: that of `rustc`.
    pub(super) llvm_dir: PathBuf,
}

impl Record {
    fn path() -> PathBuf {
        workspace().join(".toolchain.toml")
    }

    /// What an earlier run wrote, if all of it is there.
    pub(super) fn read() -> Option<Self> {
        let text = fs::read_to_string(Self::path()).ok()?;
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(name, _)| name.trim() == key)
                .map(|(_, value)| PathBuf::from(value.trim().trim_matches('"')))
        };
        Some(Self {
            rustc: value("rustc")?,
            cargo: value("cargo")?,
            bpf_linker: value("bpf_linker")?,
            llvm_dir: value("llvm_dir")?,
        })
    }

    /// Writes the file, unless it already says the same: the build script looks at its date.
    pub(super) fn write(&self) -> Result<()> {
        let text = format!(
            "# Written by `cargo xtask setup`, read by cors-user/build.rs.\n\
             rustc = \"{}\"\ncargo = \"{}\"\nbpf_linker = \"{}\"\nllvm_dir = \"{}\"\n",
            self.rustc.display(),
            self.cargo.display(),
            self.bpf_linker.display(),
            self.llvm_dir.display(),
        );
        let path = Self::path();
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whether the tools are still there, are the versions that the project pins, and work.
    pub(super) fn is_current(&self) -> bool {
        self.cargo.is_file()
            && self.bpf_linker == linker::path()
            && compiler::has_source(&self.rustc)
            && self.probe().is_ok()
    }

    /// Compiles and links a program of two instructions. Needs no `core`, so it takes no time.
    pub(super) fn probe(&self) -> Result<()> {
        const PROGRAM: &str = r#"
            #![feature(no_core, lang_items)]
            #![no_core]
            #[lang = "pointee_sized"] trait PointeeSized {}
            #[lang = "meta_sized"] trait MetaSized: PointeeSized {}
            #[lang = "sized"] trait Sized: MetaSized {}
            #[unsafe(no_mangle)] #[unsafe(link_section = "xdp")]
            extern "C" fn probe() -> i32 { 2 }
        "#;
        let dir = env::temp_dir().join(format!("cors-edge-probe-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let result = self.compile(&dir, PROGRAM);
        fs::remove_dir_all(&dir)?;
        result
    }

    fn compile(&self, dir: &Path, program: &str) -> Result<()> {
        let source = dir.join("probe.rs");
        fs::write(&source, program)?;
        output(
            Command::new(&self.rustc)
                .args(["--edition", "2024", "--crate-type", "cdylib", "-Ainternal_features"])
                .args(["-O", "-Cdebuginfo=2", "-Clink-arg=--btf"])
                .args(["--target", "bpfel-unknown-none"])
                .arg(format!("-Clinker={}", self.bpf_linker.display()))
                .arg("-o")
                .arg(dir.join("probe.o"))
                .arg(&source)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("LD_LIBRARY_PATH", &self.llvm_dir),
        )?;
        Ok(())
    }

    /// One line for people.
    pub(super) fn describe(&self) -> String {
        format!("{} with {}", self.rustc.display(), self.bpf_linker.display())
    }
}
