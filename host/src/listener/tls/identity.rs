//! One certificate with its key: whether they can be used, which names they are for, what is known of a certificate.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Validity;

use super::Finding;
use super::material::Pair;
use crate::config::files;
use crate::filter::exchange::CertificateFacts;

/// What clients can be shown.
pub(super) struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    /// Lower-case; `*.` stands for one label.
    pub(super) names: Vec<String>,
    pub(super) facts: Arc<CertificateFacts>,
    validity: Validity,
}

/// Which of the files is to blame, and why.
pub(super) enum Fault {
    Certificate(String),
    Key(String),
    Ocsp(String),
}

impl Fault {
    pub(super) fn at(self, place: &str) -> Finding {
        match self {
            Self::Certificate(message) => Finding { place: format!("{place}.certificate"), message },
            Self::Key(message) => Finding { place: format!("{place}.key"), message },
            Self::Ocsp(message) => Finding { place: format!("{place}.ocsp"), message },
        }
    }
}

impl Identity {
    /// `hosts`: the names, instead of those in the certificate, when there are any.
    pub(super) fn new(pair: &Pair, hosts: &[String], provider: &CryptoProvider) -> Result<Self, Fault> {
        let chain = files::certificates(&pair.chain).map_err(Fault::Certificate)?;
        let not_one = |error: &dyn std::fmt::Display| Fault::Certificate(format!("is no certificate: {error}"));
        let first = chain.first().ok_or_else(|| Fault::Certificate(files::NO_CERTIFICATE.to_owned()))?;
        let certificate = Certificate::from_der(first).map_err(|error| not_one(&error))?;
        let facts = Arc::new(facts_of(first, Some(&certificate)));
        let names = if hosts.is_empty() {
            alternative_names(&certificate).iter().filter_map(dns_name).filter_map(|name| usable(&name)).collect()
        } else {
            hosts.to_vec()
        };
        let unusable = |error: &Error| Fault::Key(format!("cannot be used: {error}"));
        let signer =
            provider.key_provider.load_private_key(private_key(&pair.key)?).map_err(|error| unusable(&error))?;
        let mut key = CertifiedKey::new(chain, signer);
        match key.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                return Err(Fault::Key("is not the key of the certificate".to_owned()));
            }
            Err(error) => return Err(not_one(&error)),
        }
        key.ocsp = pair.ocsp.as_deref().map(response).transpose()?;
        Ok(Self { key: Arc::new(key), names, facts, validity: *certificate.tbs_certificate().validity() })
    }

    /// That the certificate has expired by then, or is not valid yet.
    pub(super) fn out_of_date(&self, now: SystemTime) -> Option<String> {
        let Validity { not_before, not_after, .. } = &self.validity;
        if now > not_after.to_system_time() {
            Some(format!("expired at {}", not_after.to_date_time()))
        } else if now < not_before.to_system_time() {
            Some(format!("is not valid before {}", not_before.to_date_time()))
        } else {
            None
        }
    }
}

/// What filters may know of a certificate. One that only the verifier understands has a digest and nothing more.
pub(super) fn facts(der: &CertificateDer<'_>) -> CertificateFacts {
    facts_of(der, Certificate::from_der(der).ok().as_ref())
}

fn facts_of(der: &CertificateDer<'_>, certificate: Option<&Certificate>) -> CertificateFacts {
    let names = certificate.map(alternative_names).unwrap_or_default();
    let uri = |name: &GeneralName| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        _ => None,
    };
    CertificateFacts {
        subject: certificate.map(|certificate| certificate.tbs_certificate().subject().to_string()),
        dns: names.iter().find_map(dns_name),
        uri: names.iter().find_map(uri),
        sha256: Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn alternative_names(certificate: &Certificate) -> Vec<GeneralName> {
    let names = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    names.ok().flatten().map(|(_, names)| names.0).unwrap_or_default()
}

fn dns_name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        _ => None,
    }
}

/// A response of OCSP, as far as it is looked at: what it says is for clients to judge.
fn response(der: &[u8]) -> Result<Vec<u8>, Fault> {
    match AnyRef::from_der(der) {
        Ok(value) if value.tag() == Tag::Sequence => Ok(der.to_vec()),
        _ => Err(Fault::Ocsp("is no OCSP response in DER form".to_owned())),
    }
}

/// A name as clients can ask for it; `None` for stars elsewhere than as the whole first label.
fn usable(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let rest = name.strip_prefix("*.").unwrap_or(&name);
    (!rest.is_empty() && !rest.contains('*')).then_some(name)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound if String::from_utf8_lossy(pem).contains("-----BEGIN ENCRYPTED PRIVATE KEY") => {
            Fault::Key("is encrypted: only keys without a passphrase can be used".to_owned())
        }
        pem::Error::NoItemsFound => Fault::Key("has no private key in PEM form".to_owned()),
        error => Fault::Key(format!("cannot be read as PEM: {error}")),
    })
}
