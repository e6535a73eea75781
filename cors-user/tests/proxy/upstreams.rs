//! What is spoken to the server behind: HTTP/2 where the URL says so or the server chooses it, TLS, and
//! what the server is known by.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fs,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    thread,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap, Request, Response, Version,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer};
use tokio::{net::TcpStream, runtime::Runtime};
use tokio_rustls::TlsAcceptor;

use crate::{
    alone,
    secure::Files,
    support::{Client, Edge, POLICY, config, eventually, request},
};

const ORIGIN: &str = "Origin: https://app.example.com";

/// A request as it arrived.
#[derive(Clone, Debug)]
struct Arrived {
    version: Version,
    uri: String,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

/// A body of these pieces.
struct Frames(VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

/// A server of hyper's, which sends back what it gets, with a trailer.
struct Server {
    at: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    connections: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl Server {
    /// Without TLS; HTTP/2 alone.
    fn h2c() -> Self {
        Self::start(None)
    }

    /// With TLS, a certificate, and these protocols.
    fn tls(authority: &Authority, protocols: &[&str]) -> Self {
        Self::start(Some(authority.acceptor(protocols)))
    }

    fn start(tls: Option<TlsAcceptor>) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (arrived, connections) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let (all, count) = (Arc::clone(&arrived), Arc::clone(&connections));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((tcp, _)) = listener.accept().await {
                count.fetch_add(1, Relaxed);
                tokio::spawn(serve(tcp, tls.clone(), Arc::clone(&all)));
            }
        });
        Self { at, arrived, connections, _runtime: runtime }
    }

    fn last(&self) -> Arrived {
        self.arrived.lock().unwrap().last().cloned().expect("a request")
    }
}

async fn serve(tcp: TcpStream, tls: Option<TlsAcceptor>, arrived: Arc<Mutex<Vec<Arrived>>>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let arrived = Arc::clone(&arrived);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?;
            let trailers = body.trailers().cloned();
            let body = body.to_bytes();
            let uri = parts.uri.to_string();
            let (version, headers) = (parts.version, parts.headers);
            let seen = Arrived { version, uri, headers, body: body.clone(), trailers };
            arrived.lock().unwrap().push(seen);
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "7".parse().unwrap());
            let frames = Frames([Frame::data(body), Frame::trailers(trailers)].into());
            let response = Response::builder()
                .header("trailer", "x-sum")
                .header("access-control-allow-origin", "https://evil.example");
            Ok::<_, hyper::Error>(response.body(frames).unwrap())
        }
    });
    // Whoever does not trust us ends the handshake.
    if let Some(tls) = tls {
        let Ok(stream) = tls.accept(tcp).await else { return };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let builder = http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        } else {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    } else {
        let builder = http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(tcp), service).await;
    }
}

