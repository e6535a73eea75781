//! What `[server]` says about forwarding, and what a policy says about how its answers look.

use std::time::Duration;

use super::*;
use crate::config::model::{Advertise, CorsHeaders, Success, Validate};

/// A file with these lines in `[server]`.
fn server(lines: &str) -> String {
    with("").replacen("[server]\n", &format!("[server]\n{lines}\n"), 1)
}

/// A file with these lines behind everything in `[server]`.
fn tables(lines: &str) -> String {
    let text = server("upstream = \"http://app\"");
    text.replacen("[[policy]]", &format!("{lines}\n[[policy]]"), 1)
}

#[test]
fn everything_that_can_be_said() {
    let text = tables(
        "upstream_cors_headers = \"passthrough\"\nproxy_protocol = true\n\
         trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n\
         [server.tls]\nlisten = [\"0.0.0.0:443\"]\n\
         certificates = [{ chain = \"/a.pem\", key = \"/a.key\" }]\n\
         [server.limits]\nhead_bytes = 4096\nbody_bytes = 1_000\nin_flight = 7\n\
         [server.timeouts]\nconnect = 1\ntotal = 30",
    );
    let proxy = config(&text).server.proxy.unwrap();
    assert_eq!(proxy.cors_headers, CorsHeaders::Passthrough);
    assert!(proxy.proxy_protocol);
    assert_eq!(proxy.trusted, ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    assert_eq!(proxy.tls.unwrap().certificates.len(), 1);
    let limits = proxy.limits;
    assert_eq!((limits.head_bytes, limits.headers, limits.in_flight), (4096, 100, 7));
    assert_eq!(limits.body_bytes, Some(1000));
    assert_eq!(proxy.timeouts.connect, Duration::from_secs(1));
    assert_eq!(proxy.timeouts.total, Some(Duration::from_secs(30)));

    let text = server(
        "upstream = [\"http://a\", \"https://b:8443\", \"h2c://c\", \"https://d\"]\n\
         upstream_ca = \"/ca.pem\"",
    );
    let proxy = config(&text).server.proxy.unwrap();
    let names = proxy.upstreams.iter().map(|u| format!("{u} {} {:?}", u.port(), u.scheme));
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["http://a 80 Http", "https://b:8443 8443 Https", "h2c://c 80 H2c", "https://d 443 Https"]
    );
    assert_eq!(proxy.upstream_ca.unwrap().to_str(), Some("/ca.pem"));
}

