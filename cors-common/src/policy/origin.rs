//! Whether a policy allows an origin.

use super::{
    ORIGIN_MAX,
    fact::{find, tag},
    found,
    image::{Image, Kind, SEVERAL, flag},
    is_port,
};
use crate::{
    exit::Exit,
    head::{HEAD_MASK, Head, Span},
    state::Slot,
    swar::{HIGHS, equal, first, keep, low_bytes, within, words},
};

/// The most labels that a host may have in front of a subdomain pattern's end, and in it.
const LABELS_MAX: u32 = 24;

/// The longest DNS name with its port, in words.
const HOST_WORDS_MAX: usize = (253_usize + 6).div_ceil(8);

const HTTPS: u64 = words::<1>("https://")[0];
const HTTP: u64 = words::<1>("http://")[0];

/// Looks for the origin as a whole, whatever the policy will be; `Head::origin_set` is what was
/// found.
///
/// Of all facts those about origins are the many, and theirs is the memory that is waited for. So
/// this comes before anything else is looked up: a processor that does not wait for it goes on to
/// the host.
#[inline(always)]
pub fn find_origin<I: Image>(image: I, slot: &Slot, head: &mut Head) {
    head.origin_set = find(image, slot, head, Kind::Origin, 0, head.origin) as u32;
}

/// Whether a text, whose fact says it is in the set `found`, is in the set of this tag.
#[inline(always)]
fn is_in<I: Image>(image: I, slot: &Slot, head: &mut Head, found: u32, tag: u64, at: u32) -> bool {
    if found == SEVERAL {
        image.find(slot, head, Kind::in_one(tag), at) != 0
    } else {
        // The empty set is 0, and so is what is found of an origin that is in none.
        found != 0 && found == Kind::set(tag)
    }
}

/// Whether a text is in a set of origins.
#[inline(always)]
fn listed<I: Image>(
    image: I,
    slot: &Slot,
    head: &mut Head,
    kind: Kind,
    set: u32,
    text: Span,
) -> bool {
    let tag = tag(kind.of(set), text.len as usize);
    let found = image.find(slot, head, tag, text.at) as u32;
    is_in(image, slot, head, found, tag, text.at)
}

/// Refuses an origin that is not allowed; `Head::echo` says then whether it is echoed.
/// [`find_origin`] has looked for it.
#[inline(always)]
pub fn check_origin<I: Image>(image: I, slot: &Slot, head: &mut Head) -> Result<(), Exit> {
    match check_listed(image, slot, head) {
        Err(Exit::OriginDenied) => check_subdomain(image, slot, head),
        settled => settled,
    }
}

/// [`check_origin`] but for patterns: one that is denied may be below one of them.
#[inline(always)]
pub fn check_listed<I: Image>(image: I, slot: &Slot, head: &mut Head) -> Result<(), Exit> {
    let policy = found(&image, head)?;
    if head.origin.len as usize > ORIGIN_MAX {
        return Err(Exit::Origin);
    }
    head.echo = policy.flags & flag::ECHO;
    if policy.flags & flag::ANY_ORIGIN != 0 {
        return if is_plain(head) { Ok(()) } else { Err(Exit::Origin) };
    }
    let set = policy.origins;
    let whole = tag(Kind::Origin.of(set), head.origin.len as usize);
    if is_in(image, slot, head, head.origin_set, whole, head.origin.at) {
        return Ok(());
    }
    if policy.flags & flag::ORIGIN_ANY_PORT != 0 {
        let base = without_port(head);
        if listed(image, slot, head, Kind::OriginAnyPort, set, base) {
            return Ok(());
        }
    }
    Err(Exit::OriginDenied)
}

