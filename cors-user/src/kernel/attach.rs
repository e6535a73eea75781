//! Programs on interfaces, each by a link: closed, it detaches, however the agent ends.

use std::{
    fmt, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use aya::programs::{Program, ProgramError};
use aya_obj::generated::{BPF_F_BEFORE, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, bpf_attach_type};
use thiserror::Error;
use tracing::{info, warn};

use super::{Programs, object::program, sys};
use crate::host::Interface;

/// How the XDP program is to be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// In the driver where that works, behind it elsewhere.
    Auto,
    /// In the driver or not at all.
    Native,
    /// Behind the driver.
    Generic,
    /// Not at all. The program for the hand-over is attached all the same, but has nothing to hand
    /// over: that needs a cookie which this agent's `edge` gave out, or a connection on which it
    /// answered, and what the agent before knew went with it. So everything passes.
    Off,
}

/// How the XDP program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// Behind the driver, on packets that the kernel has taken in already.
    Generic,
    /// Not at all.
    Off,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Off => "off",
        })
    }
}

/// Why a program is not attached.
#[derive(Debug, Error)]
pub enum AttachError {
    /// Another program came in between.
    #[error(
        "another XDP program is on {interface}: detach it (`ip link show dev {interface}` names it, \
         or stop what attached it), or leave the interface out"
    )]
    Taken {
        /// The interface.
        interface: String,
    },
    /// The driver, or the kernel.
    #[error("the program {program} cannot be attached to {interface} ({mode}): {source}")]
    Kernel {
        /// The program.
        program: &'static str,
        /// The interface.
        interface: String,
        /// The mode; `tc` for the hand-over.
        mode: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// The program is not loaded.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// The programs on one interface; dropped, they are detached.
#[derive(Debug)]
pub struct Attachment {
    /// The interface's name.
    pub interface: String,
    /// Its number.
    pub index: u32,
    /// How `edge` is attached.
    pub mode: Mode,
    // In this order they are closed: nothing is accepted any more that is not handed over.
    edge: Option<OwnedFd>,
    handover: Option<OwnedFd>,
}

impl Programs {
    /// Attaches `handover`, if it is wanted, and then `edge` to an interface.
    pub fn attach(
        &self,
        interface: &Interface,
        wish: Wish,
        handover: bool,
    ) -> Result<Attachment, AttachError> {
        let handover = handover.then(|| self.attach_handover(interface)).transpose()?;
        let (mode, edge) = self.attach_edge(interface, wish)?;
        let Interface { name, index, .. } = interface;
        info!("on {name}: XDP {mode}, hand-over {}", if handover.is_some() { "on" } else { "off" });
        Ok(Attachment { interface: name.clone(), index: *index, mode, edge, handover })
    }

    /// Puts these programs in the place of those that are attached, without a packet in between
    /// that meets neither.
    pub fn take_over(&self, on: &Attachment) -> Result<(), AttachError> {
        // First the one that hands over: what the new `edge` accepts, the old one may not know.
        for (name, link) in [(program::HANDOVER, &on.handover), (program::EDGE, &on.edge)] {
            if let Some(link) = link {
                sys::update_link(link.as_fd(), self.program(name)?).map_err(|source| {
                    let mode = if name == program::EDGE { "xdp" } else { "tc" };
                    AttachError::Kernel {
                        program: name,
                        interface: on.interface.clone(),
                        mode,
                        source,
                    }
                })?;
            }
        }
        Ok(())
    }

    fn program(&self, name: &str) -> Result<BorrowedFd<'_>, ProgramError> {
        let fd = match self.ebpf.program(name) {
            Some(Program::Xdp(xdp)) => xdp.fd()?,
            Some(Program::SchedClassifier(tc)) => tc.fd()?,
            _ => return Err(ProgramError::NotLoaded),
        };
        Ok(fd.as_fd())
    }

    fn attach_handover(&self, interface: &Interface) -> Result<OwnedFd, AttachError> {
        // Before the programs of others, any of which may end the row. Ours ends it only where it
        // drops.
        self.link(
            program::HANDOVER,
            interface,
            "tc",
            bpf_attach_type::BPF_TCX_INGRESS,
            BPF_F_BEFORE,
        )
    }

    fn attach_edge(
        &self,
        interface: &Interface,
        wish: Wish,
    ) -> Result<(Mode, Option<OwnedFd>), AttachError> {
        let Choice { native, generic, why } = choose(wish, interface);
        if let Some(why) = why {
            info!("{}: {why}", interface.name);
        }
        if native {
            match self.link_edge(interface, "native", XDP_FLAGS_DRV_MODE) {
                Ok(link) => return Ok((Mode::Native, Some(link))),
                Err(AttachError::Kernel { source, .. }) if generic => warn!(
                    "{}: the driver does not take the XDP program ({source}), so it runs behind \
                     the driver (generic), which is slower",
                    interface.name
                ),
                Err(error) => return Err(error),
            }
        }
        if generic {
            let link = self.link_edge(interface, "generic", XDP_FLAGS_SKB_MODE)?;
            return Ok((Mode::Generic, Some(link)));
        }
        Ok((Mode::Off, None))
    }

    fn link_edge(
        &self,
        interface: &Interface,
        mode: &'static str,
        flags: u32,
    ) -> Result<OwnedFd, AttachError> {
        self.link(program::EDGE, interface, mode, bpf_attach_type::BPF_XDP, flags).map_err(
            |error| match error {
                AttachError::Kernel { source, interface, .. }
                    if matches!(source.raw_os_error(), Some(libc::EBUSY | libc::EEXIST)) =>
                {
                    AttachError::Taken { interface }
                }
                other => other,
            },
        )
    }

    fn link(
        &self,
        program: &'static str,
        interface: &Interface,
        mode: &'static str,
        hook: bpf_attach_type,
        flags: u32,
    ) -> Result<OwnedFd, AttachError> {
        sys::create_link(self.program(program)?, interface.index, hook, flags).map_err(|source| {
            AttachError::Kernel { program, interface: interface.name.clone(), mode, source }
        })
    }
}

