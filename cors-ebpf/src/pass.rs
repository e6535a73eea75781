//! `pass`: an XDP program that does nothing.
//!
//! A native `XDP_TX` on a veth is only flushed where the peer has an XDP program as well; this is
//! one for it. Tests and laboratories attach it, the agent does not.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

/// Passes every packet.
#[xdp]
fn pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}