/// Refuses an origin that is not below one of the policy's subdomain patterns, after
/// [`check_listed`] has denied it.
///
/// The host is cut at its dots only, so a pattern's end is always a whole label (`barfoo.com` is
/// not below `foo.com`), and at least one label stays in front of it.
#[inline(always)]
pub fn check_subdomain<I: Image>(image: I, slot: &Slot, head: &mut Head) -> Result<(), Exit> {
    let policy = found(&image, head)?;
    if policy.depths == 0 {
        return Err(Exit::OriginDenied);
    }
    let Span { at, len } = head.origin;
    let (exact, any_port, scheme_len) = if head.word(at as usize) == HTTPS {
        (Kind::SubdomainHttps, Kind::SubdomainHttpsAnyPort, 8)
    } else if keep(head.word(at as usize), 7) == HTTP {
        (Kind::SubdomainHttp, Kind::SubdomainHttpAnyPort, 7)
    } else {
        return Err(Exit::OriginDenied);
    };
    let host_end = mark_labels(head, at + scheme_len, at + len);
    if host_end == 0 {
        return Err(Exit::OriginDenied);
    }
    let end = at + len;
    for label in 1..LABELS_MAX {
        let marked = head.marked.get();
        if label >= marked || marked > LABELS_MAX {
            break;
        }
        // Labels from this one to the last; the first label of the host is number 0.
        let depth = marked - label;
        if policy.depths >> (depth & 31) & 1 == 0 {
            continue;
        }
        let start = head.marks[label as usize];
        let text = Span { at: start, len: end.wrapping_sub(start) };
        if listed(image, slot, head, exact, policy.origins, text) {
            return Ok(());
        }
        let text = Span { at: start, len: host_end.wrapping_sub(start) };
        if policy.flags & flag::SUBDOMAIN_ANY_PORT != 0
            && listed(image, slot, head, any_port, policy.origins, text)
        {
            return Ok(());
        }
    }
    Err(Exit::OriginDenied)
}

/// Whether the origin has only bytes that a serialized origin can have (`null` is one).
#[inline(never)]
fn is_plain(head: &Head) -> bool {
    let Span { at, len } = head.origin;
    let (at, whole) = (at as usize, len as usize / 8);
    let mut odd = 0;
    let end = head.zero.blur(whole);
    for i in 0..ORIGIN_MAX / 8 {
        if i >= end {
            break;
        }
        odd |= not_plain(head.word(at + i * 8));
    }
    odd | low_bytes(not_plain(head.word(at + whole * 8)), len as usize % 8) == 0
}

/// Bytes outside `[A-Za-z0-9.:/\[\]_-]`.
#[inline(always)]
fn not_plain(word: u64) -> u64 {
    let plain = within(word, b'a', b'z')
        | within(word, b'A', b'Z')
        | within(word, b'-', b':')
        | equal(word, b'[')
        | equal(word, b']')
        | equal(word, b'_');
    plain ^ HIGHS
}

/// The origin without a port at its end.
#[inline(always)]
fn without_port(head: &Head) -> Span {
    let Span { at, len } = head.origin;
    let end = (at + len) as usize;
    // A scheme, `://` and a host are in front of any port.
    for digits in 1..=5usize {
        if digits + 4 > len as usize {
            break;
        }
        if head.byte(end - digits - 1) == b':' {
            let base = Span { at, len: len - digits as u32 - 1 };
            return if is_port(head, end - digits, digits) { base } else { head.origin };
        }
    }
    head.origin
}

/// Notes where each label of a host starts but the first, and returns where the host ends; 0
/// where it is no host of lower-case labels with a port behind it, or none.
#[inline(never)]
fn mark_labels(head: &mut Head, from: u32, to: u32) -> u32 {
    let (from, to) = (from as usize, to as usize);
    head.cursor.set(from as u32);
    head.start_marks(1);
    for _ in 0..HOST_WORDS_MAX {
        let at = head.cursor.get() as usize & HEAD_MASK;
        let (before, here) = (head.word(at.wrapping_sub(1)), head.word(at));
        let label = within(here, b'a', b'z')
            | within(here, b'0', b'9')
            | within(here, b'-', b'-')
            | within(here, b'_', b'_');
        let dot = equal(here, b'.');
        let stop = (label | dot) ^ HIGHS;
        let in_host = stop.wrapping_sub(1) & !stop;
        // Neither a dot nor the host's end may follow a dot, and the host does not start with one
        // (in front of it there is a slash).
        let ends = dot & in_host | stop & stop.wrapping_neg();
        if ends & (equal(before, b'.') | equal(before, b'/')) != 0 {
            return 0;
        }
        let mut dots = dot & in_host;
        for _ in 0..4 {
            if dots == 0 {
                break;
            }
            head.mark(at + first(dots) + 1);
            dots &= dots - 1;
        }
        if stop != 0 {
            let end = (at + first(stop)) & HEAD_MASK;
            // Behind the value there is a CR.
            if end >= to {
                return to as u32;
            }
            let port = head.byte(end) == b':' && is_port(head, end + 1, to - end - 1);
            return if port { end as u32 } else { 0 };
        }
        head.cursor.set(at as u32 + 8);
    }
    0
}
