//! What the decisions ask of their surroundings, answered by helpers and maps.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{BPF_F_CURRENT_NETNS, bpf_sock_tuple},
    helpers::generated::{bpf_sk_release, bpf_skc_lookup_tcp, bpf_skc_to_mptcp_sock},
};
use cors_common::{
    cookie::Keys,
    exit::Exit,
    state::{
        self, Date, FLAG_KERNEL_HANDSHAKE, FLAG_MEASURE, FLAG_NO_SACK, FLAG_NO_WINDOW_SCALE,
        FLAG_TRACK, Slot, State,
    },
    tcp::{
        Arrival, Env, Owner,
        recent::{self, Recent},
    },
    wire::{
        Frame,
        link::Vlan,
        options::{Declined, OPTIONS_MAX, OptionBytes},
        segment::{Family, Segment, Tuple},
    },
    zero::Zero,
};

use crate::{
    frame::Packet,
    maps::{INTERFACES, RECENT, STATE, VLANS},
    tick::Tick,
};

/// `TCP_LISTEN` of `include/net/tcp_states.h`.
const TCP_LISTEN: u32 = 10;

const OPTIONS_START: [u8; 8] = *b"OPTIONS ";

/// The kernel around one packet.
pub(crate) struct Kernel<'a, P> {
    pub(crate) packet: P,
    pub(crate) state: &'static State,
    pub(crate) options: &'a mut OptionBytes,
    pub(crate) tick: &'a mut Tick,
    pub(crate) zero: Zero,
    /// The connection is tracked: segments that go on must be looked at all the same.
    pub(crate) tracked: bool,
}

/// A word of the state as it is at this moment: the agent may be writing it.
macro_rules! now {
    ($state:expr, $field:ident) => {{
        let state: &State = $state;
        // SAFETY: a reference to the map's value, which stays where it is.
        unsafe { (&raw const state.$field).read_volatile() }
    }};
}

/// The agent's words, if they are of this layout.
#[inline(always)]
pub(crate) fn state() -> Result<&'static State, Exit> {
    let state = STATE.get(0).ok_or(Exit::Internal)?;
    if now!(state, abi) == state::ABI { Ok(state) } else { Err(Exit::NoPolicy) }
}

/// Whether a policy is loaded.
#[inline(always)]
pub(crate) fn has_policy(state: &State) -> bool {
    now!(state, active) != 0
}

/// Whether the agent has stopped renewing its lease.
#[inline(always)]
pub(crate) fn lapsed(state: &State, tick: &mut Tick) -> bool {
    tick.now() > now!(state, lease)
}

/// Places for recent answers, less one.
#[inline(always)]
pub(crate) fn memo_mask(state: &State) -> u32 {
    now!(state, memo_mask)
}

/// Who is told of decisions: see [`cors_common::trace`].
#[inline(always)]
pub(crate) fn traced(state: &State) -> u32 {
    now!(state, trace)
}

/// Counts the changes of the set of protected sockets.
#[inline(always)]
pub(crate) fn sockets(state: &State) -> u32 {
    now!(state, sockets)
}

/// Entries for tracked connections, less one.
#[inline(always)]
pub(crate) fn track_mask(state: &State) -> u32 {
    now!(state, track_mask)
}

/// Whether connections that the kernel owns are tracked from now on.
#[inline(always)]
pub(crate) fn tracks(state: &State) -> bool {
    now!(state, flags) & FLAG_TRACK != 0
}

/// When it is, in the unit of [`cors_common::track::Track::seen`].
#[inline(always)]
pub(crate) fn second(state: &State) -> u32 {
    (now!(state, lease) >> 30) as u32
}

/// Whether to count only.
#[inline(always)]
pub(crate) fn measures(state: &State) -> bool {
    now!(state, flags) & FLAG_MEASURE != 0
}

/// The active policy.
#[inline(always)]
pub(crate) fn slot(state: &State) -> &Slot {
    if now!(state, active) & 1 == 1 { &state.slots[0] } else { &state.slots[1] }
}

/// Whether the frame goes on where the kernel's socket was just seen.
#[inline(always)]
pub(crate) fn goes_on(state: &State, frame: &impl Frame) -> bool {
    // SAFETY: the entry is this CPU's own, and nobody writes it meanwhile.
    recent::goes_on(frame, now!(state, lease), |slot| unsafe { Some(&*RECENT.get_ptr(slot)?) })
}

/// So it does as far as nothing is left to be read of it ([`cors_common::track::inward::unread_ahead`]).
#[inline(always)]
pub(crate) fn note_until(state: &State, segment: &Segment, ahead: u32) {
    if let Some(entry) = entry(&segment.tuple) {
        entry.note_until(segment, ahead, now!(state, lease));
    }
}

/// A new connection of the tuple begins.
#[inline(always)]
pub(crate) fn forget(tuple: &Tuple) {
    if let Some(entry) = entry(tuple) {
        entry.forget(tuple);
    }
}

#[inline(always)]
fn entry(tuple: &Tuple) -> Option<&'static mut Recent> {
    let entry = RECENT.get_ptr_mut(Recent::slot(tuple))?;
    // SAFETY: the entry is this CPU's own, and no other reference to it lives as long.
    Some(unsafe { &mut *entry })
}

/// The current date. Named once for a packet: an answer's sum and its text must be of the same.
#[inline(always)]
pub(crate) fn date(state: &State) -> &Date {
    if now!(state, date) & 1 == 0 { &state.dates[0] } else { &state.dates[1] }
}