/// Who makes certificates.
struct Authority {
    files: Files,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let files = Files::new(name);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(files.path("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { files, issuer: Issuer::new(params, key) }
    }

    fn file(&self) -> String {
        self.files.path("ca.pem").display().to_string()
    }

    fn acceptor(&self, protocols: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn before(url: &str, more: &str) -> Edge {
    Edge::start(&config(&format!("upstream = {url:?}\n{more}"), POLICY))
}

#[test]
fn http2_without_tls() {
    let server = Server::h2c();
    let edge = before(&format!("h2c://{}", server.at), "");
    let mut client = edge.connect();
    client.send(&request(
        "GET /v1/x?a=b",
        &[ORIGIN, "Connection: keep-alive, x-a", "X-A: 1", "Cookie: a=1; b=2"],
    ));
    let head = client.answer();
    assert_eq!(head.status(), 200);
    assert_eq!(head.get("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(head.get("via"), Some("2.0 cors-edge"));
    let arrived = server.last();
    assert_eq!(
        (arrived.version, &*arrived.uri),
        (Version::HTTP_2, "http://api.example.com/v1/x?a=b")
    );
    for name in ["host", "connection", "x-a"] {
        assert!(!arrived.headers.contains_key(name), "{name}");
    }
    assert_eq!(arrived.headers["via"], "1.1 cors-edge");
    assert_eq!(arrived.headers["x-forwarded-for"], "127.0.0.1");

    // A body and trailers, both ways.
    let line = ["TE: trailers", "Trailer: X-Up", "Transfer-Encoding: chunked"];
    client.send(&request("POST /v1/x", &line));
    client.send(b"5\r\nhello\r\n0\r\nX-Up: 1\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    let body =
        client.until(|bytes| bytes.windows(4).rposition(|w| w == b"\r\n\r\n").map(|at| at + 4));
    let body = String::from_utf8(body).unwrap().to_lowercase();
    assert_eq!(body, "5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n");
    let arrived = server.last();
    assert_eq!(&arrived.body[..], b"hello");
    assert_eq!(arrived.trailers.unwrap()["x-up"], "1");

    // There is no other protocol to go on in.
    client.send(&request("GET /v1/x", &["Connection: Upgrade", "Upgrade: websocket"]));
    assert_eq!(client.answer().status(), 200);
    assert!(!server.last().headers.contains_key("upgrade"));
    assert_eq!(server.connections.load(Relaxed), 1, "one connection for all of them");
}

#[test]
fn many_at_a_time_share_connections() {
    let server = Server::h2c();
    let edge = before(&format!("h2c://{}", server.at), "");
    let clients: Vec<Client> = (0..50).map(|_| edge.connect()).collect();
    thread::scope(|scope| {
        for mut client in clients {
            scope.spawn(move || {
                for n in 0..10 {
                    let body = format!("body {n}");
                    let length = format!("Content-Length: {}", body.len());
                    let head = request("POST /v1/x", &[&length]);
                    client.send(&[&head[..], body.as_bytes()].concat());
                    let answer = client.answer();
                    let said = String::from_utf8_lossy(&answer.body).into_owned();
                    assert_eq!((answer.status(), said.contains(&body)), (200, true), "{said}");
                }
            });
        }
    });
    assert_eq!(server.arrived.lock().unwrap().len(), 500);
    // All begin at once: some open connections that others could have shared.
    assert!(server.connections.load(Relaxed) <= 50, "{:?}", server.connections);
}

#[test]
fn an_upstream_that_ends_its_connection() {
    let server = Server::h2c();
    let edge = before(&format!("h2c://{}", server.at), "");
    assert_eq!(edge.ask(&request("GET /v1/x", &[])).status(), 200);
    drop(server);
    eventually("nothing is there", || edge.ask(&request("GET /v1/x", &[ORIGIN])).status() == 502);
}

#[test]
fn http2_that_the_server_does_not_speak() {
    let upstream = crate::support::Upstream::usual();
    let edge = before(&format!("h2c://{}", upstream.at), "");
    let answer = edge.ask(&request("GET /v1/x", &[ORIGIN]));
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.get("access-control-allow-origin"), Some("https://app.example.com"));
}

#[test]
fn tls_with_what_the_server_chooses() {
    let authority = Authority::new("ca");
    let ca = format!("upstream_ca = {:?}", authority.file());
    for (protocols, version) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let server = Server::tls(&authority, protocols);
        let edge = before(&format!("https://localhost:{}", server.at.port()), &ca);
        for _ in 0..3 {
            let answer = edge.ask(&request("GET /v1/x", &[ORIGIN]));
            assert_eq!(answer.status(), 200);
            let origin = answer.get("access-control-allow-origin");
            assert_eq!(origin, Some("https://app.example.com"));
            assert_eq!(server.last().version, version, "{protocols:?}");
        }
        // Another protocol can only be asked for in HTTP/1.1.
        let upgrade = ["Connection: Upgrade", "Upgrade: websocket"];
        assert_eq!(edge.ask(&request("GET /v1/x", &upgrade)).status(), 200);
        let arrived = server.last();
        assert_eq!(arrived.version, Version::HTTP_11, "{protocols:?}");
        assert_eq!(arrived.headers["upgrade"], "websocket");
        assert_eq!(arrived.headers["host"], "api.example.com");
    }
}

#[test]
fn a_server_that_is_not_known() {
    let (known, unknown) = (Authority::new("known"), Authority::new("unknown"));
    let server = Server::tls(&unknown, &["h2"]);
    for (host, ca) in [
        // Another authority's; the system's; the wrong name.
        ("localhost", format!("upstream_ca = {:?}", known.file())),
        ("localhost", String::new()),
        ("127.0.0.1", format!("upstream_ca = {:?}", unknown.file())),
    ] {
        let edge = before(&format!("https://{host}:{}", server.at.port()), &ca);
        assert_eq!(edge.ask(&request("GET /v1/x", &[])).status(), 502, "{host} {ca}");
        assert_eq!(edge.count("upstream_unreachable"), 1);
    }
    assert!(server.arrived.lock().unwrap().is_empty());
}

/// Without a file of its own the agent takes the system's, which is where `SSL_CERT_FILE` says.
#[test]
fn a_server_that_the_system_knows() {
    let authority = Authority::new("system");
    let server = Server::tls(&authority, &["h2"]);
    let at: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = authority.files.path("policy.toml");
    let port = server.at.port();
    let text = format!("[server]\nlisten = [\"{at}\"]\nupstream = \"https://localhost:{port}\"\n");
    fs::write(&file, text + POLICY).unwrap();
    let environment = [("SSL_CERT_FILE", &*authority.file()), ("SSL_CERT_DIR", "")];
    let _agent = alone::start(&file.to_string_lossy(), &environment);
    eventually("it listens", || std::net::TcpStream::connect(at).is_ok());
    let mut client = Client::connect(at);
    client.send(&request("GET /v1/x", &[]));
    assert_eq!(client.answer().status(), 200);
    assert_eq!(server.last().version, Version::HTTP_2);
}

#[test]
fn a_file_that_is_no_authority() {
    let files = Files::new("no-ca");
    fs::write(files.path("ca.pem"), "nonsense").unwrap();
    let server =
        format!("upstream = \"https://localhost\"\nupstream_ca = {:?}", files.path("ca.pem"));
    let config = config(&server, POLICY);
    let runtime = Runtime::new().unwrap();
    let error = runtime.block_on(async { cors_user::proxy::Proxy::start(&config) }).unwrap_err();
    assert!(error.to_string().contains("ca.pem has no certificate"), "{error}");
}
