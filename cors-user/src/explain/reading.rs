//! What the policy says on a request, in plain code that can say why: which policy it is, which
//! pattern allows the origin, what of the method and the headers is not allowed.
//!
//! It decides nothing: answers come from the engine, whose words are bytes and no reasons. The
//! tests hold the two to the same opinion.

use cors_oracle::{Preflight, Request, is_safelisted_method, preflight_request};

use crate::config::model::{
    Config, Methods, OriginPattern, Origins, Policy, WildcardPort, WildcardScheme,
};

/// The header that a `*` in `allow_headers` does not cover.
pub(super) const AUTHORIZATION: &str = "authorization";

/// What a policy looks at.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Without the port.
    pub(super) host: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) origin: String,
    pub(super) method: String,
    /// Headers that need permission.
    pub(super) headers: Vec<String>,
}

impl Facts {
    pub(super) fn of(request: &Request) -> Self {
        let Preflight { origin, method, headers, .. } = preflight_request(request);
        let headers = headers.map(|list| list.split(',').map(str::to_owned).collect());
        Self {
            host: request.url().host_str().unwrap_or_default().to_owned(),
            path: request.url().path().to_owned(),
            origin,
            method,
            headers: headers.unwrap_or_default(),
        }
    }
}

/// What the policy that a request has says on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading<'c> {
    /// Which one it is in the file.
    pub(super) index: usize,
    pub(super) policy: &'c Policy,
    /// The element of `allow_origins` that allows the origin.
    pub(super) origin: Option<Allowed<'c>>,
    /// Whether the method is allowed.
    pub(super) method: bool,
    /// Headers that are not allowed.
    pub(super) missing: Vec<String>,
}

/// Why an origin is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed<'c> {
    /// Every one is.
    Any,
    /// It fits a pattern.
    By(&'c OriginPattern),
}

impl Reading<'_> {
    /// Whether a preflight is granted.
    pub(super) fn allows(&self) -> bool {
        self.origin.is_some() && self.method && self.missing.is_empty()
    }
}

/// Reads the policy for a request; `None` where there is none for its host and path.
pub(super) fn read<'c>(config: &'c Config, facts: &Facts) -> Option<Reading<'c>> {
    choose(config, facts).map(|(index, policy)| of_policy(index, policy, facts))
}

/// Reads one policy of the file, whoever has chosen it.
pub(super) fn of_policy<'c>(index: usize, policy: &'c Policy, facts: &Facts) -> Reading<'c> {
    let origin = match &policy.origins {
        Origins::Any => Some(Allowed::Any),
        Origins::List(patterns) => {
            patterns.iter().find(|pattern| fits(pattern, &facts.origin)).map(Allowed::By)
        }
    };
    let method = is_safelisted_method(&facts.method)
        || match &policy.methods {
            Methods::Any => true,
            Methods::List(names) => names.contains(&facts.method),
        };
    let allowed = |name: &String| {
        policy.headers.names.contains(name) || policy.headers.any && name != AUTHORIZATION
    };
    let missing = facts.headers.iter().filter(|name| !allowed(name)).cloned().collect();
    Reading { index, policy, origin, method, missing }
}

/// The most specific one: for the host before for every host, then the longer prefix.
fn choose<'c>(config: &'c Config, facts: &Facts) -> Option<(usize, &'c Policy)> {
    let longest =
        |own: bool| {
            let policies = config.policies.iter().enumerate();
            policies
                .filter(|(_, policy)| {
                    if own { policy.hosts.contains(&facts.host) } else { policy.hosts.is_empty() }
                })
                .filter(|(_, policy)| covers(policy.path_prefix.as_deref(), &facts.path))
                .max_by_key(|(_, policy)| policy.path_prefix.as_ref().map_or(0, String::len))
        };
    // An address in brackets is only matched where somebody has named it.
    longest(true).or_else(|| if facts.host.starts_with('[') { None } else { longest(false) })
}

/// Whether a prefix of whole segments is in front of a path.
pub(super) fn covers(prefix: Option<&str>, path: &str) -> bool {
    prefix.is_none_or(|prefix| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Whether an origin fits a pattern.
fn fits(pattern: &OriginPattern, origin: &str) -> bool {
    match pattern {
        OriginPattern::Exact(exact) => origin == exact,
        OriginPattern::AnyPort(base) => origin
            .strip_prefix(&**base)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(':')),
        OriginPattern::Subdomains { scheme, suffix, port } => {
            let Some(rest) = origin.strip_prefix(scheme_text(*scheme)) else { return false };
            let (host, asked) = rest.split_once(':').map_or((rest, None), |(h, p)| (h, Some(p)));
            let port_fits = match port {
                WildcardPort::Default => asked.is_none(),
                WildcardPort::Exact(port) => asked == Some(&*port.to_string()),
                WildcardPort::Any => true,
            };
            port_fits && is_below(host, suffix)
        }
    }
}

/// The most labels of a host that a pattern is compared with.
const LABELS_MAX: usize = 24;

/// Whether there are whole labels in front of the suffix.
fn is_below(host: &str, suffix: &str) -> bool {
    if host.split('.').count() > LABELS_MAX {
        return false;
    }
    host.strip_suffix(suffix)
        .and_then(|front| front.strip_suffix('.'))
        .is_some_and(|labels| labels.split('.').all(|label| !label.is_empty()))
}

pub(super) const fn scheme_text(scheme: WildcardScheme) -> &'static str {
    match scheme {
        WildcardScheme::Http => "http://",
        WildcardScheme::Https => "https://",
    }
}

/// A pattern as the file has it.
pub(super) fn text(pattern: &OriginPattern) -> String {
    match pattern {
        OriginPattern::Exact(origin) => origin.clone(),
        OriginPattern::AnyPort(base) => format!("{base}:*"),
        OriginPattern::Subdomains { scheme, suffix, port } => {
            let scheme = scheme_text(*scheme);
            match port {
                WildcardPort::Default => format!("{scheme}*.{suffix}"),
                WildcardPort::Exact(port) => format!("{scheme}*.{suffix}:{port}"),
                WildcardPort::Any => format!("{scheme}*.{suffix}:*"),
            }
        }
    }
}
