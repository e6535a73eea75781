//! Kernels to boot: Debian's, unpacked, each from the release that has it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    setup::{archive::Archive, cache},
    shell::output,
};

/// Each with the release of Debian that it is the kernel of.
const RELEASES: [(&str, &str); 2] = [("6.1", "bookworm"), ("6.12", "trixie")];
/// What there is no agent, and no test of it, without.
const MODULES: [&str; 7] =
    ["veth", "tun", "sch_ingress", "cls_bpf", "inet_diag", "tcp_diag", "mptcp_diag"];

/// The names of those that are booted where none is named.
pub(super) fn usual() -> Vec<String> {
    RELEASES.iter().map(|(kernel, _)| (*kernel).to_owned()).collect()
}

/// An unpacked kernel.
pub(super) struct Kernel {
    pub(super) name: String,
    /// The image that is booted.
    pub(super) image: PathBuf,
    modules: PathBuf,
}

impl Kernel {
    /// By its version, or by the directory that a package was unpacked in.
    pub(super) fn find(name: &str) -> Result<Self> {
        let Some((_, release)) = RELEASES.iter().find(|(kernel, _)| *kernel == name) else {
            return Self::in_directory(name, Path::new(name));
        };
        let root = cache().join(format!("kernel-{name}"));
        if let Ok(there) = Self::in_directory(name, &root) {
            return Ok(there);
        }
        let archive = Archive::of(release)?;
        archive.update()?;
        let package = archive.stands_for("linux-image-cloud-amd64")?;
        if !package.starts_with(&format!("linux-image-{name}.")) {
            bail!("Debian {release} has another kernel than {name}: {package}");
        }
        archive.unpack(&package, &root)?;
        Self::in_directory(name, &root)
    }

    fn in_directory(name: &str, root: &Path) -> Result<Self> {
        let only = |directory: &str, prefix: &str| {
            let directory = root.join(directory);
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            let mut found = entries
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
                .map(|entry| entry.path());
            found.next().with_context(|| {
                format!(
                    "no kernel package is unpacked in {}: there is no {}/{prefix}…",
                    root.display(),
                    directory.display()
                )
            })
        };
        let image = only("boot", "vmlinuz-")?;
        // Since Debian 13 the directory is below /usr.
        let modules = only("lib/modules", "").or_else(|_| only("usr/lib/modules", ""))?;
        Ok(Self { name: name.to_owned(), image, modules })
    }

    /// The modules that are needed and not built in, with those that they need, in an order in
    /// which they can be loaded: name and content.
    pub(super) fn modules(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = Vec::new();
        walk(&self.modules, &mut files)?;
        let mut loaded = Vec::new();
        let mut seen = BTreeSet::new();
        for name in MODULES {
            load(name, &files, &mut seen, &mut loaded)?;
        }
        Ok(loaded)
    }
}

fn load(
    name: &str,
    files: &[PathBuf],
    seen: &mut BTreeSet<String>,
    loaded: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    if !seen.insert(name.to_owned()) {
        return Ok(());
    }
    // A module that is nowhere is built in.
    let Some(file) = files.iter().find(|file| module_name(file).as_deref() == Some(name)) else {
        return Ok(());
    };
    let content = decompressed(file)?;
    for needed in needs(&content) {
        load(&needed, files, seen, loaded)?;
    }
    loaded.push((name.to_owned(), content));
    Ok(())
}

/// Dashes in file names are underscores in names.
fn module_name(file: &Path) -> Option<String> {
    let (name, _) = file.file_name()?.to_str()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)?.flatten() {
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn decompressed(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return Ok(fs::read(file)?),
    };
    let unpacked = Command::new(program).args(["--decompress", "--stdout"]).arg(file).output();
    let unpacked = unpacked.with_context(|| format!("cannot run {program}"))?;
    if !unpacked.status.success() {
        bail!("{program} cannot read {}", file.display());
    }
    Ok(unpacked.stdout)
}

/// The names after `depends=` in a module's `.modinfo`, a row of texts that end with NUL.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// The libraries that a program is loaded with, and its loader, as the loader itself says.
pub(super) fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let text = output(Command::new(program).env("LD_TRACE_LOADED_OBJECTS", "1"))?;
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_says_what_it_needs() {
        let module = b"ELF\0license=GPL\0depends=nf-tables,x_tables\0name=a\0";
        assert_eq!(needs(module), ["nf_tables", "x_tables"]);
        assert_eq!(needs(b"\0depends=\0name=a\0"), Vec::<String>::new());
        assert_eq!(needs(b"no module"), Vec::<String>::new());
    }

    #[test]
    fn names_of_modules() {
        for (file, name) in [
            ("/m/veth.ko", Some("veth")),
            ("/m/nf-tables.ko.xz", Some("nf_tables")),
            ("/m/order", None),
        ] {
            assert_eq!(module_name(Path::new(file)).as_deref(), name);
        }
    }
}
