//! What the end-to-end tests share: hosts that are network namespaces, wires between them, real
//! servers and clients, scripted ones, and the agent under test.
//!
//! Everything here is made by a test for itself and ends with it. Nothing touches the interfaces
//! of the machine: a test that has no namespace of its own cannot be written with this.
//!
//! A failing set-up step panics with what it was about to do; these are tests. Time-outs are
//! generous and exist only so that nothing hangs: no test passes or fails by the clock.

#![allow(
    clippy::missing_panics_doc,
    reason = "every function panics where a step fails: that is how a test fails"
)]

pub mod agent;
pub mod bounce;
mod bpf;
pub mod browsers;
pub mod chromium;
pub mod client;
pub mod conversation;
pub mod counter;
pub mod date;
pub mod ends;
pub mod netns;
pub mod packet;
pub mod policy;
pub mod process;
pub mod program;
pub mod raw_tcp;
pub mod scratch;
pub mod server;
pub mod socket;
pub mod tap;
pub mod topology;
pub mod web;
pub mod wire;
pub mod xdp;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    thread,
    time::{Duration, Instant},
};

/// How long to wait for something that is bound to happen.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The IP version in which a scenario is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// Host `host` of network `network`: 10.0.*network*.*host* or fd00:*network*::*host*.
    pub fn address(self, network: u8, host: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 0, network, host).into(),
            Self::V6 => Ipv6Addr::new(0xfd00, network.into(), 0, 0, 0, 0, 0, host.into()).into(),
        }
    }

    /// The address that means every address.
    pub fn any(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// The loopback address.
    pub fn loopback(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::LOCALHOST.into(),
            Self::V6 => Ipv6Addr::LOCALHOST.into(),
        }
    }
}

/// Defines a scenario as two tests, `name::v4` and `name::v6`.
#[macro_export]
macro_rules! for_each_family {
    ($($(#[$meta:meta])* fn $name:ident($family:ident) $body:block)+) => {
        $(
            $(#[$meta])*
            mod $name {
                #[allow(unused_imports, reason = "not every scenario uses what its file imports")]
                use super::*;

                fn scenario($family: $crate::Family) $body

                #[test]
                fn v4() {
                    scenario($crate::Family::V4);
                }

                #[test]
                fn v6() {
                    scenario($crate::Family::V6);
                }
            }
        )+
    };
}

/// Asks again and again until there is an answer; panics when patience is at its end.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A small generator of pseudo-random numbers (`SplitMix64`): the same seed, the same numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `true` in so many of a thousand cases.
    pub const fn chance(&mut self, per_mille: u64) -> bool {
        self.next() % 1000 < per_mille
    }

    /// So many bytes, to be sent and recognised.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
