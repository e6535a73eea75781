//! `client`: what came becomes what goes.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    helpers::generated::{bpf_ktime_get_ns, bpf_xdp_load_bytes},
    macros::xdp,
    programs::XdpContext,
};
use cors_common::wire::{Frame as _, segment::Segment};
use cors_load::{
    check::{self, Checksum, PIECE_MAX},
    conn::{Conn, Payload, Send, Step, Turn},
    count::{Count, Tally as _},
    layout::Config,
};

use super::{
    frame::XdpFrame,
    maps::{CONFIG, Counters, REPLIES, REQUESTS, Scratch, conn, progress, queue, scratch},
    transmit::transmit,
};

/// Plays all clients.
#[xdp]
fn client(ctx: XdpContext) -> u32 {
    try_client(&ctx).unwrap_or(XDP_PASS)
}

#[inline(always)]
fn try_client(ctx: &XdpContext) -> Option<u32> {
    let scratch = scratch()?;
    let config = CONFIG.get(0)?;
    scratch.segment = Segment::read(&XdpFrame(ctx)).ok()?;
    if !is_from(config, &scratch.segment) {
        return None;
    }
    let Some(slot) = slot(config, &scratch.segment) else {
        learn(ctx);
        return None;
    };
    let conn = conn(slot)?;
    Counters.one(Count::Packets);
    let step = if conn.is_mine(&scratch.segment) {
        // SAFETY: no arguments, no memory.
        let now = unsafe { bpf_ktime_get_ns() };
        let Some(payload) = payload(ctx, scratch, conn) else {
            Counters.one(Count::BadChecksum);
            return Some(XDP_DROP);
        };
        conn.receive(&scratch.segment, payload, config.habit(), now, &mut Counters)
    } else {
        Conn::stale(&scratch.segment, &mut Counters)
    };
    Some(carry_out(ctx, scratch, conn, slot, step))
}

#[inline(always)]
fn carry_out(
    ctx: &XdpContext,
    scratch: &mut Scratch,
    conn: &mut Conn,
    slot: u32,
    step: Step,
) -> u32 {
    let mut action = XDP_DROP;
    if !matches!(step.send, Send::Nothing) {
        match transmit(ctx, scratch, slot, step.send as u32) {
            0 => {
                Counters.one(Count::NoRoom);
                queue(conn, slot, true);
            }
            sent => {
                Counters.one(Count::Turned);
                action = sent;
            }
        }
    }
    if matches!(step.turn, Turn::NextArrival) {
        queue(conn, slot, false);
    }
    action
}

/// Whether a segment comes from the target.
#[inline(always)]
fn is_from(config: &Config, segment: &Segment) -> bool {
    let (from, server) = (&segment.tuple.client.0, &config.server.0);
    segment.tuple.client_port == config.server_port
        && (from[0] ^ server[0])
            | (from[1] ^ server[1])
            | (from[2] ^ server[2])
            | (from[3] ^ server[3])
            == 0
}

/// The number of the client for whom a segment is; none where it is for somebody else.
#[inline(always)]
fn slot(config: &Config, segment: &Segment) -> Option<u32> {
    let (to, clients) = (&segment.tuple.server.0, &config.clients.0);
    let differs = (to[0] ^ clients[0])
        | (to[1] ^ clients[1])
        | (to[2] ^ clients[2])
        | (u32::from_be(to[3] ^ clients[3]) & 0xffff_0000);
    let slot = u32::from_be(to[3]) & 0xffff;
    (differs == 0 && slot < config.slots).then_some(slot)
}

/// Remembers from which Ethernet address the target is heard.
#[inline(always)]
fn learn(ctx: &XdpContext) {
    if let (Some([a, b, c, d, e, f]), Some(progress)) = (XdpFrame(ctx).load::<6>(6), progress()) {
        progress.neighbour = [a, b, c, d, e, f, 1, 1];
    }
}

/// Whether the next bytes of a reply are the expected ones; `None` where the checksum is wrong.
#[inline(always)]
fn payload(ctx: &XdpContext, scratch: &mut Scratch, conn: &Conn) -> Option<Payload> {
    if !conn.takes(&scratch.segment) {
        return Some(Payload::NONE);
    }
    match compare(ctx, scratch, conn.request, conn.received) {
        BAD_CHECKSUM => None,
        found => {
            let reply_len = found >> 1;
            Some(Payload { matches: found & 1 != 0, reply_len })
        }
    }
}

const BAD_CHECKSUM: u32 = u32::MAX;

/// The length of the whole reply, shifted by one; the lowest bit: whether this piece is of it.
#[inline(never)]
fn compare(ctx: &XdpContext, scratch: &mut Scratch, request: u32, received: u32) -> u32 {
    try_compare(ctx, scratch, request, received).unwrap_or(0)
}

#[inline(always)]
fn try_compare(
    ctx: &XdpContext,
    scratch: &mut Scratch,
    request: u32,
    received: u32,
) -> Option<u32> {
    let reply = REPLIES.get(REQUESTS.get(request)?.reply)?;
    let segment = &scratch.segment;
    let len = scratch.zero.bounded(segment.payload_len, PIECE_MAX)?;
    // A reply's segments have no options: none were agreed on that they could carry.
    if segment.options_len != 0 {
        return None;
    }
    let last = len / 8;
    if last >= scratch.piece.0.len() {
        return None;
    }
    scratch.piece.0[last] = 0;
    // Masked, because an offset that went through memory is any number to the verifier.
    let (tcp_at, payload_at) = (segment.tcp_at & 0x7f, segment.payload_at() & 0xff);
    let piece = scratch.piece.0.as_mut_ptr().cast();
    // SAFETY: the piece has more than PIECE_MAX bytes; the helper checks the packet's bounds.
    if unsafe { bpf_xdp_load_bytes(ctx.ctx, payload_at as u32, piece, len as u32) } != 0 {
        return None;
    }
    let found = scratch.piece.compare(len, reply, received as usize);
    let tcp = XdpFrame(ctx).load::<20>(tcp_at)?;
    match check::checksum(&scratch.segment, &tcp, found.sum) {
        Checksum::Full => Counters.one(Count::FullChecksum),
        Checksum::Partial => Counters.one(Count::PartialChecksum),
        Checksum::Bad => return Some(BAD_CHECKSUM),
    }
    Some((reply.len & 0xffff) << 1 | u32::from(found.matches))
}
