//! The rules of design §4 and of the policy file once more, in plain string code that shares
//! nothing with the engine: no words, no image, no precomputed replies.

use cors_user::config::model::{
    Config, Methods, OriginPattern, Origins, Policy, WildcardPort, WildcardScheme,
};

/// The answer to a payload, or `None`.
pub(crate) fn answer(config: &Config, payload: &[u8], date: &str) -> Option<String> {
    let request = parse(payload)?;
    let policy = choose(config, host_name(request.host)?, request.path)?;
    if !origin_allowed(policy, request.origin)
        || !method_allowed(policy, request.method)
        || !headers_allowed(policy, request.headers)
    {
        return None;
    }
    Some(reply(policy, &request, date))
}

struct Request<'a> {
    path: &'a str,
    host: &'a str,
    origin: &'a str,
    method: &'a str,
    headers: Option<&'a str>,
    close: bool,
}

fn parse(payload: &[u8]) -> Option<Request<'_>> {
    let text = str::from_utf8(payload).ok()?;
    let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
    let plain = |line: &str| !line.is_empty() && line.bytes().all(|b| (0x20..=0x7e).contains(&b));
    if payload.len() > 1024 || !lines.clone().all(plain) {
        return None;
    }
    let [method, target, version] = lines.next()?.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    if method != "OPTIONS" || version != "HTTP/1.1" || !target.starts_with('/') {
        return None;
    }
    if target.contains(['"', '#', '<', '>', '\\', '`', '{', '}']) {
        return None;
    }
    let mut headers: Vec<(String, &str)> = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let name_byte = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if name.is_empty() || name.len() > 63 || !name.bytes().all(name_byte) {
            return None;
        }
        headers.push((name.to_ascii_lowercase(), value.strip_prefix(' ').unwrap_or(value)));
    }
    if headers.len() > 40 {
        return None;
    }
    agrees_with_httparse(payload, target, &headers);
    let all = |name: &str| -> Vec<&str> {
        headers.iter().filter(|(n, _)| n == name).map(|(_, value)| *value).collect()
    };
    if !["transfer-encoding", "upgrade", "expect"].iter().all(|name| all(name).is_empty()) {
        return None;
    }
    let fixed = |name: &str, values: &[&str]| match all(name)[..] {
        [] => Some(String::new()),
        [value] if values.contains(&&*value.to_ascii_lowercase()) => {
            Some(value.to_ascii_lowercase())
        }
        _ => None,
    };
    fixed("content-length", &["0"])?;
    fixed("te", &["trailers"])?;
    let close = fixed("connection", &["keep-alive", "close"])? == "close";
    let optional = |name: &str| match all(name)[..] {
        [] => Some(None),
        [value] if !value.is_empty() && value.trim() == value => Some(Some(value)),
        _ => None,
    };
    Some(Request {
        path: target.split('?').next()?,
        host: optional("host")??,
        origin: optional("origin")??,
        method: optional("access-control-request-method")??,
        headers: optional("access-control-request-headers")?,
        close,
    })
}

/// What is accepted here, a widely used parser accepts and reads the same way.
fn agrees_with_httparse(payload: &[u8], target: &str, headers: &[(String, &str)]) {
    let mut storage = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut storage);
    let parsed = request.parse(payload);
    assert_eq!(parsed, Ok(httparse::Status::Complete(payload.len())), "{}", payload.escape_ascii());
    assert_eq!((request.method, request.path), (Some("OPTIONS"), Some(target)));
    assert_eq!(request.version, Some(1));
    assert_eq!(request.headers.len(), headers.len());
    for (theirs, (name, value)) in request.headers.iter().zip(headers) {
        assert!(theirs.name.eq_ignore_ascii_case(name));
        assert_eq!(str::from_utf8(theirs.value), Ok(value.trim()));
    }
}

fn host_name(host: &str) -> Option<&str> {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            let ipv6 = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b':' | b'.');
            if !rest[..end].bytes().all(ipv6) {
                return None;
            }
            &host[..end + 2]
        }
        None => host.split(':').next()?,
    };
    let dns = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    if !name.starts_with('[') && !name.bytes().all(dns) {
        return None;
    }
    let empty_label = name.starts_with('.') || name.ends_with('.') || name.contains("..");
    if name.is_empty() || !name.starts_with('[') && empty_label {
        return None;
    }
    match host[name.len()..].strip_prefix(':') {
        None if host == name => Some(name),
        Some(port) if is_port(port) => Some(name),
        _ => None,
    }
}

/// One to five digits without a leading zero, up to 65535.
fn is_port(port: &str) -> bool {
    (1..=5).contains(&port.len())
        && port.bytes().all(|b| b.is_ascii_digit())
        && !port.starts_with('0')
        && port.parse::<u16>().is_ok()
}

fn choose<'a>(config: &'a Config, host: &str, path: &str) -> Option<&'a Policy> {
    let own = |policy: &&Policy| policy.hosts.iter().any(|h| h == host);
    let every = |policy: &&Policy| policy.hosts.is_empty() && !host.starts_with('[');
    let prefixed = |policy: &Policy| policy.path_prefix.is_some();
    let own: Vec<&Policy> = config.policies.iter().filter(own).collect();
    let every: Vec<&Policy> = config.policies.iter().filter(every).collect();
    if own.iter().chain(&every).any(|policy| prefixed(policy)) && is_ambiguous(path) {
        return None;
    }
    longest(&own, path).or_else(|| longest(&every, path))
}

