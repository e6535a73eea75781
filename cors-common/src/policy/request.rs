//! Whether a policy allows what the request will be: its method and its headers.

use super::{
    Policy,
    fact::find,
    found,
    image::{Image, Kind, flag},
};
use crate::{
    exit::Exit,
    head::{HEAD_MASK, Head, PREFLIGHT_MAX, Span},
    state::Slot,
    swar::{self, HIGHS, keep, not_lower_name, words},
};

/// The longest header name that is read, in bytes.
pub const NAME_MAX: usize = 64;
/// The most names that are read.
pub const NAMES_MAX: usize = 32;

const AUTHORIZATION: [u64; 2] = words("authorization");

/// `Access-Control-Request-Method`, compared byte for byte.
#[inline(always)]
pub fn check_method<I: Image>(image: I, slot: &Slot, head: &mut Head) -> Result<(), Exit> {
    if head.safelisted_method() {
        return Ok(());
    }
    let policy = found(&image, head)?;
    if head.method.len as usize > NAME_MAX {
        return Err(Exit::MethodDenied);
    }
    if policy.flags & flag::ANY_METHOD != 0 {
        let Span { at, len } = head.method;
        return if name_len(head, at as usize, len as usize) == len as usize {
            Ok(())
        } else {
            Err(Exit::MethodDenied)
        };
    }
    let method = head.method;
    if find(image, slot, head, Kind::Method, policy.methods, method) != 0 {
        Ok(())
    } else {
        Err(Exit::MethodDenied)
    }
}

/// `Access-Control-Request-Headers` in the one form that browsers send: names in lower case,
/// sorted, each once, with a comma between them and nothing else.
#[inline(always)]
pub fn check_headers<I: Image>(image: I, slot: &Slot, head: &mut Head) -> Result<(), Exit> {
    if !head.has_headers() {
        return Ok(());
    }
    let policy = found(&image, head)?;
    split_names(head)?;
    if head.marked.get() as usize > NAMES_MAX + 1 {
        return Err(Exit::RequestHeaders);
    }
    let mut before = Span::default();
    for i in 0..NAMES_MAX {
        if i + 1 >= head.marked.get() as usize {
            break;
        }
        let name = name(head, i);
        if name.len == 0 || name.len as usize > NAME_MAX || !is_behind(head, before, name) {
            return Err(Exit::RequestHeaders);
        }
        if !name_allowed(image, slot, policy, head, name) {
            return Err(Exit::HeaderDenied);
        }
        before = name;
    }
    Ok(())
}

/// The `i`-th name, between the marks around it.
#[inline(always)]
fn name(head: &Head, i: usize) -> Span {
    let at = head.marks[i];
    Span { at, len: head.marks[i + 1].wrapping_sub(at).wrapping_sub(1) }
}

/// Marks where each name starts, and behind the last one where the next one would.
#[inline(never)]
fn split_names(head: &mut Head) -> Result<(), Exit> {
    let start = head.headers.at;
    head.start_marks(1);
    head.marks[0] = start;
    head.cursor.set(start);
    for _ in 0..PREFLIGHT_MAX / 8 + NAMES_MAX {
        let at = head.cursor.get() as usize & HEAD_MASK;
        let stop = not_lower_name(head.word(at));
        if stop == 0 {
            head.cursor.set(at as u32 + 8);
            continue;
        }
        let at = (at + swar::first(stop)) & HEAD_MASK;
        head.mark(at + 1);
        head.cursor.set(at as u32 + 1);
        match head.byte(at) {
            b',' => {}
            // Only the end of the line can follow the value.
            b'\r' => return Ok(()),
            _ => break,
        }
    }
    Err(Exit::RequestHeaders)
}

/// How many of the `len` bytes at `at` a name has.
#[inline(never)]
fn name_len(head: &Head, at: usize, len: usize) -> usize {
    for i in 0..=NAME_MAX / 8 {
        let stop = swar::not_name(head.word(at + i * 8));
        let here = i * 8 + if stop == 0 { 8 } else { swar::first(stop) };
        if here >= len {
            return len;
        }
        if stop != 0 {
            return here;
        }
    }
    0
}

/// Whether `name` sorts behind `before`, byte by byte. Every name is behind the empty one.
///
/// The comma or CR behind a name sorts before everything in a name, so the texts are compared as
/// they stand, with what ends them.
#[inline(never)]
fn is_behind(head: &Head, before: Span, name: Span) -> bool {
    if before.len == 0 {
        return true;
    }
    let (a, b) = (before.at as usize, name.at as usize);
    for i in 0..=NAME_MAX / 8 {
        let differs = swar::equal(head.word(a + i * 8) ^ head.word(b + i * 8), 0) ^ HIGHS;
        if differs != 0 {
            let at = i * 8 + swar::first(differs);
            return at <= before.len as usize && head.byte(a + at) < head.byte(b + at);
        }
    }
    false
}

#[inline(always)]
pub(super) fn name_allowed<I: Image>(
    image: I,
    slot: &Slot,
    policy: &Policy,
    head: &mut Head,
    name: Span,
) -> bool {
    // `*` never covers authorization (Fetch: CORS non-wildcard request-header name).
    let wildcard = policy.flags & flag::ANY_HEADER != 0
        && !(name.len == 13
            && head.span_word(name, 0) == AUTHORIZATION[0]
            && keep(head.span_word(name, 1), 5) == AUTHORIZATION[1]);
    wildcard || find(image, slot, head, Kind::Header, policy.headers, name) != 0
}
