//! What another policy file would change: policy by policy, origin by origin. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{
    model::{Config, Policy},
    values::{self, Values},
};

/// Everything that differs between two policy files. Empty: they mean the same, but for the order
/// of their lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What differs in `[server]`.
    pub server: Vec<Line>,
    /// Policies that differ, in the order of their names.
    pub policies: Vec<PolicyDifference>,
}

/// What differs between two policies of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDifference {
    /// The name.
    pub name: String,
    /// What became of it.
    pub change: Change,
    /// Everything that it lists, or that differs.
    pub lines: Vec<Line>,
}

/// What became of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It says something else.
    Changed,
}

/// A value that comes or goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Line {
    /// The key of the policy file, such as `allow_origins`.
    pub key: String,
    /// The value.
    pub value: String,
    /// Whether it comes.
    pub added: bool,
}

/// From one file to another.
pub fn between(old: &Config, new: &Config) -> Difference {
    let mut server = Vec::new();
    compare(&mut server, &values::server(old), &values::server(new));
    let by_name = |config: &Config| -> BTreeMap<String, Values> {
        let named = |policy: &Policy| (policy.name.clone(), values::policy(policy));
        config.policies.iter().map(named).collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    let nothing = Values::new();
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let mut policies = Vec::new();
    for name in names {
        let (was, is) = (before.get(name), after.get(name));
        let mut lines = Vec::new();
        compare(&mut lines, was.unwrap_or(&nothing), is.unwrap_or(&nothing));
        let change = match (was, is) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            _ if lines.is_empty() => continue,
            _ => Change::Changed,
        };
        policies.push(PolicyDifference { name: name.clone(), change, lines });
    }
    Difference { server, policies }
}

impl Difference {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.server.is_empty() && self.policies.is_empty()
    }

    /// How many policies are new, gone, and different.
    pub fn counts(&self) -> [usize; 3] {
        let count = |change| self.policies.iter().filter(|p| p.change == change).count();
        [count(Change::Added), count(Change::Removed), count(Change::Changed)]
    }
}

/// For people: a headline for each policy, and a line for each value with `+` or `-` in front.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing changes\n");
        }
        if !self.server.is_empty() {
            f.write_str("server: changed\n")?;
            write_lines(f, &self.server)?;
        }
        for PolicyDifference { name, change, lines } in &self.policies {
            let change = match change {
                Change::Added => "new",
                Change::Removed => "gone",
                Change::Changed => "changed",
            };
            writeln!(f, "policy {name:?}: {change}")?;
            write_lines(f, lines)?;
        }
        Ok(())
    }
}

fn write_lines(f: &mut fmt::Formatter<'_>, lines: &[Line]) -> fmt::Result {
    for Line { key, value, added } in lines {
        writeln!(f, "  {} {key} {value}", if *added { '+' } else { '-' })?;
    }
    Ok(())
}

/// What goes and what comes, key by key; of a key with one value the old one first.
fn compare(lines: &mut Vec<Line>, old: &Values, new: &Values) {
    let line = |(key, value): &(&str, String), added| Line {
        key: (*key).to_owned(),
        value: value.clone(),
        added,
    };
    lines.extend(old.difference(new).map(|value| line(value, false)));
    lines.extend(new.difference(old).map(|value| line(value, true)));
    lines.sort_by(|a, b| (&a.key, a.added, &a.value).cmp(&(&b.key, b.added, &b.value)));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use crate::config;

    fn file(text: &str) -> Config {
        config::parse(text).config.unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
    }

    #[test]
    fn the_same_is_no_difference() {
        let config = file(config::EXAMPLE);
        let difference = between(&config, &config);
        assert!(difference.is_empty());
        assert_eq!(difference.to_string(), "nothing changes\n");
        // The order of a list says nothing.
        let text = config::EXAMPLE.replace("\"PUT\", \"PATCH\"", "\"PATCH\", \"PUT\"");
        assert!(between(&config, &file(&text)).is_empty());
    }

    #[test]
    fn origin_by_origin() {
        let text = config::EXAMPLE
            .replace("https://*.example.org", "https://*.example.net:*")
            .replace("max_age = 600", "max_age = 60")
            .replace("allow_credentials = true", "")
            .replace("[\"0.0.0.0:80\"]", "[\"0.0.0.0:81\"]")
            + "\n[[policy]]\nname = \"open\"\nallow_origins = [\"*\"]\nallow_headers = [\"*\"]\n";
        let difference = between(&file(config::EXAMPLE), &file(&text));
        assert_eq!(
            difference.to_string(),
            "server: changed
  - listen 0.0.0.0:80
  + listen 0.0.0.0:81
policy \"api\": changed
  - allow_credentials true
  - allow_origins https://*.example.org
  + allow_origins https://*.example.net:*
  - max_age 600
  + max_age 60
policy \"open\": new
  + allow_headers *
  + allow_origins *
"
        );
        assert_eq!(difference.counts(), [1, 0, 1]);
        let back = between(&file(&text), &file(config::EXAMPLE));
        assert_eq!(back.counts(), [0, 1, 1]);
        let json = serde_json::to_string(&difference).unwrap();
        assert_eq!(serde_json::from_str::<Difference>(&json).unwrap(), difference);
    }
}
