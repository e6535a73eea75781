//! Kernel programs of somebody else: each counts the packets that it sees, and lets them pass to
//! whoever comes next, but for one that it may lose.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    path::Path,
};

use crate::netns::Netns;

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_LINK_CREATE: libc::c_long = 28;

const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// The number that no packet has.
const NONE: i32 = -1;

/// The part of `union bpf_attr` for `BPF_MAP_CREATE` up to the flags.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

/// The part of `union bpf_attr` for `BPF_MAP_LOOKUP_ELEM`.
#[repr(C)]
struct MapLookup {
    map_fd: RawFd,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The part of `union bpf_attr` for `BPF_PROG_LOAD` up to the attach type.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The part of `union bpf_attr` for `BPF_OBJ_PIN` up to the flags.
#[repr(C)]
struct ObjPin {
    path: u64,
    fd: RawFd,
    flags: u32,
}

/// The part of `union bpf_attr` for `BPF_PROG_QUERY` up to the number of programs.
#[repr(C)]
struct ProgQuery {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    pad: u32,
}

/// The part of `union bpf_attr` for `BPF_LINK_CREATE` up to the flags.
#[repr(C)]
struct LinkCreate {
    prog_fd: RawFd,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// A program on an interface; dropped, it is gone, unless it was attached without a link.
#[derive(Debug)]
pub struct Program {
    counter: OwnedFd,
    _attached: OwnedFd,
}

impl Program {
    /// An XDP program in native mode, by a link. A veth needs one on its peer before the driver
    /// sends what a native XDP program on this side transmits.
    pub fn xdp(host: &Netns, interface: &str) -> Self {
        Self::linked(host, interface, BPF_XDP, XDP_FLAGS_DRV_MODE, NONE)
    }

    /// The same, and the packet with this number is lost, from 0.
    pub fn losing_incoming(host: &Netns, interface: &str, number: u64) -> Self {
        Self::linked(host, interface, BPF_XDP, XDP_FLAGS_DRV_MODE, number as i32)
    }

    /// Of what leaves the interface, the packet with this number is lost, from 0.
    pub fn losing_outgoing(host: &Netns, interface: &str, number: u64) -> Self {
        Self::linked(host, interface, BPF_TCX_EGRESS, 0, number as i32)
    }

    /// A TC program at the end of the row of those that see what comes in.
    pub fn tcx(host: &Netns, interface: &str) -> Self {
        Self::linked(host, interface, BPF_TCX_INGRESS, 0, NONE)
    }

    fn linked(host: &Netns, interface: &str, hook: u32, flags: u32, lost: i32) -> Self {
        let attached = host.enter(|| {
            let index = index(interface)?;
            let (program, counter) = load(hook, lost)?;
            let mut link = LinkCreate {
                prog_fd: program.as_raw_fd(),
                target_ifindex: index,
                attach_type: hook,
                flags,
            };
            Ok(Self { counter, _attached: bpf_fd(BPF_LINK_CREATE, &mut link)? })
        });
        attached.unwrap_or_else(|error: io::Error| panic!("a program on {interface}: {error}"))
    }

    /// An XDP program as `ip link set` attaches it: without a link, so that it stays until
    /// somebody detaches it.
    pub fn xdp_by_netlink(host: &Netns, interface: &str) -> Self {
        const PLACE: &str = "/sys/fs/bpf/theirs";
        let loaded = host.enter(|| {
            let (program, counter) = load(BPF_XDP, NONE)?;
            let place = CString::new(PLACE)?;
            let mut pin = ObjPin { path: place.as_ptr() as u64, fd: program.as_raw_fd(), flags: 0 };
            bpf(BPF_OBJ_PIN, &mut pin)?;
            Ok(Self { counter, _attached: program })
        });
        let loaded = loaded.unwrap_or_else(|error: io::Error| panic!("pin a program: {error}"));
        host.ip(&["link", "set", "dev", interface, "xdpgeneric", "pinned", PLACE]);
        host.enter(|| std::fs::remove_file(Path::new(PLACE)).expect("unpin a program"));
        loaded
    }

