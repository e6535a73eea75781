//! The maps, and nothing but the maps. The agent may give them other sizes when it loads.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use cors_common::{
    exit::Exit,
    head::Head,
    policy::{Answer, DRIVER_PATH_MAX, DRIVER_TEXT_MAX, Image, Template, image::Line, memo::Memo},
    state::{Slot, State},
    tally::Neighbours,
    tcp::{
        flow::{Flow, change},
        recent::{Recent, SLOTS},
        verdict::Verdict,
    },
    trace::{Budget, Event, RING},
    track::{
        Said, Track,
        inward::{Inward, Request},
        offer::{self, Offer},
        outward::Outward,
        sack,
        table::ENTRIES,
    },
    wire::{
        link::{Interface, Vlan},
        options::OptionBytes,
        reply::Reply,
        segment::{Endpoint, Segment, Tuple},
    },
    zero::Zero,
};

use crate::{global, tick::Tick};

/// What the agent keeps current; one entry, shared memory.
#[btf_map]
pub(crate) static STATE: Array<State, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The policies and facts of both generations; shared memory.
#[btf_map]
pub(crate) static FACTS: Array<Line, 1024, { BPF_F_MMAPABLE as usize }> = Array::new();

/// What the policies of both generations answer; shared memory.
#[btf_map]
pub(crate) static TEMPLATES: Array<Template, 16, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Connections on which a preflight was answered. The least recently used one goes first.
#[btf_map]
pub(crate) static FLOWS: LruHashMap<Tuple, Flow, 65536> = LruHashMap::new();

/// How many entries were added there, and how many removed.
#[btf_map]
pub(crate) static CHANGES: PerCpuArray<u64, { change::COUNT }> = PerCpuArray::new();

/// Protected sockets.
#[btf_map]
pub(crate) static PROTECTED: HashMap<Endpoint, u32, 4096> = HashMap::new();

/// The interfaces that `edge` is on, by their index.
#[btf_map]
pub(crate) static INTERFACES: HashMap<u32, Interface, 256> = HashMap::new();

/// The VLANs that the host is in on these interfaces.
#[btf_map]
pub(crate) static VLANS: HashMap<Vlan, u32, 4096> = HashMap::new();

/// Connections that were just seen to be the kernel's.
#[btf_map]
pub(crate) static RECENT: PerCpuArray<Recent, { SLOTS as usize }> = PerCpuArray::new();

/// What was offered in SYNs that went up.
#[btf_map]
pub(crate) static OFFERS: PerCpuArray<Offer, { offer::SLOTS as usize }> = PerCpuArray::new();

/// Connections that the kernel owns, see [`cors_common::track::table`]; shared memory, and locks in
/// it.
#[btf_map]
pub(crate) static TRACKS: Array<Track, { ENTRIES as usize }, { BPF_F_MMAPABLE as usize }> =
    Array::new();

/// One counter for each way out.
#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, { Exit::COUNT }> = PerCpuArray::new();

/// What is counted for each policy of both generations, in the order of their files.
#[btf_map]
pub(crate) static TALLIES: PerCpuArray<Neighbours, 1> = PerCpuArray::new();

/// Decisions on requests, while somebody traces them.
#[btf_map]
pub(crate) static TRACE: RingBuf<Event, RING> = RingBuf::new();

/// Recent answers.
#[btf_map]
pub(crate) static MEMO: PerCpuArray<Memo, 256> = PerCpuArray::new();

/// Room that a stack of 512 bytes does not have. One for packets that come in and one for those
/// that go out: the kernel may send one while it receives another.
#[btf_map]
pub(crate) static SCRATCH: PerCpuArray<Scratch, 2> = PerCpuArray::new();

/// Ethernet with two tags, and padding.
pub(crate) const LINK_MAX: usize = 24;

/// One for each CPU; a program is not interrupted by another of its kind.
///
/// Every field but `tick` and `budget` is written before it is read in the same run; what an
/// earlier packet left is never looked at. Zero is a value of each, so what the map starts with is
/// valid.
#[repr(C)]
pub(crate) struct Scratch {
    /// With the head directly behind it: both are told together.
    pub(crate) event: Event,
    pub(crate) head: Head,
    pub(crate) options: OptionBytes,
    pub(crate) reply: Reply,
    /// The link layer's header, while the packet moves.
    pub(crate) link: [u8; LINK_MAX],
    pub(crate) segment: Segment,
    pub(crate) flow: Flow,
    pub(crate) tick: Tick,
    pub(crate) budget: Budget,
    pub(crate) answer: Answer,
    pub(crate) verdict: Verdict,
    pub(crate) request: Request,
    pub(crate) inward: Inward,
    pub(crate) outward: Outward,
    pub(crate) said: Said,
    pub(crate) sacks: Sacks,
    /// A few bytes of a payload, for those who read it byte by byte.
    pub(crate) window: Window,
    pub(crate) zero: Zero,
}

/// An event ends where the bytes of the head begin, which are the first thing in it.
const _: () = assert!(core::mem::offset_of!(Scratch, head) == size_of::<Event>());
/// A segment's options, as a whole number of words.
#[repr(C, align(8))]
pub(crate) struct Sacks {
    pub(crate) bytes: [u8; sack::BUFFER],
    pub(crate) found: sack::Found,
    pub(crate) zero: Zero,
}

/// Bytes of a payload.
#[repr(C, align(8))]
pub(crate) struct Window {
    pub(crate) bytes: [u8; WINDOW],
    /// Where in the payload they are.
    pub(crate) at: u32,
    /// How many there are.
    pub(crate) len: u32,
}

/// The most bytes of a [`Window`].
pub(crate) const WINDOW: usize = 16;

/// The compiled policy as the maps hold it.
#[derive(Clone, Copy)]
pub(crate) struct Maps;

impl Image for Maps {
    const TEXT_MAX: usize = DRIVER_TEXT_MAX;
    const PATH_MAX: usize = DRIVER_PATH_MAX;

    #[inline(always)]
    fn line(&self, index: u32) -> Option<&Line> {
        FACTS.get(index)
    }

    #[inline(always)]
    fn template(&self, index: u32) -> Option<&Template> {
        TEMPLATES.get(index)
    }

    #[inline(always)]
    fn find(&self, slot: &Slot, head: &mut Head, tag: u64, at: u32) -> u64 {
        global::policy_find(head, core::ptr::from_ref(slot), tag, at)
    }
}
