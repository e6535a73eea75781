//! From the shape of a policy file to its meaning: the one maker of [`model::Config`].
//!
//! Pure. It judges what concerns a policy as a whole, leaves single values to the modules named
//! after them, and goes on after every error, so that all of them are said at once. What it returns
//! is only of use if nothing was wrong.

use std::collections::HashMap;

use super::conduct;
use super::conflict::Conflicts;
use super::danger::Permissions;
use super::matching;
use super::model::{self, Expose, Headers, Methods, Origins};
use super::problem::{At, Problems, Reason};
use super::raw::{Field, List, Policy, Raw};
use super::{admin, lists, server};

/// The longest name of a policy: it labels every counter.
const MAX_NAME: usize = 64;
/// The largest `max_age`: the cap of the most patient browser (Firefox).
const MAX_AGE: u32 = 86_400;
/// What Chromium caps `max_age` to.
const CHROMIUM_MAX_AGE: u32 = 7_200;

/// Judges a whole file.
pub(super) fn config(raw: &Raw, problems: &mut Problems) -> model::Config {
    let server = server::server(raw, problems);
    let admin = admin::admin(raw, problems);
    let mut policies = Vec::new();
    let raw_policies = raw.policies.given().map_or(&[][..], |at| &at.value.items);
    if raw.policies.is_absent() || raw.policies.given().is_some_and(|at| at.value.is_empty) {
        let start = raw.policies.given().map_or(0..0, |at| at.span.clone());
        let start = At { path: String::new(), span: start, value: () };
        let hint = "add a [[policy]] with a name and allow_origins: nothing is allowed by default";
        problems.missing(&start, "policy", hint);
    }
    let mut names = HashMap::new();
    let mut conflicts = Conflicts::default();
    for raw_policy in raw_policies {
        let name = name(raw_policy, &mut names, problems);
        policies.push(policy(raw_policy, name, problems));
        conflicts.add(raw_policy, problems);
    }
    model::Config { server, admin, policies }
}

fn policy(at: &At<Policy>, name: String, problems: &mut Problems) -> model::Policy {
    let raw = &at.value;
    let scope = matching::scope(&raw.matching, problems);
    let allow_credentials = raw.allow_credentials.given().is_some_and(|at| at.value);
    let permitted = items(&raw.dangerously_allow).unwrap_or_default();
    let mut permissions = Permissions::read(permitted, problems);
    let with_credentials = allow_credentials.then_some(&mut permissions);
    let origins = origins(at, with_credentials, problems);
    permissions.finish(problems);
    let gateway = conduct::is_gateway(raw, problems);
    let max_age = raw.max_age.given().and_then(|at| max_age(at, problems));
    model::Policy {
        name,
        hosts: scope.hosts,
        path_prefix: scope.path_prefix,
        origins,
        methods: items(&raw.allow_methods).map_or(Methods::List(Vec::new()), |list| {
            lists::methods(list, allow_credentials, problems)
        }),
        headers: items(&raw.allow_headers)
            .map_or(Headers { any: false, names: Vec::new() }, |list| {
                lists::headers(list, allow_credentials, problems)
            }),
        expose: items(&raw.expose_headers).map_or(Expose::List(Vec::new()), |list| {
            lists::expose(list, allow_credentials, problems)
        }),
        allow_credentials,
        max_age: max_age.or(gateway.then_some(conduct::GATEWAY_MAX_AGE)),
        conduct: conduct::conduct(raw, gateway, problems),
    }
}

fn items(field: &Field<List<String>>) -> Option<&[At<String>]> {
    field.given().map(|list| list.value.items.as_slice())
}

/// The name of a policy; `earlier` are those of the policies before it.
fn name<'a>(
    policy: &'a At<Policy>,
    earlier: &mut HashMap<&'a str, &'a At<String>>,
    problems: &mut Problems,
) -> String {
    const HINT: &str = "give it a name: messages and counters need one to tell policies apart";
    if policy.value.name.is_absent() {
        problems.missing(&policy.place(), "name", HINT);
    }
    let Some(at) = policy.value.name.given() else {
        return String::new();
    };
    if at.value.is_empty() {
        problems.missing(&at.place(), "", HINT);
    } else if at.value.len() > MAX_NAME || at.value.chars().any(char::is_control) {
        let hint = format!("a name has at most {MAX_NAME} bytes and no control characters");
        problems.error(at, Reason::Invalid, hint);
    } else if let Some(first) = earlier.get(&*at.value) {
        let hint = format!("{} has this name already: give each policy its own", first.path);
        problems.error(at, Reason::Incompatible, hint);
    } else {
        earlier.insert(&at.value, at);
    }
    at.value.clone()
}

fn origins(
    policy: &At<Policy>,
    permissions: Option<&mut Permissions<'_>>,
    problems: &mut Problems,
) -> Origins {
    const HINT: &str = "list who may ask: allow_origins = [\"https://app.example.com\"]";
    match &policy.value.allow_origins {
        Field::Absent => problems.missing(&policy.place(), "allow_origins", HINT),
        Field::Wrong => {}
        Field::Given(list) => {
            if list.value.is_empty {
                problems.missing(&list.place(), "", HINT);
            }
            return lists::origins(&list.value.items, permissions, problems);
        }
    }
    Origins::List(Vec::new())
}

fn max_age(at: &At<String>, problems: &mut Problems) -> Option<u32> {
    let Ok(seconds @ 0..=MAX_AGE) = at.value.parse() else {
        let hint = format!(
            "write 0 to {MAX_AGE} seconds: 0 turns browsers' caching off, leaving it out means \
             their default of 5"
        );
        problems.error(at, Reason::Invalid, hint);
        return None;
    };
    if seconds > CHROMIUM_MAX_AGE {
        let hint =
            format!("Chromium caps it to {CHROMIUM_MAX_AGE} and WebKit to 600: expect no more");
        problems.warning(at, Reason::Invalid, hint);
    }
    Some(seconds)
}
