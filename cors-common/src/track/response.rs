//! Where responses end: the stream that the kernel sends, followed from head to head.

use super::{
    Track,
    chunks::{Fed, NO_DIGIT, feed},
    flag,
};
use crate::{
    exit::Exit,
    head::{Head, response::CHUNKED},
};

/// Stages of [`Track::stage`]: a head is next.
pub const HEAD: u32 = 0;
/// The body, of which [`Track::left`] bytes are to come.
pub const BODY: u32 = 1;
/// The size of a chunk; [`Track::left`] is what its digits say so far.
pub const SIZE: u32 = 2;
/// The LF behind it.
pub const SIZE_LF: u32 = 3;
/// The data of a chunk, of which [`Track::left`] bytes are to come.
pub const DATA: u32 = 4;
/// The CR behind it.
pub const CR: u32 = 5;
/// The LF behind that.
pub const LF: u32 = 6;
/// The CR of the empty line behind the last chunk.
pub const LAST_CR: u32 = 7;
/// The LF of it.
pub const LAST_LF: u32 = 8;

/// How many heads, pieces of bodies, and bytes of chunks' framing are followed in one packet.
pub const STEPS: usize = 96;

/// A payload that can be looked into.
pub trait Payload {
    /// Reads a response's head from `at` on, by [`Head::response`].
    fn head(&mut self, at: u32) -> Result<&Head, Exit>;

    /// The byte at `at`.
    fn byte(&mut self, at: u32) -> Option<u8>;
}

/// Follows the payload of a segment, of which the bytes from `at` to `len` are new. An error says
/// that nobody can tell where the response ends.
#[inline(always)]
pub fn follow<P: Payload>(
    track: &mut Track,
    payload: &mut P,
    at: u32,
    len: u32,
) -> Result<(), Exit> {
    let mut at = at;
    for _ in 0..STEPS {
        if at >= len {
            return Ok(());
        }
        at = step(track, payload, at, len)?;
    }
    if at >= len { Ok(()) } else { Err(Exit::OutOpaque) }
}

/// One step of it: a head, what there is of a body, or a byte of a chunk's framing. Where the next
/// one starts.
#[inline(always)]
pub fn step<P: Payload>(
    track: &mut Track,
    payload: &mut P,
    at: u32,
    len: u32,
) -> Result<u32, Exit> {
    match track.stage {
        HEAD => {
            // Nobody asked for it.
            if track.asked == track.given {
                return Err(Exit::OutOpaque);
            }
            let head = payload.head(at)?;
            let bodiless = track.flags & flag::HEAD != 0 || head.has_no_body();
            if head.status < 200 {
                // What comes after "101 Switching Protocols" is no HTTP.
                if head.status == 101 {
                    return Err(Exit::OutOpaque);
                }
            } else if bodiless || head.content == 0 {
                track.given = track.given.wrapping_add(1);
            } else if head.content == CHUNKED {
                track.stage = SIZE;
                track.left = NO_DIGIT;
            } else {
                track.stage = BODY;
                track.left = head.content;
            }
            Ok(at + head.end)
        }
        BODY | DATA => {
            let here = u64::from(len - at);
            if here < track.left {
                track.left -= here;
                return Ok(len);
            }
            let end = at + track.left as u32;
            if track.stage == BODY {
                track.stage = HEAD;
                track.given = track.given.wrapping_add(1);
            } else {
                track.stage = CR;
            }
            track.left = 0;
            Ok(end)
        }
        _ => {
            let byte = payload.byte(at).ok_or(Exit::OutOpaque)?;
            match feed(&mut track.stage, &mut track.left, byte) {
                Fed::More => {}
                Fed::Over => {
                    track.stage = HEAD;
                    track.given = track.given.wrapping_add(1);
                }
                Fed::Odd => return Err(Exit::OutOpaque),
            }
            Ok(at + 1)
        }
    }
}
