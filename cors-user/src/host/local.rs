//! Which addresses the kernel takes for its own.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::netlink::{Attributes, Dump, dump, ip, u32_at};

/// Attributes of a route (`include/uapi/linux/rtnetlink.h`).
mod rta {
    pub(super) const DST: u16 = 1;
    pub(super) const TABLE: u16 = 15;
}

/// A range of addresses that are local to this network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Those that begin with as many bits of this address.
    pub const fn new(address: IpAddr, length: u8) -> Self {
        Self { address, length }
    }

    /// Whether an address is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        // The bits from the first on, with those that do not matter shifted out.
        let begins = |bits: u128, other: u128, width: u32| {
            let rest = width.saturating_sub(u32::from(self.length));
            let begin = |bits: u128| bits.checked_shr(rest).unwrap_or(0);
            begin(bits) == begin(other)
        };
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => begins(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => begins(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

/// The routes of type `local` in the table `local`: one for every address of an interface that is
/// up, and whatever somebody added (`ip route add local 192.0.2.0/24 dev lo`).
///
/// Local routes in other tables are left out: they are for marked packets, as a transparent proxy
/// uses them, often with everything there is as their destination.
pub fn prefixes() -> io::Result<Vec<Prefix>> {
    let mut all = Vec::new();
    for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
        match dump(Dump::LocalRoutes(family), prefix) {
            Ok(routes) => all.extend(routes),
            // The table is made with the first address of the family.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    all.dedup();
    Ok(all)
}

/// The head is described where it is asked for.
fn prefix(head: &[u8], attributes: &Attributes<'_>) -> Option<Prefix> {
    let (family, length, kind) = (*head.first()?, *head.get(1)?, *head.get(7)?);
    let table = attributes.find(rta::TABLE).and_then(|table| u32_at(table, 0));
    let table = table.unwrap_or_else(|| head[4].into());
    if kind != libc::RTN_LOCAL || table != u32::from(libc::RT_TABLE_LOCAL) {
        return None;
    }
    let address = match attributes.find(rta::DST) {
        Some(bytes) => ip(family, bytes)?,
        // A route of everything has none.
        None if i32::from(family) == libc::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        None => Ipv6Addr::UNSPECIFIED.into(),
    };
    Some(Prefix { address, length })
}

#[cfg(test)]
mod tests {
    use super::{super::netlink::synthetic::attribute, *};

    #[test]
    fn loopback_is_local_everywhere() {
        let all = prefixes().expect("local routes");
        let is_local = |text: &str| {
            let address = text.parse().expect("an address");
            all.iter().any(|prefix| prefix.contains(address))
        };
        assert!(is_local("127.0.0.1") && is_local("127.255.0.1"), "{all:?}");
        assert!(!is_local("192.0.2.1") && !is_local("2001:db8::1"), "{all:?}");
    }

    #[test]
    fn prefixes_contain_what_begins_like_them() {
        for (prefix, length, address, expected) in [
            ("192.0.2.0", 24, "192.0.2.255", true),
            ("192.0.2.0", 24, "192.0.3.0", false),
            ("192.0.2.1", 32, "192.0.2.1", true),
            ("192.0.2.1", 32, "192.0.2.0", false),
            ("0.0.0.0", 0, "255.255.255.255", true),
            ("0.0.0.0", 0, "::", false),
            ("2001:db8::", 33, "2001:db8:7fff::1", true),
            ("2001:db8::", 33, "2001:db8:8000::", false),
            ("::", 0, "ffff::", true),
            ("::1", 128, "::1", true),
            ("::", 0, "0.0.0.0", false),
        ] {
            let at = Prefix::new(prefix.parse().expect("an address"), length);
            let address = address.parse().expect("an address");
            assert_eq!(at.contains(address), expected, "{prefix}/{length} {address}");
        }
    }

    #[test]
    fn only_local_routes_of_the_local_table_count() {
        let head = |table, kind| [2, 24, 0, 0, table, 0, 0, kind, 0, 0, 0, 0];
        let to = attribute(rta::DST, &[192, 0, 2, 0]);
        let read = |head: &[u8], attributes: &[u8]| prefix(head, &Attributes::nested(attributes));
        let local = Prefix::new([192, 0, 2, 0].into(), 24);
        assert_eq!(read(&head(255, libc::RTN_LOCAL), &to), Some(local));
        assert_eq!(read(&head(255, libc::RTN_UNICAST), &to), None);
        assert_eq!(read(&head(100, libc::RTN_LOCAL), &to), None);
        // Numbers that do not fit the head are in an attribute.
        let far = [to, attribute(rta::TABLE, &1255u32.to_ne_bytes())].concat();
        assert_eq!(read(&head(252, libc::RTN_LOCAL), &far), None);
        let everything = [2, 0, 0, 0, 255, 0, 0, libc::RTN_LOCAL, 0, 0, 0, 0];
        assert_eq!(read(&everything, &[]), Some(Prefix::new([0, 0, 0, 0].into(), 0)));
    }
}
