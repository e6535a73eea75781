//! What user space tells the programs, and what it reads from them.

use bytemuck::{Pod, Zeroable};
use cors_common::wire::segment::Address;

use crate::conn::Habit;

/// The longest request, in bytes.
pub const REQUEST_MAX: usize = 1440;
/// The longest reply, head and body, in bytes.
pub const REPLY_MAX: usize = 4096;
/// The most clients: the last 16 bits of an address are the client's number.
pub const SLOTS_MAX: u32 = 1 << 16;
/// The lowest port that a client uses. None is reserved from here on.
pub const FIRST_PORT: u16 = 1024;

/// [`Config::flags`]: frames leave by a redirection to their own interface instead of `XDP_TX`.
///
/// On a virtual cable what `XDP_TX` sends is only taken in where the other end has an XDP program.
pub const FLAG_REDIRECT: u32 = 1;

/// [`Config::flags`]: latencies are recorded.
pub const FLAG_RECORD: u32 = 2;

/// How to play; one entry, shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Config {
    /// The target.
    pub server: Address,
    /// Client 0; the number of a client is added in the last two bytes, which are zero here.
    pub clients: Address,
    /// The Ethernet header of what is sent, and two bytes of nothing.
    pub link: [u8; 16],
    /// The target's port, network order.
    pub server_port: u16,
    /// 4 or 6.
    pub version: u16,
    /// The interface.
    pub interface: u32,
    /// See `FLAG_…`.
    pub flags: u32,
    /// How many clients there are; none answers while this is 0.
    pub slots: u32,
    /// How many requests there are in the map.
    pub requests: u32,
    /// How many requests a client asks on a connection before it closes it.
    pub per_connection: u32,
    /// Time between two arrivals in nanoseconds; 0: a client begins anew as soon as it can.
    pub interval_ns: u64,
    /// When the first arrival is due, by the clock of `bpf_ktime_get_ns`.
    pub begin_ns: u64,
}

const _: () = assert!(size_of::<Config>() == 88);

impl Config {
    /// How connections are used.
    #[inline(always)]
    pub const fn habit(&self) -> Habit {
        Habit {
            per_connection: self.per_connection,
            paced: self.interval_ns != 0,
            record: self.flags & FLAG_RECORD != 0,
        }
    }
}

/// What the programs remember besides the clients; one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Progress {
    /// How many arrivals there were.
    pub arrivals: u64,
    /// How many requests were taken from the list.
    pub asked: u64,
    /// Whom the sweep looks at next.
    pub sweep: u64,
    /// The Ethernet address from which the target's segments come, learnt from those that are for
    /// the machine itself; the last two bytes are 1 where there was one.
    pub neighbour: [u8; 8],
}

/// A request, and what it is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Request {
    /// Its length in bytes.
    pub len: u32,
    /// The sum of its bytes, folded; see [`cors_common::checksum::Sum`].
    pub sum: u32,
    /// The number of the expected reply.
    pub reply: u32,
    /// Zero.
    pub pad: u32,
    /// The bytes.
    pub bytes: [u8; REQUEST_MAX],
}

const _: () = assert!(size_of::<Request>().is_multiple_of(8));

/// An expected reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Reply {
    /// Its length in bytes.
    pub len: u32,
    /// Zero.
    pub pad: u32,
    /// The bytes, and room for reading a word behind them.
    pub bytes: [u8; REPLY_MAX + 8],
    /// All ones where a byte must be the same; zero where it may differ, as in a date.
    pub mask: [u8; REPLY_MAX + 8],
}

const _: () = assert!(size_of::<Reply>().is_multiple_of(8));
