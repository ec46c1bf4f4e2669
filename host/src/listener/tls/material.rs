//! The files of a listener's TLS: read once, within bounds, so that what is checked is what is used.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::Finding;
use crate::config::{ListenerTls, files};

/// What the files hold.
pub(super) struct Material {
    /// In the order of the configuration's certificates.
    pub(super) pairs: Vec<Pair>,
    pub(super) ca: Option<Vec<u8>>,
    /// In the order of the configuration's lists of revoked certificates.
    pub(super) crl: Vec<Vec<u8>>,
}

/// A certificate's file and its key's.
pub(super) struct Pair {
    pub(super) chain: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) ocsp: Option<Vec<u8>>,
}

/// Digests of all files, in order.
#[derive(PartialEq, Eq)]
pub(super) struct Contents(Vec<[u8; 32]>);

impl Material {
    /// Reads every file.
    ///
    /// # Errors
    /// Every file that cannot be read.
    pub(super) fn read(config: &ListenerTls) -> Result<(Self, Contents), Vec<Finding>> {
        let mut findings = Vec::new();
        let mut digests = Vec::new();
        let mut take = |path: &Path, place: String, read: fn(&Path) -> Result<Vec<u8>, String>| match read(path) {
            Ok(bytes) => {
                digests.push(Sha256::digest(&bytes).into());
                bytes
            }
            Err(message) => {
                findings.push(Finding { place, message });
                Vec::new()
            }
        };
        let pairs = config.certificates.iter().enumerate().map(|(index, named)| Pair {
            chain: take(&named.certificate, format!("certificates[{index}].certificate"), files::read),
            key: take(&named.key, format!("certificates[{index}].key"), files::read),
            ocsp: named.ocsp.as_ref().map(|path| take(path, format!("certificates[{index}].ocsp"), files::read)),
        });
        let pairs = pairs.collect();
        let ca = config.client.as_ref().map(|client| take(&client.ca, "client.ca".to_owned(), files::read));
        let lists = config.client.iter().flat_map(|client| client.crl.iter().enumerate());
        let crl = lists.map(|(index, path)| take(path, format!("client.crl[{index}]"), files::read_revocations));
        let crl = crl.collect();
        if findings.is_empty() { Ok((Self { pairs, ca, crl }, Contents(digests))) } else { Err(findings) }
    }
}
