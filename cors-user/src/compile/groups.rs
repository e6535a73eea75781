//! Hosts and path prefixes: every host has a group, and a group says which policy a prefix has.

use std::collections::{BTreeMap, HashMap};

use cors_common::policy::{PREFIX_SEGMENTS_MAX, image::Kind};

use super::{error::CompileError, table::Fact};
use crate::config::model::Policy;

/// The policies of a group: the prefix, empty for none, and the policy's index.
type Group<'a> = BTreeMap<&'a str, u32>;

/// Adds the facts about hosts and prefixes, and returns the value for policies without hosts: the
/// group that is asked where the host's own has no answer; 0 where there is none.
pub(super) fn add(policies: &[Policy], facts: &mut Vec<Fact>) -> Result<u64, CompileError> {
    let mut any_host = Group::new();
    let mut hosts: BTreeMap<&str, Group<'_>> = BTreeMap::new();
    for (index, policy) in policies.iter().enumerate() {
        let prefix = policy.path_prefix.as_deref().unwrap_or_default();
        if segments(prefix) > PREFIX_SEGMENTS_MAX {
            return Err(CompileError::PrefixTooDeep {
                policy: policy.name.clone(),
                prefix: prefix.to_owned(),
                segments: segments(prefix),
            });
        }
        if policy.hosts.is_empty() {
            any_host.entry(prefix).or_insert(index as u32);
        }
        for host in &policy.hosts {
            hosts.entry(host).or_default().entry(prefix).or_insert(index as u32);
        }
    }
    let mut groups = Groups::default();
    for (host, group) in hosts {
        let value = groups.value(group, facts);
        facts.push(Fact::new(Kind::Host, 0, host, value));
    }
    Ok(groups.value(any_host, facts))
}

/// The groups so far: hosts of the same policies share one.
#[derive(Debug, Default)]
struct Groups<'a> {
    values: HashMap<Group<'a>, u64>,
}

impl<'a> Groups<'a> {
    /// `group | depths << 32`; 0 for a group without policies.
    fn value(&mut self, group: Group<'a>, facts: &mut Vec<Fact>) -> u64 {
        if group.is_empty() {
            return 0;
        }
        if let Some(value) = self.values.get(&group) {
            return *value;
        }
        let number = self.values.len() as u32 + 1;
        let mut depths = 0;
        for (prefix, index) in &group {
            depths |= 1u64 << segments(prefix);
            facts.push(Fact::new(Kind::Path, number, prefix, u64::from(*index) + 1));
        }
        let value = u64::from(number) | depths << 32;
        self.values.insert(group, value);
        value
    }
}

/// Segments of a prefix without a slash at its end.
fn segments(prefix: &str) -> usize {
    prefix.matches('/').count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use crate::config;

    /// Policies with these `match` tables.
    fn policies(matches: &[&str]) -> Vec<Policy> {
        let policy = |(i, matching): (usize, &&str)| {
            format!(
                "[[policy]]\nname = \"p{i}\"\nallow_origins = [\"*\"]\n\
                 match = {{ {matching} }}\n"
            )
        };
        let policies: String = matches.iter().enumerate().map(policy).collect();
        let text = format!("[server]\nlisten = [\"0.0.0.0:80\"]\n{policies}");
        config::parse(&text).config.unwrap().policies
    }

    #[test]
    fn hosts_of_the_same_policies_share_a_group() {
        let policies = policies(&[
            "hosts = [\"a\", \"b\"]",
            "hosts = [\"b\", \"a\"], path_prefix = \"/v1/x/\"",
            "hosts = [\"c\"]",
            "path_prefix = \"/v1\"",
        ]);
        let mut facts = Vec::new();
        assert_eq!(add(&policies, &mut facts), Ok(3 | 0b10 << 32));
        let expected = [
            Fact::new(Kind::Path, 1, "", 1),
            Fact::new(Kind::Path, 1, "/v1/x", 2),
            Fact::new(Kind::Host, 0, "a", 1 | 0b101 << 32),
            Fact::new(Kind::Host, 0, "b", 1 | 0b101 << 32),
            Fact::new(Kind::Path, 2, "", 3),
            Fact::new(Kind::Host, 0, "c", 2 | 1 << 32),
            Fact::new(Kind::Path, 3, "/v1", 4),
        ];
        assert_eq!(facts, expected);
    }

    #[test]
    fn no_policy_for_every_host() {
        assert_eq!(add(&policies(&["hosts = [\"a\"]"]), &mut Vec::new()), Ok(0));
    }

    #[test]
    fn prefixes_have_a_limit() {
        let with = |depth: usize| {
            // No policy file that was checked has a deeper one than the driver takes.
            let mut policies = policies(&["path_prefix = \"/a\""]);
            policies[0].path_prefix = Some("/a".repeat(depth));
            add(&policies, &mut Vec::new())
        };
        assert_eq!(with(15), Ok(1 | 1 << (32 + 15)));
        assert!(matches!(with(16), Err(CompileError::PrefixTooDeep { segments: 16, .. })));
    }
}
