//! A request as a script makes it (Fetch §5.4, §2.2.5), before anything is sent.

use std::mem;

use url::Url;

use crate::{
    Failure, Header, Headers, Origin, Step,
    forbidden::is_forbidden_request_header,
    header::{is_name, is_value},
    method::{is_forbidden_method, is_safelisted_method, normalize_method},
    safelist::is_safelisted_request_header,
    syntax::is_token,
};

/// `credentials`: whether cookies and HTTP authentication go along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Never.
    Omit,
    /// To the page's own origin.
    #[default]
    SameOrigin,
    /// Everywhere; `withCredentials` of `XMLHttpRequest`.
    Include,
}

/// `mode`: what may become of a response from another origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Scripts read it where the server says so.
    #[default]
    Cors,
    /// Nobody reads it; what images and scripts without `crossorigin` use.
    NoCors,
    /// There is none.
    SameOrigin,
}

/// `redirect`: what becomes of a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirect {
    /// It is followed.
    #[default]
    Follow,
    /// It is an error.
    Error,
    /// The script learns that there was one, and no more.
    Manual,
}

/// What is sent along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    #[default]
    None,
    /// Something that can be sent again.
    Bytes,
    /// A `ReadableStream`, which cannot.
    Stream,
}

/// "Response tainting": how much of the response a script may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tainting {
    /// All of it.
    #[default]
    Basic,
    /// What the server says.
    Cors,
    /// Nothing.
    Opaque,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    origin: Origin,
    method: String,
    url: Url,
    /// Where it went before redirects.
    earlier: Vec<Url>,
    headers: Headers,
    credentials: Credentials,
    mode: Mode,
    redirect: Redirect,
    body: Body,
    upload_listener: bool,
    tainting: Tainting,
}

