//! The layout of a compiled policy, in the maps and in the agent's memory.
//!
//! ```text
//! FACTS     lines of 64 bytes; for each generation two hash tables, of a power of two of lines
//!           each and with the lines behind it that hold the rest of long texts
//!   +0   u64      tag: kind << 56 | length of the text << 32 | set
//!   +8   [u64; 5] the first 40 bytes of the text, zero padded
//!   +48  u64      value, never 0
//!   +56  u64      number of the line that goes on with the text, from the table's first line
//! POLICIES  entries of 1,024 bytes, see [`Policy`]
//! ```
//!
//! A text is in one of four lines: two neighbours for each of two hashes. The whole text is
//! compared, never a digest of it alone.

use super::fact::find_tagged;
use crate::{
    head::{HEAD_MAX, Head},
    state::Slot,
};

/// One line of the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Line(pub [u64; 8]);

const _: () = assert!(size_of::<Line>() == 64);

/// Bytes of a text that its first line holds.
pub const INLINE_LEN: usize = 40;

impl Line {
    /// Nothing.
    pub const EMPTY: Self = Self([0; 8]);

    /// What it is about.
    #[inline(always)]
    pub const fn tag(&self) -> u64 {
        self.0[0]
    }

    /// What is known about it.
    #[inline(always)]
    pub const fn value(&self) -> u64 {
        self.0[6]
    }

    /// Where the text goes on.
    #[inline(always)]
    pub const fn more(&self) -> u32 {
        self.0[7] as u32
    }

    /// What is kept of the hash, see [`super::fact::fingerprint`].
    #[inline(always)]
    pub const fn fingerprint(&self) -> u32 {
        (self.0[7] >> 32) as u32
    }
}

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A host; the value is `group | depths << 32`.
    Host = 1,
    /// A path prefix of whole segments, in the set of a group; the value is a policy's index + 1.
    Path = 2,
    /// A whole origin, in a set of origins.
    Origin = 3,
    /// An origin without its port, which may be any.
    OriginAnyPort = 4,
    /// What follows `https://*.`, with the port.
    SubdomainHttps = 5,
    /// What follows `http://*.`, with the port.
    SubdomainHttp = 6,
    /// What follows `https://*.`, without the port, which may be any.
    SubdomainHttpsAnyPort = 7,
    /// What follows `http://*.`, without the port, which may be any.
    SubdomainHttpAnyPort = 8,
    /// A method, in a set of methods.
    Method = 9,
    /// A header name in lower case, in a set of headers.
    Header = 10,
}

impl Kind {
    /// Whether the fact is in the table of origins.
    #[inline(always)]
    pub const fn is_about_origins(tag: u64) -> bool {
        let kind = tag >> 56;
        kind >= Self::Origin as u64 && kind <= Self::SubdomainHttpAnyPort as u64
    }

    /// The tag without its length.
    #[inline(always)]
    pub const fn of(self, set: u32) -> u64 {
        (self as u64) << 56 | set as u64
    }
}

/// Bits of [`Policy::flags`].
pub mod flag {
    /// Every origin is allowed.
    pub const ANY_ORIGIN: u32 = 1;
    /// The reply ends in the origin's place: the origin is echoed.
    pub const ECHO: u32 = 2;
    /// Every method is allowed.
    pub const ANY_METHOD: u32 = 4;
    /// Every header is allowed, but `authorization`.
    pub const ANY_HEADER: u32 = 8;
    /// There are origins whose port may be any.
    pub const ORIGIN_ANY_PORT: u32 = 16;
    /// There are subdomain patterns whose port may be any.
    pub const SUBDOMAIN_ANY_PORT: u32 = 32;
}

/// The longest first piece of a reply.
pub const REPLY_MAX: usize = 984;

/// One policy, 1,024 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Policy {
    /// See [`flag`].
    pub flags: u32,
    /// The set of its origins.
    pub origins: u32,
    /// The set of its methods.
    pub methods: u32,
    /// The set of its headers.
    pub headers: u32,
    /// Bit `n`: there are subdomain patterns of `n` labels, the `*` not counted.
    pub depths: u32,
    /// One's complement sum of the first piece, with zeros in the date's place.
    pub reply_sum: u32,
    /// Bytes of the first piece.
    pub reply_len: u32,
    /// Where the date is in it.
    pub date_at: u32,
    /// Zero.
    pub pad: [u32; 2],
    /// The first piece: status line, headers, and the beginning of the last header's value.
    pub reply: [u8; REPLY_MAX],
}

const _: () = assert!(size_of::<Policy>() == 1024);

/// Where the facts and the policies are: maps in the kernel, memory elsewhere.
pub trait Image: Copy {
    /// The longest text that is looked up, in bytes, a multiple of 8. For a longer one there is no
    /// answer, neither yes nor no. The kernel's is shorter: the verifier walks each look-up anew.
    const TEXT_MAX: usize;

    /// The longest path that is read where a prefix matters, in bytes, a multiple of 8.
    const PATH_MAX: usize;

    /// A line of the facts.
    fn line(&self, index: u32) -> Option<&Line>;

    /// An entry of the policies.
    fn policy(&self, index: u32) -> Option<&Policy>;

    /// The value of the fact with this tag whose text is at `at` in the head, or 0.
    ///
    /// The kernel programs make it a function that is verified by itself.
    #[inline(always)]
    fn find(&self, slot: &Slot, head: &mut Head, tag: u64, at: u32) -> u64 {
        find_tagged(*self, slot, head, tag, at)
    }
}

/// An image in memory: both generations, as the maps hold them.
impl Image for (&[Line], &[Policy]) {
    const TEXT_MAX: usize = super::ORIGIN_MAX.next_multiple_of(8);
    const PATH_MAX: usize = HEAD_MAX;

    fn line(&self, index: u32) -> Option<&Line> {
        self.0.get(index as usize)
    }

    fn policy(&self, index: u32) -> Option<&Policy> {
        self.1.get(index as usize)
    }
}
