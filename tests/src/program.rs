//! Kernel programs of somebody else: each counts the packets that it sees, and lets them pass to
//! whoever comes next, but for one that it may lose.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    path::Path,
};

use crate::{
    bpf::{
        BPF_LINK_CREATE, BPF_LINK_DETACH, BPF_MAP_CREATE, BPF_MAP_LOOKUP_ELEM, BPF_MAP_TYPE_ARRAY,
        BPF_OBJ_PIN, BPF_PROG_LOAD, BPF_PROG_QUERY, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_XDP,
        BPF_TCX_EGRESS, BPF_TCX_INGRESS, BPF_XDP, LinkCreate, MapCreate, MapLookup, ObjPin,
        ProgLoad, ProgQuery, XDP_FLAGS_DRV_MODE, bpf, bpf_fd,
    },
    netns::Netns,
};

/// What a program does.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// Counts packets, and loses the one with this number, from 0.
    Count { lost: i32 },
    /// Sends everything twice.
    Double,
}

impl Task {
    /// Counts: no packet has this number.
    const COUNT: Self = Self::Count { lost: -1 };
}

/// A program on an interface; dropped, it is gone, unless it was attached without a link.
#[derive(Debug)]
pub struct Program {
    counter: OwnedFd,
    link: Option<OwnedFd>,
}

impl Program {
    /// An XDP program in native mode, by a link. A veth needs one on its peer before the driver
    /// sends what a native XDP program on this side transmits.
    pub fn xdp(host: &Netns, interface: &str) -> Self {
        Self::linked(host, interface, BPF_XDP, XDP_FLAGS_DRV_MODE, Task::COUNT)
    }

    /// The same, and the packet with this number is lost, from 0.
    pub fn losing_incoming(host: &Netns, interface: &str, number: u64) -> Self {
        Self::linked(host, interface, BPF_XDP, XDP_FLAGS_DRV_MODE, lose(number))
    }

    /// Of what leaves the interface, the packet with this number is lost, from 0.
    pub fn losing_outgoing(host: &Netns, interface: &str, number: u64) -> Self {
        Self::linked(host, interface, BPF_TCX_EGRESS, 0, lose(number))
    }

    /// What leaves the interface leaves twice.
    pub fn doubling_outgoing(host: &Netns, interface: &str) -> Self {
        Self::linked(host, interface, BPF_TCX_EGRESS, 0, Task::Double)
    }

    /// A TC program at the end of the row of those that see what comes in.
    pub fn tcx(host: &Netns, interface: &str) -> Self {
        Self::linked(host, interface, BPF_TCX_INGRESS, 0, Task::COUNT)
    }

    fn linked(host: &Netns, interface: &str, hook: u32, flags: u32, task: Task) -> Self {
        let attached = host.enter(|| {
            let index = index(interface)?;
            let (program, counter) = load(hook, index, task)?;
            let mut link = LinkCreate {
                prog_fd: program.as_raw_fd(),
                target_ifindex: index,
                attach_type: hook,
                flags,
            };
            Ok(Self { counter, link: Some(bpf_fd(BPF_LINK_CREATE, &mut link)?) })
        });
        attached.unwrap_or_else(|error: io::Error| panic!("a program on {interface}: {error}"))
    }

    /// An XDP program as `ip link set` attaches it: without a link, so that it stays until
    /// somebody detaches it.
    pub fn xdp_by_netlink(host: &Netns, interface: &str) -> Self {
        const PLACE: &str = "/sys/fs/bpf/theirs";
        let loaded = host.enter(|| {
            let (program, counter) = load(BPF_XDP, 0, Task::COUNT)?;
            let place = CString::new(PLACE)?;
            let mut pin = ObjPin { path: place.as_ptr() as u64, fd: program.as_raw_fd(), flags: 0 };
            bpf(BPF_OBJ_PIN, &mut pin)?;
            Ok(Self { counter, link: None })
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

impl Drop for Program {
    fn drop(&mut self) {
        // Closing the link is not enough: a child that another test is just starting has a copy of
        // every descriptor until it runs its program.
        if let Some(link) = &self.link {
            bpf(BPF_LINK_DETACH, &mut link.as_raw_fd()).ok();
        }
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
    let mut query =
        ProgQuery { target_ifindex: index(interface)?, attach_type, ..ProgQuery::default() };
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

/// Packet number `number` is lost.
const fn lose(number: u64) -> Task {
    Task::Count { lost: number as i32 }
}

/// Loads the program for an interface, and the map in which it counts.
fn load(hook: u32, index: u32, task: Task) -> io::Result<(OwnedFd, OwnedFd)> {
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
    let prog_type = if hook == BPF_XDP { BPF_PROG_TYPE_XDP } else { BPF_PROG_TYPE_SCHED_CLS };
    let insns = match task {
        Task::Count { lost } => counting(hook, counter.as_raw_fd(), lost),
        Task::Double => doubling(index),
    };
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

fn counting(hook: u32, counter: RawFd, lost: i32) -> Vec<u64> {
    // `XDP_PASS` and `XDP_DROP` here; there `TC_ACT_UNSPEC`, the next one's turn, and
    // `TC_ACT_SHOT`.
    let (pass, drop) = if hook == BPF_XDP { (2, 1) } else { (-1, 2) };
    vec![
        // r1 = the address of the map's one value (BPF_PSEUDO_MAP_VALUE)
        insn(0x18, 0x21, 0, counter),
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
    ]
}

fn doubling(index: u32) -> Vec<u64> {
    vec![
        // r2 = skb->mark; if r2 != 0 goto the end: it is the double
        insn(0x61, 0x12, 8, 0),
        insn(0x55, 0x02, 4, 0),
        // skb->mark = 1
        insn(0x62, 0x01, 8, 1),
        // bpf_clone_redirect(r1, r2 = index, r3 = 0)
        insn(0xb7, 0x02, 0, index.cast_signed()),
        insn(0xb7, 0x03, 0, 0),
        insn(0x85, 0x00, 0, 13),
        // r0 = TC_ACT_UNSPEC; exit
        insn(0xb7, 0x00, 0, -1),
        insn(0x95, 0, 0, 0),
    ]
}

/// One instruction.
fn insn(code: u8, registers: u8, offset: u8, immediate: i32) -> u64 {
    let [a, b, c, d] = immediate.to_le_bytes();
    u64::from_le_bytes([code, registers, offset, 0, a, b, c, d])
}
