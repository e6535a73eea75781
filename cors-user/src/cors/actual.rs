//! What becomes of the CORS headers of an actual response.
//!
//! Whatever the server behind sends of them is taken away, also where the origin is denied, and the
//! policy's are put in their place. `Vary: Origin` goes on every response of a policy whose
//! answers depend on the origin, or caches give one origin what was made for another.

use cors_common::exit::Exit;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{asked::Asked, rules::Rules};

/// What the policy says about an actual request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actual {
    policy: usize,
    verdict: Verdict,
}

/// What it says about the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is none.
    NoOrigin,
    /// It may read the response.
    Allowed(HeaderValue),
    /// It may not, and why.
    Denied(Exit),
}

/// The headers that are the policy's alone.
const OWNED: [HeaderName; 7] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    HeaderName::from_static("access-control-allow-private-network"),
];

impl Actual {
    pub(super) const fn new(policy: usize, verdict: Verdict) -> Self {
        Self { policy, verdict }
    }

    /// The policy, by its place in the file.
    pub const fn policy(&self) -> usize {
        self.policy
    }

    /// What it says about the origin.
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Why the request must not even be forwarded: only where the policy says `enforce`, and never
    /// for pages of the server itself, nor for upgrades, which CORS is not about.
    pub fn enforced(&self, rules: &Rules, asked: &Asked<'_>) -> Option<Exit> {
        match self.verdict {
            Verdict::Denied(exit)
                if rules.facts(self.policy).conduct.enforce
                    && !asked.headers.contains_key(header::UPGRADE)
                    && !asked.same_origin() =>
            {
                Some(exit)
            }
            _ => None,
        }
    }

    /// Rewrites the headers of the response.
    pub fn apply(&self, rules: &Rules, headers: &mut HeaderMap) {
        strip(headers);
        self.add(rules, headers);
    }

    /// Adds the policy's headers where the server has sent none of its own; whether it has.
    pub fn complete(&self, rules: &Rules, headers: &mut HeaderMap) {
        if sends_own(headers) {
            if rules.facts(self.policy).echoes {
                vary_by_origin(headers);
            }
        } else {
            self.apply(rules, headers);
        }
    }

    fn add(&self, rules: &Rules, headers: &mut HeaderMap) {
        let facts = rules.facts(self.policy);
        if facts.echoes {
            vary_by_origin(headers);
        }
        let origin = match &self.verdict {
            Verdict::Denied(_) => return,
            // A static `*` is also what a cache may keep for the next one who asks.
            _ if !facts.echoes => HeaderValue::from_static("*"),
            Verdict::NoOrigin => return,
            Verdict::Allowed(origin) => origin.clone(),
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if facts.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        if let Some(exposed) = &facts.exposed {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
    }
}

/// Takes away what only a policy may say.
pub fn strip(headers: &mut HeaderMap) {
    for name in OWNED {
        headers.remove(name);
    }
}

/// Whether a server sends CORS headers of its own.
pub fn sends_own(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
}

/// Adds `Origin` to `Vary`, unless it or `*` is there.
fn vary_by_origin(headers: &mut HeaderMap) {
    let said = headers.get_all(header::VARY).iter().any(|line| {
        line.as_bytes().split(|byte| *byte == b',').any(|name| {
            let name = name.trim_ascii();
            name == b"*" || name.eq_ignore_ascii_case(b"origin")
        })
    });
    if said {
        return;
    }
    // One line where there is one, as some caches read the first alone.
    let origin = match headers.get(header::VARY) {
        Some(first) if !first.is_empty() => {
            HeaderValue::from_bytes(&[first.as_bytes(), b", Origin"].concat())
        }
        _ => Ok(HeaderValue::from_static("Origin")),
    };
    if let Ok(origin) = origin {
        match headers.get_mut(header::VARY) {
            Some(first) => *first = origin,
            None => drop(headers.insert(header::VARY, origin)),
        }
    }
}
