//! A segment of a client, in the place of the frame that there is.

use aya_ebpf::{
    bindings::xdp_action::XDP_TX,
    helpers::generated::{
        bpf_ktime_get_ns, bpf_redirect, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
        bpf_xdp_store_bytes,
    },
    programs::XdpContext,
};
use cors_common::{
    checksum::Sum,
    wire::{
        reply::{HEADERS_MAX, Reply, TcpFields, headers_len},
        segment::{Address, ETH_LEN, Family, Segment, Tuple, flags},
    },
};
use cors_load::{
    conn::Send,
    count::{Count, Tally as _},
    layout::{Config, FLAG_REDIRECT, REQUEST_MAX},
};

use super::maps::{CONFIG, Counters, REQUESTS, Scratch, conn, progress};

/// MSS 1460, window scale 7 and SACK, as a kernel offers them; no timestamps, which a server then
/// does not send either.
const SYN_OPTIONS: [u32; 3] = [
    u32::from_ne_bytes([2, 4, 0x05, 0xb4]),
    u32::from_ne_bytes([1, 3, 3, 7]),
    u32::from_ne_bytes([1, 1, 4, 2]),
];

/// Every client takes in at once what comes.
const WINDOW: u16 = 64_240;

/// Writes what client `slot` sends. Returns the XDP code, or 0 where the frame has no room for it:
/// then nothing has happened.
#[inline(never)]
pub(crate) fn transmit(ctx: &XdpContext, scratch: &mut Scratch, slot: u32, send: u32) -> u32 {
    try_transmit(ctx, scratch, slot, send, false).unwrap_or(0)
}

/// The same, with the request that was sent last.
#[inline(never)]
pub(crate) fn transmit_again(ctx: &XdpContext, scratch: &mut Scratch, slot: u32, send: u32) -> u32 {
    try_transmit(ctx, scratch, slot, send, true).unwrap_or(0)
}

#[inline(always)]
fn try_transmit(
    ctx: &XdpContext,
    scratch: &mut Scratch,
    slot: u32,
    send: u32,
    again: bool,
) -> Option<u32> {
    let config = CONFIG.get(0)?;
    let conn = conn(slot)?;
    let is = |kind: Send| send == kind as u32;
    let request = if is(Send::Request) {
        if !again {
            let progress = progress()?;
            conn.request = (progress.asked % u64::from(config.requests.max(1))) as u32;
            progress.asked += 1;
        }
        Some(REQUESTS.get(conn.request)?)
    } else {
        None
    };
    let (body_len, body_sum) = match request {
        Some(request) => {
            let len = scratch.zero.bounded(request.len as usize, REQUEST_MAX)?;
            (len, Sum::folded(request.sum))
        }
        None => (0, Sum::ZERO),
    };
    let family = if config.version == 4 { Family::V4 } else { Family::V6 };
    let option_words = if is(Send::Syn) { SYN_OPTIONS.len() } else { 0 };
    let headers_len = headers_len(family, option_words);
    resize(ctx, ETH_LEN + headers_len + body_len)?;

    // SAFETY: no arguments, no memory.
    let now = unsafe { bpf_ktime_get_ns() };
    let segment = &mut scratch.segment;
    let (seq, ack, port) = if is(Send::TimeWait) {
        let next = segment.seq.wrapping_add(segment.payload_len as u32).wrapping_add(1);
        (segment.ack, next, segment.tuple.server_port)
    } else {
        let kind = match send {
            n if n == Send::Syn as u32 => Send::Syn,
            n if n == Send::Request as u32 => Send::Request,
            n if n == Send::Fin as u32 => Send::Fin,
            n if n == Send::Reset as u32 => Send::Reset,
            _ => Send::Ack,
        };
        let seq = conn.sends(kind, body_len as u32, now);
        (seq, conn.expected, conn.port.to_be())
    };
    let flags = if is(Send::Syn) {
        Counters.one(Count::Opened);
        flags::SYN
    } else if is(Send::Request) {
        Counters.one(Count::Asked);
        flags::ACK | flags::PSH
    } else if is(Send::Fin) {
        flags::ACK | flags::FIN
    } else if is(Send::Reset) {
        flags::ACK | flags::RST
    } else {
        flags::ACK
    };
    let tcp = TcpFields {
        seq,
        ack,
        flags,
        window: WINDOW,
        options: if option_words == 0 { [0; 3] } else { SYN_OPTIONS },
        option_words,
    };
    *segment = Segment {
        tuple: Tuple {
            client: config.server,
            server: address(config, slot),
            client_port: config.server_port,
            server_port: port,
        },
        family,
        tag: 0,
        ip_at: ETH_LEN,
        tcp_at: 0,
        options_len: 0,
        payload_len: 0,
        seq: 0,
        ack: 0,
        window: 0,
        flags: 0,
    };
    scratch.headers.write_headers(segment, &tcp, body_len, body_sum);
    let headers_len = scratch.zero.bounded(headers_len, HEADERS_MAX)?;
    let headers = core::ptr::from_mut(&mut scratch.headers).cast::<u8>();
    // SAFETY: the link header has 16 bytes, the headers HEADERS_MAX, the request REQUEST_MAX; the
    // helper checks the packet's bounds.
    unsafe {
        let headers = match family {
            Family::V4 => headers.add(Reply::start(Family::V4, option_words)),
            Family::V6 => headers.add(Reply::start(Family::V6, option_words)),
        };
        let link = config.link.as_ptr().cast_mut().cast();
        if bpf_xdp_store_bytes(ctx.ctx, 0, link, ETH_LEN as u32) != 0
            || bpf_xdp_store_bytes(ctx.ctx, ETH_LEN as u32, headers.cast(), headers_len as u32) != 0
        {
            return None;
        }
        if let Some(request) = request {
            let body_len = scratch.zero.bounded(body_len, REQUEST_MAX)?;
            let at = (ETH_LEN + headers_len) as u32;
            let bytes = request.bytes.as_ptr().cast_mut().cast();
            if bpf_xdp_store_bytes(ctx.ctx, at, bytes, body_len as u32) != 0 {
                return None;
            }
        }
        Some(if config.flags & FLAG_REDIRECT == 0 {
            XDP_TX
        } else {
            bpf_redirect(config.interface, 0) as u32
        })
    }
}

/// The address of a client.
#[inline(always)]
fn address(config: &Config, slot: u32) -> Address {
    let [a, b, c, d] = config.clients.0;
    Address([a, b, c, d | slot.to_be()])
}

/// Makes the frame `len` bytes long.
#[inline(always)]
fn resize(ctx: &XdpContext, len: usize) -> Option<()> {
    // SAFETY: the context is valid; the helper checks the room.
    let resized = unsafe {
        let more = len as i32 - bpf_xdp_get_buff_len(ctx.ctx) as i32;
        bpf_xdp_adjust_tail(ctx.ctx, more)
    };
    (resized == 0).then_some(())
}
