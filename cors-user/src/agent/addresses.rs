//! Which sockets are protected: those that the policy file names, and for its wildcards every
//! address that the interfaces have at the moment. None of them unless its address is this host's.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use crate::host::local::Prefix;

/// The addresses of a host.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Of the interfaces that the agent is on, and of the VLANs on them.
    pub named: Vec<IpAddr>,
    /// Of all interfaces.
    pub all: Vec<IpAddr>,
    /// What the kernel's table of local routes says: of all interfaces once more, and ranges that
    /// are on none.
    pub routes: Vec<Prefix>,
}

impl Addresses {
    fn are_local(&self, address: IpAddr) -> bool {
        self.all.contains(&address) || self.routes.iter().any(|prefix| prefix.contains(address))
    }
}

/// What comes of the policy file's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// To be protected.
    pub protected: BTreeSet<SocketAddr>,
    /// Named, but at addresses that are not this host's: what is sent there goes through it, as on
    /// a router whose backup address is another one's at the moment. A listener on every address
    /// would let it seem that the connection is for this host.
    pub elsewhere: BTreeSet<SocketAddr>,
}

/// `0.0.0.0` is every IPv4 address. `[::]` is every address of both families, since a socket
/// bound to it takes both (RFC 3493 §5.3) unless its program asked for IPv6 alone; where it did,
/// the kernel has no listener for IPv4, and nothing is answered.
pub fn sockets(listen: &[SocketAddr], addresses: &Addresses) -> Sockets {
    let Addresses { named, .. } = addresses;
    let mut sockets = Sockets::default();
    for socket in listen {
        let at = |address| SocketAddr::new(address, socket.port());
        match socket.ip() {
            IpAddr::V4(v4) if v4.is_unspecified() => {
                sockets.protected.extend(named.iter().copied().filter(IpAddr::is_ipv4).map(at));
            }
            IpAddr::V6(v6) if v6.is_unspecified() => {
                sockets.protected.extend(named.iter().copied().map(at));
            }
            // Without the scope of an IPv6 address: packets carry none.
            address if addresses.are_local(address) => {
                sockets.protected.insert(at(address));
            }
            address => {
                sockets.elsewhere.insert(at(address));
            }
        }
    }
    sockets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn texts(sockets: &BTreeSet<SocketAddr>) -> Vec<String> {
        sockets.iter().map(ToString::to_string).collect()
    }

    /// What is protected, and what is elsewhere.
    fn expanded(listen: &[&str]) -> (Vec<String>, Vec<String>) {
        let listen: Vec<SocketAddr> =
            listen.iter().map(|socket| socket.parse().expect("a socket")).collect();
        let named = ["10.0.0.1", "fd00::1", "10.0.0.2"].map(address);
        let addresses = Addresses {
            named: named.into(),
            all: [&named[..], &[address("fe80::1"), address("10.1.0.1")]].concat(),
            routes: vec![Prefix::new(address("192.0.2.0"), 24)],
        };
        let Sockets { protected, elsewhere } = sockets(&listen, &addresses);
        (texts(&protected), texts(&elsewhere))
    }

    #[test]
    fn wildcards_are_the_addresses_of_the_interfaces() {
        for (listen, protected) in [
            (&["0.0.0.0:80"][..], &["10.0.0.1:80", "10.0.0.2:80"][..]),
            (&["[::]:80"], &["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"]),
            (
                &["0.0.0.0:80", "[::]:81"],
                &["10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80", "10.0.0.2:81", "[fd00::1]:81"],
            ),
        ] {
            let expected = protected.iter().map(ToString::to_string).collect();
            assert_eq!(expanded(listen), (expected, vec![]));
        }
    }

    #[test]
    fn named_sockets_are_what_they_are() {
        for (listen, protected) in [
            (&["10.1.0.1:80", "10.0.0.1:8080"][..], &["10.0.0.1:8080", "10.1.0.1:80"][..]),
            (&["[fe80::1%3]:80"], &["[fe80::1]:80"]),
            (&["10.0.0.1:80", "0.0.0.0:80"], &["10.0.0.1:80", "10.0.0.2:80"]),
        ] {
            let expected = protected.iter().map(ToString::to_string).collect();
            assert_eq!(expanded(listen), (expected, vec![]));
        }
    }

    #[test]
    fn nothing_is_protected_that_is_not_here() {
        let (protected, elsewhere) = expanded(&["192.0.2.7:80", "192.0.3.7:80", "[fd00::2]:80"]);
        assert_eq!(protected, ["192.0.2.7:80"]);
        assert_eq!(elsewhere, ["192.0.3.7:80", "[fd00::2]:80"]);
    }
}
