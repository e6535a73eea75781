//! Where the values of a policy file stand in its text. Pure; the file has been checked before.

use std::{collections::HashMap, ops::Range};

use toml::de::{DeTable, DeValue};

/// The places of every policy, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Places {
    policies: Vec<PolicyPlaces>,
}

/// The places of one policy.
#[derive(Debug)]
pub(super) struct PolicyPlaces {
    /// What begins it: `[[policy]]`, or all of an inline table.
    pub(super) whole: Range<usize>,
    /// What is written for each key; those of `match` begin with `match.`.
    values: HashMap<String, Value>,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) struct Value {
    /// All of it.
    pub(super) span: Range<usize>,
    /// The elements of a list of strings.
    pub(super) items: Vec<(String, Range<usize>)>,
}

impl Places {
    /// Finds them. A text that is no TOML has none.
    pub(super) fn of(source: &str) -> Self {
        let Ok(document) = DeTable::parse(source) else { return Self::default() };
        let policies = document.get_ref().get("policy").and_then(|list| list.get_ref().as_array());
        let policies = policies.into_iter().flat_map(|list| list.iter()).filter_map(|policy| {
            let mut values = HashMap::new();
            collect("", policy.get_ref().as_table()?, &mut values);
            Some(PolicyPlaces { whole: policy.span(), values })
        });
        Self { policies: policies.collect() }
    }

    /// Those of one policy.
    pub(super) fn policy(&self, index: usize) -> Option<&PolicyPlaces> {
        self.policies.get(index)
    }
}

impl PolicyPlaces {
    /// What is written for a key.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }
}

impl Value {
    /// The element of a list that is this text.
    pub(super) fn item(&self, text: &str) -> Option<(usize, &Range<usize>)> {
        self.items
            .iter()
            .enumerate()
            .find_map(|(i, (item, span))| (item == text).then_some((i, span)))
    }
}

fn collect(prefix: &str, table: &DeTable<'_>, values: &mut HashMap<String, Value>) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            collect(&format!("{path}."), inner, values);
        }
        let list = value.get_ref().as_array();
        let items = list
            .into_iter()
            .flat_map(|list| list.iter())
            .filter_map(|item| Some((item.get_ref().as_str()?.to_owned(), item.span())));
        let items = items.collect();
        values.insert(path, Value { span: value.span(), items });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn places_of_a_file() {
        let source = "[server]\nlisten = [\"0.0.0.0:80\"]\n\n[[policy]]\nname = \"a\"\n\
                      match = { hosts = [\"h\"] }\nallow_origins = [\n  \"https://a\", # x\n\
                      \"https://b\",\n]\n[[policy]]\nname = \"b\"\nmatch.path_prefix = \"/v1\"\n";
        let places = Places::of(source);
        let first = places.policy(0).unwrap();
        let text = |span: &Range<usize>| &source[span.clone()];
        assert_eq!(text(&first.whole), "[[policy]]");
        assert_eq!(text(&first.value("name").unwrap().span), "\"a\"");
        let (at, item) = first.value("allow_origins").unwrap().item("https://b").unwrap();
        assert_eq!((at, text(item)), (1, "\"https://b\""));
        assert_eq!(text(&first.value("match.hosts").unwrap().span), "[\"h\"]");
        assert_eq!(text(&first.value("match").unwrap().span), "{ hosts = [\"h\"] }");
        assert!(first.value("max_age").is_none());
        let second = places.policy(1).unwrap();
        assert_eq!(text(&second.value("match.path_prefix").unwrap().span), "\"/v1\"");
        assert!(places.policy(2).is_none());
        assert!(Places::of("[").policy(0).is_none());
    }

    #[test]
    fn an_inline_policy() {
        let source = "policy = [{ name = \"a\", allow_origins = [\"*\"] }]\n";
        let places = Places::of(source);
        let policy = places.policy(0).unwrap();
        assert_eq!(&source[policy.whole.clone()], "{ name = \"a\", allow_origins = [\"*\"] }");
        assert_eq!(policy.value("allow_origins").unwrap().items[0].0, "*");
    }
}