#[test]
fn what_is_wrong_is_said_where_it_is() {
    for (source, path, reason, hint) in [
        (server("upstream = []"), "server.upstream", Missing, "name a server"),
        (server("upstream = 1"), "server.upstream", Invalid, "expected a string"),
        (server("upstream = \"ftp://a\""), "server.upstream", Invalid, "https://"),
        (
            server("upstream = [\"http://a\", \"http://a\"]"),
            "server.upstream[1]",
            Incompatible,
            "already",
        ),
        (server("proxy_protocol = true"), "server.proxy_protocol", Incompatible, "upstream"),
        (server("trusted_proxies = []"), "server.trusted_proxies", Incompatible, "upstream"),
        (
            tables("upstream_cors_headers = \"repalce\""),
            "server.upstream_cors_headers",
            Invalid,
            "did you mean \"replace\"?",
        ),
        (
            tables("trusted_proxies = [\"10.0.0.0/40\"]"),
            "server.trusted_proxies[0]",
            Invalid,
            "10.0.0.0/8",
        ),
        (
            tables("[server.tls]\nlisten = [\"0.0.0.0:443\"]"),
            "server.tls.certificates",
            Missing,
            "chain",
        ),
        (
            tables("[server.tls]\ncertificates = [{ chain = \"a\", key = \"b\" }]"),
            "server.tls.listen",
            Missing,
            "0.0.0.0:443",
        ),
        (
            tables("[server.tls]\nlisten = [\"0.0.0.0:443\"]\ncertificates = [{ chain = \"a\" }]"),
            "server.tls.certificates[0].key",
            Missing,
            "PEM",
        ),
        (
            tables(
                "[server.tls]\nlisten = [\"0.0.0.0:80\"]\ncertificates = [{ chain = \"a\", key = \"b\" }]",
            ),
            "server.tls.listen[0]",
            Incompatible,
            "TLS or not",
        ),
        (tables("[server.limits]\nheaders = 5"), "server.limits.headers", Invalid, "from 10 to"),
        (
            tables("[server.limits]\nheader = 50"),
            "server.limits.header",
            Invalid,
            "did you mean `headers`?",
        ),
        (tables("[server.timeouts]\nidle = 0"), "server.timeouts.idle", Invalid, "from 1 to"),
        (
            tables("[server.timeouts]\nidle = \"1s\""),
            "server.timeouts.idle",
            Invalid,
            "whole number",
        ),
        (with("compat = \"gateway\""), "policy[0].compat", Invalid, "gateway-api"),
        (with("enforce = 1"), "policy[0].enforce", Invalid, "true or false"),
        (
            with("preflight = { success_status = 201 }"),
            "policy[0].preflight.success_status",
            Invalid,
            "204",
        ),
        (
            with("preflight = { denied_status = 500 }"),
            "policy[0].preflight.denied_status",
            Invalid,
            "400 to 499",
        ),
        (
            with("preflight = { validate = \"none\" }"),
            "policy[0].preflight.validate",
            Invalid,
            "strict",
        ),
        (
            with("preflight = { validate = \"static\", advertise = \"minimal\" }"),
            "policy[0].preflight.advertise",
            Incompatible,
            "unseen",
        ),
    ] {
        let errors = errors(&source);
        assert_eq!(errors.len(), 1, "{source}\n{errors:#?}");
        let error = &errors[0];
        assert_eq!((&*error.path, error.reason), (path, reason), "{source}\n{error:#?}");
        assert!(error.hint.contains(hint), "{hint}: {error:#?}");
        assert!(error.span.end > 0, "{error:#?}");
    }
}

#[test]
fn how_answers_look() {
    let conduct = |lines: &str| config(&with(lines)).policies[0].conduct;
    assert_eq!(conduct("").denied_status, 403);
    let said = conduct(
        "enforce = true\npreflight = { success_status = 200, denied_status = 404, \
         validate = \"static\" }",
    );
    assert!(said.enforce && !said.expose_on_preflight && !said.is_made_to_measure());
    assert_eq!((said.success, said.denied_status), (Success::Ok, 404));
    assert_eq!((said.validate, said.advertise), (Validate::Static, Advertise::Full));
    let gateway = &config(&with("compat = \"gateway-api\"")).policies[0];
    assert_eq!((gateway.max_age, gateway.conduct.expose_on_preflight), (Some(5), true));
    let gateway = &config(&with("compat = \"gateway-api\"\nmax_age = 60")).policies[0];
    assert_eq!(gateway.max_age, Some(60));
    let warnings = warnings(&with("preflight = { advertise = \"minimal\" }"));
    assert!(warnings[0].1.contains("slow path alone"), "{warnings:?}");
}

#[test]
fn what_is_wrong_with_upstreams() {
    for (source, path, reason, hint) in [
        (server("upstream = \"h2://a\""), "server.upstream", Invalid, "h2c://"),
        (server("upstream_ca = \"/ca.pem\""), "server.upstream_ca", Incompatible, "upstream"),
        (
            server("upstream = [\"http://a\", \"h2c://b\"]\nupstream_ca = \"/ca.pem\""),
            "server.upstream_ca",
            Incompatible,
            "no upstream has a certificate",
        ),
        (
            server("upstream = \"https://a\"\nupstream_ca = \"\""),
            "server.upstream_ca",
            Missing,
            "PEM",
        ),
    ] {
        let errors = errors(&source);
        assert_eq!(errors.len(), 1, "{source}\n{errors:#?}");
        assert_eq!((&*errors[0].path, errors[0].reason), (path, reason), "{source}");
        assert!(errors[0].hint.contains(hint), "{hint}: {errors:#?}");
    }
}
