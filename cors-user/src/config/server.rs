//! `[server]`: which sockets are protected, on which interfaces, and what is behind them. Pure.

use std::net::{IpAddr, SocketAddr};

use super::conduct::choice;
use super::host::{self, HostError};
use super::lists::repeated;
use super::model::{self, Handshake};
use super::problem::{At, Problems, Reason};
use super::proxy;
use super::raw::{Field, List, Raw, Server};

/// The longest name of a network interface: the kernel's `IFNAMSIZ` without the NUL.
const MAX_INTERFACE: usize = 15;

const LISTEN_HINT: &str = "name the sockets to protect: listen = [\"0.0.0.0:80\"]";

/// Why a text is no socket to protect; the message says what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum ListenError {
    #[error("write an address and a port: `0.0.0.0:80`, or `[::]:80` for IPv6")]
    Form,
    #[error("name the port as a number from 1 to 65535")]
    Port,
    #[error("TCP connects to one host only: write an address that is not a multicast one")]
    Multicast,
    #[error("connections to this address are IPv4 on the wire: write `{0}`")]
    Mapped(SocketAddr),
}

/// Why a text is no upstream; the message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UpstreamError {
    #[error(
        "write a URL such as `http://127.0.0.1:8080`, or one with https://, or with h2c:// for \
         HTTP/2 without TLS"
    )]
    Scheme,
    #[error("write only the origin: requests keep their own path and query")]
    Path,
    #[error("write it without user name and password: requests keep their own credentials")]
    UserInfo,
    #[error("the port is a number from 1 to 65535")]
    Port,
    #[error("{0}")]
    Host(#[from] HostError),
}

/// Reads `[server]`. What is wrong is left out.
pub(super) fn server(raw: &Raw, problems: &mut Problems) -> model::Server {
    let mut server = model::Server {
        listen: Vec::new(),
        interfaces: Vec::new(),
        track: true,
        handshake: Handshake::default(),
        proxy: None,
    };
    match &raw.server {
        Field::Absent => {
            let start = At { path: String::new(), span: 0..0, value: () };
            problems.missing(&start, "server", format!("add [server], and {LISTEN_HINT}"));
        }
        Field::Wrong => {}
        Field::Given(at) => {
            server.listen = listen(at, problems);
            server.interfaces = interfaces(&at.value.interface, problems);
            server.track = at.value.track.given().is_none_or(|at| at.value);
            server.handshake = handshake(&at.value.handshake, server.track, problems);
            server.proxy = proxy::proxy(at, problems);
        }
    }
    server
}

fn handshake(field: &Field<String>, tracks: bool, problems: &mut Problems) -> Handshake {
    const KNOWN: &[(&str, Handshake)] = &[
        (Handshake::Auto.name(), Handshake::Auto),
        (Handshake::Xdp.name(), Handshake::Xdp),
        (Handshake::Kernel.name(), Handshake::Kernel),
    ];
    let Some(at) = field.given() else { return Handshake::default() };
    let handshake = choice(at, KNOWN, problems).unwrap_or_default();
    if handshake == Handshake::Kernel && !tracks {
        problems.error(
            at,
            Reason::Incompatible,
            "with `track = false` connections that the kernel accepts are not followed, and nothing \
             would ever be answered: leave one of the two out",
        );
    }
    handshake
}

fn listen(server: &At<Server>, problems: &mut Problems) -> Vec<SocketAddr> {
    match &server.value.listen {
        Field::Absent => {
            problems.missing(&server.place(), "listen", LISTEN_HINT);
            Vec::new()
        }
        Field::Wrong => Vec::new(),
        Field::Given(list) => {
            if list.value.is_empty {
                problems.missing(&list.place(), "", LISTEN_HINT);
            }
            sockets(&list.value.items, problems)
        }
    }
}

pub(super) fn sockets(list: &[At<String>], problems: &mut Problems) -> Vec<SocketAddr> {
    let mut sockets: Vec<(SocketAddr, &At<String>)> = Vec::new();
    for at in list {
        match socket(&at.value) {
            Ok(socket) => {
                if sockets.iter().any(|(earlier, _)| *earlier == socket) {
                    let hint = "it is in the list already: remove it";
                    problems.error(at, Reason::Incompatible, hint);
                } else {
                    sockets.push((socket, at));
                }
            }
            Err(error) => problems.error(at, Reason::Invalid, error.to_string()),
        }
    }
    for (narrow, at) in &sockets {
        let wide = sockets.iter().find(|(wide, _)| {
            wide != narrow
                && wide.ip().is_unspecified()
                && wide.is_ipv4() == narrow.is_ipv4()
                && wide.port() == narrow.port()
        });
        if let Some((wide, _)) = wide {
            let hint = format!("`{wide}` covers it already: remove one of the two");
            problems.warning(at, Reason::Incompatible, hint);
        }
    }
    sockets.into_iter().map(|(socket, _)| socket).collect()
}

