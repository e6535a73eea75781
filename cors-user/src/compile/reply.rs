//! The template of a policy's reply: all of it but the origin, where that is echoed, and the
//! end.
//!
//! ```text
//! HTTP/1.1 204 No Content
//! Date: Sun, 06 Nov 1994 08:49:37 GMT          ; written when it is sent
//! Access-Control-Allow-Credentials: true       ; where the policy says so
//! Access-Control-Allow-Methods: PUT, PATCH     ; the whole list (it primes the browser's cache)
//! Access-Control-Allow-Headers: content-type   ; the whole list
//! Access-Control-Max-Age: 600                  ; where the policy says so
//! Content-Length: 0                            ; of a 200, where the policy says so
//! Access-Control-Expose-Headers: x-request-id  ; where the policy says so
//! Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers
//! Access-Control-Allow-Origin:                 ; `*`, or the engine adds the origin
//! ```
//!
//! A 204 has no `Content-Length` (RFC 9110 §8.6).

use cors_common::{
    checksum::Sum,
    policy::{Template, image::TEMPLATE_MAX},
    state::DATE_LEN,
};

use super::{error::CompileError, origins::echoed};
use crate::config::model::{Expose, Methods, Policy, Success};

/// The template of a policy.
pub(super) fn template(policy: &Policy) -> Result<Template, CompileError> {
    let status = match policy.conduct.success {
        Success::NoContent => "204 No Content",
        Success::Ok => "200 OK",
    };
    let mut text = format!("HTTP/1.1 {status}\r\nDate: ");
    let date_at = text.len() as u32;
    text.extend(['\0'; DATE_LEN]);
    if policy.allow_credentials {
        text += "\r\nAccess-Control-Allow-Credentials: true";
    }
    add_list(&mut text, "Access-Control-Allow-Methods", &methods(policy));
    add_list(&mut text, "Access-Control-Allow-Headers", &headers(policy));
    if let Some(seconds) = policy.max_age {
        text += "\r\nAccess-Control-Max-Age: ";
        text += &seconds.to_string();
    }
    if policy.conduct.success == Success::Ok {
        text += "\r\nContent-Length: 0";
    }
    if policy.conduct.expose_on_preflight {
        add_list(&mut text, "Access-Control-Expose-Headers", &exposed(policy));
    }
    text += "\r\nVary: ";
    if echoed(policy) {
        text += "Origin, ";
    }
    text += "Access-Control-Request-Method, Access-Control-Request-Headers";
    text += "\r\nAccess-Control-Allow-Origin: ";
    if !echoed(policy) {
        text.push('*');
    }
    let mut padded = [0; TEMPLATE_MAX];
    let Some(used) = padded.get_mut(..text.len()) else {
        return Err(CompileError::ReplyTooLong { policy: policy.name.clone(), len: text.len() });
    };
    used.copy_from_slice(text.as_bytes());
    let sum = u32::from(Sum::of(text.as_bytes()).fold());
    Ok(Template { sum, len: text.len() as u32, date_at, pad: [0; 7], text: padded })
}

fn methods(policy: &Policy) -> Vec<&str> {
    match &policy.methods {
        Methods::Any => vec!["*"],
        Methods::List(names) => names.iter().map(String::as_str).collect(),
    }
}

fn headers(policy: &Policy) -> Vec<&str> {
    let any = policy.headers.any.then_some("*");
    any.into_iter().chain(policy.headers.names.iter().map(String::as_str)).collect()
}

fn exposed(policy: &Policy) -> Vec<&str> {
    match &policy.expose {
        Expose::Any => vec!["*"],
        Expose::List(names) => names.iter().map(String::as_str).collect(),
    }
}

