//! The system call bpf(2), as far as the tests need it.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
};

pub(crate) const BPF_MAP_CREATE: libc::c_long = 0;
pub(crate) const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
pub(crate) const BPF_PROG_LOAD: libc::c_long = 5;
pub(crate) const BPF_OBJ_PIN: libc::c_long = 6;
pub(crate) const BPF_PROG_TEST_RUN: libc::c_long = 10;
pub(crate) const BPF_PROG_QUERY: libc::c_long = 16;
pub(crate) const BPF_LINK_CREATE: libc::c_long = 28;
pub(crate) const BPF_ENABLE_STATS: libc::c_long = 32;
pub(crate) const BPF_LINK_DETACH: libc::c_long = 34;

pub(crate) const BPF_STATS_RUN_TIME: u32 = 0;
pub(crate) const BPF_MAP_TYPE_ARRAY: u32 = 2;
pub(crate) const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
pub(crate) const BPF_PROG_TYPE_XDP: u32 = 6;
pub(crate) const BPF_XDP: u32 = 37;
pub(crate) const BPF_TCX_INGRESS: u32 = 46;
pub(crate) const BPF_TCX_EGRESS: u32 = 47;
pub(crate) const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;
pub(crate) const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// The part of `union bpf_attr` for `BPF_MAP_CREATE` up to the flags.
#[repr(C)]
pub(crate) struct MapCreate {
    pub(crate) map_type: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
}

/// The part of `union bpf_attr` for `BPF_MAP_LOOKUP_ELEM`.
#[repr(C)]
pub(crate) struct MapLookup {
    pub(crate) map_fd: RawFd,
    pub(crate) pad: u32,
    pub(crate) key: u64,
    pub(crate) value: u64,
    pub(crate) flags: u64,
}

/// The part of `union bpf_attr` for `BPF_PROG_LOAD` up to the attach type.
#[repr(C)]
#[derive(Default)]
pub(crate) struct ProgLoad {
    pub(crate) prog_type: u32,
    pub(crate) insn_cnt: u32,
    pub(crate) insns: u64,
    pub(crate) license: u64,
    pub(crate) log_level: u32,
    pub(crate) log_size: u32,
    pub(crate) log_buf: u64,
    pub(crate) kern_version: u32,
    pub(crate) prog_flags: u32,
    pub(crate) prog_name: [u8; 16],
    pub(crate) prog_ifindex: u32,
    pub(crate) expected_attach_type: u32,
}

/// The part of `union bpf_attr` for `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct TestRun {
    pub(crate) prog_fd: RawFd,
    pub(crate) retval: u32,
    pub(crate) data_size_in: u32,
    pub(crate) data_size_out: u32,
    pub(crate) data_in: u64,
    pub(crate) data_out: u64,
    pub(crate) repeat: u32,
    pub(crate) duration: u32,
    pub(crate) ctx_size_in: u32,
    pub(crate) ctx_size_out: u32,
    pub(crate) ctx_in: u64,
    pub(crate) ctx_out: u64,
    pub(crate) flags: u32,
    pub(crate) cpu: u32,
    pub(crate) batch_size: u32,
    pub(crate) pad: u32,
}

/// The part of `union bpf_attr` for `BPF_OBJ_PIN` up to the flags.
#[repr(C)]
pub(crate) struct ObjPin {
    pub(crate) path: u64,
    pub(crate) fd: RawFd,
    pub(crate) flags: u32,
}

/// The part of `union bpf_attr` for `BPF_PROG_QUERY`, all of it: the kernel writes the revision of a
/// `tcx` hook whatever length it was told.
#[repr(C)]
#[derive(Default)]
pub(crate) struct ProgQuery {
    pub(crate) target_ifindex: u32,
    pub(crate) attach_type: u32,
    pub(crate) query_flags: u32,
    pub(crate) attach_flags: u32,
    pub(crate) prog_ids: u64,
    pub(crate) count: u32,
    pub(crate) pad: u32,
    pub(crate) prog_attach_flags: u64,
    pub(crate) link_ids: u64,
    pub(crate) link_attach_flags: u64,
    pub(crate) revision: u64,
}

/// The part of `union bpf_attr` for `BPF_LINK_CREATE` up to the flags.
#[repr(C)]
pub(crate) struct LinkCreate {
    pub(crate) prog_fd: RawFd,
    pub(crate) target_ifindex: u32,
    pub(crate) attach_type: u32,
    pub(crate) flags: u32,
}

/// A call of bpf(2) whose result is a file descriptor.
pub(crate) fn bpf_fd<T>(command: libc::c_long, attributes: &mut T) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(bpf(command, attributes)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(crate) fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the attributes are those of the command, in a `repr(C)` prefix of the kernel's
    // union whose length is passed along; what they point to lives until the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
