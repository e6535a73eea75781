//! The driver's decision on one segment to a protected socket.

use super::{
    Env, Owner, cookie_distance,
    flow::{Flow, WINDOW, phase},
    verdict::{Ask, Change, Verdict},
};
use crate::{
    cookie,
    exit::Exit,
    wire::{
        options::{Negotiated, syn_ack_options},
        reply::TcpFields,
        segment::{Segment, flags},
    },
};

/// Decides on a segment. `flow` is the entry of its tuple, if there is one.
#[inline(always)]
pub fn step<E: Env>(segment: &Segment, flow: Option<&Flow>, env: &mut E, out: &mut Verdict) {
    out.ask = Ask::Nothing;
    out.change = Change::Keep;
    out.body = false;
    let kind = segment.flags & flags::KIND;
    if kind == flags::SYN {
        return syn(segment, env, out);
    }
    let in_phases = |first, last| match flow {
        Some(flow) if flow.phase >= first && flow.phase <= last => Some(flow),
        _ => None,
    };
    if let Some(flow) = in_phases(phase::LEAVING, phase::LEAVING)
        && is_leaving(segment, flow, env, out)
    {
        return;
    }
    let flow = in_phases(phase::OPEN, phase::CLOSED);
    if kind & flags::RST != 0 {
        return reset(segment, flow, out);
    }
    if kind != flags::ACK && kind != flags::ACK | flags::FIN {
        return out.leave(Exit::Flags);
    }
    if let Some(flow) = flow {
        // A cookie of its own tells a new connection on the same tuple from a late segment of
        // the old one.
        if !is_next_incarnation(segment, flow, env) {
            return on_flow(segment, flow, env, out);
        }
    }
    without_flow(segment, env, out);
}

/// RFC 9293 §3.10.7.2, with a cookie in place of state.
#[inline(always)]
fn syn<E: Env>(segment: &Segment, env: &mut E, out: &mut Verdict) {
    if env.lapsed() {
        return out.leave(Exit::LeaseExpired);
    }
    if segment.payload_len != 0 {
        return out.leave(Exit::SynData);
    }
    let arrival = env.arrival(segment);
    // Asked of SYNs alone: whoever has no SYN-ACK of ours has no proof for anything else.
    if !arrival.for_us {
        return out.leave(Exit::SynElsewhere);
    }
    let options = env.options(segment);
    if let Err(exit) = options.negotiate(segment.family, arrival.mss) {
        return out.leave(exit);
    }
    let kept = options.kept();
    let kept = kept.without(env.declined());
    // With the options read: what is offered in them is noted of SYNs that go up.
    if env.leaves_handshakes() {
        return out.leave(Exit::SynKernel);
    }
    match env.owner(segment) {
        Owner::Listener => {}
        Owner::Nobody => return out.leave(Exit::SynNoListener),
        Owner::MptcpListener => return out.leave(Exit::SynMptcp),
        Owner::Connection => return out.leave(Exit::SynSocket),
    }
    let seq =
        cookie::issue(env.keys(), segment.family, &segment.tuple, env.epoch(), segment.seq, kept);
    let (options, option_words) = syn_ack_options(kept, arrival.mss);
    out.exit = Exit::SynAck;
    out.tcp = TcpFields {
        seq,
        ack: segment.seq.wrapping_add(1),
        flags: flags::SYN | flags::ACK,
        // The window of a SYN segment is never scaled (RFC 7323 §2.2).
        window: u16::MAX,
        options,
        option_words,
    };
}

/// RFC 5961 §3.2: only a reset at exactly the next byte is believed.
#[inline(always)]
fn reset(segment: &Segment, flow: Option<&Flow>, out: &mut Verdict) {
    match flow {
        Some(flow) if segment.seq == flow.rcv_nxt => {
            out.leave_and(Exit::Reset, Change::Forget);
        }
        _ => out.leave(Exit::NotOurs),
    }
}

