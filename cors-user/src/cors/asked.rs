//! What a request asks, as far as CORS goes.

use http::{HeaderMap, HeaderValue, Method, header};

/// The part of a request that a policy is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a Method,
    /// Host and port as the client wrote them; kept to `cors_common::framing::head::is_host`.
    pub host: &'a str,
    /// The path without the query, in origin form; `*` stands for no path.
    pub path: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The connection closes behind the answer because the client said so.
    pub close: bool,
}

/// What kind of request it is (Fetch Standard, "CORS request", "CORS-preflight request").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `OPTIONS` with `Origin` and `Access-Control-Request-Method`.
    Preflight,
    /// Any other with `Origin`.
    Actual,
    /// One without.
    NotCors,
}

impl<'a> Asked<'a> {
    /// The kind of request.
    pub fn kind(&self) -> Kind {
        let has = |name| self.headers.contains_key(name);
        if !has(header::ORIGIN) {
            Kind::NotCors
        } else if self.method == Method::OPTIONS && has(header::ACCESS_CONTROL_REQUEST_METHOD) {
            Kind::Preflight
        } else {
            Kind::Actual
        }
    }

    /// The value of a header that is there exactly once.
    pub(super) fn single(&self, name: header::HeaderName) -> Option<&'a HeaderValue> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }

    /// Whether the page is one of the server itself, by the host alone: which scheme the client
    /// used is not known here where somebody else ended TLS.
    pub(super) fn same_origin(&self) -> bool {
        let Some(origin) = self.single(header::ORIGIN).and_then(|value| value.to_str().ok()) else {
            return false;
        };
        [("https://", ":443"), ("http://", ":80")].iter().any(|(scheme, port)| {
            let without = |text: &str| {
                let text = text.to_ascii_lowercase();
                text.strip_suffix(port).map_or(text.clone(), str::to_owned)
            };
            origin.strip_prefix(scheme).is_some_and(|host| without(host) == without(self.host))
        })
    }
}
