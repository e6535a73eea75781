//! Network interfaces and their addresses.

use std::{io, net::IpAddr};

use super::netlink::{Attributes, Dump, dump, ip, u16_at, u32_at};

/// Attributes of a link (`include/uapi/linux/if_link.h`).
mod ifla {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const IFNAME: u16 = 3;
    pub(super) const MTU: u16 = 4;
    pub(super) const LINK: u16 = 5;
    pub(super) const LINKINFO: u16 = 18;
    pub(super) const LINK_NETNSID: u16 = 37;
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_DATA: u16 = 2;
    pub(super) const VLAN_ID: u16 = 1;
    pub(super) const VLAN_PROTOCOL: u16 = 5;
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

/// `ETH_P_8021Q`: the tag of a VLAN that says nothing else.
const DOT1Q: u16 = 0x8100;

/// A VLAN, as the interface that stands for it describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// Number of the interface on which its frames are tagged.
    pub on: u32,
    /// The type of the tags: 0x8100 or 0x88a8.
    pub protocol: u16,
    /// The VLAN id in them.
    pub id: u16,
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
    /// Its link-layer address; zeros where it has none of this length.
    pub address: [u8; 6],
    /// What its frames are: a number of `include/uapi/linux/if_arp.h`.
    pub link_type: u16,
    /// Whether it is a loopback.
    pub loopback: bool,
    /// Whether it is up: otherwise nothing comes in, and its addresses are not this host's.
    pub up: bool,
    /// What kind of virtual interface it is, such as `veth`; hardware has none.
    pub kind: Option<String>,
    /// What it stands for, if it is a VLAN on an interface of this network namespace.
    pub vlan: Option<Vlan>,
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

    /// Whether its frames begin with an Ethernet header, as those of a loopback do.
    pub const fn is_ethernet(&self) -> bool {
        matches!(self.link_type, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK)
    }

    /// A network card for tests.
    #[cfg(test)]
    pub(crate) fn card(name: &str, index: u32) -> Self {
        Self {
            name: name.to_owned(),
            index,
            mtu: 1500,
            address: [2, 0, 0, 0, 0, 1],
            link_type: libc::ARPHRD_ETHER,
            loopback: false,
            up: true,
            kind: None,
            vlan: None,
            xdp: Vec::new(),
        }
    }
}

/// Every interface of this network namespace.
pub fn all() -> io::Result<Vec<Interface>> {
    dump(Dump::Links, link)
}

/// Every address of this network namespace, with the number of its interface.
pub fn addresses() -> io::Result<Vec<(u32, IpAddr)>> {
    dump(Dump::Addresses, address)
}

/// `struct ifinfomsg`: u8 family, u8, u16 type, i32 index, u32 flags, u32 change.
fn link(head: &[u8], attributes: &Attributes<'_>) -> Option<Interface> {
    let nested = |kind| Attributes::nested(attributes.find(kind).unwrap_or_default());
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
    let flags = u32_at(head, 8)?;
    Some(Interface {
        name: text(attributes.find(ifla::IFNAME)?),
        index: u32_at(head, 4)?,
        mtu: u32_at(attributes.find(ifla::MTU)?, 0)?,
        address: attributes
            .find(ifla::ADDRESS)
            .and_then(|address| address.try_into().ok())
            .unwrap_or_default(),
        link_type: u16_at(head, 2)?,
        loopback: flags & libc::IFF_LOOPBACK as u32 != 0,
        up: flags & libc::IFF_UP as u32 != 0,
        vlan: if kind.as_deref() == Some("vlan") { vlan(attributes) } else { None },
        kind,
        xdp: xdp.collect(),
    })
}

fn vlan(attributes: &Attributes<'_>) -> Option<Vlan> {
    // The interface below is in another namespace, where another one may have its number here.
    if attributes.find(ifla::LINK_NETNSID).is_some() {
        return None;
    }
    let info = Attributes::nested(attributes.find(ifla::LINKINFO)?);
    let data = Attributes::nested(info.find(ifla::INFO_DATA)?);
    // Unlike everything else here, in network order.
    let protocol = data.find(ifla::VLAN_PROTOCOL).and_then(|bytes| u16_at(bytes, 0));
    Some(Vlan {
        on: u32_at(attributes.find(ifla::LINK)?, 0)?,
        protocol: protocol.map_or(DOT1Q, u16::from_be),
        id: u16_at(data.find(ifla::VLAN_ID)?, 0)?,
    })
}

