//! The maps that are reached by system calls: protected sockets, interfaces, VLANs, counters,
//! flows.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    os::fd::AsFd as _,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::{
    Pod,
    maps::{HashMap, Map, MapData, MapError, PerCpuArray},
};
use cors_common::{
    exit::Exit,
    tcp::flow::{Flow, change},
    wire::{
        link::{Interface, Vlan},
        segment::{Address, Endpoint, Tuple},
    },
};
use thiserror::Error;

use super::sys;

/// Why a map cannot be read or written.
#[derive(Debug, Error)]
pub enum MapsError {
    /// The kernel, or a map of another layout.
    #[error("the map {name} cannot be used: {source}")]
    Map {
        /// Its name.
        name: &'static str,
        /// What went wrong.
        source: MapError,
    },
    /// More entries than the map holds.
    #[error(
        "the kernel's table of {what} holds {available}, and there would be {needed} in it: {advice}"
    )]
    Full {
        /// What is in it.
        what: &'static str,
        /// How many there would be.
        needed: usize,
        /// How many fit.
        available: usize,
        /// What to do.
        advice: &'static str,
    },
}

pub(super) fn named(name: &'static str) -> impl Fn(MapError) -> MapsError + Copy {
    move |source| MapsError::Map { name, source }
}

/// What a [`Table`] is called.
#[derive(Debug)]
struct About {
    /// The map's name.
    name: &'static str,
    /// What is in it.
    what: &'static str,
    /// What to do where there is more.
    advice: &'static str,
}

/// A hash map that only the agent writes, and what is in it.
#[derive(Debug)]
struct Table<K, V> {
    about: About,
    map: HashMap<MapData, K, V>,
    room: usize,
    entries: BTreeMap<K, V>,
}

impl<K: Pod + Ord, V: Pod + Eq> Table<K, V> {
    fn new(map: Map, about: About) -> Result<Self, MapsError> {
        let named = named(about.name);
        let room = match &map {
            Map::HashMap(data) => data.info().map(|info| info.max_entries()),
            _ => Ok(0),
        };
        let map: HashMap<_, K, V> = map.try_into().map_err(named)?;
        // What an agent before this one has left there.
        let entries = map.iter().collect::<Result<_, _>>().map_err(named)?;
        Ok(Self { room: room.map_err(named)? as usize, map, entries, about })
    }

    /// How many entries there are, and for how many there is room.
    fn fill(&self) -> (usize, usize) {
        (self.entries.len(), self.room)
    }

    /// Puts these entries in and takes all others out. Those that stay are there all the while.
    fn set(&mut self, wanted: BTreeMap<K, V>) -> Result<(), MapsError> {
        let About { name, what, advice } = self.about;
        if wanted.len() > self.room {
            let (needed, available) = (wanted.len(), self.room);
            return Err(MapsError::Full { what, needed, available, advice });
        }
        // First out, then in: the table need not hold both.
        let gone: Vec<K> =
            self.entries.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            self.map.remove(&key).map_err(named(name))?;
            self.entries.remove(&key);
        }
        for (key, value) in wanted {
            if self.entries.get(&key) != Some(&value) {
                self.map.insert(key, value, 0).map_err(named(name))?;
                self.entries.insert(key, value);
            }
        }
        Ok(())
    }
}

/// The map `PROTECTED`, and what is in it.
#[derive(Debug)]
pub(super) struct Protected {
    table: Table<[u8; size_of::<Endpoint>()], u32>,
    sockets: BTreeSet<SocketAddr>,
}

impl Protected {
    /// How many entries there are, and for how many there is room.
    pub(super) fn fill(&self) -> (usize, usize) {
        self.table.fill()
    }

    pub(super) fn new(map: Map) -> Result<Self, MapsError> {
        let about = About {
            name: "PROTECTED",
            what: "protected sockets",
            advice: "name the addresses in `listen` instead of a wildcard, or fewer interfaces",
        };
        Ok(Self { table: Table::new(map, about)?, sockets: BTreeSet::new() })
    }

    /// The sockets that are protected.
    pub(super) const fn sockets(&self) -> &BTreeSet<SocketAddr> {
        &self.sockets
    }

