//! The compiled policy in the maps: two halves, one in use, one free for the next generation.

use cors_common::{
    policy::{Template, image::Line},
    state::{Slot, Table},
};
use thiserror::Error;

use super::{object::Sizes, shared::Shared, state::StateWords, sys};
use crate::compile::{Image, Limits};

/// The most that the maps are made for, one generation: 128 MiB of lines, 16 MiB of templates.
pub const LIMITS: Limits = Limits { lines: 1 << 21, policies: 1 << 14 };

/// Lines that even the smallest policy gets, so that it can grow without a restart.
const LINES_MIN: u32 = 4096;
/// Policies likewise.
const POLICIES_MIN: u32 = 64;
/// Connections that are remembered.
const FLOWS: u32 = 1 << 18;

/// A policy that is larger than the maps were made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the policy needs {lines} lines and {policies} policies, and the maps hold {} and {}: restart \
     the agent, which makes them larger",
    room.lines,
    room.policies
)]
pub struct PolicyError {
    /// Lines that it needs.
    pub lines: usize,
    /// Policies that it has.
    pub policies: usize,
    /// What there is room for.
    pub room: Limits,
}

impl Sizes {
    /// Maps for this policy, with room for one twice as large.
    pub fn for_image(image: &Image) -> Self {
        Self::for_limits(room(image.lines.len() * 2, image.summary.policies))
    }

    /// Maps in which two generations of this size find room.
    pub const fn for_limits(limits: Limits) -> Self {
        Self { lines: 2 * limits.lines, policies: 2 * limits.policies, flows: FLOWS }
    }
}

fn room(lines: usize, policies: usize) -> Limits {
    let room = |needed: usize, min: u32, max: u32| {
        let needed = needed.try_into().unwrap_or(u32::MAX);
        // No less than what a policy that was compiled within the limits has.
        u32::checked_next_power_of_two(needed).unwrap_or(max).clamp(min, max)
    };
    Limits {
        lines: room(lines, LINES_MIN, LIMITS.lines),
        policies: room(policies, POLICIES_MIN, LIMITS.policies),
    }
}

/// The maps `FACTS` and `TEMPLATES`.
#[derive(Debug)]
pub(super) struct Policies {
    lines: Shared<Line>,
    templates: Shared<Template>,
    generation: u32,
    /// Lines and policies of the generation that is in use.
    used: [usize; 2],
}

/// A policy that is in the maps and not yet in use.
#[derive(Debug)]
#[must_use]
pub struct Prepared {
    /// Which half it is in.
    pub(super) half: usize,
    pub(super) slot: Slot,
    used: [usize; 2],
}

impl Policies {
    /// `generation` is the number of the last one before these maps.
    pub(super) const fn new(
        lines: Shared<Line>,
        templates: Shared<Template>,
        generation: u32,
    ) -> Self {
        Self { lines, templates, generation, used: [0; 2] }
    }

    /// The number of the generation that was activated last; 0: none.
    pub(super) const fn generation(&self) -> u32 {
        self.generation
    }

    /// How many policies one generation may have.
    pub(super) const fn room(&self) -> usize {
        self.templates.len() / 2
    }

    /// Of lines and of policies: how many are used, and how many one generation may have.
    pub(super) const fn fill(&self) -> [(usize, usize); 2] {
        let [lines, policies] = self.used;
        [(lines, self.lines.len() / 2), (policies, self.templates.len() / 2)]
    }

    /// Writes the image into the half that is not in use; which one is, `active` says.
    pub(super) fn prepare(
        &self,
        active: Option<usize>,
        image: &Image,
    ) -> Result<Prepared, PolicyError> {
        let room = Limits {
            lines: (self.lines.len() / 2) as u32,
            policies: (self.templates.len() / 2) as u32,
        };
        let (lines, policies) = (image.lines.len(), image.summary.policies);
        if lines > room.lines as usize || policies > room.policies as usize {
            return Err(PolicyError { lines, policies, room });
        }
        if active.is_some() {
            // Packets that were on their way when the other half was put in use may still be
            // reading this one.
            sys::wait_for_programs();
        }
        let half = active.map_or(0, |active| active ^ 1);
        let slot = slot(half as u32, self.generation + 1, room, &image.slot);
        for (i, line) in image.lines.iter().enumerate() {
            self.lines.store(slot.policies as usize + i, line);
        }
        for (i, template) in image.templates.iter().enumerate() {
            self.templates.store(slot.policy_base as usize + i, template);
        }
        Ok(Prepared { half, slot, used: [lines, policies] })
    }

    /// Puts a prepared policy in use and returns the number of its generation; the first is 1.
    pub(super) fn activate(
        &mut self,
        state: &mut StateWords,
        Prepared { half, slot, used }: Prepared,
    ) -> u32 {
        state.activate(half, slot);
        self.used = used;
        self.generation = slot.generation;
        self.generation
    }
}

/// The image's own slot, moved to its half of the maps.
const fn slot(half: u32, generation: u32, room: Limits, image: &Slot) -> Slot {
    Slot {
        generation,
        scopes: moved(&image.scopes, half * room.lines),
        origins: moved(&image.origins, half * room.lines),
        policy_base: image.policy_base + half * room.policies,
        policies: image.policies + half * room.lines,
        ..*image
    }
}

const fn moved(table: &Table, by: u32) -> Table {
    Table { base: table.base + by, ..*table }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_have_room_to_grow_within_the_limits() {
        for (needed, expected) in [
            ((0, 0), (LINES_MIN, POLICIES_MIN)),
            ((4097, 64), (8192, 64)),
            ((262_144, 1000), (262_144, 1024)),
            ((LIMITS.lines as usize * 2, 65), (LIMITS.lines, 128)),
            ((usize::MAX, usize::MAX), (LIMITS.lines, LIMITS.policies)),
        ] {
            let (lines, policies) = expected;
            assert_eq!(room(needed.0, needed.1), Limits { lines, policies }, "{needed:?}");
        }
    }

    #[test]
    fn a_slot_points_into_its_half() {
        let room = Limits { lines: 4096, policies: 64 };
        let table = |base, lines| Table { base, lines, buckets: 3, seed: 4 };
        let (scopes, origins) = (table(5, 15), table(21, 31));
        let image = Slot { scopes, origins, ..bytemuck::Zeroable::zeroed() };
        let first = slot(0, 1, room, &image);
        assert_eq!((first.generation, first.policy_base, first.policies), (1, 0, 0));
        assert_eq!((first.scopes, first.origins), (scopes, origins));
        let second = slot(1, 2, room, &image);
        assert_eq!((second.generation, second.policy_base, second.policies), (2, 64, 4096));
        let expected = (table(4096 + 5, 15), table(4096 + 21, 31));
        assert_eq!((second.scopes, second.origins), expected);
    }
}
