//! The smallest XDP program: everything passes. A veth needs one on its peer before the driver
//! sends what a native XDP program on this side transmits.

use crate::{
    netns::Netns,
    xdp::{self, Attached, Mode},
};

/// `r0 = XDP_PASS; exit`.
pub const PROGRAM: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];

/// Attaches the program to an interface in native mode, until the result is dropped.
pub fn attach(host: &Netns, interface: &str) -> Attached {
    xdp::attach(host, interface, &PROGRAM, Mode::Native)
}
