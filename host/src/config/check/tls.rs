//! TLS of a listener: `listeners[].tls`. Where its files stand is kept for problems that are found when they are read.

use std::path::PathBuf;

use super::{all, path, word};
use crate::config::fields::Fields;
use crate::config::node::Node;
use crate::config::origins::Place;
use crate::config::{Alpn, CertificateFiles, ClientCertificates, ListenerTls, TlsVersion, UpstreamTls};
use crate::route::host::Authority;

/// Offered when the file does not say.
const DEFAULT_ALPN: [Alpn; 2] = [Alpn::Http2, Alpn::Http11];

/// `tcp`: bytes are carried, whose protocol nobody asks for.
pub(super) fn tls(node: &Node<'_>, tcp: bool) -> Option<ListenerTls> {
    let mut fields = Fields::of(node)?;
    let certificates = fields.required("certificates").and_then(|node| all(&node.some_elements()?, certificate));
    let versions = [("1.2", TlsVersion::V12), ("1.3", TlsVersion::V13)];
    let min_version = fields.optional("min_version").map(|node| word(&node, &versions));
    let alpn = if tcp { None } else { fields.optional("alpn").map(|node| all(&node.some_elements()?, protocol)) };
    let client = fields.optional("client").map(|node| client(&node));
    fields.finish();
    Some(ListenerTls {
        certificates: certificates.filter(|certificates| !certificates.is_empty())?,
        min_version: min_version.unwrap_or_else(|| Some(TlsVersion::default()))?,
        alpn: if tcp {
            Vec::new()
        } else {
            alpn.unwrap_or_else(|| Some(DEFAULT_ALPN.to_vec())).filter(|alpn| !alpn.is_empty())?
        },
        client: match client {
            Some(client) => Some(client?),
            None => None,
        },
    })
}

fn certificate(node: &Node<'_>) -> Option<CertificateFiles> {
    let mut fields = Fields::of(node)?;
    let certificate = fields.required("certificate").and_then(|node| file(&node));
    let key = fields.required("key").and_then(|node| file(&node));
    let ocsp = fields.optional("ocsp").map_or(Some(None), |node| file(&node).map(Some));
    let hosts = fields.optional("hosts").map(|node| all(&node.some_elements()?, host));
    fields.finish();
    Some(CertificateFiles {
        certificate: certificate?,
        key: key?,
        ocsp: ocsp?,
        hosts: hosts.unwrap_or_else(|| Some(Vec::new()))?,
    })
}

fn protocol(node: &Node<'_>) -> Option<Alpn> {
    word(node, &[("h2", Alpn::Http2), ("http/1.1", Alpn::Http11)])
}

fn client(node: &Node<'_>) -> Option<ClientCertificates> {
    let mut fields = Fields::of(node)?;
    let ca = fields.required("ca").and_then(|node| file(&node));
    let required = fields.optional("mode").map(|node| word(&node, &[("required", true), ("optional", false)]));
    let crl = fields.optional("crl").map_or(Some(Vec::new()), |node| lists(&node));
    fields.finish();
    Some(ClientCertificates { ca: ca?, required: required.unwrap_or(Some(true))?, crl: crl? })
}

/// `upstreams.NAME.tls`
pub(super) fn upstream(node: &Node<'_>) -> Option<UpstreamTls> {
    let mut fields = Fields::of(node)?;
    let ca = fields.optional("ca").map_or(Some(None), |node| file(&node).map(Some));
    let certificate = fields.optional("certificate");
    let key = fields.optional("key");
    let crl = fields.optional("crl").map_or(Some(Vec::new()), |node| lists(&node));
    let server_name = fields.optional("server_name").map_or(Some(None), |node| server_name(&node).map(Some));
    fields.finish();
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let (certificate, key) = (file(&certificate), file(&key));
            Some((certificate?, key?))
        }
        (None, None) => None,
        _ => {
            node.problem("\"certificate\" and \"key\" go together");
            return None;
        }
    };
    Some(UpstreamTls { ca: ca?, identity, crl: crl?, server_name: server_name? })
}

fn server_name(node: &Node<'_>) -> Option<String> {
    node.parsed("a host name such as \"api.example.com\"", |text| {
        let authority = Authority::parse(text).ok().filter(|authority| authority.port.is_none())?;
        Some(authority.host.into_owned())
    })
}

/// Lists of revoked certificates. Problems of all of them together stand at the array.
fn lists(node: &Node<'_>) -> Option<Vec<PathBuf>> {
    remember(node);
    all(&node.some_elements()?, file)
}

/// A file that is read later.
fn file(node: &Node<'_>) -> Option<PathBuf> {
    remember(node);
    path(node)
}

fn remember(node: &Node<'_>) {
    let place = Place { path: node.path.to_string(), key: None, value: node.span() };
    node.document.files.borrow_mut().insert(node.path.to_string(), place);
}

/// A DNS name, perhaps with `*` for its first label.
fn host(node: &Node<'_>) -> Option<String> {
    node.parsed("a host such as \"api.example.com\" or \"*.example.com\"", |text| {
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(name) => ("*.", name),
            None => ("", text),
        };
        let Authority { host, port } = Authority::parse(name).ok()?;
        (port.is_none() && !host.starts_with('[')).then(|| format!("{wildcard}{host}"))
    })
}
