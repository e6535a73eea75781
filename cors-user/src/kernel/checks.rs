//! What must hold before anything is attached. Each refusal is one sentence and what to do.

use std::io;

use aya::{EbpfError, maps::MapError};
use cors_common::tcp::handshake::{Impossible, Maker};
use thiserror::Error;
use tracing::warn;

use super::{LoadError, ProgramsError, attach::Wish, features::Features, object::Sizes};
use crate::config::model::Server;
use crate::host::{
    Interface,
    capability::{self, Capability},
    interface::{self, Xdp},
    realtime, sysctl,
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
    /// An interface without Ethernet headers.
    #[error(
        "{interface} has no Ethernet frames (link type {link_type}), as tun devices, WireGuard and \
         other tunnels have none, and the programs read no others: name an Ethernet interface, or \
         leave it out"
    )]
    NotEthernet {
        /// The interface.
        interface: String,
        /// What it has, as a number of `include/uapi/linux/if_arp.h`.
        link_type: u16,
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
    /// The kernel has no SYN cookies at all.
    #[error(
        "there is no {}, so this kernel was built without CONFIG_SYN_COOKIES and takes over no \
         connection that was accepted in the driver: boot one that has it (or mount /proc, if \
         that is what is missing)",
        sysctl::SYN_COOKIES
    )]
    NoSynCookies,
    /// The kernel interrupts a program for another packet.
    #[error(
        "this is a realtime kernel (PREEMPT_RT), where a packet may interrupt another one on the \
         same CPU while both use the same memory of the programs: boot a kernel without it"
    )]
    Realtime,
    /// Nobody can make the handshakes, or to no end.
    #[error("{}", .0.advice())]
    Handshake(Impossible),
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

/// Checks the host and these interfaces. On those in `ours` is a program of ours already. What does
/// no more than weaken the agent is logged.
pub fn check(names: &[String], wish: Wish, ours: &[u32]) -> Result<(), Refusal> {
    let all = interface::all()
        .map_err(|source| Refusal::Read { what: "the list of interfaces", source })?;
    let found = find(names, &all)?;
    let missing = capability::missing()
        .map_err(|source| Refusal::Read { what: "this process's capabilities", source })?;
    if !missing.is_empty() {
        return Err(Refusal::Capability { missing });
    }
    if realtime::is_realtime() {
        return Err(Refusal::Realtime);
    }
    found.into_iter().try_for_each(|interface| suitable(interface, wish, ours))
}

/// Who is to make the handshakes on this kernel, and whether the host takes over what the driver
/// accepts.
pub fn handshake(server: &Server, features: &Features) -> Result<Maker, Refusal> {
    let decided = server.handshake.decide(features.hands_over(), server.track);
    let maker = decided.map_err(Refusal::Handshake)?;
    if maker == Maker::Driver {
        takes_over()?;
    }
    Ok(maker)
}

fn takes_over() -> Result<(), Refusal> {
    syn_cookies(sysctl::read(sysctl::SYN_COOKIES))?;
    if sysctl::read(sysctl::CONNTRACK_LOOSE) == Some(0) {
        warn!(
            "{0} is 0: where connections are tracked, conntrack drops those that are handed over \
             (`sysctl -w {0}=1`)",
            sysctl::CONNTRACK_LOOSE
        );
    }
    Ok(())
}

/// Whether the programs may be attached to an interface; if it is in `ours`, one of them is.
pub fn suitable(interface: &Interface, wish: Wish, ours: &[u32]) -> Result<(), Refusal> {
    let Interface { name, index, link_type, xdp, .. } = interface;
    if !interface.is_ethernet() {
        return Err(Refusal::NotEthernet { interface: name.clone(), link_type: *link_type });
    }
    if wish != Wish::Off
        && !ours.contains(index)
        && let Some(program) = xdp.first()
    {
        return Err(Refusal::XdpTaken { interface: name.clone(), program: *program });
    }
    Ok(())
}

fn syn_cookies(switch: Option<i64>) -> Result<(), Refusal> {
    match switch {
        None => Err(Refusal::NoSynCookies),
        Some(0) => Err(Refusal::SynCookies),
        Some(_) => Ok(()),
    }
}

fn find<'a>(names: &[String], all: &'a [Interface]) -> Result<Vec<&'a Interface>, Refusal> {
    let found = |name: &String| {
        all.iter().find(|interface| interface.name == *name).ok_or_else(|| {
            let there = all.iter().map(|interface| interface.name.clone()).collect();
            Refusal::Interface { name: name.clone(), there }
        })
    };
    if names.is_empty() { Err(Refusal::NoInterface) } else { names.iter().map(found).collect() }
}

impl Refusal {
    /// What it means that the programs cannot be loaded with maps of these sizes.
    pub fn of_programs(error: ProgramsError, sizes: Sizes) -> Self {
        match error {
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

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn interfaces_must_be_named_and_there() {
        let all = [Interface::card("lo", 1), Interface::card("eth7", 2)];
        assert_eq!(find(&names(&["eth7"]), &all).expect("found"), [&all[1]]);
        let missing = find(&names(&["lo", "eth8"]), &all).expect_err("not there").to_string();
        assert_eq!(
            missing,
            "there is no interface eth8 in this network namespace; there is lo, eth7"
        );
        assert!(matches!(find(&[], &all), Err(Refusal::NoInterface)));
    }

    #[test]
    fn programs_of_others_are_named() {
        let program = Xdp { id: 12, mode: "xdpgeneric" };
        let taken = Interface { xdp: vec![program], ..Interface::card("b", 1) };
        let said = suitable(&taken, Wish::Auto, &[]).expect_err("taken").to_string();
        assert!(said.starts_with("another XDP program (id 12) is on b: "), "{said}");
        assert!(said.contains("`ip link set dev b xdpgeneric off`"), "{said}");
        assert!(suitable(&taken, Wish::Off, &[]).is_ok());
        assert!(suitable(&Interface::card("a", 1), Wish::Auto, &[]).is_ok());
    }

    #[test]
    fn only_ethernet_will_do() {
        let tunnel = Interface { link_type: 65534, ..Interface::card("tun0", 1) };
        for wish in [Wish::Auto, Wish::Off] {
            let said = suitable(&tunnel, wish, &[]).expect_err("a tunnel").to_string();
            assert!(said.starts_with("tun0 has no Ethernet frames (link type 65534)"), "{said}");
        }
    }

    #[test]
    fn a_missing_switch_is_not_one_that_is_off() {
        assert!(matches!(syn_cookies(None), Err(Refusal::NoSynCookies)));
        assert!(matches!(syn_cookies(Some(0)), Err(Refusal::SynCookies)));
        assert!(syn_cookies(Some(1)).is_ok() && syn_cookies(Some(2)).is_ok());
    }

    #[test]
    fn refusals_say_what_to_do() {
        let said = Refusal::SynCookies.to_string();
        assert!(said.contains("sysctl -w net.ipv4.tcp_syncookies=1"), "{said}");
        let missing = vec![Capability::Bpf, Capability::Perfmon];
        let said = Refusal::Capability { missing }.to_string();
        assert!(said.starts_with("CAP_BPF and CAP_PERFMON are missing: "), "{said}");
    }
}