/// Whether the segment proves a handshake other than the one that the flow entry came from.
#[inline(always)]
pub(super) fn is_next_incarnation<E: Env>(segment: &Segment, flow: &Flow, env: &E) -> bool {
    // What belongs to the flow acknowledges the last answer or what was before it; only for the
    // rest is the price of a hash due. A copy of the flow's own first segments has its own cookie.
    let acked = segment.ack.wrapping_sub(flow.reply_seq());
    let iss = segment.ack.wrapping_sub(1);
    if acked <= u32::from(flow.reply_len) || iss == flow.iss {
        return false;
    }
    let distance = cookie_distance(env, segment, iss, segment.seq);
    distance.is_first() || distance.is_probe()
}

/// A segment of a connection whose last one went up. Whether that settles it.
#[inline(always)]
fn is_leaving<E: Env>(segment: &Segment, flow: &Flow, env: &mut E, out: &mut Verdict) -> bool {
    let ours = segment.ack == flow.snd_nxt
        && segment.seq.wrapping_sub(flow.rcv_nxt.wrapping_sub(1)) <= WINDOW;
    let is_bare = segment.payload_len == 0 && segment.flags & (flags::FIN | flags::RST) == 0;
    let is_probe = segment.seq == flow.rcv_nxt.wrapping_sub(1) && !segment.has(flags::RST);
    match env.owner(segment) {
        // The kernel has it. The entry goes, so that nothing of it is handed over once more when
        // the kernel's connection has ended.
        Owner::Connection => out.leave_and(Exit::NotOurs, Change::Forget),
        // The kernel did not take the segment, for a full queue perhaps. It comes again; an
        // acknowledgement in the meantime would only be reset, and so would a keep-alive probe
        // that was overtaken.
        Owner::Listener if ours && (is_bare || is_probe) => out.leave(Exit::ReplyAck),
        _ if ours => out.leave(Exit::Leaving),
        // A copy of an answered request: from its cookie the connection would start over.
        _ if flow.is_behind(segment.ack) && !is_next_incarnation(segment, flow, env) => {
            out.leave(Exit::Stale);
        }
        _ => return false,
    }
    true
}

/// A segment of a connection on which a preflight was answered.
#[inline(always)]
fn on_flow<E: Env>(segment: &Segment, flow: &Flow, env: &mut E, out: &mut Verdict) {
    if segment.payload_len == 0 {
        return if segment.has(flags::FIN) {
            fin(segment, flow, env, out);
        } else {
            bare_ack(segment, flow, env, out);
        };
    }
    // The last request once more: its answer was lost, and the client is our timer. It may come
    // with later bytes in the same segment; only the request itself is read again.
    let again = segment.seq == flow.request_seq()
        && segment.ack == flow.reply_seq()
        && (flow.phase == phase::OPEN || flow.phase == phase::FIN_SENT)
        && segment.payload_len >= flow.request_len as usize;
    if !again {
        // One byte before the next: a keep-alive probe with its byte (RFC 9293 §3.8.4). Of a client
        // that has not got the answer it is the end of the request, and to acknowledge that would
        // keep the client from asking again.
        if segment.payload_len == 1
            && segment.seq == flow.rcv_nxt.wrapping_sub(1)
            && segment.ack == flow.snd_nxt
        {
            return probe(flow, out);
        }
        // A piece of the last request would be reset at the number that a client waits at which
        // has not got its answer.
        if segment.seq.wrapping_sub(flow.rcv_nxt) >= 1 << 31 {
            return unexpected(Exit::Stale, segment, env, out);
        }
        if flow.phase != phase::OPEN {
            return unexpected(Exit::AfterClose, segment, env, out);
        }
        if segment.seq != flow.rcv_nxt {
            return unexpected(Exit::OutOfOrder, segment, env, out);
        }
        if segment.ack != flow.snd_nxt {
            return unexpected(Exit::Unacknowledged, segment, env, out);
        }
    }
    match env.listener(segment) {
        Owner::Listener => {}
        Owner::Nobody | Owner::MptcpListener => {
            return out.leave_and(Exit::ListenerGone, Change::Forget);
        }
        Owner::Connection => return out.leave_and(Exit::NotOurs, Change::Forget),
    }
    if again {
        return out.ask(Ask::Again, *flow, flow.request_len as usize);
    }
    if segment.has(flags::FIN) || !env.starts_like_a_preflight(segment) {
        out.put(flow.in_phase(phase::LEAVING));
        return out.leave(Exit::NotOptions);
    }
    out.ask(Ask::Next, *flow, segment.payload_len);
}

