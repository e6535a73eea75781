//! The steps of the standards at which a request can fail, and how a judgement is told.

macro_rules! steps {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $section:literal, $link:literal;)+) => {
        /// A step of a standard, in the order in which a browser takes them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Step {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Step {
            /// Every step.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// A stable name for programs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What must hold, in one sentence.
            pub const fn rule(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)+
                }
            }

            /// The section that it belongs to.
            pub const fn section(self) -> &'static str {
                match self {
                    $(Self::$variant => $section,)+
                }
            }

            /// Where to read it.
            pub const fn link(self) -> &'static str {
                match self {
                    $(Self::$variant => $link,)+
                }
            }
        }
    };
}

steps! {
    // ---- the script's call
    /// The URL is one that the URL Standard parses.
    UrlParses = "url_parses", "Request class", "https://fetch.spec.whatwg.org/#dom-request";
    /// The URL has no user name and no password.
    UrlWithoutCredentials = "url_without_credentials", "Request class", "https://fetch.spec.whatwg.org/#dom-request";
    /// The method is a token.
    MethodIsToken = "method_is_token", "Methods", "https://fetch.spec.whatwg.org/#concept-method";
    /// The method is none of CONNECT, TRACE and TRACK.
    MethodNotForbidden = "method_not_forbidden", "Methods", "https://fetch.spec.whatwg.org/#forbidden-method";
    /// Names of headers are tokens, and values have no line break and no NUL.
    HeaderIsValid = "header_is_valid", "Headers class", "https://fetch.spec.whatwg.org/#headers-validate";
    /// In mode `no-cors` the method is GET, HEAD or POST.
    NoCorsMethod = "no_cors_method", "Request class", "https://fetch.spec.whatwg.org/#dom-request";
    /// A GET or a HEAD has no body.
    BodyFitsMethod = "body_fits_method", "Request class", "https://fetch.spec.whatwg.org/#dom-request";

    // ---- main fetch
    /// The port is not one of another protocol.
    PortNotBad = "port_not_bad", "Port blocking", "https://fetch.spec.whatwg.org/#port-blocking";
    /// A page from https asks for https.
    NotMixedContent = "not_mixed_content", "Mixed Content", "https://w3c.github.io/webappsec-mixed-content/#should-block-fetch";
    /// In mode `same-origin` the URL is of the page's own origin.
    SameOriginMode = "same_origin_mode", "Main fetch", "https://fetch.spec.whatwg.org/#concept-main-fetch";
    /// The URL is of http or https.
    SchemeIsHttp = "scheme_is_http", "Main fetch", "https://fetch.spec.whatwg.org/#concept-main-fetch";

    // ---- the CORS check, of the answer to a preflight and of the response
    /// There is an Access-Control-Allow-Origin.
    AllowOriginPresent = "allow_origin_present", "CORS check, step 2", "https://fetch.spec.whatwg.org/#cors-check";
    /// Access-Control-Allow-Origin is the origin byte for byte, or `*` without credentials.
    AllowOriginMatches = "allow_origin_matches", "CORS check, step 4", "https://fetch.spec.whatwg.org/#cors-check";
    /// With credentials, Access-Control-Allow-Credentials is `true`.
    AllowCredentials = "allow_credentials", "CORS check, step 7", "https://fetch.spec.whatwg.org/#cors-check";

    // ---- the preflight
    /// The preflight's status is 200 to 299.
    StatusIsOk = "status_is_ok", "CORS-preflight fetch, step 7", "https://fetch.spec.whatwg.org/#cors-preflight-fetch-0";
    /// Access-Control-Allow-Methods and Access-Control-Allow-Headers are lists of tokens.
    ListsParse = "lists_parse", "CORS-preflight fetch, step 7.3", "https://fetch.spec.whatwg.org/#cors-preflight-fetch-0";
    /// The method is safelisted, listed, or covered by `*` without credentials.
    MethodAllowed = "method_allowed", "CORS-preflight fetch, step 7.5", "https://fetch.spec.whatwg.org/#cors-preflight-fetch-0";
    /// `authorization` is listed where it is asked for: `*` does not cover it.
    AuthorizationAllowed = "authorization_allowed", "CORS-preflight fetch, step 7.6", "https://fetch.spec.whatwg.org/#cors-preflight-fetch-0";
    /// Every header that is not safelisted is listed, or covered by `*` without credentials.
    HeadersAllowed = "headers_allowed", "CORS-preflight fetch, step 7.7", "https://fetch.spec.whatwg.org/#cors-preflight-fetch-0";

    // ---- redirects
    /// In redirect mode `error` there is none.
    RedirectWanted = "redirect_wanted", "HTTP fetch", "https://fetch.spec.whatwg.org/#concept-http-fetch";
    /// The Location is a URL.
    LocationParses = "location_parses", "HTTP-redirect fetch, step 5", "https://fetch.spec.whatwg.org/#concept-http-redirect-fetch";
    /// The Location is of http or https.
    LocationIsHttp = "location_is_http", "HTTP-redirect fetch, step 6", "https://fetch.spec.whatwg.org/#concept-http-redirect-fetch";
    /// There are at most 20 redirects.
    RedirectCount = "redirect_count", "HTTP-redirect fetch, step 7", "https://fetch.spec.whatwg.org/#concept-http-redirect-fetch";
    /// The Location has no user name and no password.
    LocationWithoutCredentials = "location_without_credentials", "HTTP-redirect fetch, steps 9 and 10", "https://fetch.spec.whatwg.org/#concept-http-redirect-fetch";
    /// A body that is sent again is not a stream.
    BodyCanRepeat = "body_can_repeat", "HTTP-redirect fetch, step 11", "https://fetch.spec.whatwg.org/#concept-http-redirect-fetch";
}

