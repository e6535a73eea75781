//! Which origin pattern takes everything that another one takes: to find rules that do nothing.
//! Pure.

use std::collections::HashMap;

use super::model::{OriginPattern, WildcardPort, WildcardScheme};

/// The patterns of a list that can take what another one takes, by what they are made of.
///
/// A pattern is covered by its own host or by an end of it at a dot, with its own port or any. So
/// a few look-ups find out, instead of a comparison with every other pattern: lists of ten
/// thousand origins exist.
#[derive(Debug, Default)]
pub(super) struct Wide<'a> {
    /// Where in the list each of them is. An exact origin is none: it takes only itself.
    places: HashMap<Parts<'a>, usize>,
}

impl<'a> Wide<'a> {
    /// Reads a list without repetitions.
    pub(super) fn of(list: impl IntoIterator<Item = &'a OriginPattern>) -> Self {
        let parts = list.into_iter().map(Parts::of).zip(0..);
        Self { places: parts.filter(|(parts, _)| parts.is_wide()).collect() }
    }

    /// The place of the first pattern that takes every origin that `narrow`, another one, takes.
    pub(super) fn covering(&self, narrow: &OriginPattern) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let narrow = Parts::of(narrow);
        let ports = [WildcardPort::Any, narrow.port];
        let ports = if narrow.port == WildcardPort::Any { &ports[..1] } else { &ports };
        narrow
            .hosts
            .and_wider()
            .flat_map(|hosts| ports.iter().map(move |&port| Parts { hosts, port, ..narrow }))
            .filter(|wide| *wide != narrow)
            .filter_map(|wide| self.places.get(&wide).copied())
            .min()
    }
}

