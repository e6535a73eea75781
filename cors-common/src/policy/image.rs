//! The layout of a compiled policy, in the maps and in the agent's memory.
//!
//! ```text
//! FACTS      lines of 64 bytes; for each generation:
//!   policies   a line each, see [`Policy`]; where several hosts' policies differ, one of them may
//!              have several lines
//!   scopes     a table of facts about hosts, paths, methods and header names
//!   origins    a table of facts about origins
//! TEMPLATES  entries of 1,024 bytes, see [`Template`]; policies that answer alike share one
//!
//! A table is lines with facts, lines with pilots, 64 bytes of them each, and lines with the rest
//! of long texts. In that of the scopes each fact has a second line, where a host's has the policy of
//! its first prefix once more, the neighbour of its fact. A fact is a line:
//!   +0   u64      tag: kind << 56 | length of the text << 32 | set
//!   +8   [u64; 5] the first 40 bytes of the text, zero padded
//!   +48  u64      value, never 0
//!   +56  u64      number of the line that goes on with the text, from the table's first line
//! or, of an origin of at most 56 bytes:
//!   +0   u64      tag
//!   +8   [u64; 7] the text, zero padded
//! ```
//!
//! What is looked for is all of the tag and the text, but of an origin it is the set: its fact says
//! which set it is in. So it can be looked for while it is not known yet which policy the request
//! has, and the memory is waited for once for both. An origin in several sets says so, and has
//! other facts, each with a set, that are looked for afterwards.
//!
//! There is one line that a text can be in: its hash names a pilot, and both together the line. The
//! whole text is compared, never a digest of it alone.
//!
//! What a request reads of a large policy, nothing has warmed: so what it reads is in as few lines
//! as can be, and what is the same for many policies is there once. A preflight for one of many
//! hosts meets its host's line and its policy's, which are neighbours, its origin's, and one of the
//! pilots.

use super::fact::find_tagged;
use crate::{
    head::{Head, PREFLIGHT_MAX},
    state::Slot,
};

/// One line of the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Line(pub [u64; 8]);

const _: () = assert!(size_of::<Line>() == 64);

/// Bytes of a text that its first line holds beside a value.
pub const INLINE_LEN: usize = 40;
/// Bytes of an origin that fills its line.
pub const WHOLE_LEN: usize = 56;

impl Line {
    /// Nothing.
    pub const EMPTY: Self = Self([0; 8]);

    /// What it is about.
    #[inline(always)]
    pub const fn tag(&self) -> u64 {
        self.0[0]
    }

    /// Of the tag: the set that it is in.
    #[inline(always)]
    pub const fn set(&self) -> u32 {
        Kind::set(self.tag())
    }

    /// What is known about it; nothing where it is about an origin.
    #[inline(always)]
    pub const fn value(&self) -> u64 {
        self.0[6]
    }

    /// Where the text goes on.
    #[inline(always)]
    pub const fn more(&self) -> u32 {
        self.0[7] as u32
    }

    /// One of the 64 pilots in it.
    #[inline(always)]
    pub const fn pilot(&self, i: u32) -> u8 {
        (self.0[(i >> 3 & 7) as usize] >> ((i & 7) * 8)) as u8
    }
}

/// In a tag: this is about an origin in one of its several sets.
const IN_ONE: u64 = 1 << 63;
/// Of a tag: the set.
const SET: u64 = u32::MAX as u64;

/// In the place of a set: there are several.
pub const SEVERAL: u32 = u32::MAX;

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A host; the value is a [`Group`].
    Host = 1,
    /// A path prefix of whole segments, in the shape of a group; the value is its place there + 1.
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
    /// Whether the fact is about a host, and has a policy beside it.
    #[inline(always)]
    pub const fn is_host(tag: u64) -> bool {
        tag >> 56 == Self::Host as u64
    }

    /// Whether the fact is in the table of origins.
    #[inline(always)]
    pub const fn is_about_origins(tag: u64) -> bool {
        let kind = (tag & !IN_ONE) >> 56;
        kind >= Self::Origin as u64 && kind <= Self::SubdomainHttpAnyPort as u64
    }

    /// What of a tag is looked for: all of it, or all but the set, which is what is found.
    #[inline(always)]
    pub const fn sought(tag: u64) -> u64 {
        if Self::is_about_origins(tag) && tag & IN_ONE == 0 { tag & !SET } else { tag }
    }

    /// The set of a tag.
    #[inline(always)]
    pub const fn set(tag: u64) -> u32 {
        tag as u32
    }

    /// The tag of an origin as one in its several sets.
    #[inline(always)]
    pub const fn in_one(tag: u64) -> u64 {
        tag | IN_ONE
    }

    /// The tag without its length.
    #[inline(always)]
    pub const fn of(self, set: u32) -> u64 {
        (self as u64) << 56 | set as u64
    }
}

