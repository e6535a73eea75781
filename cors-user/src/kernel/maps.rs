//! The maps that are reached by system calls: protected sockets, interfaces, counters, flows.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd as _,
};

use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray};
use cors_common::{
    exit::Exit,
    tcp::flow::Flow,
    wire::{
        link::Interface,
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
    /// More sockets than the map holds.
    #[error(
        "{needed} sockets are to be protected and the kernel's table holds {available}: name the \
         addresses in `listen` instead of a wildcard, or fewer interfaces"
    )]
    TooManySockets {
        /// How many there are.
        needed: usize,
        /// How many fit.
        available: usize,
    },
}

fn named(name: &'static str) -> impl Fn(MapError) -> MapsError + Copy {
    move |source| MapsError::Map { name, source }
}

/// The map `PROTECTED`, and what is in it.
#[derive(Debug)]
pub struct Protected {
    map: HashMap<MapData, [u8; size_of::<Endpoint>()], u32>,
    room: usize,
    sockets: BTreeSet<SocketAddr>,
}

impl Protected {
    const NAME: &str = "PROTECTED";

    pub(super) fn new(map: Map) -> Result<Self, MapsError> {
        let room = match &map {
            Map::HashMap(data) => data.info().map(|info| info.max_entries()),
            _ => Ok(0),
        };
        Ok(Self {
            room: room.map_err(named(Self::NAME))? as usize,
            map: map.try_into().map_err(named(Self::NAME))?,
            sockets: BTreeSet::new(),
        })
    }

    /// The sockets that are protected.
    pub const fn sockets(&self) -> &BTreeSet<SocketAddr> {
        &self.sockets
    }

    /// Protects these sockets and no others. Those that stay are protected all the while.
    pub fn set(&mut self, wanted: BTreeSet<SocketAddr>) -> Result<(), MapsError> {
        if wanted.len() > self.room {
            let (needed, available) = (wanted.len(), self.room);
            return Err(MapsError::TooManySockets { needed, available });
        }
        // First out, then in: the table need not hold both.
        let gone: Vec<_> = self.sockets.difference(&wanted).copied().collect();
        for socket in gone {
            self.map.remove(&key(socket)).map_err(named(Self::NAME))?;
            self.sockets.remove(&socket);
        }
        for socket in wanted {
            if !self.sockets.contains(&socket) {
                self.map.insert(key(socket), 1, 0).map_err(named(Self::NAME))?;
                self.sockets.insert(socket);
            }
        }
        Ok(())
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
pub struct Interfaces(HashMap<MapData, u32, [u8; size_of::<Interface>()]>);

/// The largest segment size of IPv4: the longest packet less its headers, rounded down as the
/// kernel does for its loopback (`65535 - 40`).
const MSS_MAX: u32 = 65_495;

impl Interfaces {
    const NAME: &str = "INTERFACES";

    pub(super) fn new(map: Map) -> Result<Self, MapsError> {
        map.try_into().map(Self).map_err(named(Self::NAME))
    }

    /// Describes an interface with packets of up to `mtu` bytes and this link-layer address.
    pub fn set(&mut self, index: u32, mtu: u32, address: [u8; 6]) -> Result<(), MapsError> {
        let value: [u8; size_of::<Interface>()] = bytemuck::cast(describe(mtu, address));
        self.0.insert(index, value, 0).map_err(named(Self::NAME))
    }
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

/// The map `FLOWS`.
#[derive(Debug)]
pub(super) struct Flows(MapData);

impl Flows {
    const NAME: &str = "FLOWS";

    pub(super) fn new(map: Map) -> Result<Self, MapsError> {
        match map {
            Map::LruHashMap(data) => Ok(Self(data)),
            _ => Err(named(Self::NAME)(MapError::InvalidMapType { map_type: 0 })),
        }
    }

    /// How many connections are remembered.
    pub(super) fn count(&self) -> Result<u64, MapsError> {
        sys::count(self.0.fd().as_fd(), size_of::<Tuple>(), size_of::<Flow>())
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