/// Hosts that a pattern takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Hosts<'a> {
    One(&'a str),
    Below(&'a str),
}

impl Hosts<'_> {
    /// These hosts, and every `Below` that takes all of them.
    fn and_wider(self) -> impl Iterator<Item = Self> {
        let (Self::One(host) | Self::Below(host)) = self;
        // Whole labels stay in front of the dot, one at least.
        let dots = host.match_indices('.').filter(|(at, _)| *at > 0);
        std::iter::once(self).chain(dots.map(|(at, _)| Self::Below(&host[at + 1..])))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Parts<'a> {
    scheme: &'a str,
    hosts: Hosts<'a>,
    port: WildcardPort,
}

impl<'a> Parts<'a> {
    fn of(pattern: &'a OriginPattern) -> Self {
        match pattern {
            OriginPattern::Subdomains { scheme, suffix, port } => Self {
                scheme: match scheme {
                    WildcardScheme::Http => "http",
                    WildcardScheme::Https => "https",
                },
                hosts: Hosts::Below(suffix),
                port: *port,
            },
            OriginPattern::AnyPort(origin) => {
                let (scheme, host) = split_scheme(origin);
                Self { scheme, hosts: Hosts::One(host), port: WildcardPort::Any }
            }
            OriginPattern::Exact(origin) => {
                let (scheme, authority) = split_scheme(origin);
                // The colons of an IPv6 address are followed by its bracket.
                let port = authority.rsplit_once(':').and_then(|(host, port)| {
                    port.parse().ok().map(|port| (host, WildcardPort::Exact(port)))
                });
                let (host, port) = port.unwrap_or((authority, WildcardPort::Default));
                Self { scheme, hosts: Hosts::One(host), port }
            }
        }
    }

    /// Whether it takes more than one origin.
    fn is_wide(&self) -> bool {
        matches!(self.hosts, Hosts::Below(_)) || self.port == WildcardPort::Any
    }
}

fn split_scheme(origin: &str) -> (&str, &str) {
    origin.split_once("://").expect("an origin pattern has a scheme")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use proptest::prelude::*;

    use super::super::origin::{Origin, parse};
    use super::*;

    fn pattern(text: &str) -> OriginPattern {
        match parse(text).unwrap() {
            Origin::Pattern(pattern) => pattern,
            Origin::Any => panic!("not a pattern"),
        }
    }

    /// What [`Wide`] stands for, pair by pair.
    fn covers(wide: &OriginPattern, narrow: &OriginPattern) -> bool {
        let (wide, narrow) = (Parts::of(wide), Parts::of(narrow));
        let hosts = match (wide.hosts, narrow.hosts) {
            (Hosts::One(_), _) => wide.hosts == narrow.hosts,
            (Hosts::Below(wide), Hosts::One(host)) => is_below(host, wide),
            (Hosts::Below(wide), Hosts::Below(narrow)) => wide == narrow || is_below(narrow, wide),
        };
        wide.scheme == narrow.scheme
            && hosts
            && (wide.port == WildcardPort::Any || wide.port == narrow.port)
    }

    /// Whether `host` is whole labels, a dot, and `suffix`.
    fn is_below(host: &str, suffix: &str) -> bool {
        host.strip_suffix(suffix).is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
    }

    /// For each pattern the first other one that covers it.
    fn each_by_each(list: &[OriginPattern]) -> Vec<Option<usize>> {
        let first = |narrow| list.iter().position(|wide| wide != narrow && covers(wide, narrow));
        list.iter().map(first).collect()
    }

    fn looked_up(list: &[OriginPattern]) -> Vec<Option<usize>> {
        let wide = Wide::of(list);
        list.iter().map(|narrow| wide.covering(narrow)).collect()
    }

    /// Patterns of few labels and ports, so that many of them cover one another.
    fn few_labels() -> impl Strategy<Value = String> {
        let host = prop::collection::vec(prop::sample::select(vec!["a", "b", "ab"]), 1..5);
        let address = prop::sample::select(vec!["[::1]", "127.0.0.1", "127.0.0.2"]);
        let host = prop_oneof![
            8 => (any::<bool>(), host).prop_map(|(wildcard, labels)| {
                format!("{}{}", if wildcard { "*." } else { "" }, labels.join("."))
            }),
            1 => address.prop_map(str::to_owned),
        ];
        let scheme = prop::sample::select(vec!["http", "https"]);
        let port = prop::sample::select(vec!["", ":*", ":8080", ":8443"]);
        (scheme, host, port).prop_map(|(scheme, host, port)| format!("{scheme}://{host}{port}"))
    }

    proptest! {
        #[test]
        fn look_ups_find_what_comparing_each_with_each_finds(
            texts in prop::collection::btree_set(few_labels(), 0..60).prop_map(Vec::from_iter),
        ) {
            let list: Vec<_> = texts.iter().map(|text| pattern(text)).collect();
            prop_assert_eq!(looked_up(&list), each_by_each(&list), "{:?}", texts);
            let reversed: Vec<_> = list.into_iter().rev().collect();
            prop_assert_eq!(looked_up(&reversed), each_by_each(&reversed), "{:?}", texts);
        }
    }

    #[test]
    fn covering() {
        for (wide, narrow, expected) in [
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://a.example:8443", false),
            ("https://a.example:*", "https://a.example:8443", true),
            ("https://a.example:*", "https://a.example", true),
            ("https://a.example:8443", "https://a.example:*", false),
            ("http://[::1]:*", "http://[::1]:3000", true),
            ("http://[::1]:*", "http://[::1]", true),
            ("http://[::2]:*", "http://[::1]", false),
            ("https://*.b.example", "https://a.b.example", true),
            ("https://*.b.example", "https://x.a.b.example", true),
            ("https://*.b.example", "https://b.example", false),
            ("https://*.b.example", "https://ab.example", false),
            ("https://*.b.example", "https://a.xb.example", false),
            ("https://*.b.example", "http://a.b.example", false),
            ("https://*.b.example", "https://a.b.example:8443", false),
            ("https://*.b.example:*", "https://a.b.example:8443", true),
            ("https://*.b.example:8443", "https://a.b.example:8443", true),
            ("https://*.b.example", "https://*.a.b.example", true),
            ("https://*.a.b.example", "https://*.b.example", false),
            ("https://*.b.example:*", "https://*.b.example", true),
            ("https://*.b.example", "https://*.b.example:*", false),
            ("https://*.b.example:*", "https://a.b.example:*", true),
            ("https://a.b.example", "https://*.b.example", false),
        ] {
            let found = Wide::of([&pattern(wide)]).covering(&pattern(narrow)).is_some();
            assert_eq!(found, expected && wide != narrow, "{wide} {narrow}");
            assert_eq!(covers(&pattern(wide), &pattern(narrow)), expected, "{wide} {narrow}");
        }
    }
}
