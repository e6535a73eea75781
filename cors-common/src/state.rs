//! The words that the agent keeps current while it lives: which policy is active, the lease, the
//! date, the cookie's epoch and keys.
//!
//! One map entry, shared memory to the agent. Single words change in place; what is longer than a
//! word is written where nobody reads (the other slot, the other date) and then named by a word.

use crate::{checksum::Sum, cookie::Keys};

/// Changes whenever a layout that crosses the kernel boundary does.
pub const ABI: u32 = 8;

/// In [`State::flags`]: count what would be answered and pass everything.
pub const FLAG_MEASURE: u32 = 1;

/// In [`State::flags`]: this host's TCP does not do SACK (`net.ipv4.tcp_sack` is 0).
pub const FLAG_NO_SACK: u32 = 2;

/// In [`State::flags`]: nor window scaling (`net.ipv4.tcp_window_scaling` is 0).
pub const FLAG_NO_WINDOW_SCALE: u32 = 4;

/// In [`State::flags`]: connections that the kernel owns are tracked.
pub const FLAG_TRACK: u32 = 8;

/// In [`State::flags`]: the kernel makes every handshake.
pub const FLAG_KERNEL_HANDSHAKE: u32 = 16;

/// Length of an IMF-fixdate (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub const DATE_LEN: usize = 29;

/// The one entry of the map `STATE`, 336 bytes.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct State {
    /// [`ABI`]; anything else: everything passes.
    pub abi: u32,
    /// 0: no policy is loaded; 1 or 2: the slot in use.
    pub active: u32,
    /// `CLOCK_MONOTONIC` in nanoseconds at which the lease ends.
    pub lease: u64,
    /// Number of the cookie epoch.
    pub epoch: u32,
    /// Which of the dates is current, 0 or 1.
    pub date: u32,
    /// See [`FLAG_MEASURE`], [`FLAG_NO_SACK`], [`FLAG_NO_WINDOW_SCALE`], [`FLAG_TRACK`]
    /// and [`FLAG_KERNEL_HANDSHAKE`].
    pub flags: u32,
    /// Counts the changes of the set of protected sockets, see [`crate::tcp::flow::Flow::sockets`].
    pub sockets: u32,
    /// Places for recent answers of each CPU, less one; a power of two less one.
    pub memo_mask: u32,
    /// Who is told of decisions: see [`crate::trace`].
    pub trace: u32,
    /// Entries for tracked connections, less one; a power of two less one.
    pub track_mask: u32,
    /// Zero.
    pub pad: u32,
    /// The cookie secret.
    pub keys: Keys,
    /// Two policies: the active one, and the one before or the one being written.
    pub slots: [Slot; 2],
    /// Two dates, written in turn.
    pub dates: [Date; 2],
}

const _: () = assert!(size_of::<State>() == 80 + 128 + 128);

/// Where one generation of the policy lies in the maps, 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Slot {
    /// Counts up with every policy loaded.
    pub generation: u32,
    /// Its first place among the policies of both generations, and among their templates.
    pub policy_base: u32,
    /// The group of policies without a host, as the value of a host fact; 0: none.
    pub any_host: u64,
    /// The facts about hosts, paths, methods and header names: few, and asked for every request.
    pub scopes: Table,
    /// The facts about origins: many, of which a request meets one.
    pub origins: Table,
    /// The line of its first policy.
    pub policies: u32,
    /// Zero.
    pub pad: [u32; 3],
}

const _: () = assert!(size_of::<Slot>() == 64);

/// Where a hash table of facts is, 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Table {
    /// Its first line.
    pub base: u32,
    /// Lines that facts may be in. Behind them are the pilots.
    pub lines: u32,
    /// Pilots.
    pub buckets: u32,
    /// What every hash starts from.
    pub seed: u32,
}

const _: () = assert!(size_of::<Table>() == 16);

/// A date and its sum, 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Date {
    /// [`DATE_LEN`] bytes, then zeros.
    pub text: [u8; 32],
    /// One's complement sum of the text.
    pub sum: u32,
    /// Zero.
    pub pad: [u32; 7],
}

const _: () = assert!(size_of::<Date>() == 64);

impl Date {
    /// A date with its sum.
    pub const fn new(text: &[u8; DATE_LEN]) -> Self {
        let mut padded = [0; 32];
        let mut i = 0;
        while i < DATE_LEN {
            padded[i] = text[i];
            i += 1;
        }
        Self { text: padded, sum: Sum::of(&padded).fold() as u32, pad: [0; 7] }
    }
}
