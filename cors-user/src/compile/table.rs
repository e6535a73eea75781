//! The hash table of facts: which line each of them is in.
//!
//! Hash and displace (Belazzougui, Botelho and Dietzfelbinger, 2009): the facts fall into small
//! buckets by their hash, and each bucket gets a pilot, the first number with which all its facts
//! fall into lines that are free. The largest buckets choose first, while most lines are. With
//! [`LOAD_MAX`] and [`PER_BUCKET`] a fact costs two or three tries, and no pilot of a hundred thousand facts is above 130,
//! so the first seed nearly always works.

use cors_common::policy::{
    ORIGIN_MAX,
    fact::{PILOTS, bucket, hash, is_whole, place, stride, tag},
    image::{INLINE_LEN, Kind, Line},
};

use super::error::CompileError;

/// The largest part of the lines that is filled, in hundredths.
const LOAD_MAX: usize = 85;
/// Facts to a pilot.
const PER_BUCKET: usize = 2;
/// How many seeds are tried before the table grows.
const SEEDS: u32 = 8;
/// How often it grows, by an eighth, before it is given up: never but for facts that are equal.
const GROWTHS: usize = 16;

/// Words of the longest text.
const WORDS_MAX: usize = ORIGIN_MAX.div_ceil(8);
/// Words of a text in its first line, beside a value.
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

    /// What it is about, but for the set.
    pub(super) fn without_set(&self) -> (u32, &str) {
        ((self.kind_and_set >> 32) as u32, &self.text)
    }

    /// The set that it is in.
    pub(super) const fn set(&self) -> u32 {
        self.kind_and_set as u32
    }

    /// The same in another set.
    pub(super) fn in_set(&self, set: u32) -> Self {
        let kind_and_set = self.kind_and_set >> 32 << 32 | u64::from(set);
        Self { kind_and_set, ..self.clone() }
    }

    /// The same as one of several sets that it is in.
    pub(super) fn in_one(&self) -> Self {
        Self { kind_and_set: Kind::in_one(self.kind_and_set), ..self.clone() }
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

    fn hash(&self, seed: u32) -> u64 {
        hash(seed, self.tag(), self.text.len(), &self.key())
    }

    /// Whether it fills its line, and says nothing but that it is there.
    fn is_whole(&self) -> bool {
        is_whole(self.tag(), self.text.len())
    }

    /// Lines that it needs behind the table.
    fn lines_behind(&self) -> usize {
        if self.is_whole() {
            return 0;
        }
        self.text.len().saturating_sub(INLINE_LEN).div_ceil(size_of::<Line>())
    }

    /// Its line; the rest of a long text is in the lines from `more` on.
    fn line(&self, more: u64) -> Line {
        let (key, mut line) = (self.key(), Line::EMPTY);
        let inline = if self.is_whole() { line.0.len() - 1 } else { INLINE_WORDS };
        line.0[0] = self.tag();
        line.0[1..=inline].copy_from_slice(&key[..inline]);
        if !self.is_whole() {
            line.0[INLINE_WORDS + 1] = self.value;
            line.0[INLINE_WORDS + 2] = more;
        }
        line
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
    /// The table, its pilots, and the lines behind them.
    pub(super) lines: Vec<Line>,
    /// Lines that facts may be in.
    pub(super) len: u32,
    /// Pilots.
    pub(super) buckets: u32,
    /// What the hashes start from.
    pub(super) seed: u32,
}

impl Table {
    /// The smallest table that holds the facts, which all are about origins or none is, in at most
    /// `available` lines.
    pub(super) fn build(facts: &[Fact], available: u32) -> Result<Self, CompileError> {
        if let Some(fact) = facts.iter().find(|fact| fact.text.len() > ORIGIN_MAX) {
            return Err(CompileError::TextTooLong { text: fact.text.clone() });
        }
        let behind: usize = facts.iter().map(Fact::lines_behind).sum();
        // Even of nothing there is a line to look at.
        let mut len = (facts.len() * 100).div_ceil(LOAD_MAX).max(1);
        let buckets = facts.len().div_ceil(PER_BUCKET).max(1);
        // Of no facts there may be a line too many.
        let stride = facts.first().map_or(2, |fact| stride(fact.kind_and_set)) as usize;
        let mut needed = 0;
        for _ in 0..GROWTHS {
            needed = len * stride + buckets.div_ceil(PILOTS) + behind;
            if needed > available as usize {
                break;
            }
            let sizes = (len as u32, buckets as u32);
            for seed in 1..=SEEDS {
                let hashes: Vec<u64> = facts.iter().map(|fact| fact.hash(seed)).collect();
                if let Some(placed) = Placed::find(&hashes, sizes) {
                    let lines = placed.fill(facts, stride, behind);
                    return Ok(Self { lines, len: sizes.0, buckets: sizes.1, seed });
                }
            }
            len += len.div_ceil(8);
        }
        Err(CompileError::Lines { needed, available })
    }
}

/// A line that no fact is in.
const FREE: u32 = u32::MAX;

/// Which line each fact is in.
struct Placed {
    /// For each line of the table the number of its fact.
    facts: Vec<u32>,
    pilots: Vec<u8>,
}

impl Placed {
    /// `None` where the seed of these hashes does not work.
    fn find(hashes: &[u64], (len, buckets): (u32, u32)) -> Option<Self> {
        let mut sorted: Vec<(u32, u32)> =
            hashes.iter().zip(0..).map(|(hash, fact)| (bucket(*hash, buckets), fact)).collect();
        sorted.sort_unstable();
        let mut members: Vec<&[(u32, u32)]> = sorted.chunk_by(|a, b| a.0 == b.0).collect();
        // A stable sort: the same facts give the same table.
        members.sort_by_key(|members| std::cmp::Reverse(members.len()));
        let mut placed =
            Self { facts: vec![FREE; len as usize], pilots: vec![0; buckets as usize] };
        members.into_iter().try_for_each(|members| placed.add(hashes, members))?;
        Some(placed)
    }

    /// Finds a pilot for a bucket.
    fn add(&mut self, hashes: &[u64], members: &[(u32, u32)]) -> Option<()> {
        let len = self.facts.len() as u32;
        for pilot in 0..=u8::MAX {
            let place = |fact: u32| place(hashes[fact as usize], pilot, len);
            let mut taken = 0;
            for &(_, fact) in members {
                let line = &mut self.facts[place(fact) as usize];
                if *line != FREE {
                    break;
                }
                *line = fact;
                taken += 1;
            }
            if let (true, Some((bucket, _))) = (taken == members.len(), members.first()) {
                self.pilots[*bucket as usize] = pilot;
                return Some(());
            }
            for &(_, fact) in &members[..taken] {
                let place = place(fact) as usize;
                self.facts[place] = FREE;
            }
        }
        None
    }

    /// Writes the facts into their lines, the pilots, and the rest of long texts behind them.
    fn fill(&self, facts: &[Fact], stride: usize, behind: usize) -> Vec<Line> {
        let len = self.facts.len() * stride;
        let mut next = len + self.pilots.len().div_ceil(PILOTS);
        let mut lines = Vec::with_capacity(next + behind);
        let mut rest = Vec::with_capacity(behind);
        for number in &self.facts {
            let fact = facts.get(*number as usize);
            lines.push(fact.map_or(Line::EMPTY, |fact| {
                let more = fact.lines_behind();
                let line = fact.line(if more == 0 { 0 } else { next as u64 });
                next += more;
                let behind = fact.text.as_bytes().get(INLINE_LEN..).filter(|_| more != 0);
                rest.extend(behind.into_iter().flat_map(as_lines));
                line
            }));
            lines.resize(lines.len().next_multiple_of(stride), Line::EMPTY);
        }
        lines.extend(as_lines(&self.pilots));
        lines.extend(rest);
        lines
    }
}

/// Bytes in as few lines as can be, zero padded.
fn as_lines(bytes: &[u8]) -> impl Iterator<Item = Line> {
    bytes.chunks(size_of::<Line>()).map(|chunk| {
        let mut line = Line::EMPTY;
        for (to, word) in line.0.iter_mut().zip(words(chunk)) {
            *to = word;
        }
        line
    })
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
        let bucket = bucket(hash, table.buckets) as usize;
        let stride = if kind as u64 <= 2 { 2 } else { 1 };
        let pilots = table.lines[table.len as usize * stride + bucket / 64].0;
        let pilot = pilots[bucket % 64 / 8].to_le_bytes()[bucket % 8];
        let line = &table.lines[place(hash, pilot, table.len) as usize * stride];
        let is_whole = matches!(kind, Kind::Origin) && bytes.len() <= 56;
        let mut text = line.0[1..if is_whole { 8 } else { 6 }].to_vec();
        let mut more = line.more() as usize;
        while line.tag() == tag && text.len() * 8 < bytes.len() {
            text.extend(table.lines[more].0);
            more += 1;
        }
        let text: Vec<u8> = text.iter().flat_map(|word| word.to_le_bytes()).collect();
        let same = line.tag() == tag && text.starts_with(bytes);
        let same = same && text[bytes.len()..].iter().all(|byte| *byte == 0);
        same.then(|| if is_whole { 1 } else { line.value() })
    }

    fn texts() -> Vec<String> {
        (0..=ORIGIN_MAX)
            .map(|len| (0..len).map(|i| char::from(b'a' + (i % 26) as u8)).collect())
            .collect()
    }

    #[test]
    fn texts_of_every_length_are_found() {
        let facts: Vec<Fact> =
            texts().iter().map(|text| Fact::new(Kind::Origin, 7, text, 1)).collect();
        let table = Table::build(&facts, 1 << 20).unwrap();
        for text in texts() {
            assert_eq!(find(&table, Kind::Origin, 7, &text), Some(1), "{text}");
            assert_eq!(find(&table, Kind::Origin, 8, &text), None);
            assert_eq!(find(&table, Kind::Host, 7, &text), None);
            if !text.is_empty() {
                let other = format!("{}_", &text[1..]);
                assert_eq!(find(&table, Kind::Origin, 7, &other), None, "{text}");
            }
        }
    }

    #[test]
    fn values_of_every_length_are_found() {
        let facts: Vec<Fact> = texts()
            .iter()
            .zip(1..)
            .map(|(text, value)| Fact::new(Kind::Path, 7, text, value))
            .collect();
        let table = Table::build(&facts, 1 << 20).unwrap();
        for (text, value) in texts().iter().zip(1..) {
            assert_eq!(find(&table, Kind::Path, 7, text), Some(value), "{text}");
        }
    }

    #[test]
    fn tables_are_as_small_as_they_can_be() {
        // Places of two lines, and lines with pilots.
        for (facts, lines, pilots) in
            [(0, 1, 1), (1, 2, 1), (6, 8, 1), (17, 20, 1), (128, 151, 1), (129, 152, 2)]
        {
            let facts: Vec<Fact> =
                (0..facts).map(|i| Fact::new(Kind::Host, 0, &format!("h{i}"), 1)).collect();
            let table = Table::build(&facts, 1 << 20).unwrap();
            let behind = 2 * lines as usize;
            assert_eq!((table.len, table.lines.len()), (lines, behind + pilots));
            let lines = &table.lines[..behind];
            assert_eq!(lines.iter().filter(|line| line.tag() != 0).count(), facts.len());
        }
    }

    #[test]
    fn equal_facts_are_given_up() {
        let facts = vec![Fact::new(Kind::Host, 0, "a", 1), Fact::new(Kind::Host, 0, "a", 2)];
        assert!(matches!(Table::build(&facts, 1 << 20), Err(CompileError::Lines { .. })));
    }

    #[test]
    fn limits() {
        let text = "x".repeat(ORIGIN_MAX + 1);
        let build = |kind, text: &str, lines| {
            Table::build(&[Fact::new(kind, 1, text, 1)], lines).map(|table| table.lines.len())
        };
        // Two lines for one fact, and one for its pilot. 326 bytes: 40 in the table, 286 in five
        // lines.
        assert_eq!(build(Kind::Origin, &text[1..], 8), Ok(8));
        let few = CompileError::Lines { needed: 8, available: 7 };
        assert_eq!(build(Kind::Origin, &text[1..], 7), Err(few));
        let long = CompileError::TextTooLong { text: text.clone() };
        assert_eq!(build(Kind::Origin, &text, 100), Err(long));
        for (kind, most, lines) in [(Kind::Origin, 56, 3), (Kind::Path, 40, 5)] {
            assert_eq!(build(kind, &text[..most], 8), Ok(lines));
            assert_eq!(build(kind, &text[..=most], 8), Ok(lines + 1));
        }
    }
}
