//! Golden requests: preflights that follow from the policy file alone, with what must come of them.
//!
//! They are made from what the file *says*, not from the image that was compiled of it, so that a
//! fault in the image, in the way it got into the maps, or in the program that reads it there shows
//! before anybody is answered by it. Pure.

use std::{collections::BTreeSet, fmt::Write as _};

use cors_common::{head::PREFLIGHT_MAX, policy::DRIVER_TEXT_MAX};

use crate::config::model::{
    Config, Methods, OriginPattern, Origins, Policy, Validate, WildcardPort, WildcardScheme,
};

/// A request and what must come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Golden {
    /// The name of the policy that it is about.
    pub policy: String,
    /// What it tries, for messages.
    pub what: String,
    /// The whole request.
    pub head: Vec<u8>,
    /// What must come of it.
    pub expected: Expected,
}

/// What must come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The policy's answer.
    Answer,
    /// None from the driver.
    Nothing,
}

/// The most requests that are made; of a file with more policies than that allows, every so many
/// policies are left out. Each takes the kernel a few tens of microseconds.
const MOST: usize = 2048;
/// The most requests about one policy.
const PER_POLICY: usize = 8;
/// The most origins of one policy that are tried, from both ends of the list and between them.
const ORIGINS: usize = 4;
/// The most bytes of header names that are asked for at once.
const NAMES: usize = 400;

/// A host that no policy lists, unless one does.
const NO_HOST: &str = "golden.invalid";
/// An origin, a method and a header that no policy lists, unless one does.
const NO_ORIGIN: &str = "https://golden.invalid";
const NO_METHOD: &str = "CORS-EDGE-GOLDEN";
const NO_HEADER: &str = "x-cors-edge-golden";

/// Requests for a policy file.
pub fn derive(config: &Config) -> Vec<Golden> {
    let hosts: BTreeSet<&str> =
        config.policies.iter().flat_map(|policy| &policy.hosts).map(String::as_str).collect();
    let step = (config.policies.len() * PER_POLICY).div_ceil(MOST).max(1);
    let some = config.policies.iter().step_by(step);
    some.flat_map(|policy| of_policy(policy, !hosts.contains(NO_HOST))).collect()
}

fn of_policy(policy: &Policy, has_free_host: bool) -> Vec<Golden> {
    // The driver leaves it alone, and what a static answer allows it does not judge.
    if policy.conduct.is_made_to_measure() || policy.conduct.validate == Validate::Static {
        return Vec::new();
    }
    let host = match policy.hosts.first() {
        Some(host) => host.as_str(),
        None if has_free_host => NO_HOST,
        None => return Vec::new(),
    };
    let path = policy.path_prefix.as_deref().unwrap_or("/");
    let mut made = Maker { policy, host, path, made: Vec::new() };
    if host.len() > DRIVER_TEXT_MAX || path.len() > DRIVER_TEXT_MAX {
        return Vec::new();
    }
    let origins = origins(policy);
    let method = match &policy.methods {
        Methods::Any => "PATCH",
        Methods::List(list) => list.first().map_or("POST", String::as_str),
    };
    let names = names(policy);
    for origin in &origins {
        made.add("an allowed origin", origin, method, &names, Expected::Answer);
    }
    let Some(origin) = origins.first() else { return made.made };
    if denies(&policy.origins) {
        made.add("an origin that is not listed", NO_ORIGIN, method, &[], Expected::Nothing);
    }
    if matches!(&policy.methods, Methods::List(list) if !list.iter().any(|m| m == NO_METHOD)) {
        made.add("a method that is not listed", origin, NO_METHOD, &[], Expected::Nothing);
    }
    let lists = |name: &str| policy.headers.names.iter().any(|listed| listed == name);
    let refused = if policy.headers.any { "authorization" } else { NO_HEADER };
    if !lists(refused) {
        made.add("a header that is not listed", origin, method, &[refused], Expected::Nothing);
    }
    made.made
}

/// What the requests about one policy share.
struct Maker<'a> {
    policy: &'a Policy,
    host: &'a str,
    path: &'a str,
    made: Vec<Golden>,
}

impl Maker<'_> {
    /// Adds a request, unless it is one that the driver does not read.
    fn add(&mut self, what: &str, origin: &str, method: &str, names: &[&str], expected: Expected) {
        let Self { policy, host, path, .. } = self;
        let mut head = format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: {method}\r\n"
        );
        if !names.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(head, "Access-Control-Request-Headers: {}\r\n", names.join(","));
        }
        head += "\r\n";
        if head.len() <= PREFLIGHT_MAX && origin.len() <= DRIVER_TEXT_MAX {
            self.made.push(Golden {
                policy: policy.name.clone(),
                what: format!("{what} ({origin}, {method} {path} at {host})"),
                head: head.into_bytes(),
                expected,
            });
        }
    }
}

/// Some of the origins that a policy allows.
fn origins(policy: &Policy) -> Vec<String> {
    match &policy.origins {
        Origins::Any => vec![NO_ORIGIN.to_owned()],
        Origins::List(patterns) => {
            let last = patterns.len().saturating_sub(1);
            let places: BTreeSet<_> = (0..ORIGINS).map(|i| i * last / (ORIGINS - 1)).collect();
            places.into_iter().filter_map(|place| patterns.get(place)).map(instance).collect()
        }
    }
}

