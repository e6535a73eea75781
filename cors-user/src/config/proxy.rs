//! `[server]`, as far as it is about forwarding: upstreams, TLS, limits, time-outs. Pure.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::conduct::choice;
use super::problem::{At, Problems, Reason};
use super::raw::{Field, List, Number, Server};
use super::server;

/// What the proxy does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where requests go, in turn; never none.
    pub upstreams: Vec<Upstream>,
    /// Certificates that upstreams are known by, as a PEM file; absent: the system's.
    pub upstream_ca: Option<PathBuf>,
    /// What becomes of CORS headers that an upstream sends.
    pub cors_headers: CorsHeaders,
    /// Every connection begins with a PROXY header, v1 or v2.
    pub proxy_protocol: bool,
    /// Peers whose `X-Forwarded-*` and `Forwarded` are believed.
    pub trusted: Vec<IpNet>,
    /// Sockets on which TLS is spoken.
    pub tls: Option<Tls>,
    /// What is refused because it is too much.
    pub limits: Limits,
    /// What is given up because it takes too long.
    pub timeouts: Timeouts,
}

/// A server to forward to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// What is spoken to it.
    pub scheme: Scheme,
    /// A DNS name, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    /// Absent: that of the scheme.
    pub port: Option<u16>,
}

/// What is spoken to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS, and without asking first whether it is spoken (RFC 9113 §3.3).
    H2c,
    /// By TLS HTTP/2 or HTTP/1.1, whichever the upstream chooses.
    Https,
}

impl Scheme {
    const ALL: [Self; 3] = [Self::Http, Self::H2c, Self::Https];

    /// How a URL begins.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Http => "http://",
            Self::H2c => "h2c://",
            Self::Https => "https://",
        }
    }

    /// The scheme of a URL, and what follows it.
    pub(super) fn of(url: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().find_map(|scheme| Some((scheme, url.strip_prefix(scheme.text())?)))
    }
}

/// What becomes of CORS headers that an upstream sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CorsHeaders {
    /// The policy's are put in their place.
    #[default]
    Replace,
    /// Where there are any they are left as they are.
    Passthrough,
}

/// Sockets on which TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The sockets.
    pub listen: Vec<SocketAddr>,
    /// Never none; the first is for clients that name no server, or none that another is for.
    pub certificates: Vec<Certificate>,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate and those that lead to its root.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What is refused because it is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Header lines of a request.
    pub headers: usize,
    /// Bytes of a request's body; absent: any number.
    pub body_bytes: Option<u64>,
    /// Connections of clients.
    pub connections: usize,
    /// Requests that wait for an upstream or read its answer.
    pub in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 32_768,
            headers: 100,
            body_bytes: None,
            connections: 16_384,
            in_flight: 4096,
        }
    }
}

/// What is given up because it takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A connection to an upstream.
    pub connect: Duration,
    /// A whole head, from its first byte; a TLS handshake likewise.
    pub header: Duration,
    /// A connection on which nothing goes on.
    pub idle: Duration,
    /// The head of an upstream's answer.
    pub response: Duration,
    /// A whole request with its answer; absent: any time.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            header: Duration::from_secs(15),
            idle: Duration::from_mins(1),
            response: Duration::from_mins(1),
            total: None,
        }
    }
}

impl Upstream {
    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.scheme == Scheme::Https { 443 } else { 80 })
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.scheme.text(), self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Keys of `[server.limits]`.
pub(super) const LIMITS: &[&str] =
    &["head_bytes", "headers", "body_bytes", "connections", "in_flight"];
/// Keys of `[server.timeouts]`.
pub(super) const TIMEOUTS: &[&str] = &["connect", "header", "idle", "response", "total"];

/// Reads what `[server]` says about forwarding. What is wrong is left out.
pub(super) fn proxy(raw: &At<Server>, problems: &mut Problems) -> Option<Proxy> {
    let server = &raw.value;
    let upstreams = upstreams(&server.upstream, problems);
    let upstream_ca = ca(server, &upstreams, problems);
    let cors_headers = server.upstream_cors_headers.given().and_then(|at| {
        const KNOWN: &[(&str, CorsHeaders)] =
            &[("replace", CorsHeaders::Replace), ("passthrough", CorsHeaders::Passthrough)];
        choice(at, KNOWN, problems)
    });
    let trusted = list(&server.trusted_proxies).iter().filter_map(|at| network(at, problems));
    let trusted = trusted.collect();
    let tls = tls(server, problems);
    let limits = limits(&server.limits, problems);
    let timeouts = timeouts(&server.timeouts, problems);
    if server.upstream.is_absent() {
        needs_upstream(server, problems);
        return None;
    }
    Some(Proxy {
        upstreams,
        upstream_ca,
        cors_headers: cors_headers.unwrap_or_default(),
        proxy_protocol: server.proxy_protocol.given().is_some_and(|at| at.value),
        trusted,
        tls,
        limits,
        timeouts,
    })
}

/// Says so where something is about forwarding, and there is nowhere to forward to.
fn needs_upstream(server: &Server, problems: &mut Problems) {
    fn place<T>(field: &Field<T>) -> Option<At<()>> {
        field.given().map(At::place)
    }
    let places = [
        place(&server.upstream_ca),
        place(&server.upstream_cors_headers),
        place(&server.proxy_protocol),
        place(&server.trusted_proxies),
        place(&server.tls),
        place(&server.limits),
        place(&server.timeouts),
    ];
    for At { path, span, .. } in places.into_iter().flatten() {
        let at = At { value: path.clone(), path, span };
        let hint = "only the proxy does this: say where it forwards to, with `upstream`";
        problems.error(&at, Reason::Incompatible, hint);
    }
}

