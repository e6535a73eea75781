//! New connections to upstreams: names, addresses, TLS.
//!
//! A name is resolved for every new connection, and every address of it is tried, those that failed
//! lately last.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};
use tokio_rustls::client::TlsStream;

use super::{
    tls::{self, Client},
    upstream::{REST, Target},
};
use crate::config::model::Scheme;

/// Makes connections.
pub(super) struct Connector {
    /// For each step.
    within: Duration,
    tls: Option<Client>,
    /// Addresses that failed, and when.
    failed: Mutex<HashMap<SocketAddr, Instant>>,
}

impl Connector {
    pub(super) fn new(within: Duration, tls: Option<Client>) -> Self {
        Self { within, tls, failed: Mutex::default() }
    }

    /// A connection, and whether HTTP/2 is spoken on it; where it must not be, it is not offered.
    pub(super) async fn connect(&self, to: &Target, may_http2: bool) -> io::Result<(Stream, bool)> {
        let tcp = self.reach(&to.host, to.port).await?;
        match to.scheme {
            Scheme::Http => Ok((Stream::Plain(TokioIo::new(tcp)), false)),
            Scheme::H2c => Ok((Stream::Plain(TokioIo::new(tcp)), true)),
            Scheme::Https => {
                let tls = self.tls.as_ref().ok_or(io::ErrorKind::Unsupported)?;
                let name = ServerName::try_from(bare(&to.host).to_owned());
                let name = name.map_err(io::Error::other)?;
                let handshake = tls.connector(may_http2).connect(name, tcp);
                let stream = timeout(self.within, handshake).await??;
                let http2 = tls::is_http2(stream.get_ref().1);
                Ok((Stream::Tls(Box::new(TokioIo::new(stream))), http2))
            }
        }
    }

    /// A connection to one of the addresses of a name.
    async fn reach(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let host = bare(host);
        let mut addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![(address, port).into()],
            Err(_) => timeout(self.within, lookup_host((host, port))).await??.collect(),
        };
        addresses.sort_by_key(|address| self.failed_lately(*address));
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match timeout(self.within, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => {
                    tcp.set_nodelay(true)?;
                    return Ok(tcp);
                }
                Ok(Err(error)) => last = error,
                Err(elapsed) => last = elapsed.into(),
            }
            self.remember(address);
        }
        Err(last)
    }

    fn failed_lately(&self, address: SocketAddr) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get(&address).is_some_and(|at| at.elapsed() < REST)
    }

    fn remember(&self, address: SocketAddr) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|_, at| at.elapsed() < REST);
        failed.insert(address, Instant::now());
    }
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// A connection to an upstream.
pub(super) enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(context, buffer),
            Self::Tls(io) => Pin::new(io).poll_read(context, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(context, bytes),
            Self::Tls(io) => Pin::new(io).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(context),
            Self::Tls(io) => Pin::new(io).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(context),
            Self::Tls(io) => Pin::new(io).poll_shutdown(context),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(context, slices),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(context, slices),
        }
    }
}
