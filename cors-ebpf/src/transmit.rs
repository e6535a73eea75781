//! A reply in the place of the packet that asked for it.

use aya_ebpf::{
    helpers::generated::{
        bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
        bpf_xdp_store_bytes,
    },
    programs::XdpContext,
};
use cors_common::{
    checksum::Sum,
    exit::Exit,
    head::Span,
    policy::{ORIGIN_MAX, image::REPLY_MAX},
    state::{DATE_LEN, Date, State},
    wire::reply::{HEADERS_MAX, headers_len},
    zero::Zero,
};

use crate::{
    env,
    maps::{LINK_MAX, POLICIES, Scratch},
    stage::{Done, done},
};

/// The longest second piece of an answer.
const REST_MAX: usize = ORIGIN_MAX + 23;

/// Turns the packet around: addresses swapped, new headers, new payload, new length.
///
/// From the moment that its length has changed the packet is no request any more, and what fails
/// drops it.
#[inline(never)]
pub(crate) fn transmit(ctx: &XdpContext, scratch: &mut Scratch, state: &'static State) -> Done {
    done(try_transmit(ctx, scratch, state))
}

#[inline(always)]
fn try_transmit(
    ctx: &XdpContext,
    scratch: &mut Scratch,
    state: &'static State,
) -> Result<(), Exit> {
    let body = scratch.verdict.body;
    let (body_len, body_sum) =
        if body { (scratch.answer.len, scratch.answer.sum) } else { (0, Sum::ZERO) };
    let tcp = scratch.verdict.tcp;
    scratch.headers.write(&scratch.segment, &tcp, body_len, body_sum);
    let headers_len = headers_len(scratch.segment.family, tcp.option_words);
    let at = scratch.segment.ip_at;
    let len = at + headers_len + body_len;
    resize(ctx, scratch, len)?;
    swap_addresses(ctx)?;
    let headers = scratch.headers.0.as_ptr().cast();
    store(ctx, scratch.zero, at, headers, headers_len, HEADERS_MAX)?;
    if !body {
        return Ok(());
    }
    let date = env::date(state, scratch.date);
    store_body(ctx, at + headers_len, date, scratch)
}

/// So much a frame can always grow at its start, in bytes: `XDP_PACKET_HEADROOM` (256) less what
/// the kernel keeps there (`struct xdp_frame`) and, in generic mode, less the Ethernet header.
const BEFORE_MAX: i32 = 192;

/// Makes the frame `len` bytes long.
///
/// Behind a packet on a virtual cable there is as much room as its allocation happened to leave,
/// and a short request's does not leave enough for a long reply. So what a frame cannot grow at
/// its end it grows at its start.
#[inline(always)]
fn resize(ctx: &XdpContext, scratch: &mut Scratch, len: usize) -> Result<(), Exit> {
    // SAFETY: the context is valid; the helper checks the room.
    let (more, resized) = unsafe {
        let more = len as i32 - bpf_xdp_get_buff_len(ctx.ctx) as i32;
        (more, bpf_xdp_adjust_tail(ctx.ctx, more))
    };
    if resized == 0 {
        return Ok(());
    }
    let before = if more < BEFORE_MAX { more } else { BEFORE_MAX };
    let behind = more - before;
    let link_len = scratch.zero.bounded(scratch.segment.ip_at, LINK_MAX).ok_or(Exit::NoRoom)?;
    let link = scratch.link.as_mut_ptr().cast();
    // SAFETY: the memory has LINK_MAX bytes; the helpers check the bounds and the room.
    unsafe {
        if bpf_xdp_load_bytes(ctx.ctx, 0, link, link_len as u32) != 0
            || bpf_xdp_adjust_tail(ctx.ctx, behind) != 0
        {
            return Err(Exit::NoRoom);
        }
        if bpf_xdp_adjust_head(ctx.ctx, -before) != 0 {
            let undone = bpf_xdp_adjust_tail(ctx.ctx, -behind) == 0;
            return Err(if undone { Exit::NoRoom } else { Exit::Broken });
        }
        if bpf_xdp_store_bytes(ctx.ctx, 0, link, link_len as u32) != 0 {
            return Err(Exit::Broken);
        }
    }
    Ok(())
}

/// The Ethernet addresses, destination and source, change places. Tags stay where they are.
#[inline(always)]
fn swap_addresses(ctx: &XdpContext) -> Result<(), Exit> {
    let data = ctx.data();
    if data + 14 > ctx.data_end() {
        return Err(Exit::Broken);
    }
    let halves = data as *mut [u16; 6];
    // SAFETY: the 12 bytes were just compared with the end of the packet.
    unsafe {
        let [a, b, c, d, e, f] = *halves;
        *halves = [d, e, f, a, b, c];
    }
    Ok(())
}

/// Both pieces of an answer, and the date into its place in the first.
#[inline(always)]
fn store_body(ctx: &XdpContext, at: usize, date: &Date, scratch: &Scratch) -> Result<(), Exit> {
    let answer = &scratch.answer;
    let policy = POLICIES.get(answer.policy).ok_or(Exit::Broken)?;
    let first = policy.reply_len as usize;
    store(ctx, scratch.zero, at, policy.reply.as_ptr(), first, REPLY_MAX)?;
    store(ctx, scratch.zero, at + policy.date_at as usize, date.text.as_ptr(), DATE_LEN, DATE_LEN)?;
    let Span { at: rest_at, len } = answer.rest;
    let rest = &scratch.head.bytes()[rest_at as usize & 2047..];
    store(ctx, scratch.zero, at + first, rest.as_ptr(), len as usize, REST_MAX)
}

/// Writes `len` bytes from `from` into the packet; `max` is what the memory there has.
#[inline(always)]
fn store(
    ctx: &XdpContext,
    zero: Zero,
    at: usize,
    from: *const u8,
    len: usize,
    max: usize,
) -> Result<(), Exit> {
    let len = zero.bounded(len, max).ok_or(Exit::Broken)?;
    // SAFETY: the memory has `max` bytes, which `len` does not exceed; the helper checks the
    // bounds of the packet, and only reads from the buffer.
    let stored =
        unsafe { bpf_xdp_store_bytes(ctx.ctx, at as u32, from.cast_mut().cast(), len as u32) };
    if stored == 0 { Ok(()) } else { Err(Exit::Broken) }
}