    /// Protects these sockets and no others.
    pub(super) fn set(&mut self, wanted: &BTreeSet<SocketAddr>) -> Result<(), MapsError> {
        let result = self.table.set(wanted.iter().map(|socket| (key(*socket), 1)).collect());
        // Where it failed, it may have failed half-way.
        let there = |socket: &&SocketAddr| self.table.entries.contains_key(&key(**socket));
        self.sockets = self.sockets.union(wanted).filter(there).copied().collect();
        result
    }
}

/// A socket as the programs look it up.
fn key(socket: SocketAddr) -> [u8; size_of::<Endpoint>()] {
    let address = match socket.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    bytemuck::cast(Endpoint {
        address: Address::from_bytes(address.octets()),
        port: socket.port().to_be(),
        pad: 0,
    })
}

/// The map `INTERFACES`.
#[derive(Debug)]
pub struct Interfaces(Table<u32, [u8; size_of::<Interface>()]>);

/// The largest segment size of IPv4: the longest packet less its headers, rounded down as the
/// kernel does for its loopback (`65535 - 40`).
const MSS_MAX: u32 = 65_495;

impl Interfaces {
    /// How many entries there are, and for how many there is room.
    pub(super) fn fill(&self) -> (usize, usize) {
        self.0.fill()
    }

    pub(super) fn new(map: Map) -> Result<Self, MapsError> {
        let about =
            About { name: "INTERFACES", what: "interfaces", advice: "name fewer interfaces" };
        Ok(Self(Table::new(map, about)?))
    }

    /// Describes these interfaces and no others, each by its number, the longest packet in bytes
    /// and its link-layer address.
    pub fn set(
        &mut self,
        wanted: impl IntoIterator<Item = (u32, u32, [u8; 6])>,
    ) -> Result<(), MapsError> {
        let entry = |(index, mtu, address)| (index, bytemuck::cast(describe(mtu, address)));
        self.0.set(wanted.into_iter().map(entry).collect())
    }
}

/// The map `VLANS`.
#[derive(Debug)]
pub struct Vlans(Table<[u8; size_of::<Vlan>()], u32>);

impl Vlans {
    /// How many entries there are, and for how many there is room.
    pub(super) fn fill(&self) -> (usize, usize) {
        self.0.fill()
    }

    pub(super) fn new(map: Map) -> Result<Self, MapsError> {
        let about = About { name: "VLANS", what: "VLANs", advice: "name fewer interfaces" };
        Ok(Self(Table::new(map, about)?))
    }

    /// The host is in these VLANs and no others: number of the interface, type of the tags, id.
    pub fn set(
        &mut self,
        wanted: impl IntoIterator<Item = (u32, u16, u16)>,
    ) -> Result<(), MapsError> {
        self.0.set(wanted.into_iter().map(|vlan| (vlan_key(vlan), 1)).collect())
    }
}

fn vlan_key((interface, protocol, id): (u32, u16, u16)) -> [u8; size_of::<Vlan>()] {
    bytemuck::cast(Vlan { interface, tag: u32::from(protocol) << 16 | u32::from(id) })
}

fn describe(mtu: u32, address: [u8; 6]) -> Interface {
    let less = |headers| mtu.saturating_sub(headers).clamp(1, MSS_MAX) as u16;
    Interface { address, mss_v4: less(40), mss_v6: less(60), pad: 0 }
}

/// The map `COUNTERS`.
pub(super) struct Counters(PerCpuArray<MapData, u64>);

impl Counters {
    const NAME: &str = "COUNTERS";

    pub(super) fn new(map: Map) -> Result<Self, MapsError> {
        map.try_into().map(Self).map_err(named(Self::NAME))
    }

    /// Every counter's total over the CPUs.
    pub(super) fn totals(&self) -> Result<Vec<u64>, MapsError> {
        let total = |exit: &Exit| {
            let values = self.0.get(&(*exit as u32), 0).map_err(named(Self::NAME))?;
            Ok(values.iter().sum())
        };
        Exit::ALL.iter().map(total).collect()
    }
}

