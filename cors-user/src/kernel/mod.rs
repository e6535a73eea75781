//! The kernel side: programs, maps, links. The only module that may name `aya`.
//!
//! [`Programs`] is the handle: loaded programs with their maps. Nothing is attached by loading
//! them; [`attach`] does that and gives back what holds the attachment.

pub mod attach;
pub mod bench;
pub mod checks;
pub mod kfunc;
pub mod maps;
pub mod messages;
pub mod object;
pub mod policy;
mod shared;
pub mod state;
pub mod statistics;
mod sys;

use aya::{
    Ebpf, VerifierLogLevel,
    maps::{Map, MapData},
};
use cors_common::{
    policy::{Policy, image::Line},
    state::State,
};
use thiserror::Error;

use crate::compile::Image;
use maps::{Counters, Flows, Interfaces, MapsError, Protected, Vlans};
use messages::{Messages, MessagesError};
pub use object::{LoadError, Sizes};
use policy::{Policies, PolicyError};
use shared::{Shared, SharedError};
use state::StateWords;

/// Why there is no [`Programs`].
#[derive(Debug, Error)]
pub enum ProgramsError {
    /// The object cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A map is not what it should be.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// A map cannot be shared.
    #[error(transparent)]
    Shared(#[from] SharedError),
}

/// The loaded programs and their maps. Dropped, nothing of them is left in the kernel.
pub struct Programs {
    ebpf: Ebpf,
    /// The words that are kept current.
    pub state: StateWords,
    /// Protected sockets.
    pub protected: Protected,
    /// What each interface announces.
    pub interfaces: Interfaces,
    /// The VLANs that the host is in on these interfaces.
    pub vlans: Vlans,
    policies: Policies,
    counters: Counters,
    flows: Flows,
}

impl Programs {
    /// Loads the programs and makes their maps. Until a policy is loaded and the lease is
    /// written, everything passes.
    pub fn load(sizes: Sizes) -> Result<Self, ProgramsError> {
        // Of a program that is refused, the verifier's last words; the full log of a program of
        // this size is megabytes.
        let mut ebpf = object::load(sizes, VerifierLogLevel::STATS)?;
        let state = Shared::<State>::map(&array(&mut ebpf, "STATE")?, 1)?;
        let lines = Shared::<Line>::map(&array(&mut ebpf, "FACTS")?, sizes.lines as usize)?;
        let policies =
            Shared::<Policy>::map(&array(&mut ebpf, "POLICIES")?, sizes.policies as usize)?;
        Ok(Self {
            state: StateWords::new(state),
            protected: Protected::new(take(&mut ebpf, "PROTECTED")?)?,
            interfaces: Interfaces::new(take(&mut ebpf, "INTERFACES")?)?,
            vlans: Vlans::new(take(&mut ebpf, "VLANS")?)?,
            policies: Policies::new(lines, policies),
            counters: Counters::new(take(&mut ebpf, "COUNTERS")?)?,
            flows: Flows::new(take(&mut ebpf, "FLOWS")?)?,
            ebpf,
        })
    }

    /// Puts a policy in the place of the active one and returns its generation. Where it does
    /// not fit, the active one stays.
    pub fn set_policy(&mut self, image: &Image) -> Result<u32, PolicyError> {
        self.policies.activate(&mut self.state, image)
    }

    /// What the programs say in words; once, inside a tokio runtime.
    pub fn messages(&mut self) -> Result<Messages, MessagesError> {
        Messages::open(&mut self.ebpf)
    }

    /// Every counter's total over the CPUs, in the order of [`cors_common::exit::Exit::ALL`].
    pub fn counters(&self) -> Result<Vec<u64>, MapsError> {
        self.counters.totals()
    }

    /// How many connections are remembered.
    pub fn flows(&self) -> Result<u64, MapsError> {
        self.flows.count()
    }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, LoadError> {
    ebpf.take_map(name).ok_or(LoadError::Missing(name))
}

fn array(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, ProgramsError> {
    match take(ebpf, name)? {
        Map::Array(data) => Ok(data),
        _ => Err(LoadError::Missing(name).into()),
    }
}
