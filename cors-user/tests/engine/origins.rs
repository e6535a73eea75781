//! Which origins are allowed.

use cors_common::exit::Exit;

use crate::support::{Engine, Request};

fn origins(patterns: &[&str]) -> Engine {
    Engine::policy(&format!("allow_origins = {patterns:?}\nallow_methods = [\"PUT\"]"))
}

/// Checks which of these origins are allowed by these patterns.
fn check(patterns: &[&str], allowed: &[&str], denied: &[&str]) {
    let engine = origins(patterns);
    for origin in allowed {
        let reply = engine.ask(&Request::new().origin(origin).bytes());
        let reply = reply.unwrap_or_else(|exit| panic!("{origin} in {patterns:?}: {exit:?}"));
        let end = format!("\r\nAccess-Control-Allow-Origin: {origin}\r\n\r\n");
        assert!(reply.ends_with(end.as_bytes()), "{origin}");
    }
    for origin in denied {
        let exit = engine.refuses(&Request::new().origin(origin));
        assert_eq!(exit, Some(Exit::OriginDenied), "{origin} in {patterns:?}");
    }
}

#[test]
fn exact() {
    check(
        &["https://app.example.com", "http://localhost:3000", "https://[::1]:8443", "web+app://id"],
        &["https://app.example.com", "http://localhost:3000", "https://[::1]:8443", "web+app://id"],
        &[
            "http://app.example.com",
            "https://app.example.com:443",
            "https://app.example.com:8443",
            "https://app.example.com.",
            "https://app.example.com/",
            "https://app.example.co",
            "https://app.example.comm",
            "https://App.example.com",
            "HTTPS://app.example.com",
            "https://xapp.example.com",
            "https://x.app.example.com",
            "https://example.com",
            "app.example.com",
            "http://localhost",
            "http://localhost:3001",
            "https://[::1]",
            "null",
            "https://app.example.com https://app.example.com",
            "https://app.example.com,https://app.example.com",
            "https://app.example.com, null",
        ],
    );
}

/// Two policies, and hosts `a` and `b` for them.
fn two(a: &str, b: &str) -> Engine {
    let policy = |(host, lines): (&str, &str)| {
        let matches = format!("match = {{ hosts = [\"{host}\"] }}");
        format!("[[policy]]\nname = \"{host}\"\n{matches}\nallow_methods = [\"PUT\"]\n{lines}\n")
    };
    Engine::new(&[("a", a), ("b", b)].map(policy).concat())
}

#[test]
fn an_origin_of_another_policy() {
    // Of every kind one that is in both lists, and one in each; and beyond what a line holds.
    let long = format!("https://{}.example", "l".repeat(60));
    let list = |own: &str| {
        format!(
            "allow_origins = [\"https://both.example\", \"https://{own}.example\", \
             \"{long}\", \"https://{own}.{}\", \"http://both.example:*\", \
             \"http://{own}.example:*\", \"https://*.both.example\", \
             \"https://*.{own}.example\", \"http://*.both.example:*\", \
             \"http://*.{own}.example:*\"]",
            &long[8..],
        )
    };
    let engine = two(&list("a"), &list("b"));
    for host in ["a", "b"] {
        let answers = |origin: &str| {
            let request = Request::new().host(host).origin(origin);
            let exit = engine.refuses(&request);
            assert!(
                matches!(exit, None | Some(Exit::OriginDenied)),
                "{origin} at {host}: {exit:?}"
            );
            exit.is_none()
        };
        assert!(answers(&long), "{host}");
        for own in ["a", "b", "both", "none"] {
            let expected = own == host || own == "both";
            assert_eq!(answers(&format!("https://{own}.{}", &long[8..])), own == host);
            for origin in [
                format!("https://{own}.example"),
                format!("http://{own}.example:81"),
                format!("https://x.{own}.example"),
                format!("http://x.{own}.example:81"),
            ] {
                assert_eq!(answers(&origin), expected, "{origin} at {host}");
            }
        }
    }
}

#[test]
fn a_policy_without_origins_here_has_none() {
    // Its answers are made to measure: the driver has no origins for it, and no number for them.
    let made = "allow_origins = [\"https://app.example.com\"]\n\
                [policy.preflight]\nadvertise = \"minimal\"";
    let engine = two(made, "allow_origins = [\"https://b.example\"]");
    for origin in ["https://app.example.com", "https://b.example", "https://none.example", "null"] {
        let request = Request::new().host("a").origin(origin);
        assert_eq!(engine.driver(&request), Err(Exit::OriginDenied), "{origin}");
    }
}

