//! Certificates made for one test, and clients that speak TLS and tell what they saw.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    RevokedCertParams, SanType, SerialNumber, SignatureAlgorithm,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{Connection, Response};
use crate::wait::within;

/// The year in which certificates of [`Authority::expired`] ended.
const PAST: i32 = 2001;

/// Numbers certificates.
static SERIALS: AtomicU64 = AtomicU64::new(1);

/// One that issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    /// Its own certificate.
    pub pem: String,
}

/// A certificate and its key.
pub struct Issued {
    /// The certificate as PEM.
    pub pem: String,
    /// The key as PEM.
    pub key: String,
    /// The certificate.
    pub der: CertificateDer<'static>,
    serial: SerialNumber,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// There is no randomness.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = params(&[]);
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { der: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }
    /// A certificate for these DNS names.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Issued {
        let mut params = params(names);
        params.distinguished_name.push(DnType::CommonName, names.concat());
        self.sign(&params, &rcgen::PKCS_ECDSA_P256_SHA256)
    }
    /// One with a key of another kind than [`Authority::issue`] makes: Ed25519.
    #[must_use]
    pub fn issue_ed25519(&self, names: &[&str]) -> Issued {
        self.sign(&params(names), &rcgen::PKCS_ED25519)
    }
    /// One that is not valid any more.
    #[must_use]
    pub fn expired(&self, names: &[&str]) -> Issued {
        let mut params = params(names);
        params.not_before = rcgen::date_time_ymd(PAST - 1, 1, 1);
        params.not_after = rcgen::date_time_ymd(PAST, 1, 1);
        self.sign(&params, &rcgen::PKCS_ECDSA_P256_SHA256)
    }
    /// One of a client, with a subject and alternative names of both kinds.
    ///
    /// # Panics
    /// They are no names.
    #[must_use]
    pub fn client(&self, common_name: &str, dns: &str, uri: &str) -> Issued {
        let mut params = params(&[dns]);
        params.distinguished_name.push(DnType::OrganizationName, "Acme");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names.push(SanType::URI(uri.try_into().expect("a URI")));
        self.sign(&params, &rcgen::PKCS_ECDSA_P256_SHA256)
    }
    /// A list of revoked certificates, as PEM, that is good until that year.
    ///
    /// # Panics
    /// They have no serial numbers.
    #[must_use]
    pub fn revoking(&self, revoked: &[&Issued], until: i32) -> String {
        let entry = |issued: &&Issued| RevokedCertParams {
            serial_number: issued.serial.clone(),
            revocation_time: rcgen::date_time_ymd(PAST, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(PAST, 1, 1),
            next_update: rcgen::date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).and_then(|list| list.pem()).expect("a list")
    }
    fn sign(&self, params: &CertificateParams, kind: &'static SignatureAlgorithm) -> Issued {
        let key = KeyPair::generate_for(kind).expect("a key");
        // Lists name serial numbers, so that each certificate has one of its own.
        let serial = SerialNumber::from(SERIALS.fetch_add(1, Ordering::Relaxed));
        let mut params = params.clone();
        params.serial_number = Some(serial.clone());
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Issued { serial, pem: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

/// A client that speaks TLS. Keeps its sessions, so that the same one resumes them.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    stapled: Stapled,
}

/// The OCSP response of the last handshake that was not resumed.
type Stapled = Arc<Mutex<Vec<u8>>>;

/// What a client is to be like.
pub struct TlsClientBuilder {
    verifier: Verifier,
    versions: Vec<&'static SupportedProtocolVersion>,
    provider: CryptoProvider,
    alpn: Vec<Vec<u8>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

enum Verifier {
    Roots(RootCertStore),
    Anything,
}

/// A connection, and what its handshake was like.
pub struct Secure {
    /// The connection.
    pub connection: Connection,
    /// The certificate that the server showed.
    pub certificate: CertificateDer<'static>,
    /// The session was resumed.
    pub resumed: bool,
}

impl TlsClientBuilder {
    /// Offers these protocols.
    #[must_use]
    pub fn alpn(mut self, names: &[&str]) -> Self {
        self.alpn = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }
    /// Speaks this version only.
    #[must_use]
    pub fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }
    /// Verifies certificates with Ed25519 keys only.
    #[must_use]
    pub fn only_ed25519(mut self) -> Self {
        let known = self.provider.signature_verification_algorithms;
        let kept = |(scheme, _): &&(SignatureScheme, _)| *scheme == SignatureScheme::ED25519;
        let mapping: Vec<_> = known.mapping.iter().filter(kept).copied().collect();
        self.provider.signature_verification_algorithms.mapping = Box::leak(mapping.into_boxed_slice());
        self
    }
    /// Shows this certificate.
    ///
    /// # Panics
    /// Its key is none.
    #[must_use]
    pub fn identity(mut self, issued: &Issued) -> Self {
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
        self.identity = Some((vec![issued.der.clone()], key));
        self
    }
    /// The client.
    ///
    /// # Panics
    /// No such client is possible.
    #[must_use]
    pub fn build(self) -> TlsClient {
        let provider = Arc::new(self.provider);
        let stapled = Stapled::default();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&self.versions).expect("versions");
        let builder = match self.verifier {
            Verifier::Roots(roots) => builder.with_root_certificates(roots),
            Verifier::Anything => {
                let anything = Anything { provider, stapled: Arc::clone(&stapled) };
                builder.dangerous().with_custom_certificate_verifier(Arc::new(anything))
            }
        };
        let mut config = match self.identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("an identity"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn;
        TlsClient { config: Arc::new(config), stapled }
    }
}

impl TlsClient {
    /// One that trusts what the authority issued.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn trusting(authority: &Authority) -> TlsClientBuilder {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der.clone()).expect("an authority");
        Self::with(Verifier::Roots(roots))
    }
    /// One that takes any certificate for any name.
    #[must_use]
    pub fn credulous() -> TlsClientBuilder {
        Self::with(Verifier::Anything)
    }
    fn with(verifier: Verifier) -> TlsClientBuilder {
        let versions = vec![&rustls::version::TLS13, &rustls::version::TLS12];
        TlsClientBuilder { verifier, versions, provider: ring::default_provider(), alpn: Vec::new(), identity: None }
    }
    /// The OCSP response that came with the certificate last, of a client that is credulous; empty without one.
    ///
    /// # Panics
    /// A handshake has panicked.
    #[must_use]
    pub fn stapled(&self) -> Vec<u8> {
        self.stapled.lock().expect("no client panics").clone()
    }
    /// Opens a connection that asks for that name, for bytes.
    ///
    /// # Errors
    /// TLS is not established.
    ///
    /// # Panics
    /// Nobody listens.
    pub async fn stream(&self, address: SocketAddr, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.set_nodelay(true).ok();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connector = TlsConnector::from(Arc::clone(&self.config));
        within("a handshake", connector.connect(name, stream)).await
    }
    /// Opens a connection that asks for that name, with the protocol that was agreed on.
    ///
    /// # Errors
    /// TLS is not established.
    ///
    /// # Panics
    /// Nobody listens.
    pub async fn open(&self, address: SocketAddr, name: &str) -> io::Result<Secure> {
        let stream = self.stream(address, name).await?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first).expect("a certificate").clone();
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let connection = match session.alpn_protocol() {
            Some(b"h2") => Connection::http2_over(address, stream).await,
            _ => Connection::http1_over(address, stream).await,
        };
        Ok(Secure { connection: connection.map_err(io::Error::other)?, certificate, resumed })
    }
    /// GET `/` on a connection of its own.
    ///
    /// # Errors
    /// There is no whole response.
    pub async fn get(&self, address: SocketAddr, name: &str) -> io::Result<Response> {
        let mut secure = self.open(address, name).await?;
        secure.connection.try_get("/").await.map_err(io::Error::other)
    }
}

/// Takes any certificate; signatures are checked all the same.
#[derive(Debug)]
struct Anything {
    provider: Arc<CryptoProvider>,
    stapled: Stapled,
}

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.stapled.lock().expect("no client panics") = ocsp_response.to_vec();
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
