//! Packets as the two hooks show them.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, xdp_md},
    helpers::generated::{bpf_skb_load_bytes, bpf_skb_pull_data, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};
use cors_common::wire::{
    Frame,
    segment::{ETH_LEN, ETH_P_IP, ETH_P_IPV6, IPV4_LEN, IPV6_LEN, TCP_LEN},
};

/// A packet that can be copied out of, whatever its offset and length are.
pub(crate) trait Packet: Frame {
    /// Fills `to` with `len` bytes from `offset`; false where the packet ends before.
    ///
    /// # Safety
    ///
    /// `to` must have room for `len` bytes.
    unsafe fn copy(&self, offset: usize, to: *mut u8, len: usize) -> bool;

    /// The context, for helpers.
    fn context(&self) -> *mut core::ffi::c_void;

    /// The interface that it came in on.
    fn interface(&self) -> u32;
}

/// `N` bytes between two packet pointers.
///
/// # Safety
///
/// `data` and `data_end` must be those of the program's context.
#[inline(always)]
unsafe fn load<const N: usize>(data: usize, data_end: usize, offset: usize) -> Option<[u8; N]> {
    let start = data + offset;
    if start + N > data_end {
        return None;
    }
    // SAFETY: the N bytes were just compared with the end of the packet, which the verifier
    // demands as well; a byte array has no alignment.
    Some(unsafe { *(start as *const [u8; N]) })
}

/// The buffer of the driver.
pub(crate) struct XdpFrame<'a>(pub(crate) &'a XdpContext);

impl Frame for XdpFrame<'_> {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let md: *const xdp_md = self.0.ctx;
        // SAFETY: both are the context's. Volatile, so that they are read where they are used:
        // passed on to a function they would be numbers, and no packet pointers any more.
        unsafe {
            let data = (&raw const (*md).data).read_volatile();
            let data_end = (&raw const (*md).data_end).read_volatile();
            load(data as usize, data_end as usize, offset)
        }
    }
}

impl Packet for XdpFrame<'_> {
    #[inline(always)]
    unsafe fn copy(&self, offset: usize, to: *mut u8, len: usize) -> bool {
        // SAFETY: the caller gives the room; the helper checks the packet's bounds.
        unsafe { bpf_xdp_load_bytes(self.0.ctx, offset as u32, to.cast(), len as u32) == 0 }
    }

    #[inline(always)]
    fn context(&self) -> *mut core::ffi::c_void {
        self.0.ctx.cast()
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        let md: *const xdp_md = self.0.ctx;
        // SAFETY: the context is valid as long as the program runs.
        unsafe { (*md).ingress_ifindex }
    }
}

/// A socket buffer whose headers are in its linear part.
pub(crate) struct SkbFrame<'a>(pub(crate) &'a TcContext);

/// The most that is read of a socket buffer: two tags and IPv6.
const HEADERS_LEN: usize = ETH_LEN + 8 + IPV6_LEN + TCP_LEN;

impl<'a> SkbFrame<'a> {
    /// Brings the headers into the linear part, where drivers and GRO all but always leave them.
    ///
    /// No more than those: a packet of which the kernel keeps a copy (every one that TCP sends) is
    /// given a head of its own for each byte that is missing, and a reference to each of its pages.
    #[inline(always)]
    pub(crate) fn pull(ctx: &'a TcContext) -> Self {
        let frame = Self(ctx);
        let len = match frame.load(ETH_LEN - 2).map(u16::from_be_bytes) {
            Some(ETH_P_IP) => ETH_LEN + IPV4_LEN + TCP_LEN,
            Some(ETH_P_IPV6) => ETH_LEN + IPV6_LEN + TCP_LEN,
            _ => HEADERS_LEN,
        };
        if ctx.data() + len > ctx.data_end() {
            let len = ctx.len().min(len as u32);
            // Where it fails, the reads do.
            // SAFETY: no packet pointer is kept across the call.
            let _ = unsafe { bpf_skb_pull_data(ctx.as_ptr().cast(), len) };
        }
        frame
    }
}

impl Frame for SkbFrame<'_> {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let skb: *const __sk_buff = self.0.as_ptr().cast();
        // SAFETY: as above.
        unsafe {
            let data = (&raw const (*skb).data).read_volatile();
            let data_end = (&raw const (*skb).data_end).read_volatile();
            load(data as usize, data_end as usize, offset)
        }
    }
}

impl Packet for SkbFrame<'_> {
    #[inline(always)]
    unsafe fn copy(&self, offset: usize, to: *mut u8, len: usize) -> bool {
        // SAFETY: the caller gives the room; the helper checks the packet's bounds.
        unsafe { bpf_skb_load_bytes(self.context(), offset as u32, to.cast(), len as u32) == 0 }
    }

    #[inline(always)]
    fn context(&self) -> *mut core::ffi::c_void {
        self.0.as_ptr()
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        let skb: *const __sk_buff = self.0.as_ptr().cast();
        // SAFETY: the context is valid as long as the program runs.
        unsafe { (*skb).ifindex }
    }
}
