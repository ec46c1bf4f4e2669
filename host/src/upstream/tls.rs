//! TLS towards upstreams: the usual one, and that of upstreams with authorities, certificates or names of their own.

use std::path::Path;
use std::sync::Arc;

use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{UpstreamTls, files};

/// Environment variable that names a PEM file of further trusted roots, as in OpenSSL.
const EXTRA_ROOTS: &str = "SSL_CERT_FILE";

/// The client side of TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    roots: Arc<RootCertStore>,
    /// Offers HTTP/1.1.
    pub(super) http1: Arc<ClientConfig>,
    /// Offers HTTP/2 only.
    pub(super) http2: Arc<ClientConfig>,
    /// The name that is asked for, when it is not the target's host.
    pub(super) server_name: Option<ServerName<'static>>,
}

/// What is wrong with a file of an upstream's TLS: the key that names it, and why.
pub type Finding = (&'static str, String);

/// TLS cannot be set up: the trusted roots cannot be read. For the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

impl Tls {
    /// Trusts the bundled Mozilla roots and those of the file that `SSL_CERT_FILE` names.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate.
    pub fn new() -> Result<Self, TlsError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = std::env::var_os(EXTRA_ROOTS) {
            let shown = std::path::Path::new(&path).display().to_string();
            let certificates = CertificateDer::pem_file_iter(&path)
                .map_err(|error| TlsError(format!("{EXTRA_ROOTS} {shown}: {error}")))?;
            for certificate in certificates {
                certificate
                    .map_err(|error| error.to_string())
                    .and_then(|der| roots.add(der).map_err(|error| error.to_string()))
                    .map_err(|error| TlsError(format!("{EXTRA_ROOTS} {shown}: {error}")))?;
            }
        }
        let roots = Arc::new(roots);
        Self::with(&roots, None, Vec::new())
            .map_err(|findings| TlsError(findings.into_iter().map(|(_, why)| why).collect()))
    }

    /// What an upstream's configuration says, and of the rest what is usual. Reads the files that it names.
    ///
    /// # Errors
    /// Each file that cannot be used.
    pub fn of_upstream(&self, config: &UpstreamTls) -> Result<Self, Vec<Finding>> {
        let mut findings = Vec::new();
        let roots = config.ca.as_deref().map(|path| roots(path).map_err(|message| findings.push(("ca", message))));
        let identity = config.identity.as_ref().map(|(certificate, key)| {
            let certificate = chain(certificate).map_err(|message| findings.push(("certificate", message)));
            let key = private_key(key).map_err(|message| findings.push(("key", message)));
            Some((certificate.ok()?, key.ok()?))
        });
        let lists: Result<Vec<_>, String> = config.crl.iter().map(|path| revocations(path)).collect();
        let lists = lists.map_err(|message| findings.push(("crl", message)));
        if !findings.is_empty() {
            return Err(findings);
        }
        let roots = roots.and_then(Result::ok).map_or_else(|| Arc::clone(&self.roots), Arc::new);
        let lists = lists.unwrap_or_default().concat();
        let made = Self::with(&roots, identity.flatten(), lists)?;
        let server_name = config.server_name.clone().map(ServerName::try_from).transpose();
        let server_name = server_name.map_err(|error| vec![("server_name", error.to_string())])?;
        Ok(Self { server_name, ..made })
    }

    fn with(
        roots: &Arc<RootCertStore>,
        identity: Option<Identity>,
        revoked: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<Self, Vec<Finding>> {
        let mut http1 = client(roots, identity, revoked)?;
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut http2 = http1.clone();
        http2.alpn_protocols = vec![b"h2".to_vec()];
        let (http1, http2) = (Arc::new(http1), Arc::new(http2));
        Ok(Self { roots: Arc::clone(roots), http1, http2, server_name: None })
    }
}

/// A certificate with those that lead to its authority, and its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client(
    roots: &Arc<RootCertStore>,
    identity: Option<Identity>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
) -> Result<ClientConfig, Vec<Finding>> {
    let provider = Arc::new(ring::default_provider());
    // As for clients' certificates: a list that has expired says nothing, and what nothing is known of is refused.
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(&provider))
        .with_crls(revoked)
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| match error {
            VerifierBuilderError::InvalidCrl(_) => vec![("crl", error.to_string())],
            error => vec![("ca", error.to_string())],
        })?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| vec![("key", error.to_string())])?
        .with_webpki_verifier(verifier);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => {
            builder.with_client_auth_cert(chain, key).map_err(|error| vec![("key", format!("does not fit: {error}"))])
        }
    }
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path)? {
        roots.add(certificate).map_err(|error| format!("cannot be used: {error}"))?;
    }
    Ok(roots)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    files::certificates(&files::read(path)?)
}

fn revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    files::revocations(&files::read_revocations(path)?)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&files::read(path)?)
        .map_err(|error| format!("has no private key in PEM form: {error}"))
}