/// Adds a header with a list; an empty one is left out.
fn add_list(text: &mut String, name: &str, items: &[&str]) {
    if !items.is_empty() {
        text.extend(["\r\n", name, ": ", &items.join(", ")]);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use crate::config;

    fn of(lines: &str) -> Result<Template, CompileError> {
        let text =
            format!("[server]\nlisten = [\"0.0.0.0:80\"]\n[[policy]]\nname = \"p\"\n{lines}");
        template(&config::parse(&text).config.unwrap().policies[0])
    }

    /// The text of the reply, with a `D` for each byte of the date.
    fn text(lines: &str) -> String {
        let reply = of(lines).unwrap();
        let text = String::from_utf8(reply.text[..reply.len as usize].to_vec()).unwrap();
        assert_eq!(reply.date_at, 31);
        assert_eq!(text[31..60], "\0".repeat(29));
        assert_eq!(reply.sum, u32::from(Sum::of(text.as_bytes()).fold()));
        assert!(reply.text[text.len()..].iter().all(|byte| *byte == 0));
        text.replace('\0', "D")
    }

    const START: &str = "HTTP/1.1 204 No Content\r\nDate: DDDDDDDDDDDDDDDDDDDDDDDDDDDDD\r\n";
    const VARY: &str =
        "Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n";

    #[test]
    fn with_everything() {
        let lines = "allow_origins = [\"https://a.example\"]\nallow_credentials = true\n\
                     allow_methods = [\"PUT\", \"PATCH\"]\nallow_headers = [\"x-b\", \"X-A\"]\n\
                     max_age = 600";
        let expected = format!(
            "{START}Access-Control-Allow-Credentials: true\r\n\
             Access-Control-Allow-Methods: PUT, PATCH\r\n\
             Access-Control-Allow-Headers: x-b, x-a\r\n\
             Access-Control-Max-Age: 600\r\n{VARY}Access-Control-Allow-Origin: "
        );
        assert_eq!(text(lines), expected);
    }

    #[test]
    fn with_next_to_nothing() {
        let expected = format!("{START}{VARY}Access-Control-Allow-Origin: ");
        assert_eq!(text("allow_origins = [\"https://*.a.example\"]"), expected);
    }

    #[test]
    fn with_wildcards() {
        let lines = "allow_origins = [\"*\"]\nallow_methods = [\"*\"]\nmax_age = 0\n\
                     allow_headers = [\"*\", \"authorization\"]";
        let expected = format!(
            "{START}Access-Control-Allow-Methods: *\r\n\
             Access-Control-Allow-Headers: *, authorization\r\nAccess-Control-Max-Age: 0\r\n\
             Vary: Access-Control-Request-Method, Access-Control-Request-Headers\r\n\
             Access-Control-Allow-Origin: *"
        );
        assert_eq!(text(lines), expected);
    }

    #[test]
    fn reflected() {
        let lines = "allow_origins = [\"*\"]\nallow_credentials = true\n\
                     dangerously_allow = [\"reflect_any_with_credentials\"]";
        let expected = format!(
            "{START}Access-Control-Allow-Credentials: true\r\n{VARY}Access-Control-Allow-Origin: "
        );
        assert_eq!(text(lines), expected);
    }

    #[test]
    fn the_longest() {
        let of_len = |len: usize| {
            let empty = "allow_origins = [\"https://a.example\"]";
            let used = text(empty).len() + "\r\nAccess-Control-Allow-Headers: ".len();
            let mut names: Vec<String> = (10..30).map(|i| format!("x-header-name-{i}")).collect();
            let pad = len - used - names.join(", ").len() - ", ".len();
            let tail = pad - 60 - ", ".len();
            names.extend(["y".repeat(60), "z".repeat(tail)]);
            of(&format!("{empty}\nallow_headers = {names:?}"))
        };
        assert_eq!(of_len(TEMPLATE_MAX).unwrap().len as usize, TEMPLATE_MAX);
        let error = CompileError::ReplyTooLong { policy: "p".to_owned(), len: TEMPLATE_MAX + 1 };
        assert_eq!(of_len(TEMPLATE_MAX + 1), Err(error));
    }
}
