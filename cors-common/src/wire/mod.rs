//! Frames in, frames out: Ethernet, VLAN tags, IPv4, IPv6 and TCP as bytes at offsets.
//!
//! Nothing here decides anything about a connection. [`segment`] reads, [`link`] says what an interface is, [`options`] holds what a
//! handshake negotiates, [`reply`] writes.

pub mod link;
pub mod options;
pub mod reply;
pub mod segment;

/// A frame that can be read at an offset: an XDP buffer, a socket buffer, or a slice.
pub trait Frame {
    /// `N` bytes from `offset`, or `None` where the frame ends before.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
}

impl Frame for [u8] {
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..offset.checked_add(N)?)?.try_into().ok()
    }
}
