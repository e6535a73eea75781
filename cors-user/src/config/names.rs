//! Names of methods and header fields: which are none, and which a policy may not list. Pure.
//!
//! The lists are those of the Fetch Standard: a browser refuses to send or to show what is on them
//! whatever the server says, so listing them can only mislead.

use super::problem::Reason;

/// Why a name is refused; the message says what to do instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NameError {
    #[error("a method is letters, digits and !#$%&'*+-.^_`|~ only, one method per string")]
    MethodToken,
    #[error("browsers refuse to send CONNECT, TRACE and TRACK whatever the server says: remove it")]
    ForbiddenMethod,
    #[error("a header name is letters, digits and !#$%&'*+-.^_`|~ only, one name per string")]
    HeaderToken,
    #[error("scripts can never set this header, so browsers never ask for it: remove it")]
    ForbiddenRequestHeader,
    #[error("this is a response header of CORS itself, no request has it: remove it")]
    CorsResponseHeader,
    #[error("browsers never show cookies to scripts: remove it, and send the value in the body")]
    ForbiddenResponseHeader,
    #[error("this header belongs to CORS itself and tells a script nothing: remove it")]
    CorsHeader,
}

impl NameError {
    /// What kind of wrong it is.
    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::MethodToken | Self::HeaderToken => Reason::Invalid,
            Self::ForbiddenMethod
            | Self::ForbiddenRequestHeader
            | Self::ForbiddenResponseHeader => Reason::Forbidden,
            Self::CorsResponseHeader | Self::CorsHeader => Reason::Prohibited,
        }
    }
}

/// Methods that a browser writes in upper case before it sends them (Fetch, "normalize").
const NORMALIZED: &[&str] = &["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"];

/// Fetch, "forbidden method".
const FORBIDDEN_METHODS: &[&str] = &["CONNECT", "TRACE", "TRACK"];

/// Fetch, "forbidden request-header", but for the prefixes `proxy-` and `sec-`, and for those that
/// are forbidden with some values only (`x-http-method-override` and its like).
const FORBIDDEN_REQUEST_HEADERS: &[&str] = &[
    "accept-charset",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "access-control-request-private-network",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "date",
    "dnt",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Response headers of CORS that do not start with `access-control-allow-`.
const OTHER_CORS_RESPONSE_HEADERS: &[&str] =
    &["access-control-expose-headers", "access-control-max-age"];

/// Fetch, "forbidden response-header name".
const FORBIDDEN_RESPONSE_HEADERS: &[&str] = &["set-cookie", "set-cookie2"];

/// Headers of requests and of preflight responses: on an actual response they mean nothing.
const PREFLIGHT_HEADERS: &[&str] = &[
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-max-age",
    "access-control-request-headers",
    "access-control-request-method",
    "origin",
];

/// Checks an element of `allow_methods`.
pub(super) fn method(name: &str) -> Result<(), NameError> {
    if !is_token(name) {
        return Err(NameError::MethodToken);
    }
    if FORBIDDEN_METHODS.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden)) {
        return Err(NameError::ForbiddenMethod);
    }
    Ok(())
}

/// What is probably not meant about a legal method.
pub(super) fn method_advice(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    if upper == name {
        return None;
    }
    Some(if NORMALIZED.contains(&upper.as_str()) {
        format!("browsers send it in upper case, so this never matches: write `{upper}`")
    } else {
        format!("methods compare byte by byte and browsers keep the case: did you mean `{upper}`?")
    })
}

/// Checks an element of `allow_headers`, and lowers it.
pub(super) fn request_header(name: &str) -> Result<String, NameError> {
    let lower = header(name)?;
    let name = lower.as_str();
    if FORBIDDEN_REQUEST_HEADERS.contains(&name)
        || name.starts_with("proxy-")
        || name.starts_with("sec-")
    {
        return Err(NameError::ForbiddenRequestHeader);
    }
    if name.starts_with("access-control-allow-") || OTHER_CORS_RESPONSE_HEADERS.contains(&name) {
        return Err(NameError::CorsResponseHeader);
    }
    Ok(lower)
}

/// Checks an element of `expose_headers`, and lowers it.
pub(super) fn response_header(name: &str) -> Result<String, NameError> {
    let lower = header(name)?;
    if FORBIDDEN_RESPONSE_HEADERS.contains(&lower.as_str()) {
        return Err(NameError::ForbiddenResponseHeader);
    }
    if PREFLIGHT_HEADERS.contains(&lower.as_str()) {
        return Err(NameError::CorsHeader);
    }
    Ok(lower)
}

