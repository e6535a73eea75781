//! What comes before the first request of a connection: a PROXY header, and the preface that tells
//! HTTP/2 from HTTP/1.1 where TLS has not said.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, BytesMut};
use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// The preface of HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How the two versions of a PROXY header begin.
const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest PROXY header that is read.
const PROXY_MAX: usize = 4096;

/// Reads until the preface is there, or cannot come any more; whether it is there.
pub(super) async fn is_http2(
    io: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> io::Result<bool> {
    loop {
        let len = buffer.len().min(PREFACE.len());
        if buffer[..len] != PREFACE[..len] {
            return Ok(false);
        }
        if len == PREFACE.len() {
            return Ok(true);
        }
        if io.read_buf(buffer).await? == 0 {
            return Ok(false);
        }
    }
}

/// Reads a PROXY header, v1 or v2. Returns the client that it names; `None` where it names none
/// (`LOCAL`, `UNKNOWN`): the connection is the proxy's own.
pub(super) async fn proxy_header(
    io: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> io::Result<Option<SocketAddr>> {
    loop {
        if is_whole(buffer)? {
            let (len, client) = named(&HeaderResult::parse(buffer))?;
            buffer.advance(len);
            return Ok(client);
        }
        if buffer.len() > PROXY_MAX || io.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// Whether all of a header is there, as far as its own framing says; an error where it is none.
fn is_whole(bytes: &[u8]) -> io::Result<bool> {
    let starts = |mark: &[u8]| {
        let len = bytes.len().min(mark.len());
        bytes[..len] == mark[..len]
    };
    if starts(V2_START) {
        let length = bytes.get(14..16).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])));
        Ok(length.is_some_and(|length| bytes.len() >= 16 + length))
    } else if starts(V1_START) {
        Ok(bytes.windows(2).any(|end| end == b"\r\n"))
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

fn named(header: &HeaderResult<'_>) -> io::Result<(usize, Option<SocketAddr>)> {
    match header {
        HeaderResult::V1(Ok(header)) => Ok((
            header.header.len(),
            match header.addresses {
                v1::Addresses::Tcp4(a) => Some((a.source_address, a.source_port).into()),
                v1::Addresses::Tcp6(a) => Some((a.source_address, a.source_port).into()),
                v1::Addresses::Unknown => None,
            },
        )),
        HeaderResult::V2(Ok(header)) => Ok((
            header.len(),
            match (header.command, header.addresses) {
                (v2::Command::Local, _) => None,
                (_, v2::Addresses::IPv4(a)) => Some((a.source_address, a.source_port).into()),
                (_, v2::Addresses::IPv6(a)) => Some((a.source_address, a.source_port).into()),
                _ => None,
            },
        )),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}

/// A connection of which something was read already.
#[derive(Debug)]
pub(super) struct Prefixed<S> {
    io: S,
    buffer: BytesMut,
}

impl<S> Prefixed<S> {
    /// With what was read.
    pub(super) const fn new(io: S, buffer: BytesMut) -> Self {
        Self { io, buffer }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.buffer.is_empty() {
            return Pin::new(&mut this.io).poll_read(context, out);
        }
        let len = this.buffer.len().min(out.remaining());
        out.put_slice(&this.buffer.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    async fn header(bytes: &[u8]) -> io::Result<(Option<SocketAddr>, Vec<u8>)> {
        let mut buffer = BytesMut::new();
        // Byte by byte, as a slow peer sends it.
        let mut io = ByteByByte(bytes);
        let client = proxy_header(&mut io, &mut buffer).await?;
        buffer.extend_from_slice(io.0);
        Ok((client, buffer.to_vec()))
    }

    struct ByteByByte<'a>(&'a [u8]);

    impl AsyncRead for ByteByByte<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some((first, rest)) = self.0.split_first() {
                out.put_slice(&[*first]);
                self.0 = rest;
            }
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn headers_of_both_versions() {
        let client = |text: &str| Some(text.parse().unwrap());
        let v2 = |command: u8, body: &[u8]| {
            let start = b"\r\n\r\n\0\r\nQUIT\n";
            [start, &[0x20 | command, 0x11, 0, body.len() as u8][..], body, b"GET"].concat()
        };
        for (bytes, expected) in [
            (b"PROXY TCP4 10.0.0.2 10.0.0.1 4000 80\r\nGET".to_vec(), client("10.0.0.2:4000")),
            (b"PROXY TCP6 ::2 ::1 4000 80\r\nGET".to_vec(), client("[::2]:4000")),
            (b"PROXY UNKNOWN\r\nGET".to_vec(), None),
            (v2(1, &[10, 0, 0, 2, 10, 0, 0, 1, 15, 160, 0, 80]), client("10.0.0.2:4000")),
            (v2(0, &[0; 12]), None),
        ] {
            let (found, rest) = header(&bytes).await.unwrap();
            assert_eq!((found, &*rest), (expected, &b"GET"[..]), "{}", bytes.escape_ascii());
        }
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4 x\r\n", b"PROX", b""] {
            assert!(header(bytes).await.is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[tokio::test]
    async fn the_preface_is_told_from_a_request() {
        for (bytes, expected) in [
            (PREFACE, true),
            (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", false),
            (b"PUT / HTTP/1.1\r\n", false),
            (b"PRI", false),
        ] {
            let mut buffer = BytesMut::new();
            let mut io = ByteByByte(bytes);
            assert_eq!(is_http2(&mut io, &mut buffer).await.unwrap(), expected);
        }
    }
}
