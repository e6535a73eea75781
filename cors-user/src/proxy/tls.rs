//! TLS on both sides: certificates from files, which are read again when they change, and what
//! upstreams are known by.

use std::{
    collections::HashMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, server::TlsStream};
use tracing::{info, warn};

use crate::config::model::{Certificate, Tls};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What is wrong with certificates.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM of what it should be.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// Without any certificate.
    #[error("{} has no certificate", .0.display())]
    Empty(PathBuf),
    /// What rustls does not take, such as a key that does not belong to the certificate.
    #[error("{}: {source}", .path.display())]
    Rejected {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The protocol's settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    /// No roots.
    #[error("the system has no root certificates to know upstreams by")]
    NoRoots,
}

/// The side that clients see.
#[derive(Clone)]
pub(super) struct Server {
    acceptor: TlsAcceptor,
    certificates: Arc<Certificates>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl Server {
    /// Reads the files.
    pub(super) fn load(tls: &Tls) -> Result<Self, TlsError> {
        let certificates = Arc::new(Certificates {
            files: tls.certificates.clone(),
            keys: RwLock::new(Keys::read(&tls.certificates)?),
        });
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Certificates>::clone(&certificates));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificates })
    }

    /// A client's handshake.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: S,
    ) -> io::Result<TlsStream<S>> {
        self.acceptor.accept(io).await
    }

    /// Reads the files again whenever they have changed, for ever. What cannot be used leaves in
    /// use what there is.
    pub(super) async fn follow(self) {
        let mut seen = stamps(&self.certificates.files);
        loop {
            sleep(LOOK).await;
            let now = stamps(&self.certificates.files);
            if now == seen {
                continue;
            }
            match Keys::read(&self.certificates.files) {
                Ok(keys) => {
                    self.certificates.set(keys);
                    info!("the certificates have changed and are in use");
                }
                Err(error) => warn!("the certificates have changed and cannot be used: {error}"),
            }
            seen = now;
        }
    }
}

/// Whether the two have agreed on HTTP/2.
pub(super) fn is_http2<Side>(connection: &rustls::ConnectionCommon<Side>) -> bool {
    connection.alpn_protocol() == Some(b"h2")
}

/// What tells one version of the files from another.
fn stamps(files: &[Certificate]) -> Vec<Option<(SystemTime, u64)>> {
    let paths = files.iter().flat_map(|certificate| [&certificate.chain, &certificate.key]);
    let stamp = |path: &PathBuf| {
        let data = fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len()))
    };
    paths.map(stamp).collect()
}

/// The certificates in use.
#[derive(Debug)]
struct Certificates {
    files: Vec<Certificate>,
    keys: RwLock<Keys>,
}

impl Certificates {
    fn set(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        Some(keys.of(hello.server_name()))
    }
}

/// Certificates by the names that they are for.
#[derive(Debug)]
struct Keys {
    first: Arc<CertifiedKey>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Keys {
    fn read(files: &[Certificate]) -> Result<Self, TlsError> {
        let mut first = None;
        let mut by_name = HashMap::new();
        for file in files {
            let key = Arc::new(key(file)?);
            for name in names(&key, &file.chain)? {
                by_name.entry(name).or_insert_with(|| Arc::clone(&key));
            }
            first.get_or_insert(key);
        }
        let first = first.ok_or_else(|| TlsError::Empty(PathBuf::new()))?;
        Ok(Self { first, by_name })
    }

    /// The certificate for a name: its own, the wildcard that covers it, or the first.
    fn of(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let name = name.unwrap_or_default();
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        Arc::clone(self.by_name.get(name).or_else(wildcard).unwrap_or(&self.first))
    }
}

fn unreadable(path: &Path) -> impl Fn(rustls::pki_types::pem::Error) -> TlsError {
    move |source| TlsError::File { path: path.to_owned(), source }
}

/// The certificates in a file; never none.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(unreadable(path))?.collect();
    let chain = chain.map_err(unreadable(path))?;
    if chain.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(chain) }
}

fn key(file: &Certificate) -> Result<CertifiedKey, TlsError> {
    let chain = chain(&file.chain)?;
    let key = PrivateKeyDer::from_pem_file(&file.key).map_err(unreadable(&file.key))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|source| TlsError::Rejected { path: file.chain.clone(), source })
}

/// The DNS names in a certificate.
fn names(key: &CertifiedKey, path: &Path) -> Result<Vec<String>, TlsError> {
    let rejected = |_| TlsError::Rejected {
        path: path.to_owned(),
        source: rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding),
    };
    let certificate = key.end_entity_cert().map_err(rejected)?;
    let parsed = webpki::EndEntityCert::try_from(certificate)
        .map_err(|_| rejected(rustls::Error::General(String::new())))?;
    Ok(parsed.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

/// The side that upstreams see.
#[derive(Clone)]
pub(super) struct Client {
    http1: TlsConnector,
    any: TlsConnector,
}

impl Client {
    /// Knows upstreams by the certificates in a file, or else by the system's.
    pub(super) fn load(ca: Option<&Path>) -> Result<Self, TlsError> {
        let roots = Arc::new(match ca {
            Some(file) => roots_of(file)?,
            None => system_roots()?,
        });
        let offering = |protocols: &[&[u8]]| -> Result<TlsConnector, TlsError> {
            let mut config =
                ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                    .with_safe_default_protocol_versions()?
                    .with_root_certificates(Arc::clone(&roots))
                    .with_no_client_auth();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Ok(TlsConnector::from(Arc::new(config)))
        };
        Ok(Self { http1: offering(&[b"http/1.1"])?, any: offering(&[b"h2", b"http/1.1"])? })
    }

    /// For a handshake in which HTTP/2 is offered, or is not.
    pub(super) const fn connector(&self, http2: bool) -> &TlsConnector {
        if http2 { &self.any } else { &self.http1 }
    }
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let (added, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 { Err(TlsError::NoRoots) } else { Ok(roots) }
}

fn roots_of(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(file)? {
        let added = roots.add(certificate);
        added.map_err(|source| TlsError::Rejected { path: file.to_owned(), source })?;
    }
    Ok(roots)
}
