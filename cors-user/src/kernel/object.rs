//! The embedded object: loaded, with the maps in the sizes that the policy needs.

use std::{io, panic::resume_unwind, thread};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    programs::{Program, ProgramError},
};
use cors_common::{
    policy::memo::Memo,
    tally::TOGETHER,
    track::table::{ENTRIES, WAYS},
};
use thiserror::Error;

use super::{
    descriptors::Descriptors,
    features::Features,
    kfunc::{self, KfuncError},
};

/// The kernel programs as the build script compiled them.
pub static EMBEDDED: &[u8] = include_bytes!(env!("CORS_EDGE_EBPF"));

/// Names of the programs in the object.
pub(super) mod program {
    /// The XDP program.
    pub(in super::super) const EDGE: &str = "edge";
    /// The TC program.
    pub(in super::super) const HANDOVER: &str = "handover";
    /// The TC program on the way out.
    pub(in super::super) const OUTWARD: &str = "outward";
    /// The XDP program that passes everything.
    pub(in super::super) const PASS: &str = "pass";
}

/// All of them.
const ALL: [&str; 4] = [program::EDGE, program::HANDOVER, program::OUTWARD, program::PASS];

/// Why the programs cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The kernel function of the hand-over.
    #[error(transparent)]
    Kfunc(#[from] KfuncError),
    /// The kernel's BTF, or the object.
    #[error("the kernel programs cannot be loaded: {0}")]
    Ebpf(#[from] EbpfError),
    /// The verifier, or the program's type.
    #[error("the kernel refuses the program {name}: {source}")]
    Program {
        /// The program.
        name: &'static str,
        /// What the kernel says.
        source: ProgramError,
    },
    /// The kernel's BTF cannot be read.
    #[error("the kernel's type information (/sys/kernel/btf/vmlinux) cannot be read: {0}")]
    Btf(#[from] aya::BtfError),
    /// A map that was to be shared.
    #[error("the map {name} cannot be shared: {source}")]
    Share {
        /// The map.
        name: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// A program or map that the object should have.
    #[error("the embedded object has no {0}: the agent was built with another one")]
    Missing(&'static str),
}

/// How large the maps are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Lines of facts, for both generations together.
    pub lines: u32,
    /// Policies, for both generations together; a template for each.
    pub policies: u32,
    /// Connections that are remembered.
    pub flows: u32,
}

/// How many answers each CPU remembers, a power of two: all of them together take 16 MiB at most,
/// unless there are very many CPUs.
pub(super) fn memos() -> u32 {
    const TOGETHER: usize = 16 << 20;
    // Where it cannot be told how many there are, `aya` makes no map for each CPU either.
    let cpus = aya::util::nr_cpus().unwrap_or(1);
    let each = TOGETHER / size_of::<Memo>() / cpus;
    1 << each.clamp(256, 4096).ilog2()
}

/// Makes the maps and loads the programs; nothing is attached yet. On a kernel without
/// [`kfunc::NAME`] the one that hands over is not loaded.
pub(super) fn load(
    sizes: Sizes,
    log: VerifierLogLevel,
    shared: &Descriptors,
) -> Result<(Ebpf, Features), LoadError> {
    let (mut ebpf, features) = open(sizes, log, shared)?;
    for name in ALL {
        ebpf.program(name).ok_or(LoadError::Missing(name))?;
    }
    let is_wanted = |name: &str| features.hands_over() || name != program::HANDOVER;
    // Each takes the verifier a tenth of a second or more, and it can do several at a time.
    let loaded: Result<(), LoadError> = thread::scope(|scope| {
        let loads: Vec<_> = ebpf
            .programs_mut()
            .filter_map(|(name, program)| {
                Some((ALL.into_iter().find(|all| *all == name && is_wanted(name))?, program))
            })
            .map(|(name, program)| scope.spawn(move || verify(name, program)))
            .collect();
        loads
            .into_iter()
            .try_for_each(|load| load.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    loaded.and(Ok((ebpf, features)))
}

/// Makes the maps, but for those that are shared with programs which are loaded already. What the
/// kernel has comes with it.
pub(super) fn open(
    sizes: Sizes,
    log: VerifierLogLevel,
    shared: &Descriptors,
) -> Result<(Ebpf, Features), LoadError> {
    let btf = Btf::from_sys_fs()?;
    let features = Features::detect(&btf)?;
    let mut elf = EMBEDDED.to_vec();
    if let Some(id) = features.hand_over {
        kfunc::resolve(&mut elf, id)?;
    }
    // Where they are shared, the largest is made in vain.
    let is_shared = |map: &str| shared.iter().any(|(name, _)| name == map);
    let flows = if is_shared("FLOWS") { 1 } else { sizes.flows };
    let tracks = if is_shared("TRACKS") { WAYS } else { ENTRIES };
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(&btf))
        .verifier_log_level(log)
        .map_max_entries("FACTS", sizes.lines)
        .map_max_entries("TEMPLATES", sizes.policies)
        .map_max_entries("TALLIES", sizes.policies.div_ceil(TOGETHER))
        .map_max_entries("MEMO", memos())
        .map_max_entries("FLOWS", flows)
        .map_max_entries("TRACKS", tracks);
    let ebpf = loader.load(&elf)?;
    shared.replace_those_of(&ebpf)?;
    Ok((ebpf, features))
}

/// Has an XDP program verified.
pub(super) fn load_xdp(ebpf: &mut Ebpf, name: &'static str) -> Result<(), LoadError> {
    verify(name, ebpf.program_mut(name).ok_or(LoadError::Missing(name))?)
}

/// Has a program verified.
fn verify(name: &'static str, program: &mut Program) -> Result<(), LoadError> {
    let named = |source| LoadError::Program { name, source };
    match program {
        Program::Xdp(xdp) => xdp.load(),
        Program::SchedClassifier(tc) => tc.load(),
        _ => return Err(LoadError::Missing(name)),
    }
    .map_err(named)
}