fn socket(text: &str) -> Result<SocketAddr, ListenError> {
    let Ok(socket) = text.parse::<SocketAddr>() else {
        let host = text.strip_suffix(':').unwrap_or(text);
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let is_address = bare.parse::<IpAddr>().is_ok();
        let has_host = text.rsplit_once(':').is_some_and(|(host, port)| {
            format!("{host}:1").parse::<SocketAddr>().is_ok()
                && port.bytes().all(|b| b.is_ascii_digit())
        });
        return Err(if is_address || has_host { ListenError::Port } else { ListenError::Form });
    };
    if socket.port() == 0 {
        return Err(ListenError::Port);
    }
    if socket.ip().is_multicast() {
        return Err(ListenError::Multicast);
    }
    if let IpAddr::V6(v6) = socket.ip()
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        return Err(ListenError::Mapped((v4, socket.port()).into()));
    }
    Ok(socket)
}

fn interfaces(field: &Field<List<String>>, problems: &mut Problems) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for at in field.given().into_iter().flat_map(|list| &list.value.items) {
        if names.contains(&at.value) {
            repeated(at, problems);
        } else if is_interface(&at.value) {
            names.push(at.value.clone());
        } else {
            let hint = format!(
                "write the name that `ip link` shows: 1 to {MAX_INTERFACE} bytes, without slash, \
                 colon and white space"
            );
            problems.error(at, Reason::Invalid, hint);
        }
    }
    names
}

/// The kernel's `dev_valid_name`, and nothing unprintable.
fn is_interface(name: &str) -> bool {
    (1..=MAX_INTERFACE).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.chars().any(|c| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}

pub(super) fn upstream(text: &str) -> Result<model::Upstream, UpstreamError> {
    let (scheme, rest) = model::Scheme::of(text).ok_or(UpstreamError::Scheme)?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '\\']) {
        return Err(UpstreamError::Path);
    }
    if authority.contains('@') {
        return Err(UpstreamError::UserInfo);
    }
    // The colons of an address in brackets are inside them.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if let Ok(address) = authority.parse() {
        return Err(HostError::BareV6(address).into());
    }
    host::parse(host)?;
    let is_port = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0)
    };
    if port.is_some_and(|port| !is_port(port)) {
        return Err(UpstreamError::Port);
    }
    let port = port.and_then(|port| port.parse().ok());
    Ok(model::Upstream { scheme, host: host.to_owned(), port })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses() {
        for text in ["0.0.0.0:80", "10.0.0.1:65535", "[::]:1", "[2001:db8::1]:8080"] {
            assert_eq!(socket(text).unwrap().to_string(), text);
        }
        for (text, expected) in [
            ("", ListenError::Form),
            (":80", ListenError::Form),
            ("80", ListenError::Form),
            ("localhost:80", ListenError::Form),
            ("*:80", ListenError::Form),
            ("::1:x", ListenError::Form),
            ("1.2.3.4", ListenError::Port),
            ("1.2.3.4:", ListenError::Port),
            ("1.2.3.4:0", ListenError::Port),
            ("1.2.3.4:65536", ListenError::Port),
            ("[::1]", ListenError::Port),
            ("224.0.0.1:80", ListenError::Multicast),
            ("[ff02::1]:80", ListenError::Multicast),
            ("[::ffff:1.2.3.4]:80", ListenError::Mapped(([1, 2, 3, 4], 80).into())),
        ] {
            assert_eq!(socket(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn interface_names() {
        for name in ["eth0", "a", "wg-site.12", "123456789012345"] {
            assert!(is_interface(name), "{name}");
        }
        for name in ["", "1234567890123456", "a/b", "a b", "a\t", ".", "..", "eth0:1", "a\0"] {
            assert!(!is_interface(name), "{name:?}");
        }
    }

    #[test]
    fn upstreams() {
        use UpstreamError as E;
        for (text, expected) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://app", "http://app"),
            ("http://[::1]:80", "http://[::1]:80"),
            ("http://[::1]", "http://[::1]"),
            ("https://app:8443", "https://app:8443"),
            ("h2c://app:8443/", "h2c://app:8443"),
        ] {
            let upstream = upstream(text).map(|upstream| upstream.to_string());
            assert_eq!(upstream.as_deref(), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("", E::Scheme),
            ("127.0.0.1:8080", E::Scheme),
            ("unix:/run/app", E::Scheme),
            ("h2://app", E::Scheme),
            ("HTTP://app", E::Scheme),
            ("http://app/base", E::Path),
            ("http://app?x", E::Path),
            ("http://app//", E::Path),
            ("http://me:pw@app", E::UserInfo),
            ("http://", E::Host(HostError::Empty)),
            ("http://:80", E::Host(HostError::Empty)),
            ("http://a b", E::Host(HostError::IllegalByte(' '))),
            ("http://::1", E::Host(HostError::BareV6("::1".parse().unwrap()))),
            ("http://app:", E::Port),
            ("http://app:0", E::Port),
            ("http://app:65536", E::Port),
            ("http://app:+1", E::Port),
        ] {
            assert_eq!(upstream(text), Err(expected), "{text}");
        }
    }
}
