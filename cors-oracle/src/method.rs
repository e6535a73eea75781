//! Methods (Fetch §2.2.1).

/// `DELETE`, `GET`, `HEAD`, `OPTIONS`, `POST` and `PUT` in upper case, however they are written;
/// every other method as it is: `patch` stays `patch`, and is not `PATCH`.
pub fn normalize_method(method: &str) -> String {
    let upper = method.to_ascii_uppercase();
    if matches!(&*upper, "DELETE" | "GET" | "HEAD" | "OPTIONS" | "POST" | "PUT") {
        upper
    } else {
        method.to_owned()
    }
}

/// Whether a method needs no permission.
pub fn is_safelisted_method(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "POST")
}

/// Whether no script can send a request with this method.
pub fn is_forbidden_method(method: &str) -> bool {
    ["CONNECT", "TRACE", "TRACK"].iter().any(|forbidden| forbidden.eq_ignore_ascii_case(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_methods_are_normalized() {
        for (method, expected) in [
            ("get", "GET"),
            ("Post", "POST"),
            ("delete", "DELETE"),
            ("hEAD", "HEAD"),
            ("options", "OPTIONS"),
            ("put", "PUT"),
            ("patch", "patch"),
            ("PATCH", "PATCH"),
            ("eGg", "eGg"),
        ] {
            assert_eq!(normalize_method(method), expected);
        }
    }

    #[test]
    fn safelisted_and_forbidden() {
        for method in ["GET", "HEAD", "POST"] {
            assert!(is_safelisted_method(method) && !is_forbidden_method(method));
        }
        for method in ["get", "PUT", "OPTIONS", "PATCH", "", "GETT"] {
            assert!(!is_safelisted_method(method), "{method}");
        }
        for method in ["CONNECT", "trace", "TrAcK"] {
            assert!(is_forbidden_method(method) && !is_safelisted_method(method));
        }
        assert!(!is_forbidden_method("TRACKS"));
    }
}
