//! Hosts and path prefixes: every host has a group, and a group says which policy a prefix has.

use std::collections::{BTreeMap, HashMap};

use cors_common::policy::{
    PREFIX_SEGMENTS_MAX,
    image::{self, Kind},
};

use super::{error::CompileError, table::Fact};
use crate::config::model::Policy;

/// The policies of a group: the prefix, empty for none, and the policy's index.
type Group<'a> = BTreeMap<&'a str, u32>;

/// What there is beside the facts about hosts and prefixes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scopes {
    /// The value for policies without hosts: the group that is asked where the host's own has no
    /// answer; 0 where there is none.
    pub(super) any_host: u64,
    /// Which policy has each of the lines that groups point to.
    pub(super) places: Vec<u32>,
}

/// Adds the facts about hosts and prefixes.
pub(super) fn add(policies: &[Policy], facts: &mut Vec<Fact>) -> Result<Scopes, CompileError> {
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
        let value = groups.value(group, facts)?;
        facts.push(Fact::new(Kind::Host, 0, host, value));
    }
    Ok(Scopes { any_host: groups.value(any_host, facts)?, places: groups.places })
}

/// The groups so far: hosts of the same policies share one. Groups of the same prefixes share the
/// facts about these: a thousand hosts with one prefix, and a policy each, need one.
#[derive(Debug, Default)]
struct Groups<'a> {
    values: HashMap<Group<'a>, u64>,
    shapes: HashMap<Vec<&'a str>, u32>,
    places: Vec<u32>,
}

impl<'a> Groups<'a> {
    /// The value of a host with this group; 0 for one without policies.
    fn value(&mut self, group: Group<'a>, facts: &mut Vec<Fact>) -> Result<u64, CompileError> {
        if group.is_empty() {
            return Ok(0);
        }
        if let Some(value) = self.values.get(&group) {
            return Ok(*value);
        }
        let first = self.places.len();
        let needed = first + group.len();
        if needed >= MOST {
            return Err(CompileError::Lines { needed, available: MOST as u32 });
        }
        let depths = group.keys().fold(0, |depths, prefix| depths | 1 << segments(prefix));
        let shape = self.shape(group.keys().copied().collect(), facts);
        self.places.extend(group.values());
        let value = image::Group::new(shape, first as u32, depths).value();
        self.values.insert(group, value);
        Ok(value)
    }

    /// The number of the shape with these prefixes, in their order.
    fn shape(&mut self, prefixes: Vec<&'a str>, facts: &mut Vec<Fact>) -> u32 {
        if let Some(number) = self.shapes.get(&prefixes) {
            return *number;
        }
        let number = self.shapes.len() as u32 + 1;
        for (prefix, place) in prefixes.iter().zip(1..) {
            facts.push(Fact::new(Kind::Path, number, prefix, place));
        }
        self.shapes.insert(prefixes, number);
        number
    }
}

/// Neither lines nor shapes, of which each has a line at least, are counted further.
const MOST: usize = 1 << image::Group::BITS;

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
        let scopes = add(&policies, &mut facts).unwrap();
        assert_eq!(scopes.any_host, group(3, 3, 0b10));
        assert_eq!(scopes.places, [0, 1, 2, 3]);
        let expected = [
            Fact::new(Kind::Path, 1, "", 1),
            Fact::new(Kind::Path, 1, "/v1/x", 2),
            Fact::new(Kind::Host, 0, "a", group(1, 0, 0b101)),
            Fact::new(Kind::Host, 0, "b", group(1, 0, 0b101)),
            Fact::new(Kind::Path, 2, "", 1),
            Fact::new(Kind::Host, 0, "c", group(2, 2, 1)),
            Fact::new(Kind::Path, 3, "/v1", 1),
        ];
        assert_eq!(facts, expected);
    }

    fn group(shape: u64, first: u64, depths: u64) -> u64 {
        depths << 48 | shape << 24 | first
    }

    #[test]
    fn groups_of_the_same_prefixes_share_a_shape() {
        let policies = policies(&[
            "hosts = [\"a\"], path_prefix = \"/v1\"",
            "hosts = [\"b\"], path_prefix = \"/v1\"",
            "hosts = [\"a\", \"b\"]",
        ]);
        let mut facts = Vec::new();
        let scopes = add(&policies, &mut facts).unwrap();
        assert_eq!(scopes, Scopes { any_host: 0, places: vec![2, 0, 2, 1] });
        let expected = [
            Fact::new(Kind::Path, 1, "", 1),
            Fact::new(Kind::Path, 1, "/v1", 2),
            Fact::new(Kind::Host, 0, "a", group(1, 0, 0b11)),
            Fact::new(Kind::Host, 0, "b", group(1, 2, 0b11)),
        ];
        assert_eq!(facts, expected);
    }

    #[test]
    fn no_policy_for_every_host() {
        let scopes = add(&policies(&["hosts = [\"a\"]"]), &mut Vec::new());
        assert_eq!(scopes, Ok(Scopes { any_host: 0, places: vec![0] }));
    }

    #[test]
    fn prefixes_have_a_limit() {
        let with = |depth: usize| {
            // No policy file that was checked has a deeper one than the driver takes.
            let mut policies = policies(&["path_prefix = \"/a\""]);
            policies[0].path_prefix = Some("/a".repeat(depth));
            add(&policies, &mut Vec::new())
        };
        assert_eq!(with(15).unwrap().any_host, group(1, 0, 1 << 15));
        assert!(matches!(with(16), Err(CompileError::PrefixTooDeep { segments: 16, .. })));
    }
}
