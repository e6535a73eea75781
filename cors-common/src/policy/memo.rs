//! Recent answers, found again by the whole text of the head.
//!
//! Browsers repeat themselves: the preflights of one page are the same to the byte, and so are
//! those of everybody who uses the same page with the same browser. What a head is answered with
//! depends on nothing but its bytes and the policy, so an answer can be used again where all bytes
//! are the same and the policy is. They are compared, every one: no digest is believed.
//!
//! Each CPU has a power of two of places, of which a head has two, neighbours. Whoever sends ever
//! new heads drives others out and costs them what the look-up costs, no more. A head is only noted
//! when it comes for the second time: one that never comes again is not worth the copy, nor what
//! the copy drives out of the processor's caches.

use super::Answer;
use crate::{
    head::{BLOCK, Head},
    spread::{self, GOLDEN},
};

/// Blocks of the longest head that is remembered: the longest of a browser behind proxies has 826
/// bytes.
const BLOCKS: usize = 13;

/// A head and its answer, 888 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Memo {
    /// Of the policy that was asked; 0: nothing is remembered.
    generation: u32,
    /// Bytes of the head.
    len: u32,
    /// What tells most other heads of this length from this one, see [`Memo::fold`].
    mark: u32,
    /// The mark of the head that was not found here last.
    missed: u32,
    answer: Answer,
    head: [[u64; BLOCK / 8]; BLOCKS],
}

const _: () = assert!(size_of::<Memo>() == 16 + size_of::<Answer>() + BLOCKS * BLOCK);

impl Memo {
    /// Nothing.
    pub const NONE: Self = Self {
        generation: 0,
        len: 0,
        mark: 0,
        missed: 0,
        answer: Answer::NONE,
        head: [[0; BLOCK / 8]; BLOCKS],
    };

    /// Whether a head of `len` bytes can be remembered.
    #[inline(always)]
    pub const fn holds(len: usize) -> bool {
        len <= BLOCKS * BLOCK
    }

    /// What a sealed head of `len` bytes is found by: the low half says where, the high half
    /// whether it is worth comparing.
    ///
    /// Two heads that differ in one word never fold to the same number before the last step; what
    /// else may meet costs only a look-up.
    #[inline(always)]
    pub fn fold(head: &Head, len: usize) -> u64 {
        let len = head.zero.blur(len);
        let mut fold = len as u64;
        for i in 0..BLOCKS {
            if i * BLOCK >= len {
                break;
            }
            let word = head.block(i);
            fold = (fold ^ word[0] ^ word[3] ^ word[6]).wrapping_mul(GOLDEN);
            let others = (word[1] ^ word[4] ^ word[7]).wrapping_add(word[2] ^ word[5] << 1);
            fold = fold.wrapping_add(others);
        }
        spread::fold(spread::fold(fold).wrapping_mul(GOLDEN))
    }

    /// Whether something is remembered of this generation of the policy.
    #[inline(always)]
    pub const fn is_of(&self, generation: u32) -> bool {
        self.generation == generation
    }

    /// Whether a head with this mark, which was not found, was not found here before either.
    #[inline(always)]
    pub const fn is_missed_again(&mut self, mark: u32) -> bool {
        let again = self.missed == mark;
        self.missed = mark;
        again
    }

    /// The answer to a sealed head of `len` bytes, if it is this one's. Whether it was.
    #[inline(always)]
    pub fn recall(
        &self,
        head: &Head,
        len: usize,
        generation: u32,
        mark: u32,
        answer: &mut Answer,
    ) -> bool {
        if !self.is_of(generation) || self.len != len as u32 || self.mark != mark {
            return false;
        }
        let len = head.zero.blur(len);
        let mut differs = 0;
        for (i, block) in self.head.iter().enumerate() {
            if i * BLOCK >= len {
                break;
            }
            for (ours, its) in block.iter().zip(head.block(i)) {
                differs |= ours ^ its;
            }
        }
        if differs == 0 {
            answer.set(&self.answer);
        }
        differs == 0
    }

