//! Policies of any size, and requests that they allow. All names have the same length, so that
//! every request has the same length, whatever the size of the policy.

use std::{fmt::Write as _, net::SocketAddr};

use anyhow::{Context as _, Result};
use cors_tests::policy::{head, preflight_headers};

/// How large a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// At most 10,000.
    pub(super) policies: u64,
    /// Of each policy; at most 100.
    pub(super) origins: u64,
}

impl Size {
    /// One origin.
    pub(super) const ONE: Self = Self { policies: 1, origins: 1 };
    /// A hundred thousand origins.
    pub(super) const LARGE: Self = Self { policies: 1000, origins: 100 };

    /// A thousand.
    pub(super) const THOUSAND: Self = Self { policies: 10, origins: 100 };

    /// A policy file that protects this socket.
    pub(super) fn file(self, listen: SocketAddr) -> String {
        self.file_for(&[listen])
    }

    /// A policy file that protects these sockets.
    pub(super) fn file_for(self, listen: &[SocketAddr]) -> String {
        let listen: Vec<_> = listen.iter().map(|at| format!("{:?}", at.to_string())).collect();
        let mut text = format!("[server]\nlisten = [{}]\n", listen.join(", "));
        for policy in 0..self.policies {
            // Writing to a string cannot fail, here and below.
            let _ = write!(
                text,
                "\n[[policy]]\nname = \"tenant-{policy:04}\"\n\
                 match = {{ hosts = [\"{}\"], path_prefix = \"/v1/\" }}\nallow_origins = [\n",
                host(policy),
            );
            for origin in 0..self.origins {
                let _ = writeln!(text, "    \"{}\",", self::origin(policy, origin));
            }
            text += "]\nallow_methods = [\"PUT\", \"PATCH\", \"DELETE\"]\n\
                     allow_headers = [\"authorization\", \"content-type\"]\n\
                     allow_credentials = true\nmax_age = 600\n";
        }
        text
    }
}

fn host(policy: u64) -> String {
    format!("api-{policy:04}.example.com")
}

/// An origin of a policy.
pub(super) fn origin(policy: u64, origin: u64) -> String {
    format!("https://app-{origin:02}.tenant-{policy:04}.customers.example.org")
}

/// A preflight from an origin to the host of its policy, about one of a million things.
pub(super) fn preflight_about(policy: u64, origin: &str, thing: u64) -> Vec<u8> {
    let text = String::from_utf8(preflight(policy, origin)).expect("text");
    text.replacen("/17 ", &format!("/{:06} ", thing % 1_000_000), 1).into_bytes()
}

/// A preflight from an origin to the host of its policy.
pub(super) fn preflight(policy: u64, origin: &str) -> Vec<u8> {
    let host = host(policy);
    let mut headers = preflight_headers(origin);
    for (name, value) in &mut headers {
        if *name == "Host" {
            *value = &host;
        }
    }
    head("OPTIONS /v1/orders/17 HTTP/1.1", &headers)
}

/// So many preflights at most are asked in turn: more would fill the caches with what the load
/// compares with.
const ASKED_MAX: u64 = 1024;

/// Preflights spread evenly over all that a policy allows, each of so many bytes.
pub(super) fn preflights(size: Size, bytes: usize) -> Result<Vec<Vec<u8>>> {
    let all = size.policies * size.origins;
    let asked = all.min(ASKED_MAX);
    let step = all / asked;
    (0..asked)
        .map(|n| {
            let (policy, origin) = (n * step / size.origins, n * step % size.origins);
            sized(&preflight(policy, &self::origin(policy, origin)), bytes)
        })
        .collect()
}

/// The same head, longer or shorter by what says nothing: without what only some browsers send, and
/// with a longer name of the browser.
pub(super) fn sized(head: &[u8], bytes: usize) -> Result<Vec<u8>> {
    const UNNEEDED: [&str; 4] = ["Sec-Fetch-", "Accept-Language", "Accept-Encoding", "Referer"];
    const NAMED: &str = "User-Agent: ";
    let mut lines: Vec<String> =
        str::from_utf8(head)?.split_inclusive("\r\n").map(str::to_owned).collect();
    let length = |lines: &[String]| lines.iter().map(String::len).sum::<usize>();
    for name in UNNEEDED {
        if length(&lines) > bytes {
            lines.retain(|line| !line.starts_with(name));
        }
    }
    let missing = bytes.checked_sub(length(&lines)).context("a head cannot be as short as that")?;
    let agent = lines.iter_mut().find(|line| line.starts_with(NAMED)).context("no User-Agent")?;
    agent.insert_str(NAMED.len(), &"x".repeat(missing));
    Ok(lines.concat().into_bytes())
}

/// A GET, which the server behind answers.
pub(super) fn get() -> Vec<u8> {
    head("GET /v1/hello HTTP/1.1", &[("Host", &host(0)), ("Accept", "*/*")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_of_one_length() {
        let first = preflight(0, &origin(0, 0));
        let last = preflight(999, &origin(999, 99));
        assert_eq!(first.len(), last.len());
        let last = String::from_utf8(last).expect("text");
        assert!(last.contains("\r\nHost: api-0999.example.com\r\n"), "{last}");
        assert!(last.contains("\r\nOrigin: https://app-99.tenant-0999.customers."), "{last}");
    }

    #[test]
    fn heads_are_as_long_as_they_are_to_be() {
        for bytes in [385, 519, 826] {
            let heads = preflights(Size::THOUSAND, bytes).expect("possible");
            assert_eq!(heads.len(), 1000);
            for head in heads {
                assert_eq!(head.len(), bytes);
                let text = String::from_utf8(head).expect("text");
                assert!(text.contains("\r\nOrigin: https://app-") && text.ends_with("\r\n\r\n"));
            }
        }
        assert!(preflights(Size::ONE, 100).is_err());
    }

    #[test]
    fn the_file_has_every_origin_once() {
        let text = Size { policies: 3, origins: 5 }.file(([10, 0, 0, 1], 80).into());
        assert_eq!(text.matches("https://app-").count(), 15);
        assert_eq!(text.matches(&origin(2, 4)).count(), 1);
        assert!(text.parse::<toml::Table>().is_ok(), "{text}");
    }
}
