//! Small XDP programs of the harness's own, as instructions: loaded and attached without anything
//! of the agent, so that they can stand beside it.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use crate::{
    bpf::{
        BPF_ENABLE_STATS, BPF_F_TEST_XDP_LIVE_FRAMES, BPF_LINK_CREATE, BPF_PROG_LOAD,
        BPF_PROG_TEST_RUN, BPF_PROG_TYPE_XDP, BPF_STATS_RUN_TIME, BPF_XDP, LinkCreate, ProgLoad,
        TestRun, bpf, bpf_fd,
    },
    netns::Netns,
};

/// The smallest program: `r0 = XDP_PASS; exit`.
pub const PASS_ALL: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];

/// `r0 = XDP_DROP; exit`.
pub const DROP_ALL: [u64; 2] = [0x0000_0001_0000_00b7, 0x0000_0000_0000_0095];

/// `r0 = XDP_TX; exit`.
const SEND_ALL: [u64; 2] = [0x0000_0003_0000_00b7, 0x0000_0000_0000_0095];

/// Where on an interface a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Behind the driver: `XDP_FLAGS_SKB_MODE`.
    Generic = 1 << 1,
    /// In the driver: `XDP_FLAGS_DRV_MODE`.
    Native = 1 << 2,
}

/// A program on an interface, until this is dropped.
#[derive(Debug)]
pub struct Attached {
    program: OwnedFd,
    _link: OwnedFd,
}

/// How often a program ran and how long that took altogether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// How often.
    pub count: u64,
    /// How long, in nanoseconds.
    pub time_ns: u64,
}

impl Runs {
    /// What came after `before`.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self { count: self.count - before.count, time_ns: self.time_ns - before.time_ns }
    }
}

impl Attached {
    /// Its runs so far, as far as the kernel was counting: see [`count_runs`].
    pub fn runs(&self) -> Runs {
        let path = format!("/proc/self/fdinfo/{}", self.program.as_raw_fd());
        let text = fs::read_to_string(path).expect("read what the kernel says of a program");
        let value = |key: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
            found.unwrap_or_else(|| panic!("no {key} in what the kernel says of a program"))
        };
        Runs { count: value("run_cnt:"), time_ns: value("run_time_ns:") }
    }
}

/// Attaches a program of these instructions to an interface.
pub fn attach(host: &Netns, interface: &str, instructions: &[u64], mode: Mode) -> Attached {
    host.enter(|| try_attach(interface, instructions, mode))
        .unwrap_or_else(|error| panic!("attach a program to {interface}: {error}"))
}

/// Makes the kernel count and time the runs of every program, until the result is dropped or this
/// process ends (Linux 5.8). It has the effect of `kernel.bpf_stats_enabled=1`, and nothing that
/// would have to be set back.
pub fn count_runs() -> OwnedFd {
    bpf_fd(BPF_ENABLE_STATS, &mut { BPF_STATS_RUN_TIME })
        .unwrap_or_else(|error| panic!("count and time the runs of programs: {error}"))
}

/// Sends so many copies of a frame from an interface, on which there must be a native XDP program:
/// `BPF_PROG_TEST_RUN` with live frames (Linux 5.18). What comes back is that program's.
///
/// A cable holds 256 frames; of what is sent faster than it is taken in, the rest is lost.
pub fn send(host: &Netns, interface: &str, frame: &[u8], count: u32) {
    host.enter(|| try_send(interface, frame, count))
        .unwrap_or_else(|error| panic!("send frames from {interface}: {error}"));
}

fn try_send(interface: &str, frame: &[u8], count: u32) -> io::Result<()> {
    let program = load(&SEND_ALL)?;
    // `struct xdp_md`: where the packet begins and ends, its metadata, where it came in.
    let context =
        [0, u32::try_from(frame.len()).map_err(io::Error::other)?, 0, index(interface)?, 0, 0];
    bpf(
        BPF_PROG_TEST_RUN,
        &mut TestRun {
            prog_fd: program.as_raw_fd(),
            data_in: frame.as_ptr() as u64,
            data_size_in: context[1],
            ctx_in: context.as_ptr() as u64,
            ctx_size_in: size_of_val(&context) as u32,
            repeat: count,
            batch_size: 64,
            flags: BPF_F_TEST_XDP_LIVE_FRAMES,
            ..TestRun::default()
        },
    )
    .map(drop)
}

fn try_attach(interface: &str, instructions: &[u64], mode: Mode) -> io::Result<Attached> {
    let index = index(interface)?;
    let program = load(instructions)?;
    let link = bpf_fd(
        BPF_LINK_CREATE,
        &mut LinkCreate {
            prog_fd: program.as_raw_fd(),
            target_ifindex: index,
            attach_type: BPF_XDP,
            flags: mode as u32,
        },
    )?;
    Ok(Attached { program, _link: link })
}

fn index(interface: &str) -> io::Result<u32> {
    let name = CString::new(interface)?;
    // SAFETY: the name is a C string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 { Err(io::Error::last_os_error()) } else { Ok(index) }
}

fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    bpf_fd(
        BPF_PROG_LOAD,
        &mut ProgLoad {
            prog_type: BPF_PROG_TYPE_XDP,
            insn_cnt: instructions.len().try_into().map_err(io::Error::other)?,
            insns: instructions.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            expected_attach_type: BPF_XDP,
            ..ProgLoad::default()
        },
    )
}