fn longest<'a>(policies: &[&'a Policy], path: &str) -> Option<&'a Policy> {
    let matches = |policy: &&&Policy| match &policy.path_prefix {
        None => true,
        Some(prefix) => path == prefix || path.starts_with(&format!("{prefix}/")),
    };
    let len = |policy: &&&Policy| policy.path_prefix.as_ref().map_or(0, String::len);
    policies.iter().filter(matches).max_by_key(len).copied()
}

fn is_ambiguous(path: &str) -> bool {
    path.contains("//")
        || path.split('/').any(|segment| segment == "." || segment.starts_with(".."))
        || path.contains(';')
        || ('0'..='7').any(|digit| path.contains(&format!("%{digit}")))
        || ["%c0", "%c1", "%C0", "%C1"].iter().any(|overlong| path.contains(overlong))
}

fn origin_allowed(policy: &Policy, origin: &str) -> bool {
    if origin.len() > 326 {
        return false;
    }
    match &policy.origins {
        Origins::Any => origin.chars().all(|c| c.is_ascii_alphanumeric() || "-./:[]_".contains(c)),
        Origins::List(patterns) => patterns.iter().any(|pattern| pattern_allows(pattern, origin)),
    }
}

fn pattern_allows(pattern: &OriginPattern, origin: &str) -> bool {
    match pattern {
        OriginPattern::Exact(exact) => origin == exact,
        OriginPattern::AnyPort(base) => {
            origin == base || origin.strip_prefix(&format!("{base}:")).is_some_and(is_port)
        }
        OriginPattern::Subdomains { scheme, suffix, port } => {
            let scheme = match scheme {
                WildcardScheme::Http => "http://",
                WildcardScheme::Https => "https://",
            };
            let Some(authority) = origin.strip_prefix(scheme) else {
                return false;
            };
            let (host, asked) = match authority.split_once(':') {
                Some((host, asked)) => (host, Some(asked)),
                None => (authority, None),
            };
            let label = |label: &str| {
                let legal =
                    |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
                !label.is_empty() && label.bytes().all(legal)
            };
            let labels = host.split('.').count();
            let port_fits = match (port, asked) {
                (WildcardPort::Default | WildcardPort::Any, None) => true,
                (WildcardPort::Exact(port), Some(asked)) => asked == port.to_string(),
                (WildcardPort::Any, Some(asked)) => is_port(asked),
                _ => false,
            };
            host.len() <= 253
                && labels <= 24
                && host.split('.').all(label)
                && host.ends_with(&format!(".{suffix}"))
                && port_fits
        }
    }
}

fn method_allowed(policy: &Policy, method: &str) -> bool {
    if ["GET", "HEAD", "POST"].contains(&method) {
        return true;
    }
    match &policy.methods {
        Methods::Any => {
            method.len() <= 64 && method.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }
        Methods::List(methods) => methods.iter().any(|m| m == method),
    }
}

fn headers_allowed(policy: &Policy, headers: Option<&str>) -> bool {
    let Some(headers) = headers else {
        return true;
    };
    let names: Vec<&str> = headers.split(',').collect();
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let allowed = |name: &str| {
        policy.headers.names.iter().any(|n| n == name)
            || policy.headers.any && name != "authorization"
    };
    names.len() <= 32
        && names.windows(2).all(|pair| pair[0] < pair[1])
        && names.iter().all(|name| !name.is_empty() && name.len() <= 64)
        && names.iter().all(|name| name.bytes().all(legal) && allowed(name))
}

fn reply(policy: &Policy, request: &Request<'_>, date: &str) -> String {
    let mut lines = vec!["HTTP/1.1 204 No Content".to_owned(), format!("Date: {date}")];
    if policy.allow_credentials {
        lines.push("Access-Control-Allow-Credentials: true".to_owned());
    }
    match &policy.methods {
        Methods::Any => lines.push("Access-Control-Allow-Methods: *".to_owned()),
        Methods::List(methods) if methods.is_empty() => {}
        Methods::List(methods) => {
            lines.push(format!("Access-Control-Allow-Methods: {}", methods.join(", ")));
        }
    }
    let mut headers = policy.headers.names.clone();
    if policy.headers.any {
        headers.insert(0, "*".to_owned());
    }
    if !headers.is_empty() {
        lines.push(format!("Access-Control-Allow-Headers: {}", headers.join(", ")));
    }
    if let Some(age) = policy.max_age {
        lines.push(format!("Access-Control-Max-Age: {age}"));
    }
    let asked = "Access-Control-Request-Method, Access-Control-Request-Headers";
    if policy.origins == Origins::Any && !policy.allow_credentials {
        lines.push(format!("Vary: {asked}"));
        lines.push("Access-Control-Allow-Origin: *".to_owned());
    } else {
        lines.push(format!("Vary: Origin, {asked}"));
        lines.push(format!("Access-Control-Allow-Origin: {}", request.origin));
    }
    if request.close {
        lines.push("Connection: close".to_owned());
    }
    lines.join("\r\n") + "\r\n\r\n"
}
