//! Follows the network: the programs are on the interfaces that have the names, and their tables
//! say which addresses and VLANs are this host's, while all of that comes and goes.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use thiserror::Error;
use tracing::{error, info, warn};

use super::{
    addresses::{self, Addresses, Sockets},
    said::Said,
};
use crate::{
    host::{
        Interface, interface,
        local::{self, Prefix},
        offload,
    },
    kernel::{
        Programs,
        attach::{AttachError, Attachment, Wish},
        checks::{Refusal, suitable},
        maps::MapsError,
    },
};

/// Why the programs do not know the network as it is.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// The system does not say.
    #[error("{what} cannot be read: {source}")]
    Read {
        /// What.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A map.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// An interface on which the programs cannot be.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// An interface that does not take them.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

/// The network as it was when it was read.
#[derive(Clone, Debug)]
pub(super) struct View {
    interfaces: Vec<Interface>,
    addresses: Vec<(u32, IpAddr)>,
    routes: Vec<Prefix>,
}

impl View {
    /// Reads all of it.
    pub(super) fn read() -> Result<Self, NetworkError> {
        let failed = |what| move |source| NetworkError::Read { what, source };
        Ok(Self {
            interfaces: interface::all().map_err(failed("the list of interfaces"))?,
            addresses: interface::addresses().map_err(failed("the list of addresses"))?,
            routes: local::prefixes().map_err(failed("the table of local routes"))?,
        })
    }

    fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }

    /// The VLANs on an interface that are up: from the others the kernel takes nothing.
    fn vlans_on(&self, index: u32) -> impl Iterator<Item = &Interface> {
        self.interfaces
            .iter()
            .filter(move |vlan| vlan.up && vlan.vlan.is_some_and(|vlan| vlan.on == index))
    }

    /// The addresses for a policy file's list. Whether the card of an interface takes the tags out
    /// of the frames is asked only where it matters.
    fn addresses(&self, named: &[&Interface], strips: impl Fn(&Interface) -> bool) -> Addresses {
        let is_up = |index: u32| self.interfaces.iter().any(|i| i.index == index && i.up);
        let here: Vec<_> = self.addresses.iter().filter(|(index, _)| is_up(*index)).collect();
        let mut indexes: Vec<u32> = Vec::new();
        for interface in named {
            indexes.push(interface.index);
            let mut vlans = self.vlans_on(interface.index).peekable();
            // The answer to a frame whose tag is lost would leave without one.
            if vlans.peek().is_some() && !strips(interface) {
                indexes.extend(vlans.map(|vlan| vlan.index));
            }
        }
        Addresses {
            named: here
                .iter()
                .filter(|(index, _)| indexes.contains(index))
                .map(|(_, address)| *address)
                .collect(),
            all: here.iter().map(|(_, address)| *address).collect(),
            routes: self.routes.clone(),
        }
    }
}

/// What the agent has to do with the network.
#[derive(Debug)]
pub(super) struct Network {
    names: Vec<String>,
    listen: Vec<SocketAddr>,
    wish: Wish,
    handover: bool,
    attachments: Vec<Attachment>,
    said: Said,
}

impl Network {
    /// Nothing is attached and nothing protected yet. The order of the names is kept. `handover` is
    /// whether that program is wanted, too.
    pub(super) fn new(
        names: Vec<String>,
        listen: Vec<SocketAddr>,
        wish: Wish,
        handover: bool,
    ) -> Self {
        let mut once: Vec<String> = Vec::with_capacity(names.len());
        for name in names {
            if !once.contains(&name) {
                once.push(name);
            }
        }
        let (attachments, said) = (Vec::new(), Said::default());
        Self { names: once, listen, wish, handover, attachments, said }
    }

    /// The name of an interface that a program is on.
    pub(super) fn name(&self, index: u32) -> Option<String> {
        let on = self.attachments.iter().find(|on| on.index == index)?;
        Some(on.interface.clone())
    }