/// A segment of a connection of which nothing is remembered.
#[inline(always)]
fn without_flow<E: Env>(segment: &Segment, env: &mut E, out: &mut Verdict) {
    if segment.payload_len == 0 {
        return stateless(segment, env, out);
    }
    // A keep-alive probe with its byte, on a connection that has said nothing yet.
    if segment.payload_len == 1 && is_silent_probe(segment, env) {
        return silent_probe(segment, out);
    }
    // The cheapest question first: on most connections the kernel's data passes here.
    if segment.has(flags::FIN) || !env.starts_like_a_preflight(segment) {
        return out.leave(Exit::NotOptions);
    }
    let iss = segment.ack.wrapping_sub(1);
    // A cookie is a proof of 24 bits, which on a busy host an unrelated segment meets by chance:
    // the tuple must be nobody's.
    if !cookie_distance(env, segment, iss, segment.seq).is_first()
        || env.owner(segment) != Owner::Listener
    {
        return out.leave(Exit::NotOurs);
    }
    let flow = Flow { rcv_nxt: segment.seq, snd_nxt: segment.ack, iss, ..Flow::EMPTY };
    out.ask(Ask::First, flow, segment.payload_len);
}

#[inline(always)]
fn is_silent_probe<E: Env>(segment: &Segment, env: &mut E) -> bool {
    cookie_distance(env, segment, segment.ack.wrapping_sub(1), segment.seq).is_probe()
        && env.owner(segment) == Owner::Listener
}

/// The acknowledgement that such a probe asks for; it starts one byte before the first.
#[inline(always)]
fn silent_probe(segment: &Segment, out: &mut Verdict) {
    let (seq, ack) = (segment.ack, segment.seq.wrapping_add(1));
    let kept = Negotiated(seq.wrapping_sub(1) as u8);
    out.control(Exit::ProbeAck, flags::ACK, seq, ack, kept);
}

/// A segment without data on a connection of which nothing is remembered: the end of a handshake,
/// a FIN, the acknowledgement of ours, or a keep-alive probe. All are told by the cookie.
#[inline(always)]
fn stateless<E: Env>(segment: &Segment, env: &mut E, out: &mut Verdict) {
    // The kernel's own connections first: for them this is the price of every acknowledgement.
    if env.owner(segment) != Owner::Listener {
        return out.leave(Exit::NotOurs);
    }
    let (seq, ack) = (segment.seq, segment.ack);
    let iss = ack.wrapping_sub(1);
    let kept = Negotiated(iss as u8);
    let distance = cookie_distance(env, segment, iss, seq);
    if distance.is_first() {
        if segment.has(flags::FIN) {
            let fin_ack = flags::FIN | flags::ACK;
            return out.control(Exit::FinAck, fin_ack, ack, seq.wrapping_add(1), kept);
        }
        return out.leave(Exit::HandshakeAck);
    }
    if distance.is_probe() {
        return silent_probe(segment, out);
    }
    if distance.is_early() {
        // Behind bytes that have not arrived; they will be sent again, and this with them.
        return out.leave(Exit::OutOfOrder);
    }
    // After a FIN that was answered from the cookie, both sides are one further.
    let after_fin = cookie_distance(env, segment, ack.wrapping_sub(2), seq.wrapping_sub(1));
    out.leave(if after_fin.is_first() && !segment.has(flags::FIN) {
        Exit::LastAck
    } else {
        Exit::NotOurs
    });
}

