//! Larger maps for a larger policy, while everything goes on.
//!
//! Maps have the size that they were made with, so a policy that does not fit needs other maps, and
//! these need other programs. The new programs share with the old ones what must not be lost: the
//! connections, the counters, and what is known of the host. Then the links get the new programs,
//! one after the other; meanwhile some interfaces answer by the new policy and some by the old.

use aya::{Ebpf, VerifierLogLevel};
use cors_common::state::State;

use super::{
    Arrays, LASTING, MapsError, OF_THE_POLICY, Programs, ProgramsError,
    descriptors::Descriptors,
    object::{self, Sizes},
    policy::{Policies, PolicyError, Prepared},
    rehearsal::{Rehearsal, RehearsalError},
    shared::Shared,
    sys,
    tallies::Places,
};
use crate::compile::Image;

/// What is needed to load more programs on another thread: it takes long enough to miss heartbeats.
#[derive(Debug)]
pub struct Seed {
    lasting: Descriptors,
    of_the_policy: Descriptors,
    sizes: Sizes,
    generation: u32,
}

/// Programs with larger maps, that are not in use yet.
pub struct Larger {
    ebpf: Ebpf,
    state: Shared<State>,
    policies: Policies,
    places: Places,
    descriptors: Descriptors,
    sizes: Sizes,
}

impl Seed {
    /// Programs with larger maps, where a policy does not fit into those that there are.
    pub fn larger_for(&self, image: &Image) -> Result<Option<Larger>, ProgramsError> {
        let Sizes { lines, policies, flows } = self.sizes;
        if image.lines.len() <= lines as usize / 2
            && image.summary.policies <= policies as usize / 2
        {
            return Ok(None);
        }
        let needed = Sizes::for_image(image);
        // What was needed before may be needed again.
        let (lines, policies) = (needed.lines.max(lines), needed.policies.max(policies));
        let sizes = Sizes { lines, policies, flows };
        let (mut ebpf, _) = object::load(sizes, VerifierLogLevel::STATS, &self.lasting)?;
        let descriptors = Descriptors::of(&ebpf, &[LASTING, OF_THE_POLICY].concat())?;
        let Arrays { state, policies } = Arrays::take(&mut ebpf, sizes, self.generation)?;
        let places = Places::new(super::take(&mut ebpf, "TALLIES")?)?;
        Ok(Some(Larger { ebpf, state, policies, places, descriptors, sizes }))
    }

    /// A rehearsal in the maps that there are, or in larger ones.
    pub fn rehearsal(&self, larger: Option<&Larger>) -> Result<Rehearsal, RehearsalError> {
        match larger {
            Some(larger) => Rehearsal::load(&larger.descriptors.some(OF_THE_POLICY)?),
            None => Rehearsal::load(&self.of_the_policy),
        }
    }
}

impl Larger {
    /// [`Programs::prepare`] before they are in use.
    pub fn prepare(&self, image: &Image) -> Result<Prepared, PolicyError> {
        self.policies.prepare(None, image)
    }
}

impl Programs {
    /// To load more programs with these maps.
    pub fn seed(&self) -> Result<Seed, ProgramsError> {
        Ok(Seed {
            lasting: self.descriptors.some(LASTING)?,
            of_the_policy: self.descriptors.some(OF_THE_POLICY)?,
            sizes: self.sizes,
            generation: self.policies.generation(),
        })
    }

    /// Goes on with larger maps, in which no policy is active yet. Programs that are attached stay,
    /// with the policy that they have, until their links are given these
    /// ([`Programs::take_over`]); so the former ones must live until then.
    pub fn become_larger(&mut self, larger: Larger) -> Former {
        let Larger { ebpf, state, policies, places, descriptors, sizes } = larger;
        self.state.move_to(state);
        self.policies = policies;
        self.descriptors = descriptors;
        self.sizes = sizes;
        Former {
            _ebpf: std::mem::replace(&mut self.ebpf, ebpf),
            places: self.tallies.move_to(places),
        }
    }

    /// Lets go of programs of which no link is left.
    pub fn let_go(&mut self, former: Former) -> Result<(), MapsError> {
        let Former { places, _ebpf } = former;
        sys::wait_for_programs();
        self.tallies.absorb(&places)
    }
}

/// Programs that were replaced.
#[must_use]
pub struct Former {
    _ebpf: Ebpf,
    places: Places,
}
