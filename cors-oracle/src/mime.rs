//! "Parse a MIME type" (MIME Sniffing Standard §4.4), as far as the essence needs it.

use crate::syntax::is_token;

/// The type and subtype in lower case, without parameters; `None` where the text has none.
///
/// Parameters cannot make a parse fail, so they are not looked at.
pub(crate) fn essence(value: &[u8]) -> Option<String> {
    let is_space = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' ');
    let start = value.iter().position(|byte| !is_space(byte))?;
    let value = &value[start..];
    let slash = value.iter().position(|byte| *byte == b'/')?;
    let rest = &value[slash + 1..];
    let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
    let mut subtype = &rest[..end];
    while let [front @ .., last] = subtype
        && is_space(last)
    {
        subtype = front;
    }
    if !is_token(&value[..slash]) || !is_token(subtype) {
        return None;
    }
    let essence = [&value[..slash], b"/", subtype].concat();
    Some(String::from_utf8_lossy(&essence).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn essences() {
        for (value, expected) in [
            ("text/plain", Some("text/plain")),
            (" Text/PLAIN ; charset=utf-8", Some("text/plain")),
            ("multipart/form-data; boundary=x", Some("multipart/form-data")),
            ("application/json", Some("application/json")),
            ("text/plain;;;=", Some("text/plain")),
            ("text/plain, application/json", None),
            ("text", None),
            ("text/", None),
            ("/plain", None),
            ("text /plain", None),
            ("", None),
            ("*/*", Some("*/*")),
        ] {
            assert_eq!(essence(value.as_bytes()).as_deref(), expected, "{value}");
        }
    }
}
