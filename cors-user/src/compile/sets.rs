//! Lists as numbered sets: policies that allow the same share one number and one set of facts.

use std::collections::HashMap;

use cors_common::policy::image::{Kind, SEVERAL};

use super::table::Fact;

/// Something that is in a set.
pub(super) type Member = (Kind, String);

/// The sets so far. The empty one has the number 0, and no facts.
#[derive(Debug, Default)]
pub(super) struct Sets {
    numbers: HashMap<Vec<Member>, u32>,
}

impl Sets {
    /// The number of the set of these members, in any order. The facts about a new one are added.
    pub(super) fn id(&mut self, mut members: Vec<Member>, facts: &mut Vec<Fact>) -> u32 {
        if members.is_empty() {
            return 0;
        }
        members.sort_unstable();
        members.dedup();
        if let Some(number) = self.numbers.get(&members) {
            return *number;
        }
        let number = self.numbers.len() as u32 + 1;
        facts.extend(members.iter().map(|(kind, text)| Fact::new(*kind, number, text.as_str(), 1)));
        self.numbers.insert(members, number);
        number
    }
}

/// Facts about origins in sets as the look-up wants them: one for each origin, that says which set
/// it is in. For one that is in several sets there are others behind it.
pub(super) fn by_text(mut facts: Vec<Fact>) -> Vec<Fact> {
    facts
        .sort_unstable_by(|a, b| a.without_set().cmp(&b.without_set()).then(a.set().cmp(&b.set())));
    let mut by_text = Vec::with_capacity(facts.len());
    for same in facts.chunk_by(|a, b| a.without_set() == b.without_set()) {
        if let [first, _, ..] = same {
            by_text.push(first.in_set(SEVERAL));
            by_text.extend(same.iter().map(Fact::in_one));
        } else {
            by_text.extend_from_slice(same);
        }
    }
    by_text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn methods(names: &[&str]) -> Vec<Member> {
        names.iter().map(|&name| (Kind::Method, name.to_owned())).collect()
    }

    #[test]
    fn equal_lists_share_a_number() {
        let (mut sets, mut facts) = (Sets::default(), Vec::new());
        let first = sets.id(methods(&["PUT", "PATCH"]), &mut facts);
        assert_eq!(sets.id(methods(&["PATCH", "PUT"]), &mut facts), first);
        assert_eq!(facts.len(), 2);
        let second = sets.id(methods(&["PUT"]), &mut facts);
        assert_ne!(second, first);
        assert_eq!(facts[2], Fact::new(Kind::Method, second, "PUT", 1));
        // The same text as something else is another set.
        let headers = vec![(Kind::Header, "PUT".to_owned())];
        assert!(![0, first, second].contains(&sets.id(headers, &mut facts)));
    }

    #[test]
    fn an_origin_in_several_sets_says_so() {
        let fact = |set, text| Fact::new(Kind::Origin, set, text, 1);
        let any_port = Fact::new(Kind::OriginAnyPort, 3, "http://b", 1);
        let facts = vec![fact(2, "http://b"), fact(1, "http://b"), fact(2, "http://a"), any_port];
        let expected = [
            fact(2, "http://a"),
            fact(SEVERAL, "http://b"),
            fact(1, "http://b").in_one(),
            fact(2, "http://b").in_one(),
            Fact::new(Kind::OriginAnyPort, 3, "http://b", 1),
        ];
        assert_eq!(by_text(facts), expected);
    }

    #[test]
    fn nothing_is_set_zero() {
        let (mut sets, mut facts) = (Sets::default(), Vec::new());
        assert_eq!(sets.id(Vec::new(), &mut facts), 0);
        assert_ne!(sets.id(methods(&["PUT"]), &mut facts), 0);
        assert_eq!(facts.len(), 1);
    }
}
