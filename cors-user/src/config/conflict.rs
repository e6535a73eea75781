//! No two policies may be for the same: with the same host and the same prefix neither of them is
//! the more specific one. Pure.

use std::collections::{HashMap, HashSet};

use super::matching::{host, prefix};
use super::problem::{At, Problems, Reason};
use super::raw::{Field, Policy};

/// Finds policies that are for the same host and prefix, so that neither is the more specific one.
#[derive(Default)]
pub(super) struct Conflicts {
    /// Host and prefix of the policies so far, and what to call the first one that has them.
    taken: HashMap<(Option<String>, Option<String>), String>,
}

impl Conflicts {
    /// Adds a policy, and reports where it is for the same as an earlier one.
    pub(super) fn add(&mut self, policy: &At<Policy>, problems: &mut Problems) {
        let name = match policy.value.name.given() {
            Some(name) => format!("`{}` ({})", name.value.escape_debug(), policy.path),
            None => policy.path.clone(),
        };
        for (key, at) in keys(policy) {
            match self.taken.get(&key) {
                Some(earlier) => {
                    let hint = format!(
                        "policy {earlier} is for the same host and path prefix already: change \
                         one of the two, or merge them"
                    );
                    problems.error(&at, Reason::Incompatible, hint);
                }
                None => {
                    self.taken.insert(key, name.clone());
                }
            }
        }
    }
}

type Key = (Option<String>, Option<String>);

/// Every host and prefix of a policy with the place that says so, as far as they are valid.
fn keys(policy: &At<Policy>) -> Vec<(Key, At<String>)> {
    let nowhere = |at: At<()>| At { path: at.path, span: at.span, value: String::new() };
    let matching = match &policy.value.matching {
        Field::Absent => return vec![((None, None), nowhere(policy.place()))],
        Field::Wrong => return Vec::new(),
        Field::Given(matching) => matching,
    };
    let (path_prefix, prefix_at) = match &matching.value.path_prefix {
        Field::Absent => (None, None),
        Field::Wrong => return Vec::new(),
        Field::Given(at) => match prefix(&at.value) {
            Ok(prefix) => (prefix, Some(at)),
            Err(_) => return Vec::new(),
        },
    };
    match &matching.value.hosts {
        Field::Wrong => Vec::new(),
        Field::Given(hosts) if !hosts.value.is_empty => {
            let mut known: HashSet<&str> = HashSet::new();
            let valid = hosts.value.items.iter().filter(|at| host(&at.value).is_ok());
            valid
                // A repetition within the list is no conflict with itself.
                .filter(|at| known.insert(&at.value))
                .map(|at| ((Some(at.value.clone()), path_prefix.clone()), at.clone()))
                .collect()
        }
        Field::Absent | Field::Given(_) => {
            let at = prefix_at.cloned().unwrap_or_else(|| nowhere(matching.place()));
            vec![((None, path_prefix), at)]
        }
    }
}