    /// Other names and other sockets; what is on an interface that has no name any more is
    /// detached. Nothing is attached or protected until the next refresh.
    pub(super) fn set(&mut self, names: Vec<String>, listen: Vec<SocketAddr>) {
        let once = Self::new(names, listen, self.wish, self.handover);
        self.names = once.names;
        self.listen = once.listen;
        for name in self.attachments.iter().map(|on| &on.interface) {
            if !self.names.contains(name) {
                info!("{name} is not named any more: detached");
            }
        }
        self.attachments.retain(|on| self.names.contains(&on.interface));
    }

    /// Whether what is attached stays so when this goes.
    pub(super) fn set_stays(&mut self, stays: bool) {
        for on in &mut self.attachments {
            on.set_stays(stays);
        }
    }

    /// Whether it is on the interface of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.attachments.iter().any(|on| on.interface == name)
    }

    /// How the XDP program is to be attached.
    pub(super) const fn wish(&self) -> Wish {
        self.wish
    }

    /// Puts these programs in the place of those that are attached. Where that fails, these are
    /// attached anew with the next refresh.
    pub(super) fn take_over(&mut self, programs: &Programs) {
        self.attachments.retain(|on| match programs.take_over(on) {
            Ok(()) => true,
            Err(error) => {
                error!("{error}: attaching anew");
                false
            }
        });
    }

    /// The interfaces that the programs are on.
    pub(super) fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// Reads the network anew, and brings everything in line with it. What does not succeed does
    /// not keep the rest from it, and is worth another attempt.
    pub(super) fn refresh(&mut self, programs: &mut Programs) -> Result<(), NetworkError> {
        let view = View::read()?;
        self.let_go(&view);
        // What the tables say first: the programs need it from their first packet on.
        let described = self.describe(&view, programs);
        for interface in self.unattached(&view) {
            if let Err(error) = self.attach_one(interface, programs) {
                let text = error.to_string();
                if self.said.is_new(&interface.name, &text) {
                    error!("{} is back, but {text}", interface.name);
                }
            }
        }
        described
    }

    /// Attaches to every interface that has one of the names, for the first time.
    pub(super) fn attach(&mut self, view: &View, programs: &Programs) -> Result<(), NetworkError> {
        self.unattached(view).into_iter().try_for_each(|on| self.attach_one(on, programs))
    }

    fn unattached<'a>(&self, view: &'a View) -> Vec<&'a Interface> {
        let is_attached = |name: &&String| self.attachments.iter().any(|on| on.interface == **name);
        let names = self.names.iter().filter(|name| !is_attached(name));
        names.filter_map(|name| view.interface(name)).collect()
    }

    fn attach_one(
        &mut self,
        interface: &Interface,
        programs: &Programs,
    ) -> Result<(), NetworkError> {
        suitable(interface, self.wish, &programs.left_on())?;
        self.attachments.push(programs.attach(interface, self.wish, self.handover)?);
        self.said.forget(&interface.name);
        Ok(())
    }

    /// What has another number or another name now is another interface.
    fn let_go(&mut self, view: &View) {
        self.attachments
            .retain(|on| view.interface(&on.interface).is_some_and(|now| now.index == on.index));
        for name in &self.names {
            if view.interface(name).is_none() && self.said.is_new(name, "gone") {
                error!(
                    "the interface {name} is gone, and with it what was attached: the agent waits \
                     for one of that name"
                );
            }
        }
    }

    /// Writes what the programs are to know of the network.
    pub(super) fn describe(
        &mut self,
        view: &View,
        programs: &mut Programs,
    ) -> Result<(), NetworkError> {
        let named: Vec<&Interface> =
            self.names.iter().filter_map(|name| view.interface(name)).collect();
        programs.interfaces.set(named.iter().map(|on| (on.index, on.mtu, on.address)))?;
        let vlans = named.iter().flat_map(|on| view.vlans_on(on.index)).filter_map(|on| on.vlan);
        programs.vlans.set(vlans.map(|vlan| (vlan.on, vlan.protocol, vlan.id)))?;
        for interface in &named {
            self.warn_of_vlans(interface, view);
        }
        self.protect(&view.addresses(&named, strips_tags), programs)
    }

    fn protect(
        &mut self,
        addresses: &Addresses,
        programs: &mut Programs,
    ) -> Result<(), NetworkError> {
        let Sockets { protected, elsewhere } = addresses::sockets(&self.listen, addresses);
        for socket in &self.listen {
            let subject = socket.to_string();
            if !elsewhere.contains(&SocketAddr::new(socket.ip(), socket.port())) {
                self.said.forget(&subject);
            } else if self.said.is_new(&subject, "not local") {
                warn!(
                    "{socket} is not local yet: it is protected when {} is an address of this host",
                    socket.ip()
                );
            }
        }
        let before = programs.protected().clone();
        let result = programs.protect(&protected);
        let now = programs.protected();
        for (said, sockets) in [
            ("protected from now on", now.difference(&before)),
            ("not protected any more", before.difference(now)),
        ] {
            let list: Vec<_> = sockets.map(ToString::to_string).collect();
            if !list.is_empty() {
                info!("{said}: {}", list.join(", "));
            }
        }
        Ok(result?)
    }

    /// Where the card takes the tag out of the frame, the program cannot tell the VLAN's packets
    /// from the interface's own.
    fn warn_of_vlans(&mut self, interface: &Interface, view: &View) {
        let vlans: Vec<_> = view.vlans_on(interface.index).map(|on| on.name.as_str()).collect();
        let name = &interface.name;
        let subject = format!("VLANs on {name}");
        if vlans.is_empty() || !strips_tags(interface) {
            self.said.forget(&subject);
            return;
        }
        let vlans = vlans.join(", ");
        if self.said.is_new(&subject, &vlans) {
            warn!(
                "{name} carries VLANs ({vlans}), and its card strips the tags: a wildcard in \
                 `listen` does not cover their addresses until that is off (`ethtool -K {name} \
                 rx-vlan-offload off`), and an address of theirs that is named there is answered \
                 without a tag"
            );
        }
    }
}

