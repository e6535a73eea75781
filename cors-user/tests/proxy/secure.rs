//! TLS and HTTP/2: the certificate of the name that is asked for, also after the files changed, and
//! the same answers in the other framing.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, Version, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{Edge, POLICY, Upstream, config, eventually, request};

/// A directory of PEM files that goes with the test.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cors-edge-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a new certificate for some names; returns it.
    fn write(&self, file: &str, names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        fs::write(self.0.join(format!("{file}.key")), signing_key.serialize_pem()).unwrap();
        fs::write(self.0.join(format!("{file}.pem")), cert.pem()).unwrap();
        cert.der().clone()
    }

    /// Where a file is.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    fn entry(&self, file: &str) -> String {
        let path = |end| self.0.join(format!("{file}.{end}")).display().to_string();
        format!("{{ chain = {:?}, key = {:?} }}", path("pem"), path("key"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn edge(upstream: SocketAddr, files: &[String]) -> (Edge, SocketAddr) {
    let server = format!(
        "upstream = \"http://{upstream}\"\n[server.tls]\nlisten = [\"127.0.0.1:2\"]\n\
         certificates = [{}]",
        files.join(", ")
    );
    let edge = Edge::start(&config(&server, POLICY));
    let at = edge.proxy().addresses()[1];
    (edge, at)
}

/// A TLS connection that trusts these certificates alone.
async fn connect(
    at: SocketAddr,
    name: &'static str,
    trusted: &[CertificateDer<'static>],
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.clone()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let tcp = TcpStream::connect(at).await?;
    TlsConnector::from(Arc::new(config)).connect(name.try_into().unwrap(), tcp).await
}

/// One request by HTTP/2.
async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    io: S,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Response<Bytes>> {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
    let driven = tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    driven.abort();
    Ok(Response::from_parts(parts, body))
}

fn preflight() -> Request<Full<Bytes>> {
    Request::options("https://api.example.com/v1/x")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "authorization,content-type")
        .body(Full::default())
        .unwrap()
}

#[test]
fn the_same_answers_by_http2() {
    let files = Files::new("h2");
    let certificate = files.write("a", &["api.example.com"]);
    let upstream = Upstream::usual();
    let (edge, at) = edge(upstream.at, &[files.entry("a")]);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let secure = connect(at, "api.example.com", &[certificate], b"h2").await.unwrap();
        let plain = TcpStream::connect(edge.at).await.unwrap();
        let one = edge.ask(&request(
            "OPTIONS /v1/x",
            &[
                "Origin: https://app.example.com",
                "Access-Control-Request-Method: PUT",
                "Access-Control-Request-Headers: authorization,content-type",
            ],
        ));
        for answer in
            [ask(secure, preflight()).await.unwrap(), ask(plain, preflight()).await.unwrap()]
        {
            assert_eq!(
                (answer.status(), answer.version()),
                (StatusCode::NO_CONTENT, Version::HTTP_2)
            );
            let names = answer.headers().keys().filter(|name| *name != "date");
            let names: Vec<_> = names.collect();
            for name in &names {
                let value = answer.headers()[*name].to_str().unwrap();
                assert_eq!(one.get(name.as_str()), Some(value), "{name}");
            }
            assert_eq!(names.len(), one.head.trim_end().lines().count() - 2);
        }
        let get = Request::get("https://api.example.com/v1/x")
            .header("origin", "https://app.example.com")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(Full::default())
            .unwrap();
        let plain = TcpStream::connect(edge.at).await.unwrap();
        let answer = ask(plain, get).await.unwrap();
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example.com");
        assert_eq!(answer.body(), "hello");
        let received = upstream.only().to_lowercase();
        assert!(received.starts_with("get /v1/x http/1.1\r\n"), "{received}");
        assert!(received.contains("\r\nhost: api.example.com\r\n"), "{received}");
        assert!(received.contains("\r\ncookie: a=1; b=2\r\n"), "{received}");
        assert!(received.contains("\r\nvia: 2.0 cors-edge\r\n"), "{received}");
    });
}

/// What HTTP/2 can say and HTTP/1.1 would read as something else.
#[test]
fn what_would_change_on_the_way_down_is_refused() {
    let runtime = Runtime::new().unwrap();
    let get = || Request::get("http://api.example.com/v1/x");
    for request in [
        get().header("host", "evil.example"),
        Request::get("http://user@api.example.com/v1/x"),
        get().header("transfer-encoding", "chunked"),
        get().header("connection", "x"),
        get().header("te", "gzip"),
        get().header("content-length", "5"),
        get().header("content-length", "0").header("content-length", "5"),
    ] {
        let upstream = Upstream::usual();
        let edge = Edge::before(upstream.at);
        let request = request.body(Full::default()).unwrap();
        let what = format!("{request:?}");
        let answer = runtime.block_on(async {
            let plain = TcpStream::connect(edge.at).await.unwrap();
            ask(plain, request).await
        });
        // Some of it our own client does not send.
        if let Ok(answer) = answer {
            let refused = answer.status() == StatusCode::BAD_REQUEST;
            assert!(refused || upstream.received().len() == 1, "{what}");
        }
        for received in upstream.received() {
            let received = received.to_lowercase();
            assert_eq!(received.matches(" http/1.1\r\n").count(), 1, "{what}: {received}");
            assert!(!received.contains("transfer-encoding") && !received.contains("evil"));
        }
    }
}

#[test]
fn certificates_by_name() {
    let files = Files::new("names");
    let first = files.write("first", &["first.example"]);
    let second = files.write("second", &["api.example.com", "*.example.org"]);
    let upstream = Upstream::usual();
    let (edge, at) = edge(upstream.at, &[files.entry("first"), files.entry("second")]);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        for (name, certificate) in
            [("first.example", &first), ("api.example.com", &second), ("a.example.org", &second)]
        {
            let trusted = std::slice::from_ref(certificate);
            let mut tls = connect(at, name, trusted, b"http/1.1").await.unwrap();
            tls.write_all(&request("GET /v1/x", &["Connection: close"])).await.unwrap();
            let mut answer = String::new();
            tls.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        assert!(connect(at, "a.b.example.org", &[second], b"h2").await.is_err());
        let received = upstream.received().concat().to_lowercase();
        assert!(received.contains("x-forwarded-proto: https\r\n"), "{received}");
        // No TLS at all.
        let mut plain = TcpStream::connect(at).await.unwrap();
        plain.write_all(&request("GET /v1/x", &[])).await.unwrap();
        let mut rest = Vec::new();
        let _ = plain.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP"));
    });
    eventually("failures are counted", || edge.count("tls_failed") == 2);
}

#[test]
fn certificates_that_change() {
    let files = Files::new("change");
    files.write("a", &["api.example.com"]);
    let upstream = Upstream::usual();
    let (_edge, at) = edge(upstream.at, &[files.entry("a")]);
    let runtime = Runtime::new().unwrap();
    let connects = |certificate: &CertificateDer<'static>| {
        let trusted = [certificate.clone()];
        runtime.block_on(async { connect(at, "api.example.com", &trusted, b"h2").await.is_ok() })
    };
    // What is no certificate changes nothing.
    let new = files.write("a", &["api.example.com", "other.example"]);
    eventually("the new certificate is used", || connects(&new));
    fs::write(files.0.join("a.pem"), "nonsense").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(connects(&new), "the last good one stays");
    let newer = files.write("a", &["api.example.com", "more.example", "names.example"]);
    eventually("the newer certificate is used", || connects(&newer));
}
