//! Which certificate a client is shown: that of the name it asks for (RFC 6066 §3), in a kind that it can verify.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::identity::Identity;
use crate::filter::exchange::CertificateFacts;

/// The certificates of a listener.
pub(super) struct Selection {
    identities: Vec<Identity>,
    /// By name, `*.` for one label: the certificates for it, in order.
    by_name: HashMap<String, Vec<usize>>,
}

impl Selection {
    pub(super) fn new(identities: Vec<Identity>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, identity) in identities.iter().enumerate() {
            for name in &identity.names {
                let indices = by_name.entry(name.clone()).or_default();
                if !indices.contains(&index) {
                    indices.push(index);
                }
            }
        }
        Self { identities, by_name }
    }
    pub(super) fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.identities.iter()
    }
    /// The certificates for a name, the preferred one first: those of the name itself, else those of its wildcard, else all.
    pub(super) fn candidates(&self, name: Option<&str>) -> impl Iterator<Item = &Identity> {
        let named = name.and_then(|name| self.named(&name.to_ascii_lowercase()));
        let all = if named.is_none() { &*self.identities } else { &[] };
        named.into_iter().flatten().filter_map(|index| self.identities.get(*index)).chain(all)
    }
    fn named(&self, name: &str) -> Option<&Vec<usize>> {
        let wildcard = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(name).or_else(wildcard)
    }
    /// What is known of the certificate that a client was shown; `None` when that depends on the kinds it can verify.
    pub(super) fn shown(&self, name: Option<&str>) -> Option<Arc<CertificateFacts>> {
        let mut candidates = self.candidates(name);
        let first = candidates.next()?;
        let kind = first.key.key.algorithm();
        candidates.all(|other| other.key.key.algorithm() == kind).then(|| Arc::clone(&first.facts))
    }
}

impl ResolvesServerCert for Selection {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |identity: &&Identity| identity.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let name = hello.server_name();
        let chosen = self.candidates(name).find(fits).or_else(|| self.candidates(name).next())?;
        Some(Arc::clone(&chosen.key))
    }
}

impl std::fmt::Debug for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Selection").finish_non_exhaustive()
    }
}
