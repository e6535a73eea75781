//! Header lists (Fetch §2.2.2), and the head of a response.

use crate::syntax::{is_token, trim};

/// One header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// As it was written; compared without regard to case.
    pub name: String,
    /// Without white space at its ends.
    pub value: Vec<u8>,
}

impl Header {
    /// Whether it has this name.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// Headers in the order in which they came, with repetitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<Header>);

impl Headers {
    /// No header.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a header. White space around the value is no part of it.
    pub fn add(&mut self, name: impl Into<String>, value: impl AsRef<[u8]>) {
        self.0.push(Header { name: name.into(), value: trim(value.as_ref()).to_vec() });
    }

    /// Removes every header of this name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|header| !header.is(name));
    }

    /// Every header, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Header> {
        self.0.iter()
    }

    /// Every value of one name, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |header| header.is(name)).map(|header| &*header.value)
    }

    /// Whether there is a header of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// "Get": the values of one name, with a comma and a space between them; `None` without any.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let values: Vec<&[u8]> = self.all(name).collect();
        (!values.is_empty()).then(|| values.join(&b", "[..]))
    }
}

impl<N: Into<String>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in pairs {
            headers.add(name, value);
        }
        headers
    }
}

/// Whether a script may use this as a header's name.
pub(crate) fn is_name(name: &str) -> bool {
    is_token(name.as_bytes())
}

/// Whether a script may use this as a header's value, white space at its ends aside.
pub(crate) fn is_value(value: &[u8]) -> bool {
    !value.iter().any(|byte| matches!(byte, b'\0' | b'\n' | b'\r'))
}

/// The head of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Its headers.
    pub headers: Headers,
}

impl Response {
    /// With these headers.
    pub fn new<N: Into<String>, V: AsRef<[u8]>>(
        status: u16,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self { status, headers: headers.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_name_are_joined() {
        let headers: Headers =
            [("A", " 1 "), ("b", "x"), ("a", ""), ("A", "2")].into_iter().collect();
        assert_eq!(headers.get("a"), Some(b"1, , 2".to_vec()));
        assert_eq!(headers.get("B"), Some(b"x".to_vec()));
        assert_eq!(headers.get("c"), None);
        assert!(headers.contains("B") && !headers.contains("ab"));
        let mut headers = headers;
        headers.remove("a");
        assert_eq!(headers.iter().count(), 1);
    }
}
