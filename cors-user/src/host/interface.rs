//! Network interfaces and their addresses.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::netlink::{Attributes, Dump, dump, u32_at};

/// Attributes of a link (`include/uapi/linux/if_link.h`).
mod ifla {
    pub(super) const IFNAME: u16 = 3;
    pub(super) const MTU: u16 = 4;
    pub(super) const LINK: u16 = 5;
    pub(super) const LINKINFO: u16 = 18;
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const XDP: u16 = 43;
    pub(super) const XDP_DRV_PROG_ID: u16 = 5;
    pub(super) const XDP_SKB_PROG_ID: u16 = 6;
    pub(super) const XDP_HW_PROG_ID: u16 = 7;
}

/// Attributes of an address (`include/uapi/linux/if_addr.h`).
mod ifa {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const LOCAL: u16 = 2;
}

/// A network interface as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number, the same as long as it exists.
    pub index: u32,
    /// The longest packet in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Whether it is a loopback.
    pub loopback: bool,
    /// What kind of virtual interface it is, such as `veth`; hardware has none.
    pub kind: Option<String>,
    /// Number of the interface below it, if it is a VLAN.
    pub vlan_of: Option<u32>,
    /// The XDP programs on it.
    pub xdp: Vec<Xdp>,
}

/// An XDP program on an interface; there may be one for each mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xdp {
    /// Its id, as `bpftool prog` shows it.
    pub id: u32,
    /// The word for its mode that `ip link set` takes; by the word `xdp` it may miss the program.
    pub mode: &'static str,
}

impl Interface {
    /// Whether it is one end of a virtual cable.
    pub fn is_veth(&self) -> bool {
        self.kind.as_deref() == Some("veth")
    }
}

/// Every interface of this network namespace.
pub fn all() -> io::Result<Vec<Interface>> {
    let mut all = Vec::new();
    dump(Dump::Links, |head, attributes| all.extend(link(head, &attributes)))?;
    Ok(all)
}

/// Every address of this network namespace, with the number of its interface.
pub fn addresses() -> io::Result<Vec<(u32, IpAddr)>> {
    let mut all = Vec::new();
    dump(Dump::Addresses, |head, attributes| all.extend(address(head, &attributes)))?;
    Ok(all)
}

/// `struct ifinfomsg`: u8 family, u8, u16 type, i32 index, u32 flags, u32 change.
fn link(head: &[u8], attributes: &Attributes<'_>) -> Option<Interface> {
    let nested = |kind| Attributes::nested(attributes.find(kind).unwrap_or_default());
    let number = |kind| u32_at(attributes.find(kind)?, 0);
    let kind = nested(ifla::LINKINFO).find(ifla::INFO_KIND).map(text);
    let xdp = nested(ifla::XDP).filter_map(|(kind, id)| {
        let mode = match kind {
            ifla::XDP_DRV_PROG_ID => "xdpdrv",
            ifla::XDP_SKB_PROG_ID => "xdpgeneric",
            ifla::XDP_HW_PROG_ID => "xdpoffload",
            _ => return None,
        };
        Some(Xdp { id: u32_at(id, 0)?, mode })
    });
    Some(Interface {
        name: text(attributes.find(ifla::IFNAME)?),
        index: u32_at(head, 4)?,
        mtu: number(ifla::MTU)?,
        loopback: u32_at(head, 8)? & libc::IFF_LOOPBACK as u32 != 0,
        // For other kinds the number may be one of another namespace.
        vlan_of: if kind.as_deref() == Some("vlan") { number(ifla::LINK) } else { None },
        kind,
        xdp: xdp.collect(),
    })
}

/// `struct ifaddrmsg`: u8 family, u8 prefix length, u8 flags, u8 scope, u32 index.
fn address(head: &[u8], attributes: &Attributes<'_>) -> Option<(u32, IpAddr)> {
    // On a point-to-point link the other attribute is the peer's.
    let bytes = attributes.find(ifa::LOCAL).or_else(|| attributes.find(ifa::ADDRESS))?;
    let address = match i32::from(*head.first()?) {
        libc::AF_INET => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        libc::AF_INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
        _ => return None,
    };
    Some((u32_at(head, 4)?, address))
}

/// A name with or without the NUL that ends it.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_everywhere() {
        let all = all().expect("interfaces");
        let lo = all.iter().find(|interface| interface.name == "lo").expect("lo");
        assert!(lo.loopback);
        assert!(!lo.is_veth());
        assert_eq!(lo.vlan_of, None);
        assert!(lo.mtu >= 1280, "{lo:?}");
    }

    #[test]
    fn addresses_belong_to_interfaces() {
        let all = all().expect("interfaces");
        for (index, address) in addresses().expect("addresses") {
            assert!(all.iter().any(|interface| interface.index == index), "{address}");
        }
    }
}
