//! "Did you mean": the known word that an unknown one is probably a slip of. Pure.

/// The word of `known` nearest to `word`, if any is near enough to be worth suggesting.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = folded(word);
    known
        .iter()
        .map(|&candidate| (distance(&word, &folded(candidate)), candidate))
        .filter(|&(distance, candidate)| {
            // A third of the letters may be wrong: enough for `policies`, too little to turn a
            // word into an unrelated one.
            distance <= word.len().max(candidate.len()) / 3 + usize::from(word.len() > 3)
                && distance < word.len().min(candidate.len())
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// `allowOrigins`, `allow-origins` and `allow_origins` are one word in three styles.
fn folded(word: &str) -> Vec<char> {
    // A key of many kilobytes is no slip of the pen, and the distance takes quadratic time.
    let letters = word.chars().take(64).filter(|c| !matches!(c, '_' | '-'));
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// The Levenshtein distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let chars = |s: &str| s.chars().collect::<Vec<_>>();
        for (a, b, expected) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("abc", "abc", 0)]
        {
            assert_eq!(distance(&chars(a), &chars(b)), expected, "{a} {b}");
            assert_eq!(distance(&chars(b), &chars(a)), expected, "{b} {a}");
        }
    }

    #[test]
    fn suggestions() {
        let known = ["name", "match", "allow_origins", "allow_methods", "max_age", "policy"];
        for (word, expected) in [
            ("allow_origin", Some("allow_origins")),
            ("allowOrigins", Some("allow_origins")),
            ("alow-methods", Some("allow_methods")),
            ("maxage", Some("max_age")),
            ("policies", Some("policy")),
            ("nmae", Some("name")),
            ("timeout", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
    }
}
