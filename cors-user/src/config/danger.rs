//! The three things that are dangerous with credentials, and `dangerously_allow`, which permits
//! them one by one. Pure.
//!
//! With credentials an allowed origin acts with the rights of whoever is logged in. So it has to be
//! one that nobody else can speak for: neither everybody, nor whoever sits on the wire, nor whoever
//! registers a name under a public suffix.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::model::{OriginPattern, WildcardScheme};
use super::nearest::nearest;
use super::origin::Origin;
use super::problem::{At, Problems, Reason};

/// What `dangerously_allow` can permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Danger {
    /// `*`.
    ReflectAny,
    /// An origin that is not https and not on this very machine.
    InsecureOrigin,
    /// `*.` before a public suffix.
    PublicSuffix,
}

const ALL: [Danger; 3] = [Danger::ReflectAny, Danger::InsecureOrigin, Danger::PublicSuffix];

impl Danger {
    /// Its word in `dangerously_allow`.
    const fn word(self) -> &'static str {
        match self {
            Self::ReflectAny => "reflect_any_with_credentials",
            Self::InsecureOrigin => "insecure_origins",
            Self::PublicSuffix => "public_suffix_wildcards",
        }
    }

    const fn reason(self) -> Reason {
        match self {
            Self::ReflectAny => Reason::Incompatible,
            Self::InsecureOrigin | Self::PublicSuffix => Reason::Prohibited,
        }
    }

    fn hint(self) -> String {
        let what = match self {
            Self::ReflectAny => {
                "with allow_credentials every site on the web acts as the user who is logged in: \
                 list the origins"
            }
            Self::InsecureOrigin => {
                "with allow_credentials whoever is on the network path acts as the user: use https"
            }
            Self::PublicSuffix => {
                "with allow_credentials whoever registers a name there acts as the user: name a \
                 domain that is yours"
            }
        };
        format!("{what}; if you must, dangerously_allow = [\"{}\"]", self.word())
    }
}

/// What is wrong with this origin in a policy with credentials.
pub(super) fn with_credentials(origin: &Origin) -> Vec<Danger> {
    match origin {
        Origin::Any => vec![Danger::ReflectAny],
        Origin::Pattern(pattern) => {
            let mut dangers = Vec::new();
            if is_insecure(pattern) {
                dangers.push(Danger::InsecureOrigin);
            }
            if is_public_suffix(pattern) {
                dangers.push(Danger::PublicSuffix);
            }
            dangers
        }
    }
}

/// The `dangerously_allow` of one policy, and which of it turned out to be needed.
pub(super) struct Permissions<'a> {
    granted: Vec<(Danger, &'a At<String>)>,
    needed: Vec<Danger>,
}

impl<'a> Permissions<'a> {
    /// Reads the list.
    pub(super) fn read(list: &'a [At<String>], problems: &mut Problems) -> Self {
        let mut granted: Vec<(Danger, &At<String>)> = Vec::new();
        for at in list {
            match ALL.into_iter().find(|danger| danger.word() == at.value) {
                Some(danger) if granted.iter().any(|(earlier, _)| *earlier == danger) => {
                    let hint = "it is in the list already: remove it";
                    problems.warning(at, Reason::Incompatible, hint);
                }
                Some(danger) => granted.push((danger, at)),
                None => problems.error(at, Reason::Invalid, unknown(&at.value)),
            }
        }
        Self { granted, needed: Vec::new() }
    }

    /// Reports the dangers of `origin` that are not permitted.
    pub(super) fn check(&mut self, at: &At<String>, origin: &Origin, problems: &mut Problems) {
        for danger in with_credentials(origin) {
            self.needed.push(danger);
            if !self.granted.iter().any(|(granted, _)| *granted == danger) {
                problems.error(at, danger.reason(), danger.hint());
            }
        }
    }

    /// Reports permissions that nothing needs: they wait for somebody's mistake.
    pub(super) fn finish(self, problems: &mut Problems) {
        for (danger, at) in self.granted {
            if !self.needed.contains(&danger) {
                let hint = "nothing in this policy needs it: remove it";
                problems.warning(at, Reason::Incompatible, hint);
            }
        }
    }
}

