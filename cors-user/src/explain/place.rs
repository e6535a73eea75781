//! Which value of the policy file decided, and what it says.

use std::ops::Range;

use cors_oracle::Request;

use super::{
    explanation::Place,
    places::{Places, PolicyPlaces},
    reading::{self, Allowed, Reading},
};
use crate::config::problem::Position;

/// The value that decided on a request, the first one if several refuse it.
pub(super) fn decided(
    source: &str,
    places: &Places,
    reading: Option<&Reading<'_>>,
    request: &Request,
) -> Option<Place> {
    let reading = reading?;
    let policy = places.policy(reading.index)?;
    let find = |key: &str, says: String| place(source, reading, policy, key, says);
    let credentials = request.includes_credentials();
    let Some(origin) = reading.origin else {
        let says = format!("`{}` is not in it", request.serialized_origin());
        return Some(find("allow_origins", says));
    };
    Some(if !reading.method {
        let says = format!("`{}` is not in it", request.method());
        find("allow_methods", says)
    } else if !reading.missing.is_empty() {
        let names: Vec<String> = reading.missing.iter().map(|name| format!("`{name}`")).collect();
        let verb = if names.len() == 1 { "is" } else { "are" };
        find("allow_headers", format!("{} {verb} not in it", names.join(", ")))
    } else if credentials && !reading.policy.allow_credentials {
        find("allow_credentials", "the request has credentials".to_owned())
    } else {
        let item = match origin {
            Allowed::Any => "*".to_owned(),
            Allowed::By(pattern) => reading::text(pattern),
        };
        let says = format!("allows `{}`", request.serialized_origin());
        let list = policy.value("allow_origins");
        match list.and_then(|list| list.item(&item)) {
            Some((at, span)) => {
                of(source, reading, &format!("allow_origins[{at}]"), span.clone(), says)
            }
            None => find("allow_origins", says),
        }
    })
}

/// The value of a key, or the policy where it has none.
fn place(
    source: &str,
    reading: &Reading<'_>,
    policy: &PolicyPlaces,
    key: &str,
    says: String,
) -> Place {
    if let Some(value) = policy.value(key) {
        return of(source, reading, key, value.span.clone(), says);
    }
    let says = format!("it has no {key}: {says}");
    of(source, reading, "", policy.whole.clone(), says)
}

fn of(source: &str, reading: &Reading<'_>, key: &str, span: Range<usize>, says: String) -> Place {
    let dot = if key.is_empty() { "" } else { "." };
    let Position { line, column } = Position::of(source, span.start);
    Place {
        name: reading.policy.name.clone(),
        path: format!("policy[{}]{dot}{key}", reading.index),
        line,
        column,
        says,
        span,
        index: reading.index,
    }
}
