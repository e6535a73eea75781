//! The decision behind the driver: is this the segment from which the kernel goes on?
//!
//! `bpf_sk_assign_tcp_reqsk` builds a full socket from the sequence numbers of one segment. That
//! is right exactly where the segment starts at the next byte we expect and acknowledges all that
//! we sent; everything else would lose bytes or bring the sequence spaces apart.

use super::{
    Env, Owner, cookie_distance,
    flow::{Flow, WINDOW, phase},
    step::is_next_incarnation,
};
use crate::{
    exit::Exit,
    wire::{
        options::Negotiated,
        segment::{Segment, flags},
    },
};

/// What to do with a segment that came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// Leave it as it is, or drop it; the exit says which.
    Leave(Exit),
    /// Make it the kernel's, with what the handshake agreed on.
    Assign(Negotiated),
}

/// Decides on a segment to a protected socket. `flow` is the entry of its tuple.
#[inline(always)]
pub fn hand_over<E: Env>(segment: &Segment, flow: Option<&Flow>, env: &mut E) -> Handover {
    let kind = segment.flags & (flags::SYN | flags::ACK | flags::RST);
    // Bare acknowledgements of our handshakes end in the driver; a reset is never assigned.
    // Urgent data is data.
    if kind != flags::ACK || (segment.payload_len == 0 && !segment.has(flags::FIN)) {
        return Handover::Leave(Exit::TcNotOurs);
    }
    let owner = env.owner(segment);
    if owner == Owner::Connection {
        return Handover::Leave(Exit::TcNotOurs);
    }
    let place = match flow {
        // From another version, or torn: as good as none.
        Some(flow) if flow.phase < phase::OPEN || flow.phase > phase::LEAVING => {
            from_cookie(segment, env)
        }
        Some(flow) if on_flow(flow, segment) => from_flow(flow, segment),
        // It acknowledges what was sent before an answer, not the answer. From its cookie the
        // connection would start over, and send other bytes in the answer's place.
        Some(flow) if flow.is_behind(segment.ack) && !is_next_incarnation(segment, flow, env) => {
            behind(flow, segment)
        }
        _ => from_cookie(segment, env),
    };
    match (place, owner) {
        (Place::Unknown, Owner::Nobody) => Handover::Leave(Exit::HandoverNoListener),
        (Place::Unknown, _) => Handover::Leave(Exit::Orphan),
        (_, Owner::Nobody) => Handover::Leave(Exit::HandoverNoListener),
        (_, Owner::MptcpListener) => Handover::Leave(Exit::HandoverMptcp),
        (Place::Next(kept), _) => Handover::Assign(kept),
        (Place::Later, _) => Handover::Leave(Exit::Early),
    }
}

/// Where a segment is on its connection.
enum Place {
    /// It starts at the next byte and acknowledges everything.
    Next(Negotiated),
    /// It belongs to the connection, behind the next byte.
    Later,
    /// Nothing says that the connection is ours.
    Unknown,
}

#[inline(always)]
fn on_flow(flow: &Flow, segment: &Segment) -> bool {
    (flow.phase == phase::LEAVING || flow.phase == phase::OPEN) && segment.ack == flow.snd_nxt
}

/// A segment that does not acknowledge the last answer: the next request comes again when the
/// client has the answer; the answered one cannot be answered here.
#[inline(always)]
fn behind(flow: &Flow, segment: &Segment) -> Place {
    if segment.seq.wrapping_sub(flow.rcv_nxt) <= WINDOW { Place::Later } else { Place::Unknown }
}

#[inline(always)]
fn from_flow(flow: &Flow, segment: &Segment) -> Place {
    let ahead = segment.seq.wrapping_sub(flow.rcv_nxt);
    if ahead == 0 {
        Place::Next(flow.negotiated())
    } else if ahead <= WINDOW {
        Place::Later
    } else {
        Place::Unknown
    }
}

#[inline(always)]
fn from_cookie<E: Env>(segment: &Segment, env: &E) -> Place {
    let iss = segment.ack.wrapping_sub(1);
    let distance = cookie_distance(env, segment, iss, segment.seq);
    if distance.is_first() {
        Place::Next(Negotiated(iss as u8))
    } else if distance.is_early() {
        Place::Later
    } else {
        Place::Unknown
    }
}