impl<P: Packet> Env for Kernel<'_, P> {
    #[inline(always)]
    fn keys(&self) -> &Keys {
        &self.state.keys
    }

    #[inline(always)]
    fn epoch(&self) -> u32 {
        now!(self.state, epoch)
    }

    #[inline(always)]
    fn lapsed(&mut self) -> bool {
        lapsed(self.state, self.tick)
    }

    #[inline(always)]
    fn declined(&self) -> Declined {
        let flags = now!(self.state, flags);
        Declined {
            sack: flags & FLAG_NO_SACK != 0,
            window_scale: flags & FLAG_NO_WINDOW_SCALE != 0,
        }
    }

    #[inline(always)]
    fn leaves_handshakes(&self) -> bool {
        now!(self.state, flags) & FLAG_KERNEL_HANDSHAKE != 0
    }

    #[inline(always)]
    fn owner(&mut self, segment: &Segment) -> Owner {
        match owner(self.packet.context(), &segment.tuple, segment.family) {
            0 => Owner::Nobody,
            1 => Owner::Listener,
            2 => Owner::MptcpListener,
            _ => {
                if !self.tracked
                    && let Some(entry) = entry(&segment.tuple)
                {
                    entry.note(segment, now!(self.state, lease));
                }
                Owner::Connection
            }
        }
    }

    #[inline(always)]
    fn listener(&mut self, segment: &Segment) -> Owner {
        let endpoint = segment.endpoint();
        if self.tick.is_heard(&endpoint) {
            return Owner::Listener;
        }
        let owner = self.owner(segment);
        if owner == Owner::Listener {
            self.tick.hear(endpoint);
        }
        owner
    }

    #[inline(always)]
    fn options(&mut self, segment: &Segment) -> &mut OptionBytes {
        let options = &mut *self.options;
        let to = options.clear(segment.options_len).as_mut_ptr();
        if let Some(len) = self.zero.bounded(segment.options_len, OPTIONS_MAX) {
            // SAFETY: the array has 64 bytes.
            if !unsafe { self.packet.copy(segment.options_at(), to, len) } {
                options.set_unreadable();
            }
        }
        options
    }

    #[inline(always)]
    fn arrival(&mut self, segment: &Segment) -> Arrival {
        let index = self.packet.interface();
        // SAFETY: the agent replaces an entry as a whole.
        let Some(interface) = (unsafe { INTERFACES.get(index) }) else {
            // Nothing is attached to an interface that the agent did not describe.
            return Arrival { for_us: false, mss: 0 };
        };
        let mss = match segment.family {
            Family::V4 => interface.mss_v4,
            Family::V6 => interface.mss_v6,
        };
        let vlan = Vlan { interface: index, tag: segment.tag };
        // SAFETY: only whether there is an entry is asked.
        let in_vlan = segment.tag == 0 || unsafe { VLANS.get(vlan) }.is_some();
        let for_us = in_vlan && self.packet.load::<6>(0) == Some(interface.address);
        Arrival { for_us, mss }
    }

    #[inline(always)]
    fn starts_like_a_preflight(&mut self, segment: &Segment) -> bool {
        // Masked, because an offset that went through memory is any number to the verifier.
        self.packet.load::<8>(segment.payload_at() & 0xff) == Some(OPTIONS_START)
    }
}

/// [`Owner`] as a number: 0 nobody, 1 listener, 2 MPTCP listener, 3 connection.
#[inline(never)]
fn owner(context: *mut core::ffi::c_void, tuple: &Tuple, family: Family) -> u32 {
    let mut key = MaybeUninit::uninit();
    let size = sock_tuple(&mut key, tuple, family);
    // SAFETY: the key has `size` bytes; a socket that is found is released below.
    unsafe {
        let sk = bpf_skc_lookup_tcp(context, key.as_mut_ptr(), size, BPF_F_CURRENT_NETNS as u64, 0);
        if sk.is_null() {
            return 0;
        }
        let owner = if (*sk).state != TCP_LISTEN {
            3
        } else if bpf_skc_to_mptcp_sock(sk.cast()).is_null() {
            1
        } else {
            2
        };
        bpf_sk_release(sk.cast());
        owner
    }
}

/// Writes the key of a socket look-up, and returns how many bytes of it there are.
#[inline(always)]
pub(crate) fn sock_tuple(
    key: &mut MaybeUninit<bpf_sock_tuple>,
    tuple: &Tuple,
    family: Family,
) -> u32 {
    let (client, server) = (&tuple.client.0, &tuple.server.0);
    // SAFETY: fields of a value that is there, of plain words, and only written to.
    unsafe {
        let addresses = &raw mut (*key.as_mut_ptr()).__bindgen_anon_1;
        match family {
            Family::V4 => {
                let v4 = &raw mut (*addresses).ipv4;
                (&raw mut (*v4).saddr).write(client[3]);
                (&raw mut (*v4).daddr).write(server[3]);
                (&raw mut (*v4).sport).write(tuple.client_port);
                (&raw mut (*v4).dport).write(tuple.server_port);
                12
            }
            Family::V6 => {
                let v6 = &raw mut (*addresses).ipv6;
                (&raw mut (*v6).saddr).write(*client);
                (&raw mut (*v6).daddr).write(*server);
                (&raw mut (*v6).sport).write(tuple.client_port);
                (&raw mut (*v6).dport).write(tuple.server_port);
                36
            }
        }
    }
}
