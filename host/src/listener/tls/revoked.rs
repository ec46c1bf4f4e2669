//! Lists of revoked certificates (RFC 5280 §5): whether they can be used, and until when.

use std::time::SystemTime;

use rustls::pki_types::CertificateRevocationListDer;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;
use x509_cert::time::Time;

use super::Finding;
use crate::config::files;

/// All lists of a listener.
pub(super) struct Revoked(Vec<List>);

struct List {
    /// Below the listener's `tls`.
    place: String,
    der: CertificateRevocationListDer<'static>,
    /// When the next one was to come.
    until: Option<Time>,
}

impl Revoked {
    /// `files`: the bytes of each file. What is wrong with one is added to `findings`.
    pub(super) fn new(files: &[Vec<u8>], findings: &mut Vec<Finding>) -> Self {
        let mut lists = Vec::new();
        for (index, pem) in files.iter().enumerate() {
            let place = format!("client.crl[{index}]");
            match read(pem) {
                Ok(read) => {
                    lists.extend(read.into_iter().map(|(der, until)| List { place: place.clone(), der, until }))
                }
                Err(message) => findings.push(Finding { place, message }),
            }
        }
        Self(lists)
    }
    pub(super) fn lists(&self) -> impl Iterator<Item = &CertificateRevocationListDer<'static>> {
        self.0.iter().map(|list| &list.der)
    }
    /// The lists that have expired by then: with them, nobody of their authority is let in.
    pub(super) fn out_of_date(&self, now: SystemTime) -> impl Iterator<Item = Finding> {
        let expired = move |until: Time| now > until.to_system_time();
        self.0.iter().filter_map(move |list| {
            let until = list.until.filter(|until| expired(*until))?;
            let message = format!("expired at {}: clients of its authority are refused", until.to_date_time());
            Some(Finding { place: list.place.clone(), message })
        })
    }
}

type Read = (CertificateRevocationListDer<'static>, Option<Time>);

fn read(pem: &[u8]) -> Result<Vec<Read>, String> {
    let read = |der: CertificateRevocationListDer<'static>| {
        let list: CertificateList =
            CertificateList::from_der(der.as_ref()).map_err(|error| format!("is no usable list: {error}"))?;
        Ok((der, list.tbs_cert_list.next_update))
    };
    files::revocations(pem)?.into_iter().map(read).collect()
}
