//! The policy engine of both tiers: a request head in, the answer or the refusal out.
//!
//! The policy is not code and not a tree of objects but an *image*: lines of facts and entries
//! with finished replies ([`image`]), which the agent compiles and the kernel programs read from
//! maps. The agent's slow path reads the same bytes with the same functions, so the two tiers
//! cannot disagree on what the policy says.

pub mod fact;
mod host;
pub mod image;
mod origin;
mod path;
mod request;

use crate::{
    checksum::Sum,
    exit::Exit,
    head::{Head, Span},
    state::{Date, Slot},
    swar::{keep, splat, within, words},
};
pub use host::find_host;
pub use image::{Image, Policy};
pub use origin::check_origin;
pub use path::{PREFIX_SEGMENTS_MAX, find_policy};
pub use request::{NAME_MAX, NAMES_MAX, check_headers, check_method};

/// The longest `Origin` that is answered: scheme, `://`, host and port at their limits.
pub const ORIGIN_MAX: usize = 326;

/// The longest text that the kernel programs look up, see [`Image::TEXT_MAX`]: a host, an origin,
/// or a path prefix beyond it is passed on, not answered.
pub const DRIVER_TEXT_MAX: usize = 128;

/// The longest path that the kernel programs read where a prefix matters, see [`Image::PATH_MAX`].
pub const DRIVER_PATH_MAX: usize = 256;

/// An answer to a preflight, still in two pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which entry of the policies holds the first piece.
    pub policy: u32,
    /// The second piece, in the buffer of the head: the origin, where it is echoed, and the end.
    pub rest: Span,
    /// Bytes of both.
    pub len: usize,
    /// The connection closes behind it.
    pub close: bool,
    /// Sum of both, with the date in its place.
    pub sum: Sum,
}

/// Looks a head up in one generation of the policy.
///
/// The head must have been read. On success the closing line has been written into its buffer,
/// behind the origin.
#[inline(always)]
pub fn decide<I: Image>(
    image: I,
    slot: &Slot,
    date: &Date,
    head: &mut Head,
) -> Result<Answer, Exit> {
    find_host(head)?;
    find_policy(image, slot, head)?;
    check_origin(image, slot, head)?;
    check_method(image, slot, head)?;
    check_headers(image, slot, head)?;
    answer(image, slot, date, head)
}

/// The answer to a head that was found to be allowed: the last step of [`decide`].
#[inline(always)]
pub fn answer<I: Image>(
    image: I,
    slot: &Slot,
    date: &Date,
    head: &mut Head,
) -> Result<Answer, Exit> {
    let index = slot.policy_base.wrapping_add(head.policy);
    let policy = image.policy(index).ok_or(Exit::Internal)?;
    let rest = close_head(head);
    let first_len = policy.reply_len as usize;
    let date_sum = Sum::folded(date.sum);
    let sum = Sum::folded(policy.reply_sum)
        .add_at(policy.date_at as usize, date_sum)
        .add_at(first_len, rest_sum(head, rest));
    Ok(Answer {
        policy: index,
        rest,
        len: first_len + rest.len as usize,
        close: head.close != 0,
        sum,
    })
}

/// The policy that [`find_policy`] has found.
#[inline(always)]
fn found<'a, I: Image>(image: &'a I, slot: &Slot, head: &Head) -> Result<&'a Policy, Exit> {
    image.policy(slot.policy_base.wrapping_add(head.policy)).ok_or(Exit::Internal)
}

const BLANK: u64 = words::<1>("\r\n\r\n")[0];
const CLOSE: [u64; 3] = words("\r\nConnection: close\r\n\r\n");

/// Ends the reply's head behind the origin, or in its place.
#[inline(always)]
fn close_head(head: &mut Head) -> Span {
    let Span { at, len } = head.origin;
    let echo = if head.echo == 0 { 0 } else { len };
    let end = (at + echo) as usize;
    if head.close == 0 {
        head.put_word(end, BLANK);
        Span { at, len: echo + 4 }
    } else {
        head.put_word(end, CLOSE[0]);
        head.put_word(end + 8, CLOSE[1]);
        head.put_word(end + 16, CLOSE[2]);
        Span { at, len: echo + 23 }
    }
}

#[inline(always)]
fn rest_sum(head: &Head, rest: Span) -> Sum {
    let mut sum = Sum::ZERO;
    for i in 0..(ORIGIN_MAX + 23).div_ceil(8) {
        if i * 8 >= rest.len as usize {
            break;
        }
        sum = sum.word(head.span_word(rest, i));
    }
    sum
}

/// Bit 7 of the low `n` bytes, `n` below 8.
#[inline(always)]
const fn high_bits(n: usize) -> u64 {
    splat(0x80) & ((1u64 << (n * 8)) - 1)
}

/// Whether the `len` bytes at `at` are a port: 1 to 65535, no leading zero.
#[inline(always)]
fn is_port(head: &Head, at: usize, len: usize) -> bool {
    if len == 0 || len > 5 || head.byte(at) == b'0' {
        return false;
    }
    let digits = within(head.word(at), b'0', b'9');
    if digits & high_bits(len) != high_bits(len) {
        return false;
    }
    // Digits compare like numbers where there are five of each.
    len < 5 || keep(head.word(at), 5).swap_bytes() <= words::<1>("65535")[0].swap_bytes()
}
