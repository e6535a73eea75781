//! What a policy file means, once it has been checked: pure data.
//!
//! Nothing here can hold a refused value. `super::validate` is the only maker of these types,
//! `crate::compile` the reader that turns them into the bytes both tiers look things up in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub use cors_common::tcp::handshake::Handshake;

pub use super::conduct::{Advertise, Conduct, Success, Validate};
pub use super::proxy::{Certificate, CorsHeaders, Limits, Proxy, Scheme, Timeouts, Tls, Upstream};

/// A whole, valid policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The `[server]` table.
    pub server: Server,
    /// The `[admin]` table.
    pub admin: Admin,
    /// Every `[[policy]]`, in the order of the file.
    pub policies: Vec<Policy>,
}

/// Which sockets are protected, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Protected sockets; an unspecified address stands for every address of the interfaces.
    pub listen: Vec<SocketAddr>,
    /// Interfaces named in the file; the command line may name others.
    pub interfaces: Vec<String>,
    /// Whether connections are followed after the hand-over, so that a preflight anywhere on them is
    /// answered.
    pub track: bool,
    /// Who makes the handshakes.
    pub handshake: Handshake,
    /// What the proxy does; absent in sidecar mode.
    pub proxy: Option<Proxy>,
}

impl Server {
    /// Whether connections begin with a PROXY header.
    ///
    /// The driver cannot answer behind one: it would have to acknowledge the header, and then nobody
    /// could give it to the server that takes the connection over. Nor may it answer without one,
    /// since the proxy does not.
    pub fn is_behind_a_header(&self) -> bool {
        self.proxy.as_ref().is_some_and(|proxy| proxy.proxy_protocol)
    }

    /// The sockets on which the driver answers.
    pub fn protected(&self) -> Vec<SocketAddr> {
        if self.is_behind_a_header() { Vec::new() } else { self.listen.clone() }
    }
}

/// Where the agent tells its metrics and its health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admin {
    /// At [`Admin::USUAL`], unless somebody else is there.
    #[default]
    Usual,
    /// Nowhere.
    Off,
    /// Here.
    At(SocketAddr),
}

impl Admin {
    /// Port 9410 of the loopback.
    pub const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9410);
}

/// One `[[policy]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Unique in the file; what counters and messages call it.
    pub name: String,
    /// Hosts it is for, in lower case, without a port; empty: every host.
    ///
    /// A DNS name, an IPv4 address, or an IPv6 address in brackets.
    pub hosts: Vec<String>,
    /// The path prefix it is for; absent: every path.
    ///
    /// Starts with `/` and never ends with one, except for `/` itself, which is given as `None`.
    /// Matches whole path segments: `/v1` takes `/v1` and `/v1/x`, not `/v10`.
    pub path_prefix: Option<String>,
    /// Who may ask.
    pub origins: Origins,
    /// Methods beyond GET, HEAD and POST.
    pub methods: Methods,
    /// Request headers beyond the safelisted ones.
    pub headers: Headers,
    /// Response headers that scripts may read; for actual responses.
    pub expose: Expose,
    /// Whether `Access-Control-Allow-Credentials: true` is sent.
    pub allow_credentials: bool,
    /// `Access-Control-Max-Age`, in seconds; absent: the header is left out.
    pub max_age: Option<u32>,
    /// How its answers look beyond what they say.
    pub conduct: Conduct,
}

/// `allow_origins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// `["*"]`. With `allow_credentials` (only behind `dangerously_allow`) it is reflected.
    Any,
    /// Each pattern of the list, without repetitions.
    List(Vec<OriginPattern>),
}

/// One origin, or a family of them. Matching is byte-exact on the serialized origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OriginPattern {
    /// `https://app.example.com:8443`: exactly these bytes.
    Exact(String),
    /// `https://app.example.com:*`: these bytes (without a port), then no port or any.
    AnyPort(String),
    /// `https://*.example.org`: one or more whole labels before the suffix, never the apex.
    Subdomains {
        /// `http` or `https`.
        scheme: WildcardScheme,
        /// What follows `*.`: at least one whole label, lower case, no leading dot.
        suffix: String,
        /// What may follow the host.
        port: WildcardPort,
    },
}

/// The schemes whose hosts are DNS names, so that subdomains mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WildcardScheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

/// The port of a [`OriginPattern::Subdomains`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WildcardPort {
    /// No port, which is the scheme's default one.
    Default,
    /// This port.
    Exact(u16),
    /// `:*`: no port or any.
    Any,
}

/// `allow_methods`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Methods {
    /// `["*"]`, only without credentials.
    Any,
    /// Case-sensitive tokens, without repetitions, in the order of the file.
    List(Vec<String>),
}

/// `allow_headers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// `"*"` is in the list, only without credentials. It never covers `authorization`.
    pub any: bool,
    /// Lower-case names, without repetitions, in the order of the file.
    pub names: Vec<String>,
}

/// `expose_headers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expose {
    /// `["*"]`, only without credentials.
    Any,
    /// Lower-case names, without repetitions, in the order of the file.
    List(Vec<String>),
}
