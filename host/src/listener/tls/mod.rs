//! TLS of listeners (RFC 8446, RFC 5246): certificates by server name, certificates of clients, handshakes. What is spoken
//! inside is the connection's business.

mod handshake;
mod identity;
mod material;
mod revoked;
mod selection;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

pub(super) use handshake::Secured;
use identity::Identity;
use material::{Contents, Material};
use revoked::Revoked;
use selection::Selection;

use super::bind::overlap;
use crate::config::{Alpn, ClientCertificates, ListenerTls, TlsVersion, files};

/// TLS of one listener, ready for handshakes. Session tickets are good as long as it lives.
pub struct Termination {
    config: ListenerTls,
    contents: Contents,
    selection: Arc<Selection>,
    revoked: Revoked,
    acceptor: TlsAcceptor,
}

/// Something about a file that a listener's TLS names. For the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The path of the file's name below the listener's `tls`: `certificates[0].key`.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl Termination {
    /// Reads the files and makes everything ready. What has the same configuration and the same files as one of `previous` is
    /// that one, so that its clients can resume their sessions.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn load<'a>(
        config: &ListenerTls,
        mut previous: impl Iterator<Item = &'a Arc<Self>>,
    ) -> Result<Arc<Self>, Vec<Finding>> {
        let (material, contents) = Material::read(config)?;
        if let Some(same) = previous.find(|known| known.config == *config && known.contents == contents) {
            return Ok(Arc::clone(same));
        }
        let provider = Arc::new(ring::default_provider());
        let mut findings = Vec::new();
        let mut identities = Vec::new();
        for (index, (files, pair)) in config.certificates.iter().zip(&material.pairs).enumerate() {
            let identity = Identity::new(pair, &files.hosts, &provider);
            match identity {
                Ok(identity) => identities.push(identity),
                Err(fault) => findings.push(fault.at(&format!("certificates[{index}]"))),
            }
        }
        let revoked = Revoked::new(&material.crl, &mut findings);
        let trusted = config.client.as_ref().zip(material.ca.as_deref());
        let verifier = match trusted.map(|(client, ca)| verifier(client, ca, &revoked, &provider)).transpose() {
            Ok(verifier) => verifier,
            Err(message) => {
                findings.push(Finding { place: "client.ca".to_owned(), message });
                None
            }
        };
        if !findings.is_empty() {
            return Err(findings);
        }
        let selection = Arc::new(Selection::new(identities));
        let server = server(config, provider, verifier, &selection).map_err(|error| {
            vec![Finding { place: "certificates[0].certificate".to_owned(), message: error.to_string() }]
        })?;
        let acceptor = TlsAcceptor::from(Arc::new(server));
        Ok(Arc::new(Self { config: config.clone(), contents, selection, revoked, acceptor }))
    }

    /// What an operator should know at that time: certificates that are not valid, or are never chosen.
    #[must_use]
    pub fn warnings(&self, now: SystemTime) -> Vec<Finding> {
        let warnings = self.selection.identities().enumerate().flat_map(|(index, identity)| {
            let place = format!("certificates[{index}].certificate");
            let unnamed = (index > 0 && identity.names.is_empty())
                .then(|| "has no DNS names, so that nobody asks for it; give it \"hosts\"".to_owned());
            let messages = identity.out_of_date(now).into_iter().chain(unnamed);
            messages.map(move |message| Finding { place: place.clone(), message })
        });
        warnings.chain(self.revoked.out_of_date(now)).collect()
    }
}

fn server(
    config: &ListenerTls,
    provider: Arc<CryptoProvider>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    selection: &Arc<Selection>,
) -> Result<ServerConfig, rustls::Error> {
    let versions: &[_] = match config.min_version {
        TlsVersion::V12 => &[&TLS13, &TLS12],
        TlsVersion::V13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut server = builder.with_cert_resolver(Arc::clone(selection) as _);
    let name = |alpn: &Alpn| match alpn {
        Alpn::Http2 => b"h2".to_vec(),
        Alpn::Http11 => b"http/1.1".to_vec(),
    };
    server.alpn_protocols = config.alpn.iter().map(name).collect();
    // Sessions are kept by the clients, sealed: the workers share a key instead of a table.
    server.ticketer = ring::Ticketer::new()?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(server)
}

fn verifier(
    client: &ClientCertificates,
    ca: &[u8],
    revoked: &Revoked,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in files::certificates(ca)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| format!("certificate {} is not usable: {error}", index + 1))?;
    }
    // As OpenSSL does it, and so those who use it: a list that has expired says nothing, and what nothing is known of is refused.
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .with_crls(revoked.lists().cloned())
        .enforce_revocation_expiration();
    let builder = if client.required { builder } else { builder.allow_unauthenticated() };
    let verifier = builder.build().map_err(|error| error.to_string())?;
    Ok(verifier)
}

/// The listeners of one worker, as they are configured now, by address: with TLS, or cleartext. Exchanged with the generation.
#[derive(Clone, Default)]
pub struct Terminations(Rc<RefCell<BTreeMap<SocketAddr, Option<Arc<Termination>>>>>);

impl Terminations {
    /// Exchanges all of them.
    pub fn set(&self, listeners: impl Iterator<Item = (SocketAddr, Option<Arc<Termination>>)>) {
        *self.0.borrow_mut() = listeners.collect();
    }
    /// Which listener the connections of an address belong to, and how they are served: its own, or the wider or narrower one that has
    /// taken its place. `None` when there is none.
    pub(super) fn of(&self, configured: SocketAddr) -> Option<(SocketAddr, Option<Arc<Termination>>)> {
        let listeners = self.0.borrow();
        let heir = || listeners.iter().find(|(other, _)| overlap(**other, configured));
        let (address, tls) = listeners.get_key_value(&configured).or_else(heir)?;
        Some((*address, tls.clone()))
    }
}
