//! What must hold before anything is attached. Each refusal is one sentence and what to do.

use std::io;

use aya::{EbpfError, maps::MapError};
use thiserror::Error;
use tracing::warn;

use super::{LoadError, ProgramsError, attach::Wish, kfunc::KfuncError, object::Sizes};
use crate::host::{
    Interface,
    capability::{self, Capability},
    interface::{self, Xdp},
    sysctl,
};

/// Why the agent does not start.
#[derive(Debug, Error)]
pub enum Refusal {
    /// No interface is named.
    #[error("no interface is named: add `interface = [\"eth0\"]` to [server], or --interface eth0")]
    NoInterface,
    /// An interface that is not there.
    #[error("there is no interface {name} in this network namespace; there is {}", .there.join(", "))]
    Interface {
        /// Its name.
        name: String,
        /// Those that are.
        there: Vec<String>,
    },
    /// A program of somebody else.
    #[error(
        "another XDP program (id {}) is on {interface}: detach it (`ip link set dev {interface} \
         {} off`, or stop what attached it), or leave the interface out",
        program.id,
        program.mode
    )]
    XdpTaken {
        /// The interface.
        interface: String,
        /// The program.
        program: Xdp,
    },
    /// A privilege that is missing.
    #[error(
        "{} missing: run the agent as root, or give it CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON \
         (systemd: AmbientCapabilities=)",
        list(.missing)
    )]
    Capability {
        /// Those that are missing.
        missing: Vec<Capability>,
    },
    /// The kernel would not take connections over.
    #[error(
        "{} is 0, and then the kernel takes over no connection that was accepted in the driver: \
         set it to 1, the default (`sysctl -w {0}=1`)",
        sysctl::SYN_COOKIES
    )]
    SynCookies,
    /// The kernel cannot take connections over.
    #[error(
        "this kernel has no function {name}, by which it takes over connections that were \
         accepted in the driver: boot Linux 6.9 or later"
    )]
    Kernel {
        /// The function's name.
        name: &'static str,
    },
    /// A table that cannot be made.
    #[error(
        "the kernel cannot make the table {name} (facts: {} lines, policies: {}, connections: {}): \
         {source}; free memory, raise the memory limit of the service, or shorten the policy",
        sizes.lines,
        sizes.policies,
        sizes.flows
    )]
    Table {
        /// The map's name.
        name: String,
        /// What was asked for.
        sizes: Sizes,
        /// What the kernel says.
        source: io::Error,
    },
    /// Anything else that keeps the programs from being loaded.
    #[error(transparent)]
    Programs(ProgramsError),
    /// What must be known cannot be read.
    #[error("{what} cannot be read: {source}")]
    Read {
        /// What.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// Finds the interfaces, and checks them and the host. What does no more than weaken the agent is
/// logged.
pub fn check(names: &[String], wish: Wish) -> Result<Vec<Interface>, Refusal> {
    let all = interface::all()
        .map_err(|source| Refusal::Read { what: "the list of interfaces", source })?;
    let found = find(names, &all)?;
    let missing = capability::missing()
        .map_err(|source| Refusal::Read { what: "this process's capabilities", source })?;
    if !missing.is_empty() {
        return Err(Refusal::Capability { missing });
    }
    if sysctl::read(sysctl::SYN_COOKIES) == Some(0) {
        return Err(Refusal::SynCookies);
    }
    if wish != Wish::Off {
        untaken(&found)?;
    }
    if sysctl::read(sysctl::CONNTRACK_LOOSE) == Some(0) {
        warn!(
            "{0} is 0: where connections are tracked, conntrack drops those that are handed over \
             (`sysctl -w {0}=1`)",
            sysctl::CONNTRACK_LOOSE
        );
    }
    for interface in &found {
        warn_of_vlans(interface, &all);
    }
    Ok(found)
}

fn find(names: &[String], all: &[Interface]) -> Result<Vec<Interface>, Refusal> {
    let mut found: Vec<Interface> = Vec::new();
    for name in names {
        let Some(interface) = all.iter().find(|interface| interface.name == *name) else {
            let there = all.iter().map(|interface| interface.name.clone()).collect();
            return Err(Refusal::Interface { name: name.clone(), there });
        };
        if !found.contains(interface) {
            found.push(interface.clone());
        }
    }
    if found.is_empty() { Err(Refusal::NoInterface) } else { Ok(found) }
}

fn untaken(interfaces: &[Interface]) -> Result<(), Refusal> {
    let taken = |interface: &Interface| Some((interface.name.clone(), *interface.xdp.first()?));
    match interfaces.iter().find_map(taken) {
        None => Ok(()),
        Some((interface, program)) => Err(Refusal::XdpTaken { interface, program }),
    }
}

/// Where the card takes the tag out of the frame, the program cannot tell the VLAN's packets from
/// the interface's own.
fn warn_of_vlans(interface: &Interface, all: &[Interface]) {
    let vlans: Vec<_> = all
        .iter()
        .filter(|vlan| vlan.vlan_of == Some(interface.index))
        .map(|vlan| vlan.name.as_str())
        .collect();
    if !vlans.is_empty() {
        let name = &interface.name;
        warn!(
            "{name} carries VLANs ({}): if its card strips the tags, turn that off (`ethtool -K \
             {name} rx-vlan-offload off`)",
            vlans.join(", ")
        );
    }
}

impl Refusal {
    /// What it means that the programs cannot be loaded with maps of these sizes.
    pub fn of_programs(error: ProgramsError, sizes: Sizes) -> Self {
        match error {
            ProgramsError::Load(LoadError::Kfunc(KfuncError::Absent { name })) => {
                Self::Kernel { name }
            }
            ProgramsError::Load(LoadError::Ebpf(EbpfError::MapError(MapError::CreateError {
                name,
                io_error,
            }))) => Self::Table { name, sizes, source: io_error },
            other => Self::Programs(other),
        }
    }
}

fn list(missing: &[Capability]) -> String {
    let names = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    format!("{names} {}", if missing.len() == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, xdp: &[Xdp]) -> Interface {
        Interface {
            name: name.to_owned(),
            index: 1,
            mtu: 1500,
            loopback: false,
            kind: None,
            vlan_of: None,
            xdp: xdp.to_vec(),
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn interfaces_must_be_named_and_there() {
        let all = [interface("lo", &[]), interface("eth7", &[])];
        let found = find(&names(&["eth7", "eth7"]), &all).expect("found");
        assert_eq!(found, [interface("eth7", &[])]);
        let missing = find(&names(&["eth8"]), &all).expect_err("not there").to_string();
        assert_eq!(
            missing,
            "there is no interface eth8 in this network namespace; there is lo, eth7"
        );
        assert!(matches!(find(&[], &all), Err(Refusal::NoInterface)));
    }

    #[test]
    fn programs_of_others_are_named() {
        assert!(untaken(&[interface("a", &[])]).is_ok());
        let program = Xdp { id: 12, mode: "xdpgeneric" };
        let taken = untaken(&[interface("a", &[]), interface("b", &[program])]);
        let said = taken.expect_err("taken").to_string();
        assert!(said.starts_with("another XDP program (id 12) is on b: "), "{said}");
        assert!(said.contains("`ip link set dev b xdpgeneric off`"), "{said}");
    }

    #[test]
    fn refusals_say_what_to_do() {
        let said = Refusal::SynCookies.to_string();
        assert!(said.contains("sysctl -w net.ipv4.tcp_syncookies=1"), "{said}");
        let missing = vec![Capability::Bpf, Capability::Perfmon];
        let said = Refusal::Capability { missing }.to_string();
        assert!(said.starts_with("CAP_BPF and CAP_PERFMON are missing: "), "{said}");
        let absent = LoadError::Kfunc(KfuncError::Absent { name: "f" });
        let sizes = Sizes { lines: 1, policies: 2, flows: 3 };
        let said = Refusal::of_programs(absent.into(), sizes).to_string();
        assert!(said.ends_with("boot Linux 6.9 or later"), "{said}");
    }
}
