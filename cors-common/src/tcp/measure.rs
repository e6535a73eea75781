//! Counting without answering: what share of this host's preflights would the driver take?

use super::Env;
use crate::{
    exit::Exit,
    wire::segment::{Segment, flags},
};

/// How much of the payload would be read, or what the segment is counted as.
///
/// The kernel makes every handshake and keeps every connection, so where a segment is on its
/// connection is not known here, and not asked.
#[inline(always)]
pub fn measure<E: Env>(segment: &Segment, env: &mut E) -> Result<usize, Exit> {
    if segment.payload_len == 0 || segment.flags & (flags::SYN | flags::RST) != 0 {
        return Err(Exit::NotOurs);
    }
    if !env.starts_like_a_preflight(segment) {
        return Err(Exit::NotOptions);
    }
    Ok(segment.payload_len)
}
