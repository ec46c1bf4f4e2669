//! Who asks: the client at the other end of the connection, or the one for whom a trusted proxy there speaks.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::client::Client;
use crate::filter::exchange::ConnectionFacts;
use crate::route::host::Authority;

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
        if !client.trusted.contains(&client.facts.remote) {
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
            host: headers.get(X_FORWARDED_HOST).filter(|host| is_host(host)).cloned(),
        }
    }
}

/// The connection, its remote address replaced by that of the first one, counted from here, who is not a trusted proxy.
fn connection(client: &Client, headers: &HeaderMap) -> Rc<ConnectionFacts> {
    let mut remote = client.facts.remote.clone();
    for claimed in claims(headers).rev() {
        // Whoever is not trusted may claim anything; what cannot be read is no address.
        if !client.trusted.contains(&remote) {
            break;
        }
        let Some(address) = address(claimed) else { break };
        remote = address.into();
    }
    if remote == client.facts.remote {
        return Rc::clone(&client.facts);
    }
    Rc::new(ConnectionFacts { remote, ..(*client.facts).clone() })
}

/// The addresses that are claimed, the nearest last. Each is read by itself: what one client wrote must not hide what a proxy has added.
fn claims(headers: &HeaderMap) -> impl DoubleEndedIterator<Item = &[u8]> {
    let values = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    let all = values.flat_map(|value| value.split(|byte| *byte == b','));
    all.map(<[u8]>::trim_ascii).filter(|claimed| !claimed.is_empty())
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`
fn address(claimed: &[u8]) -> Option<SocketAddr> {
    let claimed = std::str::from_utf8(claimed).ok()?;
    let bare = claimed.trim_start_matches('[').trim_end_matches(']');
    claimed.parse().ok().or_else(|| Some(SocketAddr::new(bare.parse::<IpAddr>().ok()?, 0)))
}

fn is_host(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| Authority::parse(text).is_ok())
}

/// What was claimed, and this connection's peer.
fn chain(client: &Client, headers: &HeaderMap) -> HeaderValue {
    let mut chain = BytesMut::new();
    for claimed in claims(headers) {
        chain.put(claimed);
        chain.put(&b", "[..]);
    }
    chain.put(client.forwarded_for.as_bytes());
    HeaderValue::from_maybe_shared(chain.freeze()).unwrap_or_else(|_| client.forwarded_for.clone())
}