fn upstreams(field: &Field<List<String>>, problems: &mut Problems) -> Vec<Upstream> {
    let Some(list) = field.given() else { return Vec::new() };
    if list.value.is_empty {
        let hint = "name a server to forward to: upstream = \"http://127.0.0.1:8080\"";
        problems.missing(&list.place(), "", hint);
    }
    let mut upstreams = Vec::new();
    for item in &list.value.items {
        // A single text stands where the list would.
        let span = if item.path == list.path { list.span.clone() } else { item.span.clone() };
        let at = At { span, ..item.clone() };
        match server::upstream(&at.value) {
            Ok(upstream) if upstreams.contains(&upstream) => {
                let hint = "it is in the list already: remove it";
                problems.error(&at, Reason::Incompatible, hint);
            }
            Ok(upstream) => upstreams.push(upstream),
            Err(error) => problems.error(&at, Reason::Invalid, error.to_string()),
        }
    }
    upstreams
}

/// The file of roots, where there is anything to know by them.
fn ca(server: &Server, upstreams: &[Upstream], problems: &mut Problems) -> Option<PathBuf> {
    let at = server.upstream_ca.given()?;
    if at.value.is_empty() {
        problems.missing(&at.place(), "", "name a PEM file");
    } else if !upstreams.is_empty()
        && upstreams.iter().all(|upstream| upstream.scheme != Scheme::Https)
    {
        let hint = "no upstream has a certificate: write its URL with https://, or leave this out";
        problems.error(at, Reason::Incompatible, hint);
    }
    Some(PathBuf::from(&at.value))
}

fn network(at: &At<String>, problems: &mut Problems) -> Option<IpNet> {
    let parsed = at.value.parse::<IpNet>().ok();
    let parsed = parsed.or_else(|| at.value.parse::<IpAddr>().ok().map(IpNet::from));
    if parsed.is_none() {
        let hint = "write an address or a network of addresses, such as `10.0.0.0/8`";
        problems.error(at, Reason::Invalid, hint);
    }
    parsed
}

fn tls(server: &Server, problems: &mut Problems) -> Option<Tls> {
    let at = server.tls.given()?;
    let raw = &at.value;
    let plain = list(&server.listen);
    if raw.listen.is_absent() {
        let hint = "name the sockets on which TLS is spoken: listen = [\"0.0.0.0:443\"]";
        problems.missing(&at.place(), "listen", hint);
    }
    let listen = server::sockets(list(&raw.listen), problems);
    for socket in list(&raw.listen) {
        if plain.iter().any(|other| other.value == socket.value) {
            let hint = "it is in server.listen too, and one socket speaks TLS or not";
            problems.error(socket, Reason::Incompatible, hint);
        }
    }
    let certificates = list(&raw.certificates);
    if raw.certificates.is_absent() || raw.certificates.given().is_some_and(|l| l.value.is_empty) {
        let hint =
            "name the certificate and its key: certificates = [{ chain = \"…\", key = \"…\" }]";
        problems.missing(&at.place(), "certificates", hint);
    }
    let mut files = Vec::new();
    for at in certificates {
        let mut file = |key: &'static str, field: &Field<String>| match field.given() {
            Some(text) if text.value.is_empty() => {
                problems.missing(&text.place(), "", "name a PEM file");
                None
            }
            Some(text) => Some(PathBuf::from(&text.value)),
            None => {
                if field.is_absent() {
                    problems.missing(&at.place(), key, "name a PEM file");
                }
                None
            }
        };
        let chain = file("chain", &at.value.chain);
        let key = file("key", &at.value.key);
        if let (Some(chain), Some(key)) = (chain, key) {
            files.push(Certificate { chain, key });
        }
    }
    Some(Tls { listen, certificates: files })
}

fn limits(field: &Field<Vec<Number>>, problems: &mut Problems) -> Limits {
    let mut limits = Limits::default();
    let mut number = |key, least, most| number(field, key, least, most, problems);
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    if let Some(bytes) = number("head_bytes", 1024, 1 << 20) {
        limits.head_bytes = size(bytes);
    }
    if let Some(count) = number("headers", 10, 10_000) {
        limits.headers = size(count);
    }
    limits.body_bytes = number("body_bytes", 1, 1 << 60);
    if let Some(count) = number("connections", 1, 10_000_000) {
        limits.connections = size(count);
    }
    if let Some(count) = number("in_flight", 1, 10_000_000) {
        limits.in_flight = size(count);
    }
    limits
}

fn timeouts(field: &Field<Vec<Number>>, problems: &mut Problems) -> Timeouts {
    const DAY: u64 = 86_400;
    let mut timeouts = Timeouts::default();
    let mut seconds = |key| number(field, key, 1, DAY, problems).map(Duration::from_secs);
    for (key, time) in [
        ("connect", &mut timeouts.connect),
        ("header", &mut timeouts.header),
        ("idle", &mut timeouts.idle),
        ("response", &mut timeouts.response),
    ] {
        if let Some(given) = seconds(key) {
            *time = given;
        }
    }
    timeouts.total = seconds("total");
    timeouts
}

fn number(
    field: &Field<Vec<Number>>,
    key: &str,
    least: u64,
    most: u64,
    problems: &mut Problems,
) -> Option<u64> {
    let numbers = &field.given()?.value;
    let at = numbers.iter().find(|number| number.key == key)?.value.given()?;
    match at.value.parse() {
        Ok(number) if (least..=most).contains(&number) => Some(number),
        _ => {
            let hint = format!("write a number from {least} to {most}, or leave it out");
            problems.error(at, Reason::Invalid, hint);
            None
        }
    }
}

fn list<T>(field: &Field<List<T>>) -> &[At<T>] {
    field.given().map_or(&[], |list| &list.value.items)
}
