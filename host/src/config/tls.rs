//! TLS of a listener as it is configured. The files that it names are read when a generation is built.

use std::path::{Path, PathBuf};

/// How a listener speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// What clients are shown, by the name that they ask for; the first is the default. Never empty.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version that is spoken (1.2).
    pub min_version: TlsVersion,
    /// What is offered above TLS, the preferred one first (HTTP/2, HTTP/1.1); never empty.
    pub alpn: Vec<Alpn>,
    /// Certificates of clients, when they are asked for.
    pub client: Option<ClientCertificates>,
}

/// One certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// DER: the authority's word that it is not revoked (OCSP, RFC 6960), for clients that ask for it.
    pub ocsp: Option<PathBuf>,
    /// Names that it is for, lower-case: `api.example.com`, `*.example.com` (one label); empty: those in the certificate.
    pub hosts: Vec<String>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TlsVersion {
    /// `"1.2"` (RFC 5246)
    #[default]
    V12,
    /// `"1.3"` (RFC 8446)
    V13,
}

/// A protocol that is agreed on with TLS (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `"h2"`
    Http2,
    /// `"http/1.1"`
    Http11,
}

/// Which certificates of clients are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM: the authorities.
    pub ca: PathBuf,
    /// A client without a certificate is refused.
    pub required: bool,
    /// PEM: lists of revoked certificates. With any, every authority of a client's certificate needs one that has not expired.
    pub crl: Vec<PathBuf>,
}

/// How an upstream's `https://` targets are spoken to, beyond what is usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM: the only authorities that are trusted; the public ones without.
    pub ca: Option<PathBuf>,
    /// What the gateway shows of itself: a certificate and its key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// PEM: lists of revoked certificates, as of [`ClientCertificates::crl`].
    pub crl: Vec<PathBuf>,
    /// The name that is asked for and must be in the certificate; the target's host without.
    pub server_name: Option<String>,
}

impl UpstreamTls {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let identity = self.identity.iter().flat_map(|(certificate, key)| [&**certificate, &**key]);
        self.ca.iter().chain(&self.crl).map(|file| &**file).chain(identity)
    }
}

impl ListenerTls {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let pairs =
            self.certificates.iter().flat_map(|files| [&files.certificate, &files.key].into_iter().chain(&files.ocsp));
        let clients = self.client.iter().flat_map(|client| std::iter::once(&client.ca).chain(&client.crl));
        pairs.chain(clients).map(|file| &**file)
    }
}