#[test]
fn any_port() {
    check(
        &["https://app.example.com:*", "http://[2001:db8::1]:*"],
        &[
            "https://app.example.com",
            "https://app.example.com:1",
            "https://app.example.com:8443",
            "https://app.example.com:9999",
            "https://app.example.com:10000",
            "https://app.example.com:65535",
            "http://[2001:db8::1]:8080",
        ],
        &[
            "https://app.example.com:",
            "https://app.example.com:0",
            "https://app.example.com:080",
            "https://app.example.com:65536",
            "https://app.example.com:99999",
            "https://app.example.com:123456",
            "https://app.example.com:80a",
            "https://app.example.com:80:80",
            "https://app.example.com:*",
            "https://app.example.com.",
            "https://app.example.com.:80",
            "https://app.example.comm",
            "http://app.example.com",
            "http://app.example.com:80",
            "https://x.app.example.com:80",
            "http://2001:db8::1",
            "null",
            ":1",
            "1",
        ],
    );
}

#[test]
fn any_port_and_none_where_the_host_is_short_or_has_colons() {
    check(
        &["http://[2001:db8::1]:*", "https://[::1]:*", "http://a:*", "https://ab.c:*"],
        &["http://[2001:db8::1]", "https://[::1]", "http://a", "https://ab.c", "http://a:8080"],
        &["http://b", "http://a:70000", "https://[::1]:0", "https://[::]"],
    );
}

#[test]
fn subdomains() {
    check(
        &["https://*.foo.com"],
        &[
            "https://a.foo.com",
            "https://a.b.foo.com",
            "https://a-b_c.9.foo.com",
            "https://foo.com.foo.com",
            "https://xn--bcher-kva.foo.com",
            "https://1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22.foo.com",
        ],
        &[
            "https://foo.com",
            "https://barfoo.com",
            "https://.foo.com",
            "https://a..foo.com",
            "https://..foo.com",
            "https://a.foo.com.",
            "https://a.foo.com..",
            "https://a.foo.com:443",
            "https://a.foo.com:8443",
            "https://a.foo.com:",
            "https://a.foo.com/",
            "https://a.foo.co",
            "https://a.foo.comm",
            "https://a.foo.com.evil.example",
            "https://evil.example/.foo.com",
            "https://evil.example#.foo.com",
            "https://evil.example?.foo.com",
            "https://evil.example@a.foo.com",
            "https://evil.example\\.foo.com",
            "https://evil.example:443.foo.com",
            "https://a:.foo.com",
            "https://*.foo.com",
            "https://A.foo.com",
            "https://a.Foo.com",
            "https://a b.foo.com",
            "http://a.foo.com",
            "https:/a.foo.com",
            "https:///a.foo.com",
            "ftp://a.foo.com",
            "xhttps://a.foo.com",
            "a.foo.com",
            "https://",
            "null",
            "https://0.1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22.foo.com",
        ],
    );
}

#[test]
fn ports_of_subdomains() {
    check(
        &["https://*.foo.com:8443"],
        &["https://a.foo.com:8443", "https://a.b.foo.com:8443"],
        &["https://a.foo.com", "https://a.foo.com:844", "https://foo.com:8443"],
    );
    check(
        &["http://*.foo.com:*"],
        &["http://a.foo.com", "http://a.foo.com:8080", "http://a.foo.com:65535"],
        &[
            "http://foo.com",
            "http://foo.com:8080",
            "http://barfoo.com:8080",
            "http://a.foo.com:0",
            "http://a.foo.com:65536",
            "http://a.foo.com:",
            "http://a.foo.com:08",
            "http://a.foo.com:80:80",
            "https://a.foo.com",
        ],
    );
}

#[test]
fn suffixes_of_every_depth_side_by_side() {
    check(
        &["https://*.b.c.d", "https://*.x.b.c.d:*", "https://*.localhost", "http://*.c.d:81"],
        &[
            "https://a.b.c.d",
            "https://a.x.b.c.d",
            "https://a.x.b.c.d:5",
            "https://x.b.c.d",
            "https://a.localhost",
            "https://a.b.localhost",
            "http://b.c.d:81",
        ],
        &[
            "https://b.c.d",
            "https://x.b.c.d:5",
            "https://a.b.c.d:5",
            "https://localhost",
            "http://b.c.d",
            "https://b.c.d:81",
        ],
    );
}