impl Request {
    /// `fetch(url, { method })` on a page of this origin.
    pub fn new(origin: Origin, method: &str, url: &str) -> Result<Self, Failure> {
        let url = Url::parse(url)
            .map_err(|error| Failure::new(Step::UrlParses, format!("`{url}`: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            let said = format!("`{url}` has a user name or a password");
            return Err(Failure::new(Step::UrlWithoutCredentials, said));
        }
        if !is_token(method.as_bytes()) {
            return Err(Failure::new(Step::MethodIsToken, format!("`{method}` is none")));
        }
        if is_forbidden_method(method) {
            return Err(Failure::new(Step::MethodNotForbidden, format!("it is {method}")));
        }
        Ok(Self {
            origin,
            method: normalize_method(method),
            url,
            earlier: Vec::new(),
            headers: Headers::new(),
            credentials: Credentials::default(),
            mode: Mode::default(),
            redirect: Redirect::default(),
            body: Body::default(),
            upload_listener: false,
            tainting: Tainting::default(),
        })
    }

    /// Sets `mode`, before any header.
    pub fn with_mode(mut self, mode: Mode) -> Result<Self, Failure> {
        if mode == Mode::NoCors && !is_safelisted_method(&self.method) {
            return Err(Failure::new(Step::NoCorsMethod, format!("it is {}", self.method)));
        }
        self.mode = mode;
        Ok(self)
    }

    /// Adds a header; `false` where the browser ignores it because it is not for scripts.
    pub fn add_header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<bool, Failure> {
        let value = value.as_ref();
        if !is_name(name) {
            return Err(Failure::new(Step::HeaderIsValid, format!("`{name}` is no name")));
        }
        if !is_value(value) {
            let said = format!("the value of {name} has a line break or a NUL");
            return Err(Failure::new(Step::HeaderIsValid, said));
        }
        let mut one = Headers::new();
        one.add(name, value);
        let mut ignored = one.iter().any(is_forbidden_request_header);
        if self.mode == Mode::NoCors {
            // Only what needs no permission, and ranges not even then.
            let safe = |h: &Header| is_safelisted_request_header(h) && !h.is("range");
            ignored |= !one.iter().all(safe);
        }
        if !ignored {
            self.headers.add(name, value);
        }
        Ok(!ignored)
    }

    /// Sets `credentials`.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Sets `redirect`.
    #[must_use]
    pub fn with_redirect(mut self, redirect: Redirect) -> Self {
        self.redirect = redirect;
        self
    }

    /// Sets `body`.
    pub fn with_body(mut self, body: Body) -> Result<Self, Failure> {
        if body != Body::None && matches!(&*self.method, "GET" | "HEAD") {
            return Err(Failure::new(Step::BodyFitsMethod, format!("a {} has one", self.method)));
        }
        self.body = body;
        Ok(self)
    }

    /// With a listener for the progress of an upload (`XMLHttpRequestUpload`).
    #[must_use]
    pub fn with_upload_listener(mut self) -> Self {
        self.upload_listener = true;
        self
    }

    /// Who asks.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The method, normalized.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// "Current URL": where it goes now.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// How often it was redirected.
    pub const fn redirects(&self) -> usize {
        self.earlier.len()
    }

    /// The headers that the script has set.
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Whether credentials go to other origins.
    pub const fn credentials(&self) -> Credentials {
        self.credentials
    }

    /// "Credentials mode is `include`", which is what the CORS check asks.
    pub fn includes_credentials(&self) -> bool {
        self.credentials == Credentials::Include
    }

    /// See [`Mode`].
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// See [`Redirect`].
    pub const fn redirect(&self) -> Redirect {
        self.redirect
    }

    /// See [`Body`].
    pub const fn body(&self) -> Body {
        self.body
    }

    /// Whether the progress of an upload is listened to.
    pub const fn has_upload_listener(&self) -> bool {
        self.upload_listener
    }

    /// "Use-CORS-preflight flag".
    pub fn always_asks(&self) -> bool {
        self.upload_listener || self.body == Body::Stream
    }

    /// How much of the response a script may see, as far as it is known before it is sent.
    pub const fn tainting(&self) -> Tainting {
        self.tainting
    }

    /// "Byte-serializing a request origin": what stands in `Origin`.
    ///
    /// It is `null` once a redirect has led from one foreign origin to another.
    pub fn serialized_origin(&self) -> String {
        let urls: Vec<Origin> =
            self.earlier.iter().chain([&self.url]).map(Origin::of_url).collect();
        let tainted = urls.windows(2).any(|pair| {
            let (from, to) = (&pair[0], &pair[1]);
            !to.is_same(from) && !self.origin.is_same(from)
        });
        if tainted { Origin::Opaque.serialize() } else { self.origin.serialize() }
    }

    pub(crate) fn set_tainting(&mut self, tainting: Tainting) {
        self.tainting = tainting;
    }

    /// Sends it on to another URL.
    pub(crate) fn go_to(&mut self, url: Url) {
        self.earlier.push(mem::replace(&mut self.url, url));
    }

    /// Makes a GET without a body of it.
    pub(crate) fn become_get(&mut self) {
        "GET".clone_into(&mut self.method);
        self.body = Body::None;
        for name in ["content-encoding", "content-language", "content-location", "content-type"] {
            self.headers.remove(name);
        }
    }

    pub(crate) fn remove_header(&mut self, name: &str) {
        self.headers.remove(name);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin::of_page("https://app.example.com").unwrap()
    }

    #[test]
    fn refused_by_the_script_interface() {
        for (method, url, expected) in [
            ("GET", "", Step::UrlParses),
            ("GET", "api.example.com", Step::UrlParses),
            ("GET", "https://me@api.example.com", Step::UrlWithoutCredentials),
            ("GET", "https://:pw@api.example.com", Step::UrlWithoutCredentials),
            ("GE T", "https://api.example.com", Step::MethodIsToken),
            ("", "https://api.example.com", Step::MethodIsToken),
            ("connect", "https://api.example.com", Step::MethodNotForbidden),
        ] {
            let failure = Request::new(origin(), method, url).unwrap_err();
            assert_eq!(failure.step, expected, "{method} {url}");
        }
        let get = || Request::new(origin(), "get", "https://api.example.com").unwrap();
        assert_eq!(get().method(), "GET");
        let failure = get().with_body(Body::Bytes).unwrap_err();
        assert_eq!(failure.step, Step::BodyFitsMethod);
        let put = Request::new(origin(), "PUT", "https://api.example.com").unwrap();
        assert_eq!(put.with_mode(Mode::NoCors).unwrap_err().step, Step::NoCorsMethod);
        for (name, value) in [("a b", ""), ("", ""), ("a", "b\nc"), ("a", "b\0")] {
            let failure = get().add_header(name, value).unwrap_err();
            assert_eq!(failure.step, Step::HeaderIsValid, "{name}");
        }
    }

    #[test]
    fn headers_that_are_not_for_scripts_are_ignored() {
        let mut request = Request::new(origin(), "GET", "https://api.example.com").unwrap();
        for (name, value, kept) in [
            ("Cookie", "a=b", false),
            ("X-A", "1", true),
            ("sec-a", "", false),
            ("range", "x", true),
        ] {
            assert_eq!(request.add_header(name, value), Ok(kept), "{name}");
        }
        assert_eq!(request.headers().iter().count(), 2);
        let request = Request::new(origin(), "POST", "https://api.example.com").unwrap();
        let mut request = request.with_mode(Mode::NoCors).unwrap();
        for (name, value, kept) in [
            ("content-type", "text/plain", true),
            ("content-type", "application/json", false),
            ("x-a", "1", false),
            ("range", "bytes=0-", false),
        ] {
            assert_eq!(request.add_header(name, value), Ok(kept), "{name}: {value}");
        }
    }

    #[test]
    fn white_space_around_a_value_is_no_part_of_it() {
        let mut request = Request::new(origin(), "GET", "https://api.example.com").unwrap();
        assert_eq!(request.add_header("x-a", " \t1 "), Ok(true));
        assert_eq!(request.headers().get("x-a"), Some(b"1".to_vec()));
    }
}
