//! Lists as numbered sets: policies that allow the same share one number and one set of facts.

use std::collections::HashMap;

use cors_common::policy::image::Kind;

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
    fn nothing_is_set_zero() {
        let (mut sets, mut facts) = (Sets::default(), Vec::new());
        assert_eq!(sets.id(Vec::new(), &mut facts), 0);
        assert_ne!(sets.id(methods(&["PUT"]), &mut facts), 0);
        assert_eq!(facts.len(), 1);
    }
}
