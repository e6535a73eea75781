//! What the look-ups of a policy write down beside the head's text: places in it, and the text that
//! is looked up next.
//!
//! Kept in memory and not in registers, for the verifier's sake: see [`crate::zero`].

use super::{Head, Span};
use crate::policy::fact::WHOLE_WORDS;

/// One less than the number of marks, a power of two.
///
/// A head has room for no more segments, labels or names than that, so marks never wrap around.
pub(crate) const MARKS_MASK: usize = 511;

/// Room for the longest text that a policy is asked about, in words, and its padding.
pub(crate) const KEY_WORDS: usize = KEY_MASK + 16;
const KEY_MASK: usize = 63;

impl Head {
    /// Forgets all marks but the first `n`, which the caller sets itself.
    #[inline(always)]
    pub(crate) fn start_marks(&mut self, n: u32) {
        self.marked.set(n);
    }

    /// Sets the next mark.
    #[inline(always)]
    pub(crate) fn mark(&mut self, value: usize) {
        let next = self.marked.get();
        self.marks[next as usize & MARKS_MASK] = value as u32;
        self.marked.set(next + 1);
    }

    /// Copies a piece to where it is aligned and zero padded: to seven words at least, and by eight
    /// words more behind its end.
    ///
    /// It has at most `words` words. What is looked up is then compared word by word at known
    /// places, without a mask at each.
    #[inline(always)]
    pub(crate) fn set_key(&mut self, span: Span, words: usize) {
        // Blurred, or the bound by `words` is left out where the caller has checked the length:
        // Linux before 6.8 learns nothing of a counter that is compared with another register.
        let (at, whole) = (span.at as usize, self.zero.blur(span.len as usize / 8));
        let zero = self.zero.blur(0) as u64;
        for word in &mut self.key[..WHOLE_WORDS] {
            *word = zero;
        }
        for i in 0..words {
            if i >= whole {
                break;
            }
            self.key[i] = self.word(at + i * 8);
        }
        let last = self.zero.blur(span.len as usize / 8) & KEY_MASK;
        let rest = self.word(at + last * 8) & ((1 << (span.len % 8 * 8)) - 1);
        self.key[last] = rest;
        if last >= WHOLE_WORDS {
            for word in &mut self.key[last + 1..last + 9] {
                *word = zero;
            }
        }
    }

    /// What was copied last.
    #[inline(always)]
    pub(crate) const fn key(&self) -> &[u64; KEY_WORDS] {
        &self.key
    }
}
