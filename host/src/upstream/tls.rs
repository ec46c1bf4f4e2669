//! TLS towards upstreams.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Environment variable that names a PEM file of further trusted roots, as in OpenSSL.
const EXTRA_ROOTS: &str = "SSL_CERT_FILE";

/// The client side of TLS, made once per process.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Offers HTTP/1.1.
    pub(super) http1: Arc<ClientConfig>,
    /// Offers HTTP/2 only.
    pub(super) http2: Arc<ClientConfig>,
}

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
        Ok(Self { http1: client(&roots, b"http/1.1")?, http2: client(&roots, b"h2")? })
    }
}

fn client(roots: &Arc<RootCertStore>, protocol: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}
