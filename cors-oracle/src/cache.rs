//! The CORS-preflight cache (Fetch §4.9): what was granted, and for how long.
//!
//! One page's cache: the network partition key, which keeps the caches of different sites apart,
//! is always the same here.

use std::mem;

use crate::{
    Browser, Grant, Request, method::is_safelisted_method, preflight::AUTHORIZATION, unsafe_names,
};

/// What is granted by one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Granted {
    Method(String),
    Header(String),
}

#[derive(Clone, Debug)]
struct Entry {
    origin: String,
    url: String,
    credentials: bool,
    granted: Granted,
    /// The second in which it is gone.
    until: u64,
}

/// What one browser remembers of the answers to preflights.
#[derive(Clone, Debug)]
pub struct Cache {
    limit: u64,
    entries: Vec<Entry>,
}

impl Cache {
    /// Empty.
    pub fn new(browser: Browser) -> Self {
        Self { limit: browser.max_age_limit(), entries: Vec::new() }
    }

    /// Remembers what a preflight of `request` granted at `now`, in seconds.
    pub fn store(&mut self, request: &Request, grant: &Grant, now: u64) {
        self.expire(now);
        let until = now + grant.max_age.min(self.limit);
        let methods = grant.methods.iter().cloned().map(Granted::Method);
        let headers = grant.headers.iter().cloned().map(Granted::Header);
        for granted in methods.chain(headers) {
            // The letter of the standard counts from when an entry was made, not from when its
            // age was set anew. Browsers, and common sense, count from the answer.
            let mut found = false;
            for entry in &mut self.entries {
                if matches(entry, request) && covers(&entry.granted, &granted) {
                    entry.until = until;
                    found = true;
                }
            }
            if !found {
                let (origin, url) = key(request);
                let credentials = request.includes_credentials();
                self.entries.push(Entry { origin, url, credentials, granted, until });
            }
        }
    }

    /// Whether `request` needs no preflight at `now` because of what is remembered.
    pub fn covers(&mut self, request: &Request, now: u64) -> bool {
        self.expire(now);
        let known = |wanted: Granted| {
            self.entries.iter().any(|e| matches(e, request) && covers(&e.granted, &wanted))
        };
        let method = request.method().to_owned();
        let method_is_free = is_safelisted_method(&method) && !request.always_asks();
        (method_is_free || known(Granted::Method(method)))
            && unsafe_names(request.headers()).into_iter().all(|name| known(Granted::Header(name)))
    }

    /// Forgets what concerns the origin and the URL of a request that has failed, be it at its
    /// preflight or at its response. (Chromium 148 does not forget it for a response.)
    pub fn clear(&mut self, request: &Request) {
        let (origin, url) = key(request);
        self.entries.retain(|entry| entry.origin != origin || entry.url != url);
    }

    fn expire(&mut self, now: u64) {
        let entries = mem::take(&mut self.entries);
        self.entries = entries.into_iter().filter(|entry| entry.until > now).collect();
    }
}

/// What an entry is kept under.
fn key(request: &Request) -> (String, String) {
    (request.serialized_origin(), request.url().to_string())
}

/// "Cache entry match".
fn matches(entry: &Entry, request: &Request) -> bool {
    (&entry.origin, &entry.url) == (&request.serialized_origin(), &request.url().to_string())
        && (entry.credentials || !request.includes_credentials())
}

/// "Method cache entry match" and "header-name cache entry match".
fn covers(granted: &Granted, wanted: &Granted) -> bool {
    match (granted, wanted) {
        (Granted::Method(granted), Granted::Method(wanted)) => granted == wanted || granted == "*",
        (Granted::Header(granted), Granted::Header(wanted)) => {
            granted.eq_ignore_ascii_case(wanted)
                || granted == "*" && !wanted.eq_ignore_ascii_case(AUTHORIZATION)
        }
        _ => false,
    }
}
