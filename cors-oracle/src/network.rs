//! Local Network Access: where a request goes from the open network into a narrower one.
//!
//! Browsers ask the user for permission there, whatever the server says. It is no step of CORS,
//! but what people see is the same: the request fails.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::Host;

use crate::{Origin, Request};

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressSpace {
    /// This very machine.
    Loopback,
    /// The network around it.
    Local,
    /// Everywhere, or a name, of which nothing is known.
    Public,
}

/// The narrower network that a request goes into, as far as it can be seen without the DNS.
pub fn enters_local_network(request: &Request) -> Option<AddressSpace> {
    let from = space(request.origin());
    let to = space(&Origin::of_url(request.url()));
    (to < from).then_some(to)
}

fn space(origin: &Origin) -> AddressSpace {
    let Origin::Tuple { host, .. } = origin else { return AddressSpace::Public };
    match Host::parse(host) {
        Ok(Host::Domain(name)) if name == "localhost" || name.ends_with(".localhost") => {
            AddressSpace::Loopback
        }
        // Multicast DNS (RFC 6762) is for the network around.
        Ok(Host::Domain(name)) if name.rsplit('.').next() == Some("local") => AddressSpace::Local,
        Ok(Host::Ipv4(address)) => of_ipv4(address),
        Ok(Host::Ipv6(address)) => of_ipv6(address),
        _ => AddressSpace::Public,
    }
}

fn of_ipv4(address: Ipv4Addr) -> AddressSpace {
    // 100.64.0.0/10 is between a carrier and its customers (RFC 6598).
    let shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
    if address.is_loopback() {
        AddressSpace::Loopback
    } else if address.is_private() || address.is_link_local() || shared {
        AddressSpace::Local
    } else {
        AddressSpace::Public
    }
}

fn of_ipv6(address: Ipv6Addr) -> AddressSpace {
    if let Some(mapped) = address.to_ipv4_mapped() {
        of_ipv4(mapped)
    } else if address.is_loopback() {
        AddressSpace::Loopback
    } else if address.is_unique_local() || address.is_unicast_link_local() {
        AddressSpace::Local
    } else {
        AddressSpace::Public
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn from_wide_to_narrow() {
        use AddressSpace::{Local, Loopback};
        for (page, url, expected) in [
            ("https://a.example", "http://localhost:8080", Some(Loopback)),
            ("https://a.example", "http://192.168.1.1", Some(Local)),
            ("https://a.example", "http://printer.local", Some(Local)),
            ("https://a.example", "http://[fd00::1]", Some(Local)),
            ("https://a.example", "http://[fe80::1]", Some(Local)),
            ("https://a.example", "http://[::ffff:127.0.0.1]", Some(Loopback)),
            ("https://a.example", "http://100.64.0.1", Some(Local)),
            ("http://10.0.0.1", "http://127.0.0.1", Some(Loopback)),
            ("null", "http://10.0.0.1", Some(Local)),
            ("https://a.example", "https://b.example", None),
            ("https://a.example", "http://100.128.0.1", None),
            ("http://localhost", "http://10.0.0.1", None),
            ("http://10.0.0.1", "http://192.168.0.1", None),
        ] {
            let request = Request::new(Origin::of_page(page).unwrap(), "GET", url).unwrap();
            assert_eq!(enters_local_network(&request), expected, "{page} {url}");
        }
    }
}