/// `struct ifaddrmsg`: u8 family, u8 prefix length, u8 flags, u8 scope, u32 index.
fn address(head: &[u8], attributes: &Attributes<'_>) -> Option<(u32, IpAddr)> {
    // On a point-to-point link the other attribute is the peer's.
    let bytes = attributes.find(ifa::LOCAL).or_else(|| attributes.find(ifa::ADDRESS))?;
    Some((u32_at(head, 4)?, ip(*head.first()?, bytes)?))
}

/// A name with or without the NUL that ends it.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{super::netlink::synthetic::attribute, *};

    #[test]
    fn loopback_is_everywhere() {
        let all = all().expect("interfaces");
        let lo = all.iter().find(|interface| interface.name == "lo").expect("lo");
        assert!(lo.loopback && lo.is_ethernet());
        assert!(!lo.is_veth());
        assert_eq!(lo.vlan, None);
        assert!(lo.mtu >= 1280, "{lo:?}");
    }

    #[test]
    fn addresses_belong_to_interfaces() {
        let all = all().expect("interfaces");
        for (index, address) in addresses().expect("addresses") {
            assert!(all.iter().any(|interface| interface.index == index), "{address}");
        }
    }

    /// Interface 9, up, of this link type, on interface 4.
    fn made(link_type: u16, kind: &[u8], data: &[Vec<u8>], more: &[u8]) -> Interface {
        let head = [
            &[0, 0][..],
            &link_type.to_ne_bytes(),
            &9u32.to_ne_bytes(),
            &(libc::IFF_UP as u32).to_ne_bytes(),
            &[0; 4],
        ];
        let info = [attribute(ifla::INFO_KIND, kind), attribute(ifla::INFO_DATA, &data.concat())];
        let attributes = [
            attribute(ifla::IFNAME, b"x\0"),
            attribute(ifla::MTU, &1400u32.to_ne_bytes()),
            attribute(ifla::LINK, &4u32.to_ne_bytes()),
            attribute(ifla::LINKINFO, &info.concat()),
            more.to_vec(),
        ];
        let attributes = attributes.concat();
        link(&head.concat(), &Attributes::nested(&attributes)).expect("an interface")
    }

    #[test]
    fn vlans_say_where_they_are_and_how_they_are_tagged() {
        let id = attribute(ifla::VLAN_ID, &77u16.to_ne_bytes());
        let flags = attribute(2, &[1, 0, 0, 0, 255, 255, 255, 255]);
        let protocol = attribute(ifla::VLAN_PROTOCOL, &0x88a8u16.to_be_bytes());
        let data = [id, flags, protocol];
        let vlan = made(libc::ARPHRD_ETHER, b"vlan\0", &data, &[]);
        assert_eq!(vlan.vlan, Some(Vlan { on: 4, protocol: 0x88a8, id: 77 }));
        assert!(vlan.up && vlan.is_ethernet());
        assert_eq!((vlan.index, vlan.mtu), (9, 1400));
        let plain = made(libc::ARPHRD_ETHER, b"vlan\0", &data[..1], &[]);
        assert_eq!(plain.vlan, Some(Vlan { on: 4, protocol: 0x8100, id: 77 }));
        assert_eq!(made(libc::ARPHRD_ETHER, b"vlan\0", &data[1..], &[]).vlan, None);
        assert_eq!(made(libc::ARPHRD_ETHER, b"macvlan\0", &data, &[]).vlan, None);
        let elsewhere = attribute(ifla::LINK_NETNSID, &0u32.to_ne_bytes());
        assert_eq!(made(libc::ARPHRD_ETHER, b"vlan\0", &data, &elsewhere).vlan, None);
    }

    #[test]
    fn a_tunnel_is_not_ethernet() {
        assert!(!made(libc::ARPHRD_NONE, b"tun\0", &[], &[]).is_ethernet());
    }
}
