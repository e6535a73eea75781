//! The kernel side: programs, maps, links. The only module that may name `aya`.
//!
//! [`Programs`] is the handle: loaded programs with their maps. Nothing is attached by loading
//! them; [`attach`] does that and gives back what holds the attachment.

pub mod attach;
pub mod bench;
pub mod checks;
mod descriptors;
pub mod features;
pub mod grow;
pub mod kfunc;
pub mod load;
pub mod maps;
pub mod messages;
pub mod object;
pub mod pins;
pub mod policy;
pub mod rehearsal;
mod shared;
pub mod state;
pub mod statistics;
mod sys;
mod tallies;
pub mod trace;
pub mod tracks;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use aya::{
    Ebpf, VerifierLogLevel,
    maps::{Map, MapData},
};
use cors_common::{
    policy::{Template, image::Line},
    state::State,
    track::table::ENTRIES,
};
use thiserror::Error;

use crate::compile::Image;
use descriptors::Descriptors;
use features::Features;
use maps::{Counters, Flows, Interfaces, MapsError, Protected, Vlans};
use messages::{Messages, MessagesError};
pub use object::{LoadError, Sizes};
use pins::{Pins, PinsError};
use policy::{Policies, PolicyError, Prepared};
use shared::{Shared, SharedError};
use state::StateWords;
pub use tallies::Counts;
use tallies::{Places, Tallies};
use trace::{Decisions, TraceError};
use tracks::{Tracks, Uneven};

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
    /// Nothing can be kept.
    #[error(transparent)]
    Pins(#[from] PinsError),
}

/// Names of the maps that outlive the programs which they were made for, when larger ones follow.
const LASTING: &[&str] =
    &["FLOWS", "CHANGES", "TRACKS", "PROTECTED", "INTERFACES", "VLANS", "COUNTERS"];
/// Names of the maps that hold the policy.
const OF_THE_POLICY: &[&str] = &["FACTS", "TEMPLATES"];

/// The loaded programs and their maps. Dropped, nothing of them is left in the kernel.
pub struct Programs {
    ebpf: Ebpf,
    /// The words that are kept current.
    pub state: StateWords,
    protected: Protected,
    /// What each interface announces.
    pub interfaces: Interfaces,
    /// The VLANs that the host is in on these interfaces.
    pub vlans: Vlans,
    policies: Policies,
    counters: Counters,
    tallies: Tallies,
    flows: Flows,
    tracks: Tracks,
    descriptors: Descriptors,
    sizes: Sizes,
    features: Features,
    pins: Option<Pins>,
}

impl Programs {
    /// Loads the programs and makes their maps. Until a policy is loaded and the lease is
    /// written, everything passes.
    pub fn load(sizes: Sizes) -> Result<Self, ProgramsError> {
        Self::load_with(sizes, None)
    }

    /// The same with the maps that were left in `pins`, and with what is kept from now on kept
    /// there.
    pub fn load_with(sizes: Sizes, pins: Option<Pins>) -> Result<Self, ProgramsError> {
        let kept = pins.as_ref().map_or_else(Descriptors::default, Pins::descriptors);
        // Of a program that is refused, the verifier's last words; the full log of a program of
        // this size is megabytes.
        let (mut ebpf, features) = object::load(sizes, VerifierLogLevel::STATS, &kept)?;
        let descriptors = Descriptors::of(&ebpf, &[LASTING, OF_THE_POLICY].concat())?;
        if let Some(pins) = &pins {
            pins.keep(&descriptors, &kept)?;
        }
        let Arrays { state, policies } = Arrays::take(&mut ebpf, sizes, 0)?;
        Ok(Self {
            state: StateWords::new(state),
            protected: Protected::new(take(&mut ebpf, "PROTECTED")?)?,
            interfaces: Interfaces::new(take(&mut ebpf, "INTERFACES")?)?,
            vlans: Vlans::new(take(&mut ebpf, "VLANS")?)?,
            policies,
            counters: Counters::new(take(&mut ebpf, "COUNTERS")?)?,
            tallies: Tallies::new(Places::new(take(&mut ebpf, "TALLIES")?)?),
            flows: Flows::new(take(&mut ebpf, "FLOWS")?, take(&mut ebpf, "CHANGES")?)?,
            tracks: Tracks::new(&array(&mut ebpf, "TRACKS")?)?,
            descriptors,
            sizes,
            features,
            pins,
            ebpf,
        })
    }

    /// What the kernel has.
    pub const fn features(&self) -> &Features {
        &self.features
    }