fn header(name: &str) -> Result<String, NameError> {
    if is_token(name) { Ok(name.to_ascii_lowercase()) } else { Err(NameError::HeaderToken) }
}

/// `token` of RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        for byte in 0..=u8::MAX {
            let text = char::from(byte).to_string();
            let expected = byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
            assert_eq!(is_token(&text), expected, "{text:?}");
        }
        assert!(!is_token(""));
        assert!(!is_token("a b"));
    }

    #[test]
    fn methods() {
        for (name, expected) in [
            ("PUT", Ok(())),
            ("GET", Ok(())),
            ("OPTIONS", Ok(())),
            ("patch", Ok(())),
            ("X-CONNECT", Ok(())),
            ("TRACER", Ok(())),
            ("", Err(NameError::MethodToken)),
            ("PUT,PATCH", Err(NameError::MethodToken)),
            ("PUT ", Err(NameError::MethodToken)),
            ("MÜT", Err(NameError::MethodToken)),
            ("CONNECT", Err(NameError::ForbiddenMethod)),
            ("TRACE", Err(NameError::ForbiddenMethod)),
            ("track", Err(NameError::ForbiddenMethod)),
        ] {
            assert_eq!(method(name), expected, "{name}");
        }
    }

    #[test]
    fn advice_about_case() {
        for name in ["PUT", "PATCH", "M-SEARCH", "X1"] {
            assert_eq!(method_advice(name), None, "{name}");
        }
        for name in ["put", "Delete", "get", "hEAD", "options", "Post"] {
            assert!(method_advice(name).unwrap().contains("never matches"), "{name}");
        }
        let patch = method_advice("patch").unwrap();
        assert!(patch.contains("did you mean `PATCH`?") && !patch.contains("never"), "{patch}");
    }

    #[test]
    fn request_headers() {
        // Written a second time, so that a slip in either list shows.
        let forbidden = "accept-charset accept-encoding access-control-request-headers \
                         access-control-request-method access-control-request-private-network \
                         connection content-length cookie cookie2 date dnt expect host keep-alive \
                         origin referer set-cookie te trailer transfer-encoding upgrade via";
        for name in forbidden.split(' ') {
            let expected = Err(NameError::ForbiddenRequestHeader);
            assert_eq!(request_header(name), expected, "{name}");
            assert_eq!(request_header(&name.to_ascii_uppercase()), expected, "{name}");
        }
        for (name, expected) in [
            ("Sec-Fetch-Mode", Err(NameError::ForbiddenRequestHeader)),
            ("Proxy-Authorization", Err(NameError::ForbiddenRequestHeader)),
            ("sec-", Err(NameError::ForbiddenRequestHeader)),
            ("Access-Control-Allow-Origin", Err(NameError::CorsResponseHeader)),
            ("access-control-allow-private-network", Err(NameError::CorsResponseHeader)),
            ("Access-Control-Expose-Headers", Err(NameError::CorsResponseHeader)),
            ("access-control-max-age", Err(NameError::CorsResponseHeader)),
            ("", Err(NameError::HeaderToken)),
            ("a b", Err(NameError::HeaderToken)),
            ("authorization:", Err(NameError::HeaderToken)),
            ("Authorization", Ok("authorization")),
            ("X-HTTP-Method-Override", Ok("x-http-method-override")),
            ("user-agent", Ok("user-agent")),
            ("second", Ok("second")),
            ("proxy", Ok("proxy")),
            ("cookie3", Ok("cookie3")),
            ("x-origin", Ok("x-origin")),
        ] {
            assert_eq!(request_header(name), expected.map(str::to_owned), "{name}");
        }
    }

    #[test]
    fn response_headers() {
        for (name, expected) in [
            ("Set-Cookie", Err(NameError::ForbiddenResponseHeader)),
            ("set-cookie2", Err(NameError::ForbiddenResponseHeader)),
            ("Origin", Err(NameError::CorsHeader)),
            ("Access-Control-Request-Method", Err(NameError::CorsHeader)),
            ("access-control-request-headers", Err(NameError::CorsHeader)),
            ("access-control-allow-methods", Err(NameError::CorsHeader)),
            ("access-control-allow-headers", Err(NameError::CorsHeader)),
            ("access-control-max-age", Err(NameError::CorsHeader)),
            ("a\tb", Err(NameError::HeaderToken)),
            ("X-Request-Id", Ok("x-request-id")),
            ("cookie", Ok("cookie")),
            ("set-cookie3", Ok("set-cookie3")),
            ("access-control-allow-origin", Ok("access-control-allow-origin")),
        ] {
            assert_eq!(response_header(name), expected.map(str::to_owned), "{name}");
        }
    }
}