fn unknown(word: &str) -> String {
    let words = ALL.map(Danger::word);
    match nearest(word, &words) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("use one of {}, or remove it", words.join(", ")),
    }
}

/// Neither https nor a host of this machine (Secure Contexts §3.1).
fn is_insecure(pattern: &OriginPattern) -> bool {
    match pattern {
        OriginPattern::Subdomains { scheme, suffix, .. } => {
            *scheme == WildcardScheme::Http && !is_local(suffix)
        }
        OriginPattern::Exact(origin) | OriginPattern::AnyPort(origin) => {
            let Some((scheme, authority)) = origin.split_once("://") else {
                return true;
            };
            let host = match authority.find(']') {
                Some(end) => &authority[..=end],
                None => authority.split(':').next().unwrap_or_default(),
            };
            scheme != "https" && !is_local(host)
        }
    }
}

fn is_local(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|v4: Ipv4Addr| v4.is_loopback())
        || host == format!("[{}]", Ipv6Addr::LOCALHOST)
}

/// Whether anybody can register what the wildcard stands for.
fn is_public_suffix(pattern: &OriginPattern) -> bool {
    let OriginPattern::Subdomains { suffix, .. } = pattern else {
        return false;
    };
    // Nobody can register below it (RFC 6761 §6.3), though the list's rule for unlisted top-level
    // domains, which makes each of them a public suffix, would include it.
    if is_local(suffix) {
        return false;
    }
    let is_suffix = |name: &str| psl::suffix_str(name) == Some(name);
    // `*.kobe.jp` is a rule while `kobe.jp` is none: then every match is a public suffix itself.
    is_suffix(suffix) || is_suffix(&format!("any-label.{suffix}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::super::origin::parse;
    use super::*;

    #[test]
    fn dangers() {
        use Danger::{InsecureOrigin, PublicSuffix, ReflectAny};
        for (origin, expected) in [
            ("*", vec![ReflectAny]),
            ("https://a.example", vec![]),
            ("http://a.example", vec![InsecureOrigin]),
            ("http://a.example:*", vec![InsecureOrigin]),
            ("http://a.example:8080", vec![InsecureOrigin]),
            ("http://*.example.org", vec![InsecureOrigin]),
            ("http://localhost", vec![]),
            ("http://localhost:3000", vec![]),
            ("http://localhost:*", vec![]),
            ("http://a.localhost:1", vec![]),
            ("http://*.localhost:*", vec![]),
            ("http://notlocalhost", vec![InsecureOrigin]),
            ("http://localhost.example", vec![InsecureOrigin]),
            ("http://127.0.0.1", vec![]),
            ("http://127.9.9.9:8080", vec![]),
            ("http://128.0.0.1", vec![InsecureOrigin]),
            ("http://127.0.0.1.example", vec![InsecureOrigin]),
            ("http://[::1]", vec![]),
            ("http://[::1]:8080", vec![]),
            ("http://[::1]:*", vec![]),
            ("http://[::2]:8080", vec![InsecureOrigin]),
            ("capacitor://localhost", vec![]),
            ("chrome-extension://abc", vec![InsecureOrigin]),
            ("https://*.com", vec![PublicSuffix]),
            ("https://*.co.uk:*", vec![PublicSuffix]),
            ("https://*.github.io", vec![PublicSuffix]),
            ("https://*.kobe.jp", vec![PublicSuffix]),
            ("https://*.city.kobe.jp", vec![]),
            ("https://*.xn--p1ai", vec![PublicSuffix]),
            ("https://*.internal", vec![PublicSuffix]),
            ("https://*.a.internal", vec![]),
            ("https://*.example.com", vec![]),
            ("https://*.me.github.io", vec![]),
            ("https://github.io", vec![]),
            ("http://*.com", vec![InsecureOrigin, PublicSuffix]),
        ] {
            assert_eq!(with_credentials(&parse(origin).unwrap()), expected, "{origin}");
        }
    }
}
