//! The hash table of facts: which line each of them is in.
//!
//! Cuckoo hashing with two buckets of two lines (Pagh and Rodler, 2001; Dietzfelbinger and
//! Weidling, 2007): a fact that finds its four lines taken moves one of the others to another of
//! that one's lines, and so on. Up to 0.897 of the lines can be filled this way; [`LOAD_MAX`] keeps
//! a distance, so that the first seed nearly always works.

use std::collections::HashSet;

use cors_common::policy::{
    ORIGIN_MAX,
    fact::{fingerprint, hash, places, tag},
    image::{INLINE_LEN, Kind, Line},
};

use super::error::CompileError;

/// The largest part of the lines that is filled, in hundredths.
const LOAD_MAX: usize = 85;
/// The least lines of a table.
const LINES_MIN: usize = 8;
/// How many seeds are tried before the table grows.
const SEEDS: u64 = 8;
/// How many facts are moved for a new one before the seed is given up.
const MOVES_MAX: usize = 1000;

/// Words of the longest text.
const WORDS_MAX: usize = ORIGIN_MAX.div_ceil(8);
/// Words of a text in its first line.
const INLINE_WORDS: usize = INLINE_LEN / 8;

/// One thing that the policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    /// What it is about, without the text's length.
    kind_and_set: u64,
    text: String,
    value: u64,
}

impl Fact {
    /// A fact about a text; `value` is not 0.
    pub(super) fn new(kind: Kind, set: u32, text: &str, value: u64) -> Self {
        Self { kind_and_set: kind.of(set), text: text.to_owned(), value }
    }

    /// Whether it goes into the table of origins.
    pub(super) const fn is_about_origins(&self) -> bool {
        Kind::is_about_origins(self.kind_and_set)
    }

    fn tag(&self) -> u64 {
        tag(self.kind_and_set, self.text.len())
    }

    fn key(&self) -> [u64; WORDS_MAX] {
        let mut key = [0; WORDS_MAX];
        for (to, word) in key.iter_mut().zip(words(self.text.as_bytes())) {
            *to = word;
        }
        key
    }

    fn hash(&self, seed: u64) -> u64 {
        hash(seed, self.tag(), self.text.len(), &self.key())
    }

    /// Lines that it needs behind the table.
    fn lines_behind(&self) -> usize {
        self.text.len().saturating_sub(INLINE_LEN).div_ceil(size_of::<Line>())
    }
}

/// A text as words, zero padded.
pub(super) fn words(text: &[u8]) -> impl Iterator<Item = u64> {
    text.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    })
}

/// Facts in their lines.
#[derive(Debug)]
pub(super) struct Table {
    /// The table, and the lines behind it.
    pub(super) lines: Vec<Line>,
    /// Lines of the table, less one.
    pub(super) mask: u32,
    /// What the hashes start from.
    pub(super) seed: u64,
}

impl Table {
    /// The smallest table that holds the facts, in at most `available` lines.
    pub(super) fn build(facts: &[Fact], available: u32) -> Result<Self, CompileError> {
        if let Some(fact) = facts.iter().find(|fact| fact.text.len() > ORIGIN_MAX) {
            return Err(CompileError::TextTooLong { text: fact.text.clone() });
        }
        let behind: usize = facts.iter().map(Fact::lines_behind).sum();
        let least = (facts.len() * 100).div_ceil(LOAD_MAX);
        let mut len = least.next_power_of_two().max(LINES_MIN);
        loop {
            if len + behind > available as usize {
                return Err(CompileError::Lines { needed: len + behind, available });
            }
            let mask = len as u32 - 1;
            for seed in 1..=SEEDS {
                if let Some(lines) = place(facts, mask, seed) {
                    return Ok(Self { lines: fill(facts, &lines, behind, seed), mask, seed });
                }
            }
            len *= 2;
        }
    }
}

/// A line that no fact is in.
const FREE: u32 = u32::MAX;

/// For each line of the table the number of its fact; `None` where the seed does not work.
fn place(facts: &[Fact], mask: u32, seed: u64) -> Option<Vec<u32>> {
    let hashes: Vec<u64> = facts.iter().map(|fact| fact.hash(seed)).collect();
    if !are_told_apart(facts, &hashes) {
        return None;
    }
    let mut lines = vec![FREE; mask as usize + 1];
    let mut dice = Dice(seed);
    for number in 0..facts.len() as u32 {
        insert(&mut lines, &hashes, mask, number, &mut dice)?;
    }
    Some(lines)
}

/// Whether no two long texts with one tag and one beginning have one fingerprint: the reader
/// believes the first line that has all three, and compares the rest of that text alone.
fn are_told_apart(facts: &[Fact], hashes: &[u64]) -> bool {
    let mut seen = HashSet::new();
    facts.iter().zip(hashes).filter(|(fact, _)| fact.text.len() > INLINE_LEN).all(|(fact, hash)| {
        seen.insert((fact.tag(), &fact.text.as_bytes()[..INLINE_LEN], fingerprint(*hash)))
    })
}

