//! The example policy, moved to the demonstration's address, and requests that fit it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use toml::{Table, Value};

use super::client::Request;

/// The example policy, and what its first rule allows.
pub(super) struct Policy {
    /// The file to give to the agent.
    pub(super) text: String,
    /// The host that the first rule matches.
    pub(super) host: String,
    /// An origin that it allows.
    pub(super) origin: String,
    /// A method that it allows and that is not allowed anyway.
    pub(super) method: String,
    headers: String,
    path_prefix: String,
}

impl Policy {
    /// Reads the example; it stays as it is but for the address that it protects.
    pub(super) fn example(path: &Path, address: &str) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the example policy {}", path.display()))?;
        let mut file: Table = text.parse().context("the example policy is not TOML")?;
        let listen = Value::Array(vec![address.into()]);
        file.insert("server".into(), Value::Table(Table::from_iter([("listen".into(), listen)])));

        let rule = file
            .get("policy")
            .and_then(|policies| policies.get(0))
            .context("the example policy has no rule")?;
        let matched = |key: &str| rule.get("match").and_then(|rule| rule.get(key));
        let first = |value: Option<&Value>| Some(value?.get(0)?.as_str()?.to_owned());
        let path_prefix = matched("path_prefix").and_then(Value::as_str).unwrap_or("/");
        let mut headers = strings(rule.get("allow_headers"));
        // Browsers send them so.
        headers.sort_unstable();
        Ok(Self {
            host: first(matched("hosts")).unwrap_or_else(|| "localhost".into()),
            origin: strings(rule.get("allow_origins"))
                .into_iter()
                .find(|origin| !origin.contains('*'))
                .context("the example policy names no origin")?
                .to_owned(),
            method: first(rule.get("allow_methods")).unwrap_or_else(|| "POST".into()),
            headers: headers.join(","),
            path_prefix: path_prefix.to_owned(),
            text: toml::to_string(&file)?,
        })
    }

    /// The request number `number`: an `OPTIONS` asks for what the policy allows. Each has a
    /// path of its own, by which the origin server's record is matched.
    pub(super) fn request(&self, number: u32, method: &str, origin: Option<&str>) -> Request {
        let mut headers = Vec::new();
        if let Some(origin) = origin {
            headers.push(("Origin", origin.to_owned()));
        }
        if method == "OPTIONS" {
            headers.push(("Access-Control-Request-Method", self.method.clone()));
            if !self.headers.is_empty() {
                headers.push(("Access-Control-Request-Headers", self.headers.clone()));
            }
        }
        Request {
            method: method.to_owned(),
            host: self.host.clone(),
            path: format!("{}/orders/{number}", self.path_prefix.trim_end_matches('/')),
            headers,
        }
    }
}

fn strings(list: Option<&Value>) -> Vec<&str> {
    list.and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::workspace;

    #[test]
    fn fits_requests_to_the_example() {
        let path = workspace().join("cors-user/src/config/example.toml");
        let policy = Policy::example(&path, "127.0.0.1:80").expect("a usable example");
        assert!(policy.text.contains(r#"listen = ["127.0.0.1:80"]"#));
        let request = policy.request(7, "OPTIONS", Some(&policy.origin));
        assert!(request.line().ends_with("/orders/7"), "{}", request.line());
        assert!(!request.path.contains("//"));
        assert!(!policy.origin.contains('*'));
    }
}