/// Which modes are tried, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Choice {
    native: bool,
    generic: bool,
    why: Option<&'static str>,
}

fn choose(wish: Wish, interface: &Interface) -> Choice {
    let choice = |native, generic, why| Choice { native, generic, why };
    match wish {
        Wish::Native if interface.is_veth() => choice(
            true,
            false,
            Some(
                "replies of a native program on a veth are sent only if the peer has an XDP program",
            ),
        ),
        Wish::Native => choice(true, false, None),
        Wish::Generic => choice(false, true, None),
        Wish::Off => choice(false, false, None),
        // A veth sends what a native program transmits only where its peer has a program too
        // (`veth_xdp_xmit`), and who is at the other end cannot be seen from here.
        Wish::Auto if interface.is_veth() => choice(
            false,
            true,
            Some(
                "generic, since a veth sends replies of a native program only if the peer has an \
                 XDP program (if it has: --xdp native)",
            ),
        ),
        Wish::Auto if interface.loopback => {
            choice(false, true, Some("generic, since the loopback has no driver"))
        }
        Wish::Auto => choice(true, true, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(kind: Option<&str>, loopback: bool) -> Interface {
        let kind = kind.map(ToOwned::to_owned);
        Interface { loopback, kind, ..Interface::card("x", 7) }
    }

    #[test]
    fn auto_knows_where_native_does_not_do() {
        for (interface, native) in [
            (interface(None, false), true),
            (interface(Some("bond"), false), true),
            (interface(Some("veth"), false), false),
            (interface(None, true), false),
        ] {
            let choice = choose(Wish::Auto, &interface);
            assert_eq!(choice.native, native, "{interface:?}");
            assert!(choice.generic);
            assert_eq!(choice.why.is_some(), !native);
        }
    }

    #[test]
    fn a_wish_is_a_wish() {
        for interface in [interface(Some("veth"), false), interface(None, true)] {
            let modes = |wish| {
                let Choice { native, generic, .. } = choose(wish, &interface);
                (native, generic)
            };
            assert_eq!(modes(Wish::Native), (true, false));
            assert_eq!(modes(Wish::Generic), (false, true));
            assert_eq!(modes(Wish::Off), (false, false));
        }
    }
}
