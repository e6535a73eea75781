//! What the log was told already: something that is found again and again is said once.

use std::collections::BTreeMap;

/// What was said last about each subject.
#[derive(Debug, Default)]
pub(super) struct Said(BTreeMap<String, String>);

impl Said {
    /// Whether this is news about the subject; from now on it is not.
    pub(super) fn is_new(&mut self, subject: &str, text: &str) -> bool {
        self.0.insert(subject.to_owned(), text.to_owned()).is_none_or(|before| before != text)
    }

    /// Whatever is said next about the subject is news. Whether something was said.
    pub(super) fn forget(&mut self, subject: &str) -> bool {
        self.0.remove(subject).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once() {
        let mut said = Said::default();
        assert!(said.is_new("eth7", "gone"));
        assert!(!said.is_new("eth7", "gone"));
        assert!(said.is_new("eth8", "gone"));
        assert!(said.is_new("eth7", "taken"));
        assert!(said.is_new("eth7", "gone"));
        assert!(said.forget("eth7") && !said.forget("eth7"));
        assert!(said.is_new("eth7", "gone"));
    }
}
