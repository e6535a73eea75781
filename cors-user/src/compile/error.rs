//! Why a valid policy file does not become an image, and what to do about it.

use cors_common::policy::{NAME_MAX, ORIGIN_MAX, PREFIX_SEGMENTS_MAX, image::TEMPLATE_MAX};

use super::origins::SUFFIX_LABELS_MAX;

/// What the driver's tables cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// More policies than there is room for.
    #[error(
        "the file has {needed} policies, and there is room for {available}: merge policies that \
         differ in their hosts only, or start the agent with room for more"
    )]
    Policies {
        /// Policies of the file.
        needed: usize,
        /// How many fit.
        available: u32,
    },
    /// More facts (origins, methods, headers, hosts, prefixes) than there is room for.
    #[error(
        "the file needs {needed} lines for its origins, methods, headers, hosts and path \
         prefixes, and there is room for {available}: use wildcards for origins that share a \
         domain, give policies the same list where they can have it, or start the agent with \
         room for more"
    )]
    Lines {
        /// Lines of the table and behind it.
        needed: usize,
        /// How many fit.
        available: u32,
    },
    /// A reply longer than an entry holds.
    #[error(
        "policy `{policy}`: the reply to its preflights has {len} bytes in front of the origin, \
         and the driver holds {TEMPLATE_MAX}: list fewer methods or headers, or split the policy by \
         path prefix"
    )]
    ReplyTooLong {
        /// The name of the policy.
        policy: String,
        /// Bytes of the reply, without the origin and the end.
        len: usize,
    },
    /// A path prefix of too many segments.
    #[error(
        "policy `{policy}`: `{prefix}` has {segments} segments, and the driver looks at \
         {PREFIX_SEGMENTS_MAX}: end it after an earlier one"
    )]
    PrefixTooDeep {
        /// The name of the policy.
        policy: String,
        /// Its path prefix.
        prefix: String,
        /// Segments of the prefix.
        segments: usize,
    },
    /// A subdomain pattern of too many labels.
    #[error(
        "policy `{policy}`: `*.{suffix}` has {labels} labels behind its wildcard, and the driver \
         looks at {SUFFIX_LABELS_MAX}: list the origins one by one"
    )]
    SuffixTooDeep {
        /// The name of the policy.
        policy: String,
        /// What follows `*.`.
        suffix: String,
        /// Labels of it.
        labels: usize,
    },
    /// A method or a header name that is too long.
    #[error(
        "policy `{policy}`: the {what} `{name}` has {} bytes, and the driver reads {NAME_MAX}: \
         remove it",
        name.len()
    )]
    NameTooLong {
        /// The name of the policy.
        policy: String,
        /// `method` or `header`.
        what: &'static str,
        /// The name in the list.
        name: String,
    },
    /// A host, a path prefix or an origin that is too long.
    #[error("`{text}` has {} bytes, and the driver looks up {ORIGIN_MAX}: shorten it", text.len())]
    TextTooLong {
        /// The text.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_how_many_and_what_to_do() {
        let message = CompileError::Policies { needed: 5, available: 4 }.to_string();
        assert!(message.starts_with("the file has 5 policies, and there is room for 4: "));
        let message = CompileError::ReplyTooLong { policy: "api".to_owned(), len: 985 }.to_string();
        assert!(message.starts_with("policy `api`: the reply"), "{message}");
        assert!(message.contains("985 bytes") && message.contains("holds 984"), "{message}");
    }
}
