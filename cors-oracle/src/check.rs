//! The CORS check (Fetch §4.10): of the answer to a preflight, and of every response.

use crate::{Failure, Headers, Request, Step, step::take};

/// The header that says who may read a response.
pub const ALLOW_ORIGIN: &str = "Access-Control-Allow-Origin";
/// The header that says whether credentials may have been sent.
pub const ALLOW_CREDENTIALS: &str = "Access-Control-Allow-Credentials";

/// Takes the steps of the check.
pub(crate) fn cors_check(
    request: &Request,
    headers: &Headers,
    passed: &mut Vec<Step>,
) -> Result<(), Failure> {
    let Some(allowed) = headers.get(ALLOW_ORIGIN) else {
        let said = format!("the response has no {ALLOW_ORIGIN}");
        return Err(Failure::new(Step::AllowOriginPresent, said));
    };
    passed.push(Step::AllowOriginPresent);
    if !request.includes_credentials() && allowed == b"*" {
        passed.push(Step::AllowOriginMatches);
        return Ok(());
    }
    let origin = request.serialized_origin();
    take(passed, Step::AllowOriginMatches, allowed == origin.as_bytes(), || {
        differs(headers, &allowed, &origin)
    })?;
    if !request.includes_credentials() {
        return Ok(());
    }
    let credentials = headers.get(ALLOW_CREDENTIALS);
    take(passed, Step::AllowCredentials, credentials.as_deref() == Some(b"true"), || {
        match credentials {
            None => format!("the response has no {ALLOW_CREDENTIALS}"),
            Some(value) => {
                let value = String::from_utf8_lossy(&value);
                format!("{ALLOW_CREDENTIALS} is `{value}`, not `true`")
            }
        }
    })
}

/// In which way the header is not the origin.
fn differs(headers: &Headers, allowed: &[u8], origin: &str) -> String {
    let count = headers.all(ALLOW_ORIGIN).count();
    let text = String::from_utf8_lossy(allowed);
    if count > 1 {
        return format!("there are {count} {ALLOW_ORIGIN}, which count as `{text}`: one must be");
    }
    if text == "*" {
        return format!(
            "{ALLOW_ORIGIN} is `*`, which stands for nobody where credentials go along"
        );
    }
    format!("{ALLOW_ORIGIN} is `{text}`, the origin is `{origin}`{}", hint(&text, origin))
}

/// What is easily overlooked.
fn hint(allowed: &str, origin: &str) -> &'static str {
    if allowed.eq_ignore_ascii_case(origin) {
        ": upper and lower case differ"
    } else if allowed.trim_end_matches('/') == origin {
        ": an origin ends without a slash"
    } else if allowed.contains([',', ' ']) {
        ": one origin must be named, not a list"
    } else if allowed.contains('*') {
        ": a wildcard in an origin means nothing to browsers"
    } else if allowed.split_once("://").map(|(_, host)| host)
        == origin.split_once("://").map(|(_, host)| host)
    {
        ": the scheme differs"
    } else {
        ""
    }
}
