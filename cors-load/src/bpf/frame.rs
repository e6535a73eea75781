//! Frames as XDP shows them.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use cors_common::wire::Frame;

/// The buffer of the driver.
pub(crate) struct XdpFrame<'a>(pub(crate) &'a XdpContext);

impl Frame for XdpFrame<'_> {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let md: *const xdp_md = self.0.ctx;
        // SAFETY: both are the context's. Volatile, so that they are read where they are used:
        // passed on to a function they would be numbers, and no packet pointers any more. The N
        // bytes are compared with the end of the packet; a byte array has no alignment.
        unsafe {
            let data = (&raw const (*md).data).read_volatile() as usize;
            let data_end = (&raw const (*md).data_end).read_volatile() as usize;
            let start = data + offset;
            if start + N > data_end {
                return None;
            }
            Some(*(start as *const [u8; N]))
        }
    }
}
