//! What was counted for each policy, by its name, over all generations.
//!
//! The programs count in the place that a policy has in its file, in one half of the map. A place
//! that gets another policy keeps its counters: what they said when it did is taken off from then
//! on, so nothing is lost and no counter goes backwards.

use std::collections::BTreeMap;

use aya::maps::{Map, MapData, PerCpuArray};
use cors_common::tally::{KINDS, Neighbours, TOGETHER};

use super::maps::{MapsError, named};

/// Totals in the order of [`KINDS`].
pub type Counts = [u64; KINDS.len()];

const NAME: &str = "TALLIES";

/// So many names of former policies are remembered before those that are not in use are forgotten.
const NAMES: usize = 1 << 15;

/// The map `TALLIES`, and whose places it has.
pub(super) struct Places {
    map: PerCpuArray<MapData, Entry>,
    /// The policy of each place that has had one, and what was counted before it.
    owners: BTreeMap<u32, (String, Counts)>,
}

/// All of it.
pub(super) struct Tallies {
    places: Places,
    /// Of policies that have no place any more, or had another.
    before: BTreeMap<String, Counts>,
}

/// What one entry of the map has, see [`Neighbours`].
type Entry = [Counts; TOGETHER as usize];

const _: () = assert!(size_of::<Neighbours>() == size_of::<Entry>());

impl Places {
    pub(super) fn new(map: Map) -> Result<Self, MapsError> {
        let map = map.try_into().map_err(named(NAME))?;
        Ok(Self { map, owners: BTreeMap::new() })
    }

    fn read(&self, place: u32) -> Result<Counts, MapsError> {
        let (entry, at) = (place / TOGETHER, (place % TOGETHER) as usize);
        let values = self.map.get(&entry, 0).map_err(named(NAME))?;
        Ok(values.iter().fold(Counts::default(), |sum, value| add(sum, value[at])))
    }

    /// What was counted for each policy that has a place.
    fn counted(&self) -> Result<Vec<(&String, Counts)>, MapsError> {
        let owners = self.owners.iter();
        owners.map(|(at, (name, before))| Ok((name, less(self.read(*at)?, *before)))).collect()
    }

    /// What was counted for the policy that gives up its place.
    fn vacate(&mut self, place: u32) -> Result<Option<(String, Counts)>, MapsError> {
        let now = self.read(place)?;
        let owner = self.owners.remove(&place);
        Ok(owner.map(|(name, before)| (name, less(now, before))))
    }
}

impl Tallies {
    pub(super) const fn new(places: Places) -> Self {
        Self { places, before: BTreeMap::new() }
    }

    /// Gives the `room` places from `base` to these policies. Nobody may be counting there.
    pub(super) fn assign(
        &mut self,
        base: u32,
        room: u32,
        names: &[String],
    ) -> Result<(), MapsError> {
        let old: Vec<u32> =
            self.places.owners.range(base..base + room).map(|(at, _)| *at).collect();
        for place in old {
            if let Some((name, counts)) = self.places.vacate(place)? {
                self.keep(name, counts);
            }
        }
        for (place, name) in (base..base + room).zip(names) {
            let before = self.places.read(place)?;
            self.places.owners.insert(place, (name.clone(), before));
        }
        if self.before.len() > NAMES {
            let owners = &self.places.owners;
            self.before.retain(|name, _| owners.values().any(|(owner, _)| owner == name));
        }
        Ok(())
    }

    /// Goes on in other places.
    pub(super) fn move_to(&mut self, places: Places) -> Places {
        std::mem::replace(&mut self.places, places)
    }

    /// Adds what was counted in places that nobody counts in any more.
    pub(super) fn absorb(&mut self, former: &Places) -> Result<(), MapsError> {
        for (name, counts) in former.counted()? {
            self.keep(name.clone(), counts);
        }
        Ok(())
    }

    fn keep(&mut self, name: String, counts: Counts) {
        let kept = self.before.entry(name).or_default();
        *kept = add(*kept, counts);
    }

    /// Every policy's totals by its name.
    pub(super) fn totals(&self) -> Result<BTreeMap<String, Counts>, MapsError> {
        let mut totals = self.before.clone();
        for (name, counts) in self.places.counted()? {
            let total = totals.entry(name.clone()).or_default();
            *total = add(*total, counts);
        }
        Ok(totals)
    }
}

fn add(mut a: Counts, b: Counts) -> Counts {
    for (a, b) in a.iter_mut().zip(b) {
        *a = a.wrapping_add(b);
    }
    a
}

fn less(mut a: Counts, b: Counts) -> Counts {
    for (a, b) in a.iter_mut().zip(b) {
        *a = a.wrapping_sub(b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(entries: u32) -> Places {
        let kind = aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY as u32;
        let entries = entries.div_ceil(TOGETHER);
        let size = size_of::<Entry>() as u32;
        let data = aya_obj::Map::new_from_params(kind, 4, size, entries, 0);
        let data = MapData::create(data, "tallies", None).expect("a map");
        Places::new(Map::PerCpuArray(data)).expect("places")
    }

    fn count(places: &mut Places, place: u32, answered: u64) {
        let entry = place / TOGETHER;
        let mut values = places.map.get(&entry, 0).expect("values").to_vec();
        for value in &mut values {
            value[(place % TOGETHER) as usize][0] += answered;
        }
        let values = values.try_into().expect("one for each CPU");
        places.map.set(entry, values, 0).expect("a place");
    }

    #[test]
    #[ignore = "makes maps: needs CAP_BPF"]
    fn names_keep_their_counts_while_places_change_hands() {
        let cpus = aya::util::nr_cpus().expect("a number") as u64;
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut tallies = Tallies::new(places(8));
        let expect = |tallies: &Tallies, expected: &[(&str, u64)]| {
            let totals = tallies.totals().expect("totals");
            let totals: Vec<_> = totals.iter().map(|(name, c)| (&**name, c[0] / cpus)).collect();
            assert_eq!(totals, expected);
        };
        tallies.assign(0, 4, &names(&["a", "b"])).expect("places");
        count(&mut tallies.places, 0, 3);
        count(&mut tallies.places, 1, 5);
        expect(&tallies, &[("a", 3), ("b", 5)]);
        // The other half, in another order; and what is still counted in the first.
        tallies.assign(4, 4, &names(&["b", "a", "c"])).expect("places");
        count(&mut tallies.places, 0, 1);
        count(&mut tallies.places, 4, 10);
        expect(&tallies, &[("a", 4), ("b", 15), ("c", 0)]);
        // The first half once more: its places have counted for others.
        tallies.assign(0, 4, &names(&["c", "d"])).expect("places");
        expect(&tallies, &[("a", 4), ("b", 15), ("c", 0), ("d", 0)]);
        count(&mut tallies.places, 0, 7);
        // Larger maps, while the former still count.
        let mut former = tallies.move_to(places(16));
        tallies.assign(0, 8, &names(&["a", "c"])).expect("places");
        count(&mut former, 4, 1);
        count(&mut tallies.places, 0, 100);
        tallies.absorb(&former).expect("places");
        expect(&tallies, &[("a", 104), ("b", 16), ("c", 7), ("d", 0)]);
    }
}
