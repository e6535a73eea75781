//! The load generator: its programs and maps, one interface.
//!
//! User space only lends it time: a [`Seeder`] makes the kernel run frames through the program that
//! sends by itself (`BPF_PROG_TEST_RUN` with `BPF_F_TEST_XDP_LIVE_FRAMES`, Linux 5.18).

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Map, MapData, MapError, PerCpuArray, Queue},
    programs::{ProgramError, Xdp},
};
use aya_obj::generated::{XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, bpf_attach_type};
use bytemuck::Zeroable as _;
use cors_load::{
    count::Count,
    histogram::BUCKETS,
    layout::{Config, Progress, Reply, Request, SLOTS_MAX},
};
use thiserror::Error;

use super::{
    shared::{Shared, SharedError},
    sys,
};
use crate::host::Interface;

/// The programs as the build script compiled them.
static EMBEDDED: &[u8] = include_bytes!(env!("CORS_LOAD_EBPF"));

const PROGRAMS: [&str; 2] = ["client", "seed"];

/// Why there is no load.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The object.
    #[error("the load generator cannot be loaded: {0}")]
    Ebpf(#[from] EbpfError),
    /// The verifier, or the kernel at a run.
    #[error("the program {name} of the load generator: {source}")]
    Program {
        /// The program.
        name: &'static str,
        /// What the kernel says.
        source: ProgramError,
    },
    /// A map.
    #[error("a map of the load generator: {0}")]
    Map(#[from] MapError),
    /// A map that cannot be shared.
    #[error(transparent)]
    Shared(#[from] SharedError),
    /// Something that the object should have.
    #[error("the load generator has no {0}: the agent was built with another one")]
    Missing(&'static str),
    /// The kernel does not run frames through a program.
    #[error("the kernel does not run frames through a program: {0}")]
    Seed(io::Error),
    /// The driver, or somebody else's program.
    #[error("the load generator cannot be attached to {interface}: {source}")]
    Attach {
        /// The interface.
        interface: String,
        /// What the kernel says.
        source: io::Error,
    },
}

/// All clients. Dropped, nothing of them is left in the kernel.
pub struct Generator {
    seed: OwnedFd,
    config: Shared<Config>,
    requests: Shared<Request>,
    replies: Shared<Reply>,
    progress: Shared<Progress>,
    counts: PerCpuArray<MapData, u64>,
    latencies: PerCpuArray<MapData, u64>,
    free: Queue<MapData, u32>,
    interface: u32,
    _link: OwnedFd,
}

impl Generator {
    /// Loads it for so many clients and requests, and attaches it; it plays nobody yet.
    pub fn attach(
        interface: &Interface,
        generic: bool,
        slots: u32,
        requests: u32,
    ) -> Result<Self, LoadError> {
        let slots = slots.clamp(1, SLOTS_MAX);
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("CONNS", slots)
            .map_max_entries("REQUESTS", requests)
            .map_max_entries("REPLIES", requests)
            .load(EMBEDDED)?;
        for name in PROGRAMS {
            let named = |source| LoadError::Program { name, source };
            let program = ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
            let xdp: &mut Xdp = program.try_into().map_err(named)?;
            xdp.load().map_err(named)?;
        }
        let flags = if generic { XDP_FLAGS_SKB_MODE } else { XDP_FLAGS_DRV_MODE };
        let (client, seed) = (descriptor(&ebpf, "client")?, descriptor(&ebpf, "seed")?);
        let hook = bpf_attach_type::BPF_XDP;
        let link = sys::create_link(client.as_fd(), interface.index, hook, flags)
            .map_err(|source| LoadError::Attach { interface: interface.name.clone(), source })?;
        let entries = requests as usize;
        Ok(Self {
            config: Shared::map(&array(&mut ebpf, "CONFIG")?, 1)?,
            requests: Shared::map(&array(&mut ebpf, "REQUESTS")?, entries)?,
            replies: Shared::map(&array(&mut ebpf, "REPLIES")?, entries)?,
            progress: Shared::map(&array(&mut ebpf, "PROGRESS")?, 1)?,
            counts: take(&mut ebpf, "COUNTS")?.try_into()?,
            latencies: take(&mut ebpf, "LATENCIES")?.try_into()?,
            free: take(&mut ebpf, "FREE")?.try_into()?,
            seed,
            interface: interface.index,
            _link: link,
        })
    }

    /// From here on a segment of the target's tells where it is heard from.
    pub fn listen_to(&self, target: &Config) {
        self.config.store(0, &Config { slots: 0, ..*target });
    }

    /// The Ethernet address from which the target was heard.
    pub fn neighbour(&self) -> Option<[u8; 6]> {
        let [address @ .., heard, _] = self.progress.read(0).neighbour;
        (heard != 0).then_some(address)
    }

    /// Puts a request with its reply into its place.
    pub fn set_exchange(&self, index: usize, request: &Request, reply: &Reply) {
        self.requests.store(index, request);
        self.replies.store(index, reply);
    }

    /// Makes all clients wait for the first arrival.
    pub fn begin(&mut self, config: &Config) -> Result<(), LoadError> {
        self.progress.store(0, &Progress::zeroed());
        for slot in 0..config.slots {
            self.free.push(slot, 0)?;
        }
        self.config.store(0, config);
        Ok(())
    }

    /// Changes how it is played, but neither the clients nor the target.
    pub fn change(&self, config: &Config) {
        self.config.store(0, config);
    }

    /// How many arrivals there were.
    pub fn arrivals(&self) -> u64 {
        self.progress.read(0).arrivals
    }

    /// What lends time to the clients.
    pub fn seeder(&self) -> Result<Seeder, LoadError> {
        let program = self.seed.try_clone().map_err(LoadError::Seed)?;
        Ok(Seeder { program, interface: self.interface })
    }

    /// What was counted, in the order of [`Count::ALL`].
    pub fn counts(&self) -> Result<Vec<u64>, LoadError> {
        Ok(totals(&self.counts, Count::COUNT as u32)?)
    }

    /// How often each latency was; see [`cors_load::histogram`].
    pub fn latencies(&self) -> Result<Vec<u64>, LoadError> {
        Ok(totals(&self.latencies, BUCKETS as u32)?)
    }
}

/// Runs frames through the program that sends by itself.
#[derive(Debug)]
pub struct Seeder {
    program: OwnedFd,
    interface: u32,
}

impl Seeder {
    /// Does so until it is told to stop. The kernel looks for signals and not for `stop`: whoever
    /// sets it interrupts this thread with one.
    pub fn run(&self, stop: &AtomicBool) -> Result<(), LoadError> {
        // Each call waits twice until no CPU uses the program's old trampoline: it should be a long
        // one, some seconds. The batch is what the kernel sends off together.
        const FRAMES: u32 = 1 << 24;
        const BATCH: u32 = 32;
        while !stop.load(Ordering::Relaxed) {
            match sys::run_live(self.program.as_fd(), self.interface, FRAMES, BATCH) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(LoadError::Seed(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn totals(map: &PerCpuArray<MapData, u64>, entries: u32) -> Result<Vec<u64>, MapError> {
    (0..entries).map(|index| Ok(map.get(&index, 0)?.iter().sum())).collect()
}

fn descriptor(ebpf: &Ebpf, name: &'static str) -> Result<OwnedFd, LoadError> {
    let named = |source| LoadError::Program { name, source };
    let xdp: &Xdp =
        ebpf.program(name).ok_or(LoadError::Missing(name))?.try_into().map_err(named)?;
    xdp.fd().map_err(named)?.as_fd().try_clone_to_owned().map_err(LoadError::Seed)
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, LoadError> {
    ebpf.take_map(name).ok_or(LoadError::Missing(name))
}

fn array(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, LoadError> {
    match take(ebpf, name)? {
        Map::Array(data) => Ok(data),
        _ => Err(LoadError::Missing(name)),
    }
}
