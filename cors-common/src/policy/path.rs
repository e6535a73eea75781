//! Which policy a host and a path have: the most specific one.
//!
//! A policy for the host goes before one for every host, then the longer path prefix before the
//! shorter (the precedence of Gateway API HTTPRoute). Prefixes are of whole segments.

use super::{
    fact::find,
    found,
    image::{Group, Image, Kind},
};
use crate::{
    exit::Exit,
    head::{HEAD_MASK, Head, Span},
    state::Slot,
    swar::{self, equal, within},
};

/// The most segments that a path prefix may have.
pub const PREFIX_SEGMENTS_MAX: usize = 15;

/// Finds the policy; `Head::policy` is its place in the file then, and `Head::record` its line.
#[inline(always)]
pub fn find_policy<I: Image>(image: I, slot: &Slot, head: &mut Head) -> Result<(), Exit> {
    if head.name.len as usize > I::TEXT_MAX {
        return Err(Exit::Host);
    }
    let own = Group::of(find(image, slot, head, Kind::Host, 0, head.name));
    let beside = head.fact.wrapping_add(1);
    // What is in brackets is an address only if somebody named it: only then its spelling is known
    // to be right.
    let any = if head.byte(head.name.at as usize) == b'[' { 0 } else { slot.any_host };
    let any = Group::of(any);
    // Bit 0 stands for the empty prefix; only prefixes beyond it need the path.
    if (own.depths() | any.depths()) >> 1 != 0 {
        mark_segments::<I>(head)?;
    }
    longest(image, slot, head, own, beside)?;
    if head.record == NONE {
        longest(image, slot, head, any, slot.policies.wrapping_add(any.first()))?;
    }
    if head.record == NONE {
        return Err(Exit::Unmatched);
    }
    head.policy = found(&image, head)?.number;
    Ok(())
}

/// No line.
const NONE: u32 = u32::MAX;

/// The longest prefix that a group has a policy for; `Head::record` is its line, or [`NONE`]. The
/// group's first policy is also in the line `first`.
#[inline(never)]
fn longest<I: Image>(
    image: I,
    slot: &Slot,
    head: &mut Head,
    group: Group,
    first: u32,
) -> Result<(), Exit> {
    // Asked anew at every turn: of a register the verifier would remember each bit it has seen.
    head.depths.set(group.depths());
    head.record = NONE;
    for up in 0..=PREFIX_SEGMENTS_MAX {
        let depth = PREFIX_SEGMENTS_MAX - up;
        if head.depths.get() >> depth & 1 == 0 || (depth != 0 && depth as u32 >= head.marked.get())
        {
            continue;
        }
        let len = if depth == 0 { 0 } else { head.marks[depth] };
        if len as usize > I::TEXT_MAX {
            return Err(Exit::Target);
        }
        let text = Span { at: head.target.at, len };
        let place = find(image, slot, head, Kind::Path, group.shape(), text) as u32;
        if place != 0 {
            let others = slot.policies.wrapping_add(group.first()).wrapping_add(place - 1);
            head.record = if place == 1 { first } else { others };
            break;
        }
    }
    Ok(())
}

/// Notes where each of the first segments ends, and refuses a path whose prefix a server may see
/// otherwise: dot segments, empty segments, escaped ASCII (`%2f`, `%61`, `%00`), parameters (`;`).
///
/// Eight places at a time, each with the byte before it and the byte behind.
#[inline(never)]
fn mark_segments<I: Image>(head: &mut Head) -> Result<(), Exit> {
    let start = head.target.at as usize;
    head.cursor.set(start as u32 + 1);
    head.start_marks(1);
    for _ in 0..I::PATH_MAX / 8 {
        let at = head.cursor.get() as usize & HEAD_MASK;
        let (before, here, behind) = (head.word(at - 1), head.word(at), head.word(at + 1));
        // Behind the target there is a space.
        let end = equal(here, b'?') | equal(here, b' ');
        let slash = equal(here, b'/');
        let after_slash = equal(before, b'/');
        let last = equal(behind, b'/') | equal(behind, b'?') | equal(behind, b' ');
        // `%c0` and `%c1` begin no character, but some decoders make ASCII of them.
        let overlong = equal(swar::lower(here), b'c') & within(behind, b'0', b'1');
        let odd = after_slash & slash
            | after_slash & equal(here, b'.') & (equal(behind, b'.') | last)
            | equal(before, b'%') & (within(here, b'0', b'7') | overlong)
            | equal(here, b';');
        let in_path = end.wrapping_sub(1) & !end;
        if odd & in_path != 0 {
            return Err(Exit::AmbiguousPath);
        }
        // No two slashes are neighbours: there are at most four, and the end.
        let mut ends = slash & in_path | end & end.wrapping_neg();
        for _ in 0..5 {
            if ends == 0 {
                break;
            }
            head.mark(at + swar::first(ends) - start);
            ends &= ends - 1;
        }
        if end != 0 {
            return Ok(());
        }
        head.cursor.set(at as u32 + 8);
    }
    Err(Exit::HeadTooLong)
}