/// The maps `FLOWS` and `CHANGES`.
pub(super) struct Flows {
    entries: MapData,
    changes: PerCpuArray<MapData, u64>,
    /// The most that were found to be evicted.
    evicted: AtomicU64,
}

impl Flows {
    const NAME: &str = "FLOWS";

    pub(super) fn new(entries: Map, changes: Map) -> Result<Self, MapsError> {
        let Map::LruHashMap(entries) = entries else {
            return Err(named(Self::NAME)(MapError::InvalidMapType { map_type: 0 }));
        };
        let changes = changes.try_into().map_err(named("CHANGES"))?;
        Ok(Self { entries, changes, evicted: AtomicU64::new(0) })
    }

    /// How many connections are remembered, and how many were evicted since the table was made: the
    /// kernel does not say so, but what was added and not removed is either there or was evicted.
    /// Two CPUs that add the same entry at the same time are one eviction too many.
    pub(super) fn count(&self) -> Result<(u64, u64), MapsError> {
        let total = |change| {
            let values = self.changes.get(&change, 0).map_err(named("CHANGES"))?;
            Ok::<u64, MapsError>(values.iter().sum())
        };
        // In this order what happens meanwhile is never taken for an eviction.
        let (added, removed) = (total(change::ADDED)?, total(change::REMOVED)?);
        let entries = self.entries()?;
        let evicted = added.saturating_sub(removed.saturating_add(entries));
        Ok((entries, self.evicted.fetch_max(evicted, Ordering::Relaxed).max(evicted)))
    }

    fn entries(&self) -> Result<u64, MapsError> {
        sys::count(self.entries.fd().as_fd(), size_of::<Tuple>(), size_of::<Flow>())
            .map_err(|error| named(Self::NAME)(MapError::IoError(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_network_order() {
        let v4 = key("10.0.0.1:80".parse().expect("a socket"));
        assert_eq!(v4, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1, 0, 80, 0, 0]);
        let v6 = key("[2001:db8::1]:8080".parse().expect("a socket"));
        assert_eq!(v6[..4], [0x20, 1, 0xd, 0xb8]);
        assert_eq!(v6[14..], [0, 1, 0x1f, 0x90, 0, 0]);
    }

    #[test]
    fn vlans_are_numbers() {
        let expected = Vlan { interface: 7, tag: 0x8100_0005 };
        assert_eq!(vlan_key((7, 0x8100, 5)), bytemuck::cast::<_, [u8; 8]>(expected));
    }

    #[test]
    #[ignore = "makes a map: needs CAP_BPF"]
    fn a_table_holds_what_is_wanted_and_no_more() {
        let kind = aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_HASH;
        let data = aya_obj::Map::new_from_params(kind as u32, 4, 4, 3, 0);
        let data = MapData::create(data, "table", None).expect("a map");
        let about = About { name: "TABLE", what: "numbers", advice: "count less" };
        let mut table = Table::<u32, u32>::new(Map::HashMap(data), about).expect("a table");
        for wanted in [&[(1, 1), (2, 2), (3, 3)][..], &[(3, 3), (4, 4), (5, 5)], &[(3, 7)], &[]] {
            table.set(wanted.iter().copied().collect()).expect("room");
            let mut there: Vec<(u32, u32)> =
                table.map.iter().collect::<Result<_, _>>().expect("entries");
            there.sort_unstable();
            assert_eq!(there, wanted);
        }
        let said = table.set((0..4).map(|n| (n, n)).collect()).expect_err("too many").to_string();
        assert_eq!(
            said,
            "the kernel's table of numbers holds 3, and there would be 4 in it: count less"
        );
    }

    #[test]
    fn segments_fit_the_interface() {
        let halves = |mtu| {
            let Interface { mss_v4, mss_v6, .. } = describe(mtu, [0; 6]);
            (mss_v4, mss_v6)
        };
        assert_eq!(halves(1500), (1460, 1440));
        assert_eq!(halves(9000), (8960, 8940));
        assert_eq!(halves(65_536), (65_495, 65_476));
        assert_eq!(halves(0), (1, 1));
    }
}
