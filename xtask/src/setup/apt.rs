//! Debian packages: what is missing, and how it gets here.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{self, Command},
};

use anyhow::{Result, bail};

use super::Purpose;
use crate::shell::{find_program, is_root, output, run, say};

/// A program that a purpose needs, by its name or as a file with a path, and the package that has it.
struct Need {
    program: &'static str,
    package: &'static str,
}

const fn need(program: &'static str, package: &'static str) -> Need {
    Need { program, package }
}

const DEMO: &[Need] = &[need("curl", "curl"), need("ip", "iproute2")];
const TEST: &[Need] = &[
    need("nginx", "nginx-light"),
    need("apache2", "apache2-bin"),
    need("python3", "python3-minimal"),
    need("node", "nodejs"),
    need("/usr/share/nodejs/express/package.json", "node-express"),
    need("php", "php-cli"),
    need("caddy", "caddy"),
    need("chromium-headless-shell", "chromium-headless-shell"),
    need("setpriv", "util-linux"),
];
const BENCH: &[Need] = &[
    need("nginx", "nginx-light"),
    need("haproxy", "haproxy"),
    need("ethtool", "ethtool"),
    need("chrt", "util-linux"),
];

/// Installs the packages whose programs are missing.
pub(super) fn packages_for(purpose: Purpose) -> Result<()> {
    let more = match purpose {
        Purpose::Demo => &[],
        Purpose::Test => TEST,
        Purpose::Bench => BENCH,
    };
    let missing: Vec<_> = DEMO
        .iter()
        .chain(more)
        .filter(|need| find_program(need.program).is_none())
        .map(|need| need.package)
        .collect();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

/// Installs packages in a version that `enough` accepts, after asking the archive again where the
/// lists on this machine do not offer one.
pub(super) fn install_at_least(packages: &[&str], enough: impl Fn(&str) -> bool) -> Result<()> {
    require_apt(packages)?;
    if !packages.iter().all(|package| enough(&candidate(package))) {
        say("apt does not know a recent enough version: apt-get update");
        apt_get(&["update"])?;
    }
    for package in packages {
        let version = candidate(package);
        if !enough(&version) {
            bail!("this system's archive has {package} {version}, which is too old");
        }
    }
    install(packages)
}

fn install(packages: &[&str]) -> Result<()> {
    require_apt(packages)?;
    if packages.iter().any(|package| candidate(package) == "(none)") {
        apt_get(&["update"])?;
    }
    say(&format!("installing the Debian packages {}", packages.join(", ")));
    // `--no-remove`: what somebody else installed is not ours to replace.
    let mut arguments = vec!["install", "--yes", "--no-install-recommends", "--no-remove"];
    arguments.extend(packages);
    apt_get(&arguments)
}

fn require_apt(packages: &[&str]) -> Result<()> {
    let packages = packages.join(" ");
    if find_program("apt-get").is_none() {
        bail!("there is no apt here; please install what Debian calls {packages}");
    }
    if !is_root() {
        bail!(
            "Debian packages are missing and only root can install them. Please run\n    \
             sudo apt-get update && sudo apt-get install --no-install-recommends {packages}"
        );
    }
    Ok(())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let _no_services = NoServices::begin()?;
    run(Command::new("apt-get").arg("-qq").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// While this lives, packages that are installed start no services: the tests start the servers
/// that they need, and nobody asked for one on port 80.
struct NoServices {
    ours: bool,
}

impl NoServices {
    /// Debian's way to say so; see policy-rc.d(8).
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    fn begin() -> Result<Self> {
        let ours = !Path::new(Self::POLICY).exists();
        if ours {
            // If we are killed before we can remove it, it allows everything.
            let script = format!("#!/bin/sh\n[ ! -d /proc/{} ] || exit 101\n", process::id());
            fs::write(Self::POLICY, script)?;
            fs::set_permissions(Self::POLICY, Permissions::from_mode(0o755))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            fs::remove_file(Self::POLICY).ok();
        }
    }
}

/// The version that apt would install: `(none)` where it knows no such package.
fn candidate(package: &str) -> String {
    output(Command::new("apt-cache").args(["policy", package]))
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("Candidate: "))
        .unwrap_or("(none)")
        .to_owned()
}