/// When in doubt it does.
fn strips_tags(interface: &Interface) -> bool {
    offload::strips_tags(&interface.name).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use crate::host::interface::Vlan;

    use super::*;

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    /// Two cards, each with VLAN 5, of which the second's is down; every interface has the address
    /// of its number.
    fn view() -> View {
        let vlan = |name, index, on, up| {
            let vlan = Some(Vlan { on, protocol: 0x8100, id: 5 });
            Interface { up, vlan, ..Interface::card(name, index) }
        };
        View {
            interfaces: vec![
                Interface::card("eth7", 7),
                Interface::card("eth8", 8),
                vlan("eth7.5", 75, 7, true),
                vlan("eth8.5", 85, 8, false),
            ],
            addresses: [7, 8, 75, 85].map(|n| (u32::from(n), ip(n))).into(),
            routes: Vec::new(),
        }
    }

    #[test]
    fn vlans_count_as_the_interface_they_are_on() {
        let view = view();
        let of = |name, strips: bool| {
            let named = [view.interface(name).expect("an interface")];
            view.addresses(&named, |_| strips).named
        };
        assert_eq!(of("eth7", false), [ip(7), ip(75)]);
        assert_eq!(of("eth7", true), [ip(7)]);
        assert_eq!(of("eth8", false), [ip(8)]);
        assert_eq!(view.addresses(&[], |_| false).all, [ip(7), ip(8), ip(75)]);
        let vlans: Vec<_> = view.vlans_on(8).collect();
        assert!(vlans.is_empty(), "{vlans:?}");
    }

    #[test]
    fn names_are_what_is_attached_to() {
        let names = ["eth8", "eth7", "eth8", "eth9"].map(ToOwned::to_owned);
        let network = Network::new(names.into(), Vec::new(), Wish::Auto, true);
        let view = view();
        let names: Vec<_> = network.unattached(&view).iter().map(|on| &on.name).collect();
        assert_eq!(names, ["eth8", "eth7"]);
    }
}
