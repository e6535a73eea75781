//! The refusals, each with a sample that is refused and one that is almost refused.

use super::*;

#[test]
#[expect(clippy::too_many_lines, reason = "one row for each of the refusals, to be read as one")]
fn the_26_refusals_and_their_near_misses() {
    let label = |n: usize| "a".repeat(n);
    let host = |n: usize| format!("{0}.{0}.{0}.{1}", label(63), label(n - 192));
    let origins = "policy[0].allow_origins[0]";
    let methods = "policy[0].allow_methods[0]";
    let headers = "policy[0].allow_headers[0]";
    let expose = "policy[0].expose_headers[0]";
    let credentials = "\nallow_credentials = true";
    let table: Vec<(u8, String, &str, Reason, String)> = vec![
        (1, policy(""), "policy[0].allow_origins", Missing, with("")),
        (1, policy("allow_origins = []"), "policy[0].allow_origins", Missing, origin("*")),
        (2, origin("null"), origins, Prohibited, origin("https://null")),
        (3, origin("file://"), origins, Prohibited, origin("filesystem://a")),
        (4, origin(&format!("https://{}", label(319))), origins, Invalid, {
            origin(&format!("{}://{}:65535", label(64), host(253)))
        }),
        (4, origin(&format!("{}://a", label(65))), origins, Invalid, {
            origin(&format!("{}://a", label(64)))
        }),
        (4, origin(&format!("https://{}", host(254))), origins, Invalid, {
            origin(&format!("https://{}", host(253)))
        }),
        (5, origin("HTTPS://a.example"), origins, Invalid, origin("https://a.example")),
        (5, origin("1a://a.example"), origins, Invalid, origin("a1://a.example")),
        (5, origin("a.example"), origins, Invalid, origin("a://a.example")),
        (6, origin("https://me@a.example"), origins, Invalid, origin("https://me.a.example")),
        (6, origin("https://a.example/p"), origins, Invalid, origin("https://p.a.example")),
        (6, origin("https://a.example/"), origins, Invalid, origin("https://a.example")),
        (6, origin("https://a.example?q"), origins, Invalid, origin("https://a.example")),
        (6, origin("https://a.example#f"), origins, Invalid, origin("https://a.example")),
        (6, origin("https://a.example "), origins, Invalid, origin("https://a.example")),
        (7, origin("https://A.example"), origins, Invalid, origin("https://a.example")),
        (7, origin("https://ä.example"), origins, Invalid, origin("https://xn--4ca.example")),
        (7, origin("https://a~b.example"), origins, Invalid, origin("https://a_b.example")),
        (8, origin("https://xn--a.example"), origins, Invalid, origin("https://xn--4ca.example")),
        (8, origin("https://a..example"), origins, Invalid, origin("https://a.example")),
        (8, origin(&format!("https://{}.b", label(64))), origins, Invalid, {
            origin(&format!("https://{}.b", label(63)))
        }),
        (9, origin("https://a.*.example"), origins, Invalid, origin("https://*.a.example")),
        (9, origin("https://*a.example"), origins, Invalid, origin("https://*.a.example")),
        (9, origin("https://*.10.0.0.1"), origins, Invalid, origin("https://*.10.0.0.example")),
        (10, origin("https://1.2.3.04"), origins, Invalid, origin("https://1.2.3.4")),
        (10, origin("https://1.2.3"), origins, Invalid, origin("https://1.2.3.a")),
        (10, origin("https://foo.123"), origins, Invalid, origin("https://foo.123a")),
        (11, origin("https://[0::1]"), origins, Invalid, origin("https://[::1]")),
        (11, origin("https://[::ffff:a00:1]"), origins, Invalid, origin("https://[::fffe:a00:1]")),
        (12, origin("https://a:0"), origins, Invalid, origin("https://a:1")),
        (12, origin("https://a:65536"), origins, Invalid, origin("https://a:65535")),
        (12, origin("https://a:08443"), origins, Invalid, origin("https://a:8443")),
        (12, origin("https://a:"), origins, Invalid, origin("https://a:*")),
        (13, origin("https://a:443"), origins, Invalid, origin("http://a:443")),
        (13, origin("http://a:80"), origins, Invalid, origin("https://a:80")),
        (14, trusted("*"), origins, Incompatible, origin("*")),
        (15, trusted("http://a.example"), origins, Prohibited, origin("http://a.example")),
        (15, trusted("http://10.0.0.1"), origins, Prohibited, trusted("http://127.0.0.1")),
        (15, trusted("http://nolocalhost"), origins, Prohibited, trusted("http://localhost:1")),
        (16, trusted("https://*.co.uk"), origins, Prohibited, trusted("https://*.a.co.uk")),
        (16, trusted("https://*.github.io"), origins, Prohibited, origin("https://*.github.io")),
        (
            17,
            with("allow_methods = [\"P T\"]"),
            methods,
            Invalid,
            with("allow_methods = [\"P-T\"]"),
        ),
        (17, with("allow_methods = [\"\"]"), methods, Invalid, with("allow_methods = [\"~\"]")),
        (18, with("allow_methods = [\"TRACE\"]"), methods, Forbidden, {
            with("allow_methods = [\"TRACES\"]")
        }),
        (18, with("allow_methods = [\"connect\"]"), methods, Forbidden, {
            with("allow_methods = [\"OPTIONS\"]")
        }),
        (19, with("allow_headers = [\"a:\"]"), headers, Invalid, with("allow_headers = [\"a\"]")),
        (20, with("allow_headers = [\"Cookie\"]"), headers, Forbidden, {
            with("allow_headers = [\"x-cookie\"]")
        }),
        (20, with("allow_headers = [\"sec-ch-ua\"]"), headers, Forbidden, {
            with("allow_headers = [\"secret\"]")
        }),
        (21, with("allow_headers = [\"Access-Control-Allow-Origin\"]"), headers, Prohibited, {
            with("allow_headers = [\"x-access-control-allow-origin\"]")
        }),
        (22, with("max_age = 86401"), "policy[0].max_age", Invalid, with("max_age = 86400")),
        (22, with("max_age = -1"), "policy[0].max_age", Invalid, with("max_age = 0")),
        (
            22,
            with("max_age = 99999999999999999999999999999999999999999"),
            { "policy[0].max_age" },
            Invalid,
            with("max_age = 0x1_0"),
        ),
        (
            23,
            with("expose_headers = [\"a b\"]"),
            expose,
            Invalid,
            with("expose_headers = [\"ab\"]"),
        ),
        (24, with("expose_headers = [\"Set-Cookie\"]"), expose, Forbidden, {
            with("expose_headers = [\"x-set-cookie\"]")
        }),
        (25, with("expose_headers = [\"access-control-max-age\"]"), expose, Prohibited, {
            with("expose_headers = [\"age\"]")
        }),
        (26, with(&format!("expose_headers = [\"*\"]{credentials}")), expose, Incompatible, {
            with("expose_headers = [\"*\"]")
        }),
    ];
    for (number, refused, path, reason, accepted) in &table {
        let errors = errors(refused);
        assert_eq!(errors.len(), 1, "{number}: {refused}\n{errors:#?}");
        assert_eq!((&*errors[0].path, errors[0].reason), (*path, *reason), "{number}: {refused}");
        assert!(!errors[0].hint.is_empty(), "{number}");
        assert!(parse(accepted).config.is_ok(), "{number}: {accepted}\n{:#?}", parse(accepted));
    }
    let mut numbers: Vec<u8> = table.iter().map(|row| row.0).collect();
    numbers.dedup();
    assert_eq!(numbers, (1..=26).collect::<Vec<u8>>());
}

