//! The host that a request is for.

use super::is_port;
use crate::{
    exit::Exit,
    head::{Head, Span},
    swar::{self, HIGHS, equal, within},
};

/// The longest DNS name (RFC 1035 §3.1).
const NAME_MAX: usize = 253;
const WORDS_MAX: usize = (NAME_MAX + 6).div_ceil(8);

/// Finds the value of `Host` without its port; it is `Head::name` then.
///
/// Only what a browser sends: lower case, no dot at the end, an IPv6 address in brackets. A host
/// that a server may fold into another one is refused, because it would be looked up as it is.
#[inline(always)]
pub fn find_host(head: &mut Head) -> Result<(), Exit> {
    let Span { at, len } = head.host;
    let (at, len) = (at as usize, len as usize);
    // A name, a colon and a port; the scan below sees no further.
    if len > NAME_MAX + 6 {
        return Err(Exit::Host);
    }
    let bracket = head.byte(at) == b'[';
    let skip = usize::from(bracket);
    let mut name_len = len;
    for i in 0..WORDS_MAX {
        let done = skip + i * 8;
        if done >= len {
            break;
        }
        let word = head.word(at + done);
        let stop = if bracket { not_ipv6(word) } else { not_dns(word) };
        // An empty label in front of the end.
        let behind = head.word(at + done + 1);
        let empty = equal(word, b'.') & equal(behind, b'.');
        if empty & stop.wrapping_sub(1) & !stop != 0 {
            return Err(Exit::Host);
        }
        if stop != 0 {
            name_len = done + swar::first(stop);
            break;
        }
    }
    if bracket {
        if name_len >= len || head.byte(at + name_len) != b']' {
            return Err(Exit::Host);
        }
        name_len += 1;
    }
    if name_len < len {
        if head.byte(at + name_len) != b':' || !is_port(head, at + name_len + 1, len - name_len - 1)
        {
            return Err(Exit::Host);
        }
    } else {
        // The scan sees whole words, and may have gone past the end of the value.
        name_len = len;
    }
    if name_len == 0 || head.byte(at) == b'.' || head.byte(at + name_len - 1) == b'.' {
        return Err(Exit::Host);
    }
    head.name = Span { at: at as u32, len: name_len as u32 };
    Ok(())
}

/// Bytes outside `[a-z0-9._-]`.
#[inline(always)]
fn not_dns(word: u64) -> u64 {
    (within(word, b'a', b'z')
        | within(word, b'0', b'9')
        | within(word, b'-', b'.')
        | within(word, b'_', b'_'))
        ^ HIGHS
}

/// Bytes outside `[a-f0-9:.]`.
#[inline(always)]
fn not_ipv6(word: u64) -> u64 {
    (within(word, b'a', b'f') | within(word, b'0', b':') | within(word, b'.', b'.')) ^ HIGHS
}