/// A segment that is not the one the flow waits for.
///
/// The entry may be left over from a connection that ended unseen, and the tuple the kernel's by
/// now; only where it is not, the segment is one of ours to drop.
#[inline(always)]
fn unexpected<E: Env>(exit: Exit, segment: &Segment, env: &mut E, out: &mut Verdict) {
    if env.owner(segment) == Owner::Connection {
        return out.leave_and(Exit::NotOurs, Change::Forget);
    }
    out.leave(exit);
}

/// A FIN without data.
#[inline(always)]
fn fin<E: Env>(segment: &Segment, flow: &Flow, env: &mut E, out: &mut Verdict) {
    let kept = flow.negotiated();
    let next = segment.seq == flow.rcv_nxt;
    let last = segment.seq == flow.rcv_nxt.wrapping_sub(1);
    let rcv_nxt = flow.rcv_nxt.wrapping_add(1);
    match flow.phase {
        // Acknowledged, it would leave the client nothing to send again, and the answer would be
        // lost.
        phase::OPEN | phase::FIN_SENT if next && segment.ack != flow.snd_nxt => {
            unexpected(Exit::Unacknowledged, segment, env, out);
        }
        // The client closes first: acknowledge and close in one segment.
        phase::OPEN if next => {
            let snd_nxt = flow.snd_nxt.wrapping_add(1);
            out.put(Flow { rcv_nxt, snd_nxt, phase: phase::LAST_ACK, ..*flow });
            out.control(Exit::FinAck, flags::FIN | flags::ACK, flow.snd_nxt, rcv_nxt, kept);
        }
        phase::FIN_SENT if next => {
            out.put(Flow { rcv_nxt, phase: phase::CLOSED, ..*flow });
            out.control(Exit::CloseAck, flags::ACK, flow.snd_nxt, rcv_nxt, kept);
        }
        // Retransmitted: what answered it was lost.
        phase::LAST_ACK if last => {
            let seq = flow.snd_nxt.wrapping_sub(1);
            out.control(Exit::FinAck, flags::FIN | flags::ACK, seq, flow.rcv_nxt, kept);
        }
        phase::CLOSED if last => {
            out.control(Exit::CloseAck, flags::ACK, flow.snd_nxt, flow.rcv_nxt, kept);
        }
        phase::OPEN | phase::FIN_SENT => unexpected(Exit::OutOfOrder, segment, env, out),
        _ => unexpected(Exit::Stale, segment, env, out),
    }
}

/// An acknowledgement without data.
#[inline(always)]
fn bare_ack<E: Env>(segment: &Segment, flow: &Flow, env: &mut E, out: &mut Verdict) {
    if segment.ack == flow.snd_nxt {
        if segment.seq == flow.rcv_nxt {
            return if flow.phase == phase::LAST_ACK {
                out.leave_and(Exit::LastAck, Change::Forget);
            } else {
                out.leave(Exit::ReplyAck);
            };
        }
        // One byte before, and nothing in it: a keep-alive probe (RFC 9293 §3.8.4).
        if segment.seq == flow.rcv_nxt.wrapping_sub(1)
            && (flow.phase == phase::OPEN || flow.phase == phase::FIN_SENT)
        {
            return probe(flow, out);
        }
    }
    unexpected(Exit::ReplyAck, segment, env, out);
}

/// The acknowledgement that a keep-alive probe asks for.
#[inline(always)]
fn probe(flow: &Flow, out: &mut Verdict) {
    out.control(Exit::ProbeAck, flags::ACK, flow.snd_nxt, flow.rcv_nxt, flow.negotiated());
}
