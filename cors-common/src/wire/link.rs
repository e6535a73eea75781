//! What the programs know of an interface: the layouts of the maps `INTERFACES` and `VLANS`.

/// An interface that `edge` is on, 12 bytes; the key is its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Interface {
    /// Its link-layer address, as in a frame; zeros on a loopback.
    pub address: [u8; 6],
    /// The largest segment of IPv4 that it takes: its MTU less both headers (RFC 6691).
    pub mss_v4: u16,
    /// The same for IPv6.
    pub mss_v6: u16,
    /// Zero.
    pub pad: u16,
}

const _: () = assert!(size_of::<Interface>() == 12);

/// A VLAN that the host is in: the key of `VLANS`, 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Vlan {
    /// Index of the interface on which the frames are tagged.
    pub interface: u32,
    /// The tag's type (0x8100 or 0x88a8) in the upper half, its VLAN id in the lower.
    pub tag: u32,
}

const _: () = assert!(size_of::<Vlan>() == 8);
