//! A reply in the place of the packet that asked for it.

use aya_ebpf::{
    helpers::generated::{
        bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_load_bytes, bpf_xdp_store_bytes,
    },
    programs::XdpContext,
};
use cors_common::{
    checksum::Sum,
    exit::Exit,
    state::State,
    wire::{
        reply::{Reply, headers_len},
        segment::Family,
    },
};

use crate::{
    env,
    maps::{LINK_MAX, Scratch, TEMPLATES},
    stage::{Done, done},
};

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
    let Scratch { segment, verdict, answer, head, reply, .. } = scratch;
    let (body_len, body_sum) = if verdict.body {
        let template = TEMPLATES.get(answer.template).ok_or(Exit::Internal)?;
        (answer.len, answer.write(template, env::date(state), head, reply))
    } else {
        (0, Sum::ZERO)
    };
    reply.write_headers(segment, &verdict.tcp, body_len, body_sum);
    let at = segment.ip_at;
    let option_words = verdict.tcp.option_words;
    let len = headers_len(segment.family, option_words) + body_len;
    resize(ctx, scratch, at + len)?;
    swap_addresses(ctx)?;
    let len = scratch.zero.bounded(len, Reply::LEN_MAX).ok_or(Exit::Broken)?;
    let reply = core::ptr::from_mut(&mut scratch.reply).cast::<u8>();
    // SAFETY: from where the IP header starts the reply has `LEN_MAX` bytes at least, which `len`
    // does not exceed; the helper checks the bounds of the packet, and only reads from the reply.
    let stored = unsafe {
        let from = match scratch.segment.family {
            Family::V4 => reply.add(Reply::start(Family::V4, option_words)),
            Family::V6 => reply.add(Reply::start(Family::V6, option_words)),
        };
        bpf_xdp_store_bytes(ctx.ctx, at as u32, from.cast(), len as u32)
    };
    if stored == 0 { Ok(()) } else { Err(Exit::Broken) }
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
    // The program takes no packets of several buffers, so this is all of it.
    let more = len as i32 - (ctx.data_end() - ctx.data()) as i32;
    // SAFETY: the context is valid; the helper checks the room.
    let resized = unsafe { bpf_xdp_adjust_tail(ctx.ctx, more) };
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
