//! The table of tracked connections as the agent sees it: read, never written.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::Path,
};

use aya::maps::MapData;
use cors_common::{
    track::{Track, flag, table::ENTRIES},
    wire::segment::Address,
};

use super::{
    pins::Pins,
    shared::{Shared, SharedError},
};

/// The table; shared memory.
#[derive(Debug)]
pub(super) struct Tracks(Shared<Track>);

/// A connection whose two ends count differently: the protected socket, and the client.
pub type Uneven = (SocketAddr, SocketAddr);

impl Tracks {
    pub(super) fn new(map: &MapData) -> Result<Self, SharedError> {
        Ok(Self(Shared::map(map, ENTRIES as usize)?))
    }

    fn alive(&self) -> impl Iterator<Item = Track> {
        // Each is torn at worst: what changes meanwhile is neither more nor less true than before.
        (0..self.0.len()).map(|at| self.0.read(at)).filter(|track| track.is(flag::ALIVE))
    }

    /// How many connections are tracked.
    pub(super) fn count(&self) -> usize {
        self.alive().count()
    }

    /// Connections that without the programs would not go on, but break.
    pub(super) fn uneven(&self) -> Vec<Uneven> {
        let lives = |track: &Track| !track.is_even() && !track.is(flag::RESET);
        let ends = |track: Track| {
            let socket = |address: Address, port: u16| {
                let words = address.0.map(u32::to_ne_bytes);
                let octets: [u8; 16] = bytemuck::cast(words);
                let address = IpAddr::from(Ipv6Addr::from(octets)).to_canonical();
                SocketAddr::new(address, u16::from_be(port))
            };
            let tuple = track.tuple;
            (socket(tuple.server, tuple.server_port), socket(tuple.client, tuple.client_port))
        };
        self.alive().filter(lives).map(ends).collect()
    }
}

/// The same of the table that an agent of this layout has left in this directory.
pub fn left_uneven(directory: &Path) -> Vec<Uneven> {
    let tracks = Pins::tracks(directory).and_then(|map| Tracks::new(&map).ok());
    tracks.map_or_else(Vec::new, |tracks| tracks.uneven())
}
