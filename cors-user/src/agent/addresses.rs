//! Which sockets are protected: those that the policy file names, and for its wildcards every
//! address that the interfaces have at the moment.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
};

use crate::host::interface;

/// The sockets to protect, by the policy file's list and the addresses of the interfaces with
/// these numbers.
pub fn protected(listen: &[SocketAddr], indexes: &[u32]) -> io::Result<BTreeSet<SocketAddr>> {
    let mut addresses = interface::addresses()?;
    addresses.retain(|(index, _)| indexes.contains(index));
    let addresses: Vec<_> = addresses.into_iter().map(|(_, address)| address).collect();
    Ok(expand(listen, &addresses))
}

/// `0.0.0.0` is every IPv4 address. `[::]` is every address of both families, since a socket
/// bound to it takes both (RFC 3493 §5.3) unless its program asked for IPv6 alone; where it did,
/// the kernel has no listener for IPv4, and nothing is answered.
fn expand(listen: &[SocketAddr], addresses: &[IpAddr]) -> BTreeSet<SocketAddr> {
    let mut sockets = BTreeSet::new();
    for socket in listen {
        let at = |address| SocketAddr::new(address, socket.port());
        match socket.ip() {
            IpAddr::V4(v4) if v4.is_unspecified() => {
                sockets.extend(addresses.iter().copied().filter(IpAddr::is_ipv4).map(at));
            }
            IpAddr::V6(v6) if v6.is_unspecified() => {
                sockets.extend(addresses.iter().copied().map(at));
            }
            // Without the scope of an IPv6 address: packets carry none.
            address => {
                sockets.insert(at(address));
            }
        }
    }
    sockets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(listen: &[&str]) -> Vec<String> {
        let listen: Vec<SocketAddr> =
            listen.iter().map(|socket| socket.parse().expect("a socket")).collect();
        let addresses = ["10.0.0.1", "fd00::1", "10.0.0.2"];
        let addresses = addresses.map(|address| address.parse().expect("an address"));
        expand(&listen, &addresses).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn wildcards_are_the_addresses_of_the_interfaces() {
        assert_eq!(expanded(&["0.0.0.0:80"]), ["10.0.0.1:80", "10.0.0.2:80"]);
        assert_eq!(expanded(&["[::]:80"]), ["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"]);
        assert_eq!(
            expanded(&["0.0.0.0:80", "[::]:81"]),
            ["10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80", "10.0.0.2:81", "[fd00::1]:81"]
        );
    }

    #[test]
    fn named_sockets_are_what_they_are() {
        assert_eq!(expanded(&["192.0.2.1:80", "10.0.0.1:8080"]), ["10.0.0.1:8080", "192.0.2.1:80"]);
        assert_eq!(expanded(&["[fe80::1%3]:80"]), ["[fe80::1]:80"]);
        assert_eq!(expanded(&["10.0.0.1:80", "0.0.0.0:80"]), ["10.0.0.1:80", "10.0.0.2:80"]);
    }
}