#[test]
fn dangers_one_by_one() {
    let allow =
        |origin: &str, words: &str| format!("{}dangerously_allow = [{words}]\n", trusted(origin));
    for (origin, word) in [
        ("*", "\"reflect_any_with_credentials\""),
        ("http://a.example", "\"insecure_origins\""),
        ("https://*.com", "\"public_suffix_wildcards\""),
    ] {
        assert_eq!(errors(&trusted(origin)).len(), 1, "{origin}");
        assert_eq!(warnings(&allow(origin, word)), [], "{origin}");
        for other in ["reflect_any_with_credentials", "insecure_origins", "public_suffix_wildcards"]
        {
            let permitted = parse(&allow(origin, &format!("\"{other}\"")));
            assert_eq!(permitted.config.is_ok(), word.contains(other), "{origin} {other}");
        }
    }
    let both = allow("http://*.com", "\"insecure_origins\", \"public_suffix_wildcards\"");
    assert_eq!(warnings(&both), []);
    assert_eq!(errors(&trusted("http://*.com")).len(), 2);
    let unneeded = warnings(&allow("https://a.example", "\"insecure_origins\""));
    assert_eq!(unneeded[0].0, "policy[0].dangerously_allow[0]");
    assert_eq!(unneeded[0].1, "nothing in this policy needs it: remove it");
    let unknown = errors(&allow("https://a.example", "\"insecure_origin\""));
    assert_eq!(unknown[0].hint, "did you mean `insecure_origins`?");
}

#[test]
fn no_wildcards_with_credentials() {
    for list in ["allow_methods", "allow_headers", "expose_headers"] {
        let star = with(&format!("{list} = [\"*\"]"));
        assert_eq!(warnings(&star), [], "{list}");
        let errors = errors(&format!("{star}allow_credentials = true"));
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].path, format!("policy[0].{list}[0]"));
        assert_eq!(errors[0].reason, Incompatible);
    }
}
