//! Who asks: the client at the other end of the connection, or the one for whom a trusted proxy there speaks.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::client::Client;
use crate::filter::exchange::ConnectionFacts;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Who asks, as filters, logs and upstreams are told. One address is derived, and only that one is told to anybody.
pub(super) struct Asker {
    pub(super) connection: Rc<ConnectionFacts>,
    /// The addresses that the request has come from, this connection's last.
    pub(super) forwarded_for: HeaderValue,
    /// The client speaks TLS, with the gateway or with a trusted proxy before it.
    pub(super) secure: bool,
    /// The host that a trusted proxy was asked for.
    pub(super) host: Option<HeaderValue>,
}

impl Asker {
    /// What the connection says; where its peer is a trusted proxy, what that says in `x-forwarded-*`.
    pub(super) fn new(client: &Client, headers: &HeaderMap) -> Self {
        let secure = client.facts.tls.is_some();
        if !client.trusts_peer() {
            let (connection, forwarded_for) = (Rc::clone(&client.facts), client.forwarded_for.clone());
            return Self { connection, forwarded_for, secure, host: None };
        }
        let secure = match headers.get(X_FORWARDED_PROTO).map(HeaderValue::as_bytes) {
            Some(proto) if proto.eq_ignore_ascii_case(b"https") => true,
            Some(proto) if proto.eq_ignore_ascii_case(b"http") => false,
            _ => secure,
        };
        Self {
            connection: connection(client, headers),
            forwarded_for: chain(client, headers),
            secure,
            host: headers.get(X_FORWARDED_HOST).cloned(),
        }
    }
}

/// The connection, its remote address replaced by that of the first one, counted from here, who is not a trusted proxy.
fn connection(client: &Client, headers: &HeaderMap) -> Rc<ConnectionFacts> {
    let mut remote = client.facts.remote;
    for claimed in claims(headers).rev() {
        // Whoever is not trusted may claim anything; what cannot be read is no address.
        if !client.trusts(remote.ip()) {
            break;
        }
        let Some(address) = address(claimed) else { break };
        remote = address;
    }
    if remote == client.facts.remote {
        return Rc::clone(&client.facts);
    }
    Rc::new(ConnectionFacts { remote, ..(*client.facts).clone() })
}

/// The addresses that are claimed, the nearest last.
fn claims(headers: &HeaderMap) -> impl DoubleEndedIterator<Item = &str> {
    let values = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|claimed| !claimed.is_empty())
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`
fn address(claimed: &str) -> Option<SocketAddr> {
    let bare = claimed.trim_start_matches('[').trim_end_matches(']');
    claimed.parse().ok().or_else(|| Some(SocketAddr::new(bare.parse::<IpAddr>().ok()?, 0)))
}

/// What was claimed, and this connection's peer.
fn chain(client: &Client, headers: &HeaderMap) -> HeaderValue {
    let mut chain = BytesMut::new();
    for claimed in claims(headers) {
        chain.put(claimed.as_bytes());
        chain.put(&b", "[..]);
    }
    chain.put(client.forwarded_for.as_bytes());
    HeaderValue::from_maybe_shared(chain.freeze()).unwrap_or_else(|_| client.forwarded_for.clone())
}