fn insert(
    lines: &mut [u32],
    hashes: &[u64],
    mask: u32,
    number: u32,
    dice: &mut Dice,
) -> Option<()> {
    let mut homeless = number;
    for _ in 0..MOVES_MAX {
        let places = places(hashes[homeless as usize], mask);
        if let Some(free) = places.iter().find(|place| lines[**place as usize] == FREE) {
            lines[*free as usize] = homeless;
            return Some(());
        }
        let taken = places[dice.throw() as usize % places.len()];
        homeless = std::mem::replace(&mut lines[taken as usize], homeless);
    }
    None
}

/// Writes the facts into their lines, and the rest of their texts behind the table.
fn fill(facts: &[Fact], numbers: &[u32], behind: usize, seed: u64) -> Vec<Line> {
    let mut lines = vec![Line::EMPTY; numbers.len() + behind];
    let mut next = numbers.len();
    for (at, number) in numbers.iter().enumerate() {
        let Some(fact) = facts.get(*number as usize) else {
            continue;
        };
        let key = fact.key();
        let (first, rest) = key.split_at(INLINE_WORDS);
        let line = &mut lines[at].0;
        line[0] = fact.tag();
        line[1..=INLINE_WORDS].copy_from_slice(first);
        line[INLINE_WORDS + 1] = fact.value;
        line[INLINE_WORDS + 2] = u64::from(fingerprint(fact.hash(seed))) << 32;
        let more = fact.lines_behind();
        if more != 0 {
            line[INLINE_WORDS + 2] |= next as u64;
            for (line, words) in lines[next..next + more].iter_mut().zip(rest.chunks(8)) {
                line.0[..words.len()].copy_from_slice(words);
            }
            next += more;
        }
    }
    lines
}

/// Numbers without a pattern that facts could have too (Marsaglia, 2003).
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 32
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    /// Finds a fact the way that the layout says, and not the way it was built.
    fn find(table: &Table, kind: Kind, set: u32, text: &str) -> Option<u64> {
        let bytes = text.as_bytes();
        let mut padded = [0; WORDS_MAX * 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        let key: Vec<u64> =
            padded.chunks(8).map(|c| u64::from_le_bytes(c.try_into().unwrap())).collect();
        let tag = (kind as u64) << 56 | (bytes.len() as u64) << 32 | u64::from(set);
        let hash = hash(table.seed, tag, bytes.len(), &key);
        places(hash, table.mask).iter().find_map(|place| {
            let line = &table.lines[*place as usize];
            let mut text = line.0[1..6].to_vec();
            let mut more = line.more() as usize;
            while line.tag() == tag && text.len() * 8 < bytes.len() {
                text.extend(table.lines[more].0);
                more += 1;
            }
            let text: Vec<u8> = text.iter().flat_map(|word| word.to_le_bytes()).collect();
            let same = line.tag() == tag && text.starts_with(bytes);
            (same && text[bytes.len()..].iter().all(|byte| *byte == 0)).then(|| line.value())
        })
    }

    #[test]
    fn texts_of_every_length_are_found() {
        let texts: Vec<String> = (0..=ORIGIN_MAX)
            .map(|len| (0..len).map(|i| char::from(b'a' + (i % 26) as u8)).collect())
            .collect();
        let facts: Vec<Fact> = texts
            .iter()
            .zip(1..)
            .map(|(text, value)| Fact::new(Kind::Origin, 7, text, value))
            .collect();
        let table = Table::build(&facts, 1 << 20).unwrap();
        for (text, value) in texts.iter().zip(1..) {
            assert_eq!(find(&table, Kind::Origin, 7, text), Some(value), "{text}");
            assert_eq!(find(&table, Kind::Origin, 8, text), None);
            assert_eq!(find(&table, Kind::Host, 7, text), None);
            if !text.is_empty() {
                let other = format!("{}_", &text[1..]);
                assert_eq!(find(&table, Kind::Origin, 7, &other), None, "{text}");
            }
        }
    }

    #[test]
    fn tables_are_as_small_as_they_can_be() {
        for (facts, lines) in
            [(0, 8), (1, 8), (6, 8), (7, 16), (13, 16), (14, 32), (870, 1024), (871, 2048)]
        {
            let facts: Vec<Fact> =
                (0..facts).map(|i| Fact::new(Kind::Host, 0, &format!("h{i}"), 1)).collect();
            let table = Table::build(&facts, 1 << 20).unwrap();
            assert_eq!(table.lines.len(), lines, "{}", facts.len());
            assert_eq!(table.mask as usize, lines - 1);
            let used = table.lines.iter().filter(|line| line.tag() != 0).count();
            assert_eq!(used, facts.len());
        }
    }

    #[test]
    fn limits() {
        let text = "x".repeat(ORIGIN_MAX + 1);
        let build = |text: &str, lines| {
            Table::build(&[Fact::new(Kind::Origin, 1, text, 1)], lines)
                .map(|table| table.lines.len())
        };
        // 326 bytes: 40 in the table, 286 in five lines.
        assert_eq!(build(&text[1..], 13), Ok(13));
        assert_eq!(build(&text[1..], 12), Err(CompileError::Lines { needed: 13, available: 12 }));
        assert_eq!(build(&text, 100), Err(CompileError::TextTooLong { text: text.clone() }));
        assert_eq!(build(&text[..40], 8), Ok(8));
        assert_eq!(build(&text[..41], 9), Ok(9));
    }
}