    /// How many packets it has seen.
    pub fn seen(&self) -> u64 {
        let (key, mut value) = (0u32, 0u64);
        let mut lookup = MapLookup {
            map_fd: self.counter.as_raw_fd(),
            pad: 0,
            key: &raw const key as u64,
            value: &raw mut value as u64,
            flags: 0,
        };
        bpf(BPF_MAP_LOOKUP_ELEM, &mut lookup).expect("read a counter");
        value
    }
}

/// How many programs of whatever kind are on an interface: XDP in any mode, and `tcx` in both
/// directions.
pub fn count(host: &Netns, interface: &str) -> usize {
    // The kernel has no such query for XDP; `tc` of this age knows nothing of `tcx`.
    let link = host.ip(&["-details", "link", "show", "dev", interface]);
    let xdp = link.matches("prog/xdp").count();
    let tcx: io::Result<usize> = host.enter(|| {
        [BPF_TCX_INGRESS, BPF_TCX_EGRESS].into_iter().map(|hook| on_hook(interface, hook)).sum()
    });
    xdp + tcx.unwrap_or_else(|error| panic!("ask for the programs on {interface}: {error}"))
}

fn on_hook(interface: &str, attach_type: u32) -> io::Result<usize> {
    let mut query = ProgQuery {
        target_ifindex: index(interface)?,
        attach_type,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: 0,
        count: 0,
        pad: 0,
    };
    match bpf(BPF_PROG_QUERY, &mut query) {
        Ok(_) => Ok(query.count as usize),
        // Nothing was ever attached there.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(0),
        Err(error) => Err(error),
    }
}

fn index(interface: &str) -> io::Result<u32> {
    let name = CString::new(interface)?;
    // SAFETY: the name is a C string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 { Err(io::Error::last_os_error()) } else { Ok(index) }
}

/// Loads the program, and the map in which it counts.
fn load(hook: u32, lost: i32) -> io::Result<(OwnedFd, OwnedFd)> {
    let counter = bpf_fd(
        BPF_MAP_CREATE,
        &mut MapCreate {
            map_type: BPF_MAP_TYPE_ARRAY,
            key_size: 4,
            value_size: 8,
            max_entries: 1,
            flags: 0,
        },
    )?;
    // `XDP_PASS` and `XDP_DROP` here; there `TC_ACT_UNSPEC`, the next one's turn, and
    // `TC_ACT_SHOT`.
    let (prog_type, pass, drop) =
        if hook == BPF_XDP { (BPF_PROG_TYPE_XDP, 2, 1) } else { (BPF_PROG_TYPE_SCHED_CLS, -1, 2) };
    let insns = [
        // r1 = the address of the map's one value (BPF_PSEUDO_MAP_VALUE)
        insn(0x18, 0x21, 0, counter.as_raw_fd()),
        insn(0, 0, 0, 0),
        // r2 = 1
        insn(0xb7, 0x02, 0, 1),
        // r2 = atomic_fetch_add((u64 *)r1, r2)
        insn(0xdb, 0x21, 0, 1),
        // if r2 == lost goto 2 further
        insn(0x15, 0x02, 2, lost),
        // r0 = pass; exit
        insn(0xb7, 0x00, 0, pass),
        insn(0x95, 0, 0, 0),
        // r0 = drop; exit
        insn(0xb7, 0x00, 0, drop),
        insn(0x95, 0, 0, 0),
    ];
    let program = bpf_fd(
        BPF_PROG_LOAD,
        &mut ProgLoad {
            prog_type,
            insn_cnt: insns.len() as u32,
            insns: insns.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            expected_attach_type: if hook == BPF_XDP { BPF_XDP } else { 0 },
            ..ProgLoad::default()
        },
    )?;
    Ok((program, counter))
}

/// One instruction.
fn insn(code: u8, registers: u8, offset: u8, immediate: i32) -> u64 {
    let [a, b, c, d] = immediate.to_le_bytes();
    u64::from_le_bytes([code, registers, offset, 0, a, b, c, d])
}

/// A call of bpf(2) whose result is a file descriptor.
fn bpf_fd<T>(command: libc::c_long, attributes: &mut T) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(bpf(command, attributes)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the attributes are those of the command, in a `repr(C)` prefix of the kernel's
    // union whose length is passed along; what they point to lives until the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
