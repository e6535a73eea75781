//! What the decisions ask of their surroundings, answered by helpers and maps.

use aya_ebpf::{
    bindings::{BPF_F_CURRENT_NETNS, bpf_sock_tuple},
    helpers::generated::{
        bpf_ktime_get_coarse_ns, bpf_sk_release, bpf_skc_lookup_tcp, bpf_skc_to_mptcp_sock,
    },
};
use cors_common::{
    cookie::Keys,
    exit::Exit,
    state::{self, Date, FLAG_NO_SACK, FLAG_NO_WINDOW_SCALE, Slot, State},
    tcp::{Env, Owner},
    wire::{
        options::{Declined, OPTIONS_MAX, OptionBytes},
        segment::{Family, Segment, Tuple},
    },
};

use crate::{
    frame::Packet,
    maps::{INTERFACES, STATE, Scratch},
};

/// `TCP_LISTEN` of `include/net/tcp_states.h`.
const TCP_LISTEN: u32 = 10;

const OPTIONS_START: [u8; 8] = *b"OPTIONS ";

/// The kernel around one packet.
pub(crate) struct Kernel<'a, P> {
    pub(crate) packet: P,
    pub(crate) state: &'static State,
    pub(crate) scratch: &'a mut Scratch,
}

/// The agent's words, if they are of this layout.
#[inline(always)]
pub(crate) fn any_state() -> Result<&'static State, Exit> {
    let state = STATE.get(0).ok_or(Exit::Internal)?;
    if state.abi == state::ABI { Ok(state) } else { Err(Exit::NoPolicy) }
}

/// The agent's words, while its lease lasts and a policy is loaded.
#[inline(always)]
pub(crate) fn state() -> Result<&'static State, Exit> {
    let state = any_state()?;
    if state.active == 0 {
        return Err(Exit::NoPolicy);
    }
    // SAFETY: no arguments, no memory. The coarse clock is read without touching the hardware.
    if unsafe { bpf_ktime_get_coarse_ns() } > state.lease {
        return Err(Exit::LeaseExpired);
    }
    Ok(state)
}

/// The active policy.
#[inline(always)]
pub(crate) fn slot(state: &State) -> &Slot {
    if state.active & 1 == 1 { &state.slots[0] } else { &state.slots[1] }
}

/// One of the two dates. Which one is read once for a packet: an answer's sum and its text must
/// be of the same.
#[inline(always)]
pub(crate) fn date(state: &State, which: u32) -> &Date {
    if which == 0 { &state.dates[0] } else { &state.dates[1] }
}

impl<P: Packet> Env for Kernel<'_, P> {
    #[inline(always)]
    fn keys(&self) -> &Keys {
        &self.state.keys
    }

    #[inline(always)]
    fn epoch(&self) -> u32 {
        self.state.epoch
    }

    #[inline(always)]
    fn declined(&self) -> Declined {
        Declined {
            sack: self.state.flags & FLAG_NO_SACK != 0,
            window_scale: self.state.flags & FLAG_NO_WINDOW_SCALE != 0,
        }
    }

    #[inline(always)]
    fn owner(&mut self, segment: &Segment) -> Owner {
        match owner(self.packet.context(), &segment.tuple, segment.family) {
            0 => Owner::Nobody,
            1 => Owner::Listener,
            2 => Owner::MptcpListener,
            _ => Owner::Connection,
        }
    }

    #[inline(always)]
    fn options(&mut self, segment: &Segment) -> &mut OptionBytes {
        let options = &mut self.scratch.options;
        let to = options.clear(segment.options_len).as_mut_ptr();
        if let Some(len) = self.scratch.zero.bounded(segment.options_len, OPTIONS_MAX) {
            // SAFETY: the array has 64 bytes.
            if !unsafe { self.packet.copy(segment.options_at(), to, len) } {
                options.set_unreadable();
            }
        }
        options
    }

    #[inline(always)]
    fn mss(&mut self, segment: &Segment) -> u16 {
        // SAFETY: the entry is a word that the agent writes at once.
        let sizes = unsafe { INTERFACES.get(self.packet.interface()) };
        match (segment.family, sizes) {
            (Family::V4, Some(interface)) => interface.mss_v4,
            (Family::V6, Some(interface)) => interface.mss_v6,
            (Family::V4, None) => 1460,
            (Family::V6, None) => 1440,
        }
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
    let (mut key, size) = sock_tuple(tuple, family);
    // SAFETY: the key has `size` bytes; a socket that is found is released below.
    unsafe {
        let sk = bpf_skc_lookup_tcp(context, &raw mut key, size, BPF_F_CURRENT_NETNS as u64, 0);
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

/// The key of a socket look-up, and its size.
#[inline(always)]
pub(crate) fn sock_tuple(tuple: &Tuple, family: Family) -> (bpf_sock_tuple, u32) {
    // SAFETY: plain words, for which zero is a value.
    let mut key: bpf_sock_tuple = unsafe { core::mem::zeroed() };
    let (client, server) = (&tuple.client.0, &tuple.server.0);
    match family {
        Family::V4 => {
            key.__bindgen_anon_1.ipv4.saddr = client[3];
            key.__bindgen_anon_1.ipv4.daddr = server[3];
            key.__bindgen_anon_1.ipv4.sport = tuple.client_port;
            key.__bindgen_anon_1.ipv4.dport = tuple.server_port;
            (key, 12)
        }
        Family::V6 => {
            key.__bindgen_anon_1.ipv6.saddr = *client;
            key.__bindgen_anon_1.ipv6.daddr = *server;
            key.__bindgen_anon_1.ipv6.sport = tuple.client_port;
            key.__bindgen_anon_1.ipv6.dport = tuple.server_port;
            (key, 36)
        }
    }
}
