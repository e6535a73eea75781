//! The programs: `client` on an interface, and `seed`, run by user space in live frames
//! (`BPF_PROG_TEST_RUN`, Linux 5.18). For any target but `bpf` this is an empty program.
//!
//! `client` turns what comes into what goes. A frame that came from the kernel on the other end of a
//! virtual cable has no room to grow, so the client whose turn it is then stands in a queue,
//! and `seed` sends for it in a frame of its own.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod bpf;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
