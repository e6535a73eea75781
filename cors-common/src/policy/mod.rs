//! The policy engine of both tiers: a request head in, the answer or the refusal out.
//!
//! The policy is not code and not a tree of objects but an *image*: lines of facts and entries
//! with finished replies ([`image`]), which the agent compiles and the kernel programs read from
//! maps. The agent's slow path reads the same bytes with the same functions, so the two tiers
//! cannot disagree on what the policy says.

mod answer;
pub mod fact;
mod host;
pub mod image;
pub mod memo;
mod origin;
mod path;
mod piecewise;
mod request;

use crate::{
    exit::Exit,
    head::Head,
    state::Slot,
    swar::{keep, splat, within, words},
};
pub use answer::{Answer, answer};
pub use host::find_host;
pub use image::{Image, Policy, Template};
pub use origin::{check_listed, check_origin, check_subdomain, find_origin};
pub use path::{PREFIX_SEGMENTS_MAX, find_policy};
pub use piecewise::{header_allowed, policy_of};
pub use request::{NAME_MAX, NAMES_MAX, check_headers, check_method};

/// The longest `Origin` that is answered: scheme, `://`, host and port at their limits.
pub const ORIGIN_MAX: usize = 326;

/// The longest text that the kernel programs look up, see [`Image::TEXT_MAX`]: a host, an origin,
/// or a path prefix beyond it is passed on, not answered.
pub const DRIVER_TEXT_MAX: usize = 128;

/// The longest path that the kernel programs read where a prefix matters, see [`Image::PATH_MAX`].
pub const DRIVER_PATH_MAX: usize = 256;

/// Looks a head up in one generation of the policy. The head must have been read.
#[inline(always)]
pub fn decide<I: Image>(image: I, slot: &Slot, head: &mut Head) -> Result<Answer, Exit> {
    find_scope(image, slot, head)?;
    check_origin(image, slot, head)?;
    check_method(image, slot, head)?;
    check_headers(image, slot, head)?;
    answer(image, slot, head)
}

/// The policy of a head, and what there is about its origin.
#[inline(always)]
pub fn find_scope<I: Image>(image: I, slot: &Slot, head: &mut Head) -> Result<(), Exit> {
    find_host(head)?;
    find_origin(image, slot, head);
    find_policy(image, slot, head)
}

/// The policy that [`find_policy`] has found.
#[inline(always)]
fn found<'a, I: Image>(image: &'a I, head: &Head) -> Result<&'a Policy, Exit> {
    image.line(head.record).map(Policy::of).ok_or(Exit::Internal)
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
