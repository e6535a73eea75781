//! What a policy says about origins, as members of a set and as hints where to look.

use cors_common::policy::image::{Kind, flag};

use super::{error::CompileError, sets::Member};
use crate::config::model::{OriginPattern, Origins, Policy, WildcardPort, WildcardScheme};

/// The most labels that the driver cuts from the end of a host.
pub(super) const SUFFIX_LABELS_MAX: usize = 23;

/// `allow_origins`, compiled.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Compiled {
    /// See [`flag`].
    pub(super) flags: u32,
    /// Bit `n`: there are subdomain patterns of `n` labels.
    pub(super) depths: u32,
    /// What is in the set.
    pub(super) members: Vec<Member>,
}

/// Patterns in the list; every origin counts as one.
pub(super) fn count(origins: &Origins) -> usize {
    match origins {
        Origins::Any => 1,
        Origins::List(patterns) => patterns.len(),
    }
}

/// Whether the answer names the origin, and so depends on it.
pub(super) fn echoed(policy: &Policy) -> bool {
    policy.allow_credentials || !matches!(policy.origins, Origins::Any)
}

/// Compiles the origins of a policy.
pub(super) fn compile(policy: &Policy) -> Result<Compiled, CompileError> {
    let mut compiled = Compiled::default();
    if echoed(policy) {
        compiled.flags |= flag::ECHO;
    }
    match &policy.origins {
        Origins::Any => compiled.flags |= flag::ANY_ORIGIN,
        Origins::List(patterns) => {
            for pattern in patterns {
                compiled.add(policy, pattern)?;
            }
        }
    }
    Ok(compiled)
}

impl Compiled {
    fn add(&mut self, policy: &Policy, pattern: &OriginPattern) -> Result<(), CompileError> {
        let member = match pattern {
            OriginPattern::Exact(origin) => (Kind::Origin, origin.clone()),
            OriginPattern::AnyPort(base) => {
                self.flags |= flag::ORIGIN_ANY_PORT;
                (Kind::OriginAnyPort, base.clone())
            }
            OriginPattern::Subdomains { scheme, suffix, port } => {
                let labels = suffix.split('.').count();
                if labels > SUFFIX_LABELS_MAX {
                    return Err(CompileError::SuffixTooDeep {
                        policy: policy.name.clone(),
                        suffix: suffix.clone(),
                        labels,
                    });
                }
                self.depths |= 1 << labels;
                let any_port = *port == WildcardPort::Any;
                if any_port {
                    self.flags |= flag::SUBDOMAIN_ANY_PORT;
                }
                let kind = match (scheme, any_port) {
                    (WildcardScheme::Https, false) => Kind::SubdomainHttps,
                    (WildcardScheme::Https, true) => Kind::SubdomainHttpsAnyPort,
                    (WildcardScheme::Http, false) => Kind::SubdomainHttp,
                    (WildcardScheme::Http, true) => Kind::SubdomainHttpAnyPort,
                };
                let text = match port {
                    WildcardPort::Exact(port) => format!("{suffix}:{port}"),
                    WildcardPort::Default | WildcardPort::Any => suffix.clone(),
                };
                (kind, text)
            }
        };
        self.members.push(member);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use crate::config;

    fn policy(lines: &str) -> Policy {
        let text =
            format!("[server]\nlisten = [\"0.0.0.0:80\"]\n[[policy]]\nname = \"p\"\n{lines}");
        config::parse(&text).config.unwrap().policies.remove(0)
    }

    #[test]
    fn every_kind_of_pattern() {
        let compiled = compile(&policy(
            "allow_origins = [\"https://a.example:8443\", \"https://b.example:*\", \
             \"https://*.c.example\", \"http://*.d.co.example:81\", \"https://*.localhost:*\", \
             \"http://*.e.example:*\"]",
        ))
        .unwrap();
        let expected = [
            (Kind::Origin, "https://a.example:8443"),
            (Kind::OriginAnyPort, "https://b.example"),
            (Kind::SubdomainHttps, "c.example"),
            (Kind::SubdomainHttp, "d.co.example:81"),
            (Kind::SubdomainHttpsAnyPort, "localhost"),
            (Kind::SubdomainHttpAnyPort, "e.example"),
        ];
        assert_eq!(compiled.members, expected.map(|(kind, text)| (kind, text.to_owned())));
        assert_eq!(compiled.depths, 0b1110);
        let flags = flag::ECHO | flag::ORIGIN_ANY_PORT | flag::SUBDOMAIN_ANY_PORT;
        assert_eq!(compiled.flags, flags);
    }

    #[test]
    fn flags_only_for_what_is_there() {
        let flags = |lines: &str| compile(&policy(lines)).unwrap().flags;
        assert_eq!(flags("allow_origins = [\"https://a.example\"]"), flag::ECHO);
        assert_eq!(flags("allow_origins = [\"https://*.a.example\"]"), flag::ECHO);
        assert_eq!(flags("allow_origins = [\"*\"]"), flag::ANY_ORIGIN);
        let reflected = "allow_origins = [\"*\"]\nallow_credentials = true\n\
                         dangerously_allow = [\"reflect_any_with_credentials\"]";
        assert_eq!(flags(reflected), flag::ANY_ORIGIN | flag::ECHO);
    }

    #[test]
    fn suffixes_have_a_limit() {
        let with = |labels: usize| {
            let suffix = vec!["a"; labels].join(".");
            compile(&policy(&format!("allow_origins = [\"https://*.{suffix}\"]")))
        };
        assert_eq!(with(23).unwrap().depths, 1 << 23);
        assert!(matches!(with(24), Err(CompileError::SuffixTooDeep { labels: 24, .. })));
    }
}