    /// Puts a policy in the place of the active one and returns its generation. Where it does
    /// not fit, the active one stays.
    pub fn set_policy(&mut self, image: &Image) -> Result<u32, PolicyError> {
        let prepared = self.prepare(image)?;
        Ok(self.activate(prepared))
    }

    /// Writes a policy where no packet is looked up; where it does not fit, nothing is written.
    pub fn prepare(&self, image: &Image) -> Result<Prepared, PolicyError> {
        self.policies.prepare(self.state.active(), image)
    }

    /// Puts it in the place of the active one, by one word, and returns its generation.
    pub fn activate(&mut self, prepared: Prepared) -> u32 {
        self.policies.activate(&mut self.state, prepared)
    }

    /// Protects these sockets and no others.
    pub fn protect(&mut self, wanted: &BTreeSet<SocketAddr>) -> Result<(), MapsError> {
        let before = self.protected.sockets().clone();
        let result = self.protected.set(wanted);
        if *self.protected.sockets() != before {
            self.state.sockets_changed();
        }
        result
    }

    /// What the programs say in words; once, inside a tokio runtime.
    pub fn messages(&mut self) -> Result<Messages, MessagesError> {
        Messages::open(&mut self.ebpf)
    }

    /// What `edge` tells of its decisions, while it is told to; once for each set of programs,
    /// inside a tokio runtime.
    pub fn decisions(&mut self) -> Result<Decisions, TraceError> {
        Decisions::open(&mut self.ebpf)
    }

    /// Every counter's total over the CPUs, in the order of [`cors_common::exit::Exit::ALL`].
    pub fn counters(&self) -> Result<Vec<u64>, MapsError> {
        self.counters.totals()
    }

    /// From now on what is counted in the places of a prepared policy is for policies of these
    /// names, in the order of the file.
    pub fn count_for(&mut self, prepared: &Prepared, names: &[String]) -> Result<(), MapsError> {
        self.tallies.assign(prepared.slot.policy_base, self.policies.room() as u32, names)
    }

    /// What was counted for each policy since these programs were first loaded, by its name and in
    /// the order of [`cors_common::tally::KINDS`]; also for policies that are no more.
    pub fn tallies(&self) -> Result<BTreeMap<String, Counts>, MapsError> {
        self.tallies.totals()
    }

    /// Each map that can be full: its name, how many entries it has, and for how many there is
    /// room. Of the policy's maps it is what one generation uses and may use.
    pub fn fill(&self) -> Result<Vec<(&'static str, u64, u64)>, MapsError> {
        let [facts, policies] = self.policies.fill();
        let flows = (self.flows()? as usize, self.sizes.flows as usize);
        let all = [
            ("facts", facts),
            ("policies", policies),
            ("flows", flows),
            ("tracks", (self.tracks.count(), ENTRIES as usize)),
            ("protected", self.protected.fill()),
            ("interfaces", self.interfaces.fill()),
            ("vlans", self.vlans.fill()),
        ];
        Ok(all.map(|(name, (entries, room))| (name, entries as u64, room as u64)).into())
    }

    /// Which policy of its file an entry of the policies is.
    pub const fn place_of_policy(&self, entry: u32) -> usize {
        entry as usize % self.policies.room()
    }

    /// Connections that without the programs would not go on, but break.
    pub fn uneven(&self) -> Vec<Uneven> {
        self.tracks.uneven()
    }

    /// The sockets that are protected.
    pub const fn protected(&self) -> &BTreeSet<SocketAddr> {
        self.protected.sockets()
    }

    /// How many connections are remembered.
    pub fn flows(&self) -> Result<u64, MapsError> {
        Ok(self.flows.count()?.0)
    }

    /// How many connections were forgotten because there were too many, since the table was made.
    pub fn evicted(&self) -> Result<u64, MapsError> {
        Ok(self.flows.count()?.1)
    }
}

/// The maps that are shared memory.
struct Arrays {
    state: Shared<State>,
    policies: Policies,
}

impl Arrays {
    fn take(ebpf: &mut Ebpf, sizes: Sizes, generation: u32) -> Result<Self, ProgramsError> {
        let state = Shared::map(&array(ebpf, "STATE")?, 1)?;
        let lines = Shared::<Line>::map(&array(ebpf, "FACTS")?, sizes.lines as usize)?;
        let templates = array(ebpf, "TEMPLATES")?;
        let templates = Shared::<Template>::map(&templates, sizes.policies as usize)?;
        Ok(Self { state, policies: Policies::new(lines, templates, generation) })
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
