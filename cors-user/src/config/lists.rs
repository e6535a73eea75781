//! The four lists of a policy, from text to model: each element judged, repetitions and rules
//! that do nothing pointed out. Pure.

use std::collections::HashSet;

use cors_common::policy::DRIVER_TEXT_MAX;

use super::cover::Wide;
use super::danger::Permissions;
use super::model::{Expose, Headers, Methods, OriginPattern, Origins, WildcardPort};
use super::names::{self, NameError};
use super::origin::{self, Origin};
use super::problem::{At, Problems, Reason};

/// `allow_origins`; `permissions` are there in a policy with credentials.
pub(super) fn origins(
    list: &[At<String>],
    mut permissions: Option<&mut Permissions<'_>>,
    problems: &mut Problems,
) -> Origins {
    let mut taken: Vec<(OriginPattern, &At<String>)> = Vec::with_capacity(list.len());
    // A pattern has one spelling: two that are the same are the same text.
    let mut texts: HashSet<&str> = HashSet::with_capacity(list.len());
    let mut any: Option<&At<String>> = None;
    for at in list {
        let origin = match origin::parse(&at.value) {
            Ok(origin) => origin,
            Err(error) => {
                problems.error(at, error.reason(), error.to_string());
                continue;
            }
        };
        if let Some(permissions) = &mut permissions {
            permissions.check(at, &origin, problems);
        }
        match origin {
            Origin::Any if any.is_some() => repeated(at, problems),
            Origin::Any => any = Some(at),
            Origin::Pattern(pattern) if texts.insert(&at.value) => taken.push((pattern, at)),
            Origin::Pattern(_) => repeated(at, problems),
        }
    }
    if any.is_some() {
        for (_, at) in taken {
            let hint = "`*` in this list is every origin: remove this one, or the `*`";
            problems.warning(at, Reason::Incompatible, hint);
        }
        return Origins::Any;
    }
    unreachable_patterns(&taken, problems);
    for (pattern, at) in &taken {
        if looked_up_len(pattern) > DRIVER_TEXT_MAX {
            let hint = format!(
                "the driver looks up at most {DRIVER_TEXT_MAX} bytes, so preflights from here are \
                 passed on and not answered in it: use a shorter one where that matters"
            );
            problems.warning(at, Reason::Invalid, hint);
        }
    }
    Origins::List(taken.into_iter().map(|(pattern, _)| pattern).collect())
}

/// Bytes of the text by which a pattern is found.
fn looked_up_len(pattern: &OriginPattern) -> usize {
    match pattern {
        OriginPattern::Exact(text) | OriginPattern::AnyPort(text) => text.len(),
        OriginPattern::Subdomains { suffix, port, .. } => match port {
            WildcardPort::Default | WildcardPort::Any => suffix.len(),
            WildcardPort::Exact(port) => suffix.len() + format!(":{port}").len(),
        },
    }
}

fn unreachable_patterns(taken: &[(OriginPattern, &At<String>)], problems: &mut Problems) {
    let wide = Wide::of(taken.iter().map(|(pattern, _)| pattern));
    for (narrow, at) in taken {
        if let Some(place) = wide.covering(narrow) {
            let (_, wide) = &taken[place];
            let hint = format!("`{}` covers it already: remove one of the two", wide.value);
            problems.warning(at, Reason::Incompatible, hint);
        }
    }
}

/// `allow_methods`.
pub(super) fn methods(list: &[At<String>], credentials: bool, problems: &mut Problems) -> Methods {
    let mut names = Names::default();
    for at in list {
        if at.value == "*" {
            names.star(at, credentials, "methods", problems);
            continue;
        }
        match names::method(&at.value) {
            Ok(()) => {
                names.add(at, at.value.clone(), problems);
            }
            Err(error) => problems.error(at, error.reason(), error.to_string()),
        }
    }
    if names.star {
        names.covered_by_star(|_| true, problems);
        return Methods::Any;
    }
    for (name, at) in &names.list {
        if let Some(advice) = names::method_advice(name) {
            problems.warning(at, Reason::Invalid, advice);
        }
    }
    Methods::List(names.into_names())
}

/// `allow_headers`.
pub(super) fn headers(list: &[At<String>], credentials: bool, problems: &mut Problems) -> Headers {
    let names = header_names(list, credentials, names::request_header, problems);
    if names.star {
        // The one name that `*` does not cover (Fetch, "CORS non-wildcard request-header name").
        names.covered_by_star(|name| name != "authorization", problems);
    }
    Headers { any: names.star, names: names.into_names() }
}

/// `expose_headers`.
pub(super) fn expose(list: &[At<String>], credentials: bool, problems: &mut Problems) -> Expose {
    let names = header_names(list, credentials, names::response_header, problems);
    if names.star {
        names.covered_by_star(|_| true, problems);
        return Expose::Any;
    }
    Expose::List(names.into_names())
}

fn header_names<'a>(
    list: &'a [At<String>],
    credentials: bool,
    check: fn(&str) -> Result<String, NameError>,
    problems: &mut Problems,
) -> Names<'a> {
    let mut names = Names::default();
    for at in list {
        if at.value == "*" {
            names.star(at, credentials, "headers", problems);
            continue;
        }
        match check(&at.value) {
            Ok(name) => {
                if names.add(at, name, problems) && at.value.contains('*') {
                    let hint = "`*` within a name is an ordinary character: list the whole names";
                    problems.warning(at, Reason::Invalid, hint);
                }
            }
            Err(error) => problems.error(at, error.reason(), error.to_string()),
        }
    }
    names
}

/// The names of one list, in its order.
#[derive(Default)]
struct Names<'a> {
    star: bool,
    list: Vec<(String, &'a At<String>)>,
    known: HashSet<String>,
}

impl<'a> Names<'a> {
    fn star(&mut self, at: &At<String>, credentials: bool, what: &str, problems: &mut Problems) {
        if credentials {
            let hint = format!(
                "with allow_credentials browsers take `*` literally, not as a wildcard: list the \
                 {what}"
            );
            problems.error(at, Reason::Incompatible, hint);
        }
        if self.star {
            repeated(at, problems);
        }
        self.star = true;
    }

    /// Adds a name, if it is a new one.
    fn add(&mut self, at: &'a At<String>, name: String, problems: &mut Problems) -> bool {
        if !self.known.insert(name.clone()) {
            repeated(at, problems);
            return false;
        }
        self.list.push((name, at));
        true
    }

    fn covered_by_star(&self, covered: fn(&str) -> bool, problems: &mut Problems) {
        for (name, at) in &self.list {
            if covered(name) {
                let hint = "`*` in this list covers it already: remove one of the two";
                problems.warning(at, Reason::Incompatible, hint);
            }
        }
    }

    fn into_names(self) -> Vec<String> {
        self.list.into_iter().map(|(name, _)| name).collect()
    }
}

/// Says that `at` is in its list already.
pub(super) fn repeated(at: &At<String>, problems: &mut Problems) {
    problems.warning(at, Reason::Incompatible, "it is in the list already: remove it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_up_for_a_pattern() {
        for (text, expected) in [
            ("https://a.example:8443", "https://a.example:8443"),
            ("https://a.example:*", "https://a.example"),
            ("https://*.a.example", "a.example"),
            ("https://*.a.example:*", "a.example"),
            ("https://*.a.example:8443", "a.example:8443"),
        ] {
            let Ok(Origin::Pattern(pattern)) = origin::parse(text) else { panic!("{text}") };
            assert_eq!(looked_up_len(&pattern), expected.len(), "{text}");
        }
    }
}