#[test]
fn long_origins() {
    for len in 41..=326 {
        let host = |len: usize| {
            let text: String = (0..len).map(|i| if i % 60 == 59 { '.' } else { 'a' }).collect();
            text.replace(".aa.", ".").trim_end_matches('.').to_owned()
        };
        let origin = if len <= 8 + 253 {
            let mut host = host(len - 8);
            while host.len() < len - 8 {
                host.push('b');
            }
            format!("https://{host}")
        } else {
            // A custom scheme makes up for what a host cannot have.
            let rest = (len - 253 - 3 - 6).max(1);
            let mut host = host(len - rest - 3 - 6);
            while host.len() < len - rest - 3 - 6 {
                host.push('b');
            }
            format!("{}://{host}:65535", "s".repeat(rest))
        };
        assert_eq!(origin.len(), len);
        let engine = origins(&[&origin]);
        assert!(engine.answers(&Request::new().origin(&origin)), "{len}");
        for at in (0..len).step_by(7).chain([len - 1]) {
            let mut other = origin.clone().into_bytes();
            other[at] ^= 1;
            let other = String::from_utf8(other).unwrap();
            assert!(!engine.answers(&Request::new().origin(&other)), "{other}");
        }
        assert!(!engine.answers(&Request::new().origin(&origin[..len - 1])), "{len}");
        if len < 326 {
            let longer = format!("{origin}0");
            let exit = engine.refuses(&Request::new().origin(&longer));
            assert_eq!(exit, Some(Exit::OriginDenied), "{len}");
        }
    }
    let engine = origins(&["https://a.example"]);
    let longest = "a".repeat(326);
    assert_eq!(engine.refuses(&Request::new().origin(&longest)), Some(Exit::OriginDenied));
    for len in [327, 328, 400, 600] {
        let exit = engine.refuses(&Request::new().origin(&"a".repeat(len)));
        assert_eq!(exit, Some(Exit::Origin), "{len}");
    }
}

#[test]
fn any_origin() {
    let engine = origins(&["*"]);
    for origin in ["https://a.example", "null", "http://[::1]:8080", "http://a_b.example:80"] {
        let reply = engine.ask(&Request::new().origin(origin).bytes()).unwrap();
        assert!(reply.ends_with(b"\r\nAccess-Control-Allow-Origin: *\r\n\r\n"), "{origin}");
    }
    for origin in ["https://a.example, b", "https://a.example,b", "a b", "<script>", "a\"b", "a;b"]
    {
        assert_eq!(engine.refuses(&Request::new().origin(origin)), Some(Exit::Origin), "{origin}");
    }
    for at in 0..326 {
        let mut origin = vec![b'a'; 326];
        assert!(engine.answers(&Request::new().origin(&"a".repeat(at + 1))));
        origin[at] = b'%';
        let origin = String::from_utf8(origin).unwrap();
        assert_eq!(engine.refuses(&Request::new().origin(&origin)), Some(Exit::Origin), "{at}");
    }
}

#[test]
fn any_origin_reflected() {
    let engine = Engine::policy(
        "allow_origins = [\"*\"]\nallow_credentials = true\nallow_methods = [\"PUT\"]\n\
         dangerously_allow = [\"reflect_any_with_credentials\"]",
    );
    for origin in ["https://a.example", "http://b.example:81"] {
        let reply = engine.ask(&Request::new().origin(origin).bytes()).unwrap();
        let end = format!("\r\nAccess-Control-Allow-Origin: {origin}\r\n\r\n");
        assert!(reply.ends_with(end.as_bytes()), "{origin}");
    }
    assert_eq!(engine.refuses(&Request::new().origin("a,b")), Some(Exit::Origin));
}

#[test]
fn policies_do_not_share_origins() {
    let engine = Engine::new(
        "[[policy]]\nname = \"a\"\nmatch = { hosts = [\"a\"] }\n\
         allow_origins = [\"https://a.example\", \"https://*.a.example\"]\n\
         allow_methods = [\"PUT\"]\n\
         [[policy]]\nname = \"b\"\nmatch = { hosts = [\"b\"] }\n\
         allow_origins = [\"https://b.example\", \"https://*.b.example\"]\n\
         allow_methods = [\"PUT\"]",
    );
    for host in ["a", "b"] {
        for of in ["a", "b"] {
            for origin in [format!("https://{of}.example"), format!("https://x.{of}.example")] {
                let request = Request::new().host(host).origin(&origin);
                assert_eq!(engine.answers(&request), host == of, "{host} {origin}");
            }
        }
    }
}
