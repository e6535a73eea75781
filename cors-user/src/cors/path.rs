//! The ways in which a server may read a path.
//!
//! Policies have path prefixes, and which one a request has is decided by its path as it is written.
//! A server may decode it, resolve its dots, merge its slashes or drop its parameters, and end
//! up below another prefix: whoever is allowed there could then ask for what is here. So for a path
//! with anything in it that servers treat differently, all readings are looked up, and the
//! request has a policy only where they agree.

/// The most bytes of such a path; each is read in many ways.
const LONGEST: usize = 4096;

/// What stands for a segment that no prefix has: prefixes are written without `%`.
const NO_SEGMENT: &str = "%";

/// Whether servers read a path in different ways: the rule of `cors_common::policy` on the whole of
/// it.
pub fn is_ambiguous(path: &str) -> bool {
    let bytes = path.as_bytes();
    let escaped = bytes.windows(3).any(|w| {
        w[0] == b'%'
            && (matches!(w[1], b'0'..=b'7')
                || matches!(w[1] | 0x20, b'c') && matches!(w[2], b'0' | b'1'))
    });
    let segments = || path.split('/').skip(1);
    let last = segments().count().saturating_sub(1);
    escaped
        || path.contains(';')
        || segments().any(|segment| segment == "." || segment.starts_with(".."))
        || segments().enumerate().any(|(n, segment)| segment.is_empty() && n != last)
}

/// Every reading of a path, without repetitions, each without anything that could be read
/// differently again; `None` where a path is not to be trusted in any reading.
pub fn readings(path: &str) -> Option<Vec<String>> {
    let lower = path.to_ascii_lowercase();
    // Some servers end a path at NUL; some decoders make ASCII of overlong sequences.
    if path.len() > LONGEST || ["%00", "%c0", "%c1"].iter().any(|odd| lower.contains(odd)) {
        return None;
    }
    let mut readings = Vec::new();
    let mut decoded = path.to_owned();
    // Twice, for servers behind servers.
    for _ in 0..3 {
        for drop_parameters in [false, true] {
            for merge in [false, true] {
                for resolve in [false, true] {
                    let reading = read(&decoded, drop_parameters, merge, resolve);
                    if !readings.contains(&reading) {
                        readings.push(reading);
                    }
                }
            }
        }
        decoded = decode(&decoded);
        if decoded.to_ascii_lowercase().contains("%00") || decoded.contains('\0') {
            return None;
        }
    }
    Some(readings)
}

fn read(path: &str, drop_parameters: bool, merge: bool, resolve: bool) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split(['/', '\\']).skip(1) {
        let segment = match segment.split_once(';') {
            Some((before, _)) if drop_parameters => before,
            _ => segment,
        };
        match segment {
            "" if merge => {}
            "." if resolve => {}
            ".." if resolve => {
                segments.pop();
            }
            _ if is_plain(segment) => segments.push(segment),
            _ => segments.push(NO_SEGMENT),
        }
    }
    format!("/{}", segments.join("/"))
}

/// Whether a segment may be one of a prefix. Escapes of what is not ASCII stay as they are.
fn is_plain(segment: &str) -> bool {
    let graphic = segment.bytes().all(|b| b.is_ascii_graphic() && !b"\"#<>?\\^`{|};".contains(&b));
    let escaped = segment.as_bytes().windows(2).any(|w| w[0] == b'%' && w[1].is_ascii_digit());
    graphic && !escaped && !matches!(segment, "" | ".") && !segment.starts_with("..")
}

/// The path with every escaped ASCII character decoded, once.
fn decode(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        let value = rest.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let ascii = value.filter(u8::is_ascii);
        decoded.push(ascii.map_or('%', char::from));
        rest = &rest[if ascii.is_some() { 3 } else { 1 }..];
    }
    decoded + rest
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn readings_of_harmless_escapes_differ_in_one_segment() {
        let readings = readings("/v1/a%20b/c").unwrap();
        assert!(readings.iter().all(|reading| reading.starts_with("/v1/")), "{readings:?}");
    }

    #[test]
    fn where_a_path_may_lead() {
        for (path, leads_to) in [
            ("/a/../b", "/b"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/%252e%252e/b", "/b"),
            ("/a/..%2fb", "/b"),
            ("/a/..;x=y/b", "/b"),
            ("/a/..%5cb", "/b"),
            ("//b", "/b"),
            ("/a//../b", "/b"),
            ("/a//../b", "/a/b"),
            ("/%62", "/b"),
            ("/%2562", "/b"),
            ("/./b", "/b"),
            ("/b;x", "/b"),
            ("/../b", "/b"),
        ] {
            let readings = readings(path).unwrap();
            assert!(readings.contains(&leads_to.to_owned()), "{path}: {readings:?}");
        }
    }

    #[test]
    fn what_is_not_to_be_trusted() {
        for path in ["/a%00", "/a%2500", "/%c0%ae", "/%C1%9c"] {
            assert_eq!(readings(path), None, "{path}");
        }
        assert_eq!(readings(&format!("/{}", "a/".repeat(3000))), None);
    }

    #[test]
    fn broken_escapes_stay() {
        assert_eq!(decode("/%"), "/%");
        assert_eq!(decode("/%4"), "/%4");
        assert_eq!(decode("/%zz%41"), "/%zzA");
        assert_eq!(decode("/%c3%a4"), "/%c3%a4");
    }
}