/// An origin that the pattern takes.
fn instance(pattern: &OriginPattern) -> String {
    match pattern {
        OriginPattern::Exact(origin) => origin.clone(),
        OriginPattern::AnyPort(origin) => format!("{origin}:8443"),
        OriginPattern::Subdomains { scheme, suffix, port } => {
            let scheme = match scheme {
                WildcardScheme::Http => "http",
                WildcardScheme::Https => "https",
            };
            let port = match port {
                WildcardPort::Default => String::new(),
                WildcardPort::Exact(port) => format!(":{port}"),
                WildcardPort::Any => ":8443".to_owned(),
            };
            format!("{scheme}://golden.{suffix}{port}")
        }
    }
}

/// Whether [`NO_ORIGIN`] is certain to be refused.
fn denies(origins: &Origins) -> bool {
    let Origins::List(patterns) = origins else { return false };
    !patterns.iter().any(|pattern| match pattern {
        OriginPattern::Exact(origin) | OriginPattern::AnyPort(origin) => origin == NO_ORIGIN,
        OriginPattern::Subdomains { suffix, .. } => suffix == "invalid",
    })
}

/// Listed headers as a browser asks for them: sorted, and no more than a request has room for.
fn names(policy: &Policy) -> Vec<&str> {
    let sorted: BTreeSet<&str> = policy.headers.names.iter().map(String::as_str).collect();
    let mut room = NAMES;
    let fits = |name: &&str| {
        room = room.saturating_sub(name.len() + 1);
        room > 0
    };
    sorted.into_iter().take_while(fits).take(cors_common::policy::NAMES_MAX).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use cors_common::head::Head;

    use super::*;
    use crate::{
        compile::{Limits, compile},
        config,
    };

    const LIMITS: Limits = Limits { lines: 1 << 12, policies: 1 << 12 };

    fn file(policies: &str) -> Config {
        let text = format!("[server]\nlisten = [\"0.0.0.0:80\"]\n{policies}");
        config::parse(&text).config.unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
    }

    /// Asks the engine on this side.
    fn check(config: &Config) -> Vec<Golden> {
        let image = compile(config, LIMITS).unwrap();
        let golden = derive(config);
        for Golden { what, head: text, expected, .. } in &golden {
            let mut head = Head::new();
            head.buffer()[..text.len()].copy_from_slice(text);
            let decided = head.read(text.len()).and_then(|()| image.decide(&mut head).map(drop));
            assert_eq!(decided.is_ok(), *expected == Expected::Answer, "{what}: {decided:?}");
        }
        golden
    }

    #[test]
    fn every_kind_of_policy_keeps_what_it_says() {
        let golden = check(&config::parse(config::EXAMPLE).config.unwrap());
        assert_eq!(golden.len(), 5);
        let golden = check(&file(
            "[[policy]]\nname = \"any\"\nallow_origins = [\"*\"]\nallow_methods = [\"*\"]\n\
             allow_headers = [\"*\"]\n\
             [[policy]]\nname = \"ports\"\nmatch = { hosts = [\"a.example\"] }\n\
             allow_origins = [\"https://a.example:*\", \"http://*.b.example:81\", \
             \"https://*.c.example:*\"]\nallow_methods = [\"put\", \"PUT\"]\n\
             [[policy]]\nname = \"reflects\"\nmatch = { hosts = [\"a.example\"], \
             path_prefix = \"/x/y\" }\nallow_origins = [\"*\"]\nallow_credentials = true\n\
             dangerously_allow = [\"reflect_any_with_credentials\"]",
        ));
        for (name, answers, refusals) in [("any", 1, 1), ("ports", 3, 3), ("reflects", 1, 2)] {
            let count = |expected| {
                golden.iter().filter(|g| g.policy == name && g.expected == expected).count()
            };
            assert_eq!(
                (count(Expected::Answer), count(Expected::Nothing)),
                (answers, refusals),
                "{name}"
            );
        }
    }

    #[test]
    fn a_fault_in_the_image_shows() {
        let config = config::parse(config::EXAMPLE).config.unwrap();
        let mut other = config.clone();
        other.policies[0].origins = Origins::List(Vec::new());
        let image = compile(&other, LIMITS).unwrap();
        let golden = derive(&config);
        let mut head = Head::new();
        head.buffer()[..golden[0].head.len()].copy_from_slice(&golden[0].head);
        head.read(golden[0].head.len()).unwrap();
        assert!(image.decide(&mut head).is_err());
    }

    #[test]
    fn their_number_has_a_limit() {
        let mut config = config::parse(config::EXAMPLE).config.unwrap();
        let policy = config.policies.remove(0);
        for n in 0..3000 {
            let name = format!("p{n}");
            let hosts = vec![format!("{name}.example.com")];
            config.policies.push(Policy { name, hosts, ..policy.clone() });
        }
        let golden = derive(&config);
        assert!((MOST / 4..=MOST).contains(&golden.len()), "{}", golden.len());
    }
}
