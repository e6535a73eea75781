//! Programs on interfaces, each by a link: closed, it detaches, however the agent ends; unless it
//! has a name in [`super::pins`].
//!
//! Before Linux 6.6 there are no links for traffic control's hooks, and the program there is held
//! by a filter ([`filter`]) that this agent takes off, or the next one exchanges. One that is
//! killed leaves it behind.

use std::{
    fmt, fs, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use aya::programs::{Program, ProgramError};
use aya_obj::generated::{
    BPF_F_AFTER, BPF_F_BEFORE, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, bpf_attach_type,
};
use thiserror::Error;
use tracing::{info, warn};

use super::{
    Programs,
    object::program,
    pins::{Pins, PinsError, Place},
    sys,
};
use crate::host::{
    Interface,
    filter::{self, Hook},
};

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
    /// It cannot be kept.
    #[error(transparent)]
    Pins(#[from] PinsError),
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
    edge: Option<Held>,
    handover: Option<Held>,
    outward: Option<Held>,
}

/// A program on an interface.
#[derive(Debug)]
struct Held {
    by: Holder,
    /// It stays when this goes.
    stays: bool,
}

/// What holds it there.
#[derive(Debug)]
enum Holder {
    /// A link, and its name, by which it outlives the agent.
    Link(OwnedFd, Option<PathBuf>),
    /// A filter, which nobody has to hold.
    Filter(u32, Hook),
}

impl Held {
    /// Puts another program in its place.
    fn update(&self, name: &str, program: BorrowedFd<'_>) -> io::Result<()> {
        match &self.by {
            Holder::Link(link, _) => sys::update_link(link.as_fd(), program),
            Holder::Filter(index, hook) => filter::put(*index, *hook, program, name),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        // Somebody may have cleaned up before, in each case.
        match &self.by {
            Holder::Link(link, Some(pin)) => {
                // Whoever waits for this must find it done: the kernel gives up what a name held
                // only a while after the name.
                let _ = sys::detach(link.as_fd());
                let _ = fs::remove_file(pin);
            }
            Holder::Link(_, None) => {}
            Holder::Filter(index, hook) => drop(filter::remove(*index, *hook)),
        }
    }
}

impl Attachment {
    /// Whether what is attached stays so when this goes; it takes a name for that.
    pub fn set_stays(&mut self, stays: bool) {
        for link in [&mut self.edge, &mut self.handover, &mut self.outward].into_iter().flatten() {
            link.stays = stays;
        }
    }

    fn pins(&self) -> impl Iterator<Item = &Path> {
        let held = [&self.edge, &self.handover, &self.outward].into_iter().flatten();
        held.filter_map(|held| match &held.by {
            Holder::Link(_, pin) => pin.as_deref(),
            Holder::Filter(..) => None,
        })
    }
}

impl Programs {
    /// Interfaces on which an agent before has left its programs.
    pub fn left_on(&self) -> Vec<u32> {
        self.pins.as_ref().map(Pins::interfaces).unwrap_or_default()
    }

    /// Lets go of everything that was left by an agent before and is not one of these.
    pub fn forget_all_but(&self, attachments: &[Attachment]) {
        if let Some(pins) = &self.pins {
            for index in pins.interfaces() {
                if !attachments.iter().any(|on| on.index == index) {
                    remove_filters(index);
                }
            }
            let links: Vec<_> = attachments.iter().flat_map(Attachment::pins).collect();
            pins.forget_all_but(&links);
        }
    }

    /// Attaches `outward` and `handover`, if they are wanted, and then `edge` to an interface.
    pub fn attach(
        &self,
        interface: &Interface,
        wish: Wish,
        handover: bool,
    ) -> Result<Attachment, AttachError> {
        // Without `edge` nobody answers, so there is nothing to follow connections for.
        let follows = handover && wish != Wish::Off;
        let outward = follows.then(|| self.attach_outward(interface)).transpose()?;
        let hands_over = handover && self.features.hands_over();
        let handover = hands_over.then(|| self.attach_handover(interface)).transpose()?;
        let (mode, edge) = self.attach_edge(interface, wish)?;
        let Interface { name, index, .. } = interface;
        info!("on {name}: XDP {mode}, hand-over {}", if handover.is_some() { "on" } else { "off" });
        Ok(Attachment { interface: name.clone(), index: *index, mode, edge, handover, outward })
    }

    /// Puts these programs in the place of those that are attached, without a packet in between
    /// that meets neither.
    pub fn take_over(&self, on: &Attachment) -> Result<(), AttachError> {
        // First the one that hands over: what the new `edge` accepts, the old one may not know.
        for (name, link) in [
            (program::OUTWARD, &on.outward),
            (program::HANDOVER, &on.handover),
            (program::EDGE, &on.edge),
        ] {
            if let Some(link) = link {
                link.update(name, self.program(name)?).map_err(|source| {
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

    fn attach_handover(&self, interface: &Interface) -> Result<Held, AttachError> {
        // Before the programs of others, any of which may end the row. Ours ends it only where it
        // drops.
        if !self.features.tcx {
            return self.filter(program::HANDOVER, interface, Hook::Ingress);
        }
        self.link(
            program::HANDOVER,
            interface,
            Place::Handover,
            bpf_attach_type::BPF_TCX_INGRESS,
            BPF_F_BEFORE,
        )
    }

    fn attach_outward(&self, interface: &Interface) -> Result<Held, AttachError> {
        // Behind the programs of others: what they see is what the kernel sends.
        if !self.features.tcx {
            return self.filter(program::OUTWARD, interface, Hook::Egress);
        }
        self.link(
            program::OUTWARD,
            interface,
            Place::Outward,
            bpf_attach_type::BPF_TCX_EGRESS,
            BPF_F_AFTER,
        )
    }

    /// In the place of the filter that was left there, if there is one.
    fn filter(
        &self,
        program: &'static str,
        interface: &Interface,
        hook: Hook,
    ) -> Result<Held, AttachError> {
        let Interface { name, index, .. } = interface;
        filter::put(*index, hook, self.program(program)?, program).map_err(|source| {
            AttachError::Kernel { program, interface: name.clone(), mode: "tc", source }
        })?;
        Ok(Held { by: Holder::Filter(*index, hook), stays: self.left_on().contains(index) })
    }

    fn attach_edge(
        &self,
        interface: &Interface,
        wish: Wish,
    ) -> Result<(Mode, Option<Held>), AttachError> {
        let Choice { native, generic, why } = choose(wish, interface);
        if let Some(why) = why {
            info!("{}: {why}", interface.name);
        }
        // One that was left in a mode that is wanted stays in it, and in any other it is in the
        // way.
        for (mode, wanted, flags) in [
            (Mode::Native, native, XDP_FLAGS_DRV_MODE),
            (Mode::Generic, generic, XDP_FLAGS_SKB_MODE),
        ] {
            let left = self.pins.as_ref().and_then(|p| p.link(interface.index, Place::Edge(mode)));
            match left {
                Some(_) if wanted => {
                    return Ok((mode, Some(self.link_edge(interface, mode, flags)?)));
                }
                Some((link, path)) => {
                    let _ = sys::detach(link.as_fd());
                    let _ = fs::remove_file(path);
                }
                None => {}
            }
        }
        if native {
            match self.link_edge(interface, Mode::Native, XDP_FLAGS_DRV_MODE) {
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
            let link = self.link_edge(interface, Mode::Generic, XDP_FLAGS_SKB_MODE)?;
            return Ok((Mode::Generic, Some(link)));
        }
        Ok((Mode::Off, None))
    }

    fn link_edge(
        &self,
        interface: &Interface,
        mode: Mode,
        flags: u32,
    ) -> Result<Held, AttachError> {
        let place = Place::Edge(mode);
        self.link(program::EDGE, interface, place, bpf_attach_type::BPF_XDP, flags).map_err(
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

    /// The link that was left in this place, with the program exchanged; or else a new one.
    fn link(
        &self,
        program: &'static str,
        interface: &Interface,
        place: Place,
        hook: bpf_attach_type,
        flags: u32,
    ) -> Result<Held, AttachError> {
        let fd = self.program(program)?;
        let index = interface.index;
        if let Some((link, path)) = self.pins.as_ref().and_then(|pins| pins.link(index, place)) {
            match sys::update_link(link.as_fd(), fd) {
                // The name stays until this agent is sure to go on.
                Ok(()) => return Ok(Held { by: Holder::Link(link, Some(path)), stays: true }),
                // As it is where the interface is another one of the same number.
                Err(error) => info!("what was left on {} is of no use: {error}", interface.name),
            }
        }
        let link = sys::create_link(fd, index, hook, flags).map_err(|source| {
            let mode = match place {
                Place::Edge(Mode::Native) => "native",
                Place::Edge(_) => "generic",
                Place::Handover | Place::Outward => "tc",
            };
            AttachError::Kernel { program, interface: interface.name.clone(), mode, source }
        })?;
        let pin = match &self.pins {
            Some(pins) => Some(pins.keep_link(&link, index, place)?),
            None => None,
        };
        Ok(Held { by: Holder::Link(link, pin), stays: false })
    }
}

/// Takes our filters off an interface, if there are any.
pub(super) fn remove_filters(index: u32) {
    for hook in [Hook::Ingress, Hook::Egress] {
        if let Err(error) = filter::remove(index, hook) {
            warn!("what was left on interface {index} cannot be taken off: {error}");
        }
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
