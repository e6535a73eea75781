//! What a policy file says, as pairs of a key and one value: to be compared, and to be shown. Pure.

use std::{collections::BTreeSet, fmt::Write as _};

use super::model::{
    Admin, Advertise, Conduct, Config, Expose, Handshake, Methods, OriginPattern, Origins, Policy,
    Validate, WildcardPort, WildcardScheme,
};

/// Keys of the policy file, each with one value; of a list each value by itself.
pub type Values = BTreeSet<(&'static str, String)>;

/// What `[server]` and `[admin]` say.
pub(super) fn server(config: &Config) -> Values {
    let Config { server, admin, policies: _ } = config;
    let mut values = Values::new();
    values.extend(server.listen.iter().map(|socket| ("listen", socket.to_string())));
    values.extend(server.interfaces.iter().map(|name| ("interface", name.clone())));
    values.extend((!server.track).then(|| ("track", "false".to_owned())));
    let handshake = server.handshake;
    values
        .extend((handshake != Handshake::Auto).then(|| ("handshake", handshake.name().to_owned())));
    let admin = match admin {
        Admin::Usual => None,
        Admin::Off => Some("off".to_owned()),
        Admin::At(socket) => Some(socket.to_string()),
    };
    values.extend(admin.map(|admin| ("admin", admin)));
    let upstreams = server.proxy.iter().flat_map(|proxy| &proxy.upstreams);
    values.extend(upstreams.map(|upstream| ("upstream", upstream.to_string())));
    values
}

/// Everything that a policy says, as pairs of a key of the policy file and one value.
pub fn policy(policy: &Policy) -> Values {
    let Policy {
        name: _,
        hosts,
        path_prefix,
        origins,
        methods,
        headers,
        expose,
        allow_credentials,
        max_age,
        conduct,
    } = policy;
    let mut values = Values::new();
    let mut list = |key: &'static str, items: &[String]| {
        values.extend(items.iter().map(|item| (key, item.clone())));
    };
    let any = ["*".to_owned()];
    list("hosts", hosts);
    list("path_prefix", path_prefix.as_slice());
    match methods {
        Methods::Any => list("allow_methods", &any),
        Methods::List(names) => list("allow_methods", names),
    }
    if headers.any {
        list("allow_headers", &any);
    }
    list("allow_headers", &headers.names);
    match expose {
        Expose::Any => list("expose_headers", &any),
        Expose::List(names) => list("expose_headers", names),
    }
    match origins {
        Origins::Any => list("allow_origins", &any),
        Origins::List(patterns) => {
            list("allow_origins", &patterns.iter().map(text).collect::<Vec<_>>());
        }
    }
    if *allow_credentials {
        values.insert(("allow_credentials", "true".to_owned()));
    }
    if let Some(seconds) = max_age {
        values.insert(("max_age", seconds.to_string()));
    }
    values.extend(said(*conduct));
    values
}

/// What a conduct says beyond the usual.
fn said(conduct: Conduct) -> Values {
    let usual = Conduct::default();
    let Conduct { success, denied_status, validate, advertise, expose_on_preflight, enforce } =
        conduct;
    let said = [
        (success != usual.success, "success_status", success.code().to_string()),
        (denied_status != usual.denied_status, "denied_status", denied_status.to_string()),
        (validate == Validate::Static, "validate", "static".to_owned()),
        (advertise == Advertise::Minimal, "advertise", "minimal".to_owned()),
        (expose_on_preflight, "compat", "gateway-api".to_owned()),
        (enforce, "enforce", "true".to_owned()),
    ];
    said.into_iter().filter(|(is_said, ..)| *is_said).map(|(_, key, value)| (key, value)).collect()
}

/// A pattern as the policy file has it.
fn text(pattern: &OriginPattern) -> String {
    match pattern {
        OriginPattern::Exact(origin) => origin.clone(),
        OriginPattern::AnyPort(origin) => format!("{origin}:*"),
        OriginPattern::Subdomains { scheme, suffix, port } => {
            let scheme = match scheme {
                WildcardScheme::Http => "http",
                WildcardScheme::Https => "https",
            };
            let mut text = format!("{scheme}://*.{suffix}");
            // Writing to a string cannot fail.
            let _ = match port {
                WildcardPort::Default => Ok(()),
                WildcardPort::Exact(port) => write!(text, ":{port}"),
                WildcardPort::Any => write!(text, ":*"),
            };
            text
        }
    }
}
