//! `bpf_sk_assign_tcp_reqsk` (Linux 6.9, commit e472f88891ab), called without the compiler's help.
//!
//! rustc emits no BTF for extern functions and this aya resolves none, so the call goes to a
//! *marker*: a number that no helper has. The agent finds the one call with that number and makes
//! it a call of the kernel function before the program is loaded.

use aya_ebpf::bindings::{__sk_buff, tcp_sock};

pub(crate) use cors_common::kfunc::{Attributes, MARKER};

/// Makes `skb` the first segment of a new connection of the listener `sk`.
///
/// # Safety
///
/// `skb` must be the program's context and `sk` a socket that it holds a reference to.
#[inline(always)]
pub(crate) unsafe fn bpf_sk_assign_tcp_reqsk(
    skb: *mut __sk_buff,
    sk: *mut tcp_sock,
    attributes: &mut Attributes,
) -> i32 {
    // SAFETY: the agent replaces the call's target before the kernel sees it.
    unsafe {
        let call: unsafe extern "C" fn(*mut __sk_buff, *mut tcp_sock, *mut Attributes, i32) -> i32 =
            core::mem::transmute(MARKER as usize);
        call(skb, sk, attributes, Attributes::SIZE)
    }
}