/// What a host has: which path prefixes, and for each of them a policy. Hosts of the same policies
/// have the same group, and hosts of the same prefixes the same shape.
///
/// `depths << 48 | shape << 24 | first`; a host without any has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group(u64);

impl Group {
    /// Shapes and lines are counted in so many bits.
    pub const BITS: u32 = 24;

    /// A group whose policies have the lines from `first` on, in the order of the shape's prefixes.
    /// `shape` is not 0. Bit `n` of `depths`: there are prefixes of `n` segments.
    pub const fn new(shape: u32, first: u32, depths: u16) -> Self {
        Self((depths as u64) << (2 * Self::BITS) | (shape as u64) << Self::BITS | first as u64)
    }

    /// The value of a host's fact; 0 is the group without policies.
    #[inline(always)]
    pub const fn of(value: u64) -> Self {
        Self(value)
    }

    /// As the value of a host's fact.
    #[inline(always)]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Which prefixes it has, as the set of their facts.
    #[inline(always)]
    pub const fn shape(self) -> u32 {
        (self.0 >> Self::BITS) as u32 & Self::MASK
    }

    /// The line of its first policy, from the first policy of all.
    #[inline(always)]
    pub const fn first(self) -> u32 {
        self.0 as u32 & Self::MASK
    }

    /// Of how many segments there are prefixes, bit by bit.
    #[inline(always)]
    pub const fn depths(self) -> u32 {
        (self.0 >> (2 * Self::BITS)) as u32
    }

    const MASK: u32 = (1 << Self::BITS) - 1;
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

/// One policy, a line.
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
    /// Its place in the file.
    pub number: u32,
    /// Which of the templates it answers with, from the generation's first.
    pub template: u32,
    /// Zero.
    pub pad: [u32; 9],
}

const _: () = assert!(size_of::<Policy>() == size_of::<Line>());

impl Policy {
    /// The policy in a line.
    #[inline(always)]
    pub fn of(line: &Line) -> &Self {
        bytemuck::cast_ref(line)
    }

    /// Its line.
    pub fn line(self) -> Line {
        bytemuck::cast(self)
    }
}

/// The longest text of a template.
pub const TEMPLATE_MAX: usize = 984;

/// What policies answer, but for the date, the origin and the end: 1,024 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Template {
    /// One's complement sum of the text, with zeros in the date's place.
    pub sum: u32,
    /// Bytes of the text.
    pub len: u32,
    /// Where the date is in it.
    pub date_at: u32,
    /// Zero.
    pub pad: [u32; 7],
    /// Status line, headers, and the beginning of the last header's value.
    pub text: [u8; TEMPLATE_MAX],
}

const _: () = assert!(size_of::<Template>() == 1024);

/// Where the lines and the templates are: maps in the kernel, memory elsewhere.
pub trait Image: Copy {
    /// The longest text that is looked up, in bytes, a multiple of 8. For a longer one there is no
    /// answer, neither yes nor no. The kernel's is shorter: the verifier walks each look-up anew.
    const TEXT_MAX: usize;

    /// The longest path that is read where a prefix matters, in bytes, a multiple of 8.
    const PATH_MAX: usize;

    /// A line.
    fn line(&self, index: u32) -> Option<&Line>;

    /// A template.
    fn template(&self, index: u32) -> Option<&Template>;

    /// The value of the fact with this tag whose text is at `at` in the head, or 0.
    ///
    /// The kernel programs make it a function that is verified by itself.
    #[inline(always)]
    fn find(&self, slot: &Slot, head: &mut Head, tag: u64, at: u32) -> u64 {
        find_tagged(*self, slot, head, tag, at)
    }
}

/// An image in memory: both generations, as the maps hold them.
impl Image for (&[Line], &[Template]) {
    const TEXT_MAX: usize = super::ORIGIN_MAX.next_multiple_of(8);
    const PATH_MAX: usize = PREFLIGHT_MAX;

    fn line(&self, index: u32) -> Option<&Line> {
        self.0.get(index as usize)
    }

    fn template(&self, index: u32) -> Option<&Template> {
        self.1.get(index as usize)
    }
}