/// Why a request fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step at which it does.
    pub step: Step,
    /// What was found instead of what must hold, in one sentence without an end.
    pub said: String,
    /// The methods or headers that the step is about, where it is about some.
    pub names: Vec<String>,
}

impl Failure {
    pub(crate) fn new(step: Step, said: impl Into<String>) -> Self {
        Self { step, said: said.into(), names: Vec::new() }
    }

    pub(crate) fn about(step: Step, names: Vec<String>, said: impl Into<String>) -> Self {
        Self { step, said: said.into(), names }
    }
}

/// What became of a response: the steps that were passed, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Judgement<T> {
    /// Steps that were passed, in their order.
    pub passed: Vec<Step>,
    /// What a pass is good for, or the first step that was not passed.
    pub outcome: Result<T, Failure>,
}

impl<T> Judgement<T> {
    /// Takes steps, one after the other.
    pub(crate) fn of(take: impl FnOnce(&mut Vec<Step>) -> Result<T, Failure>) -> Self {
        let mut passed = Vec::new();
        let outcome = take(&mut passed);
        Self { passed, outcome }
    }

    /// Whether every step was passed.
    pub const fn is_pass(&self) -> bool {
        self.outcome.is_ok()
    }

    /// The step that was not passed.
    pub fn failed_at(&self) -> Option<Step> {
        self.outcome.as_ref().err().map(|failure| failure.step)
    }
}

/// Whether a step holds; it is written down where it does.
pub(crate) fn take(
    passed: &mut Vec<Step>,
    step: Step,
    holds: bool,
    said: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if holds {
        passed.push(step);
        Ok(())
    } else {
        Err(Failure::new(step, said()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_step_has_a_name_a_rule_and_a_section() {
        let names: BTreeSet<_> = Step::ALL.iter().map(|step| step.name()).collect();
        assert_eq!(names.len(), Step::ALL.len());
        for step in Step::ALL {
            assert!(step.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert!(step.rule().ends_with('.'), "{}", step.rule());
            let (page, anchor) = step.link().split_once('#').unwrap_or_default();
            assert!(page.starts_with("https://") && !anchor.is_empty(), "{}", step.link());
            assert!(!step.section().is_empty());
        }
    }
}