    /// Remembers the answer to a sealed head of `len` bytes, in the place of whatever was there.
    #[inline(always)]
    pub fn note(&mut self, head: &Head, len: usize, generation: u32, mark: u32, answer: &Answer) {
        self.generation = generation;
        self.len = len as u32;
        self.mark = mark;
        self.answer.set(answer);
        let len = head.zero.blur(len);
        for (i, block) in self.head.iter_mut().enumerate() {
            if i * BLOCK >= len {
                break;
            }
            *block = head.block(i);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, vec::Vec};

    use super::*;
    use crate::checksum::Sum;

    fn head(text: &[u8]) -> Head {
        let mut head = Head::new();
        // What an earlier request left there.
        head.buffer().fill(0xaa);
        head.buffer()[..text.len()].copy_from_slice(text);
        head.seal(text.len());
        head
    }

    fn text(len: usize) -> Vec<u8> {
        (0..len).map(|i| b'a' + (i % 23) as u8).collect()
    }

    fn answer(len: usize) -> Answer {
        Answer { sum: Sum::folded(7), len, policy: 3, ..Answer::NONE }
    }

    fn recall(memo: &Memo, text: &[u8], generation: u32) -> Option<Answer> {
        let mut answer = Answer::NONE;
        let head = head(text);
        let mark = mark(&head, text.len());
        memo.recall(&head, text.len(), generation, mark, &mut answer).then_some(answer)
    }

    fn mark(head: &Head, len: usize) -> u32 {
        (Memo::fold(head, len) >> 32) as u32
    }

    fn note(memo: &mut Memo, text: &[u8], generation: u32, number: usize) {
        let head = head(text);
        memo.note(&head, text.len(), generation, mark(&head, text.len()), &answer(number));
    }

    #[test]
    fn only_what_comes_again_is_noted() {
        let mut memo = Memo::NONE;
        assert!(!memo.is_missed_again(7));
        assert!(memo.is_missed_again(7));
        assert!(!memo.is_missed_again(8));
        assert!(!memo.is_missed_again(7));
    }

    #[test]
    fn no_mark_is_believed() {
        let mut memo = Memo::NONE;
        note(&mut memo, &text(500), 1, 1);
        let mut changed = text(500);
        changed[77] ^= 1;
        let head = head(&changed);
        let mut answer = Answer::NONE;
        assert!(!memo.recall(&head, 500, 1, memo.mark, &mut answer));
        assert_eq!(answer, Answer::NONE);
    }

    #[test]
    fn a_head_is_found_again_whole_or_not_at_all() {
        for len in [1, 63, 64, 65, 519, 826, 831, 832] {
            assert!(Memo::holds(len));
            let text = text(len);
            let mut memo = Memo::NONE;
            note(&mut memo, &text, 5, len);
            let recall = |text: &[u8], generation| recall(&memo, text, generation);
            assert_eq!(recall(&text, 5), Some(answer(len)));
            assert_eq!(recall(&text, 6), None, "another policy");
            for at in 0..len {
                let mut other = text.clone();
                other[at] ^= 1;
                assert_eq!(recall(&other, 5), None, "byte {at} of {len}");
            }
            let mut other = text.clone();
            other.push(0);
            assert_eq!(recall(&other, 5), None, "a byte more");
            assert_eq!(recall(&text[..len - 1], 5), None, "a byte less");
        }
        assert!(!Memo::holds(833));
    }

    #[test]
    fn what_was_there_before_is_forgotten() {
        let (long, short) = (text(800), text(100));
        let mut memo = Memo::NONE;
        note(&mut memo, &long, 1, 1);
        note(&mut memo, &short, 1, 2);
        assert_eq!(recall(&memo, &long, 1), None);
        assert_eq!(recall(&memo, &short, 1), Some(answer(2)));
    }

    #[test]
    fn nothing_is_remembered_at_first() {
        assert_eq!(recall(&Memo::NONE, b"", 1), None);
    }

    #[test]
    fn heads_that_differ_a_little_spread_over_the_places() {
        let mut places = BTreeSet::new();
        for number in 0..256 {
            let mut text = text(500);
            text[40..44].copy_from_slice(std::format!("{number:04}").as_bytes());
            places.insert(Memo::fold(&head(&text), 500) as u8);
        }
        // Thrown at random, 256 balls leave about 94 of 256 places empty.
        assert!(places.len() > 140, "{} places", places.len());
    }
}
