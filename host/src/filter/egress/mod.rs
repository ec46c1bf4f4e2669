//! What leaves the chain: turns the filters' view of a head into parts that may be sent, or says why it may not.
//!
//! Filters are free in what they write; this is the one place that checks it. Names and values are legal by construction
//! ([`Headers`]); framing is the chain's ([`Framing`](super::chain::Framing)) and never taken from fields. Path
//! normalisation is the proxy's.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, StatusCode};

use super::{Field, Headers, Name};

/// A request's head as it may be sent. `host` and `content-length` are not among the headers.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// `:method`
    pub method: Method,
    /// `:scheme`, which is the client's: how the upstream is spoken to is not a filter's matter.
    pub scheme: Option<Scheme>,
    /// `:authority`, without user information.
    pub authority: Authority,
    /// `:path`, with the query.
    pub path: PathAndQuery,
    /// All other fields.
    pub headers: HeaderMap,
}

/// A response's head as it may be sent. `content-length` is not among the headers.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// `:status`, 200..=599.
    pub status: StatusCode,
    /// All other fields.
    pub headers: HeaderMap,
}

/// What is wrong with a head that a filter has written. For the log; the client is answered 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// A pseudo header is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A pseudo header is there twice.
    #[error("{0} is there more than once")]
    Repeated(&'static str),
    /// A pseudo header has a value that no peer would take as it was meant.
    #[error("{0} is not legal")]
    Value(&'static str),
}

/// The request that leaves the chain (RFC 9110 §4, §7.1; RFC 9113 §8.3.1).
///
/// # Errors
/// A pseudo header is missing, repeated or illegal. Those of a response are dropped.
pub fn request(head: &Headers) -> Result<RequestHead, Illegal> {
    let method = Method::from_bytes(only(head, &Name::Method, ":method")?.as_bytes())
        .ok()
        .filter(|method| *method != Method::CONNECT)
        .ok_or(Illegal::Value(":method"))?;
    let path = path(only(head, &Name::Path, ":path")?, &method).ok_or(Illegal::Value(":path"))?;
    let authority = authority(only(head, &Name::Authority, ":authority")?).ok_or(Illegal::Value(":authority"))?;
    let scheme = match head.get(&Name::Scheme) {
        None => None,
        Some(_) => Some(scheme(only(head, &Name::Scheme, ":scheme")?).ok_or(Illegal::Value(":scheme"))?),
    };
    Ok(RequestHead { method, scheme, authority, path, headers: fields(head) })
}

/// The response that leaves the chain.
///
/// # Errors
/// `:status` is missing, repeated or not within 200..=599. Pseudo headers of a request are dropped.
pub fn response(head: &Headers) -> Result<ResponseHead, Illegal> {
    let status = StatusCode::from_bytes(only(head, &Name::Status, ":status")?.as_bytes())
        .ok()
        .filter(|status| (200..=599).contains(&status.as_u16()))
        .ok_or(Illegal::Value(":status"))?;
    Ok(ResponseHead { status, headers: fields(head) })
}

/// The fields of a 101 that leaves the chain as one; `None` when a filter has made another response of it.
#[must_use]
pub fn switching(head: &Headers) -> Option<HeaderMap> {
    let status = only(head, &Name::Status, ":status").ok()?;
    (*status == StatusCode::SWITCHING_PROTOCOLS.as_str()).then(|| fields(head))
}

/// The trailers that leave the chain: without pseudo headers, hop-by-hop fields, and those that only mean something in a
/// head (RFC 9110 §6.5.1).
#[must_use]
pub fn trailers(trailers: &Headers) -> HeaderMap {
    let mut map = fields(trailers);
    map.remove(TRAILER);
    map.remove(TE);
    map
}

/// Removes the fields that are about one connection only (RFC 9110 §7.6.1), and those that `connection` names. The proxy does
/// this to what it receives, so that nobody can have a field removed that a filter adds.
pub fn strip_hop_by_hop(head: &mut Headers) {
    let nominated: Vec<_> = nominated(head).collect();
    head.retain(|field| match &field.name {
        Name::Header(name) => !is_hop_by_hop(name, &field.value) && !nominated.contains(name),
        _ => true,
    });
}

/// The one value of a pseudo header. Two would be read differently by those who read the first and those who read the last.
fn only<'a>(head: &'a Headers, name: &Name, text: &'static str) -> Result<&'a HeaderValue, Illegal> {
    let mut values = head.iter().filter(|field| field.name == *name).map(|field| &field.value);
    let value = values.next().ok_or(Illegal::Missing(text))?;
    if values.next().is_some() { Err(Illegal::Repeated(text)) } else { Ok(value) }
}

fn path(value: &HeaderValue, method: &Method) -> Option<PathAndQuery> {
    let bytes = value.as_bytes();
    // The parser would cut a fragment off silently.
    let visible = bytes.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#');
    let rooted = bytes.first() == Some(&b'/') || (bytes == b"*" && *method == Method::OPTIONS);
    (visible && rooted).then(|| PathAndQuery::try_from(bytes).ok()).flatten()
}

fn authority(value: &HeaderValue) -> Option<Authority> {
    let authority = Authority::try_from(value.as_bytes()).ok()?;
    let text = authority.as_str();
    // A port is what follows the host; one that is not a number makes the whole ambiguous. User information is an attack.
    let port = text.strip_prefix(authority.host())?;
    let legal =
        !text.contains('@') && !authority.host().is_empty() && (port.is_empty() || authority.port_u16().is_some());
    legal.then_some(authority)
}

fn scheme(value: &HeaderValue) -> Option<Scheme> {
    [Scheme::HTTP, Scheme::HTTPS].into_iter().find(|scheme| scheme.as_str().as_bytes() == value.as_bytes())
}

/// All fields but pseudo ones, those of the connection, and those that the framing decides.
fn fields(head: &Headers) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(head.len());
    for Field { name, value } in head.iter() {
        let Name::Header(name) = name else { continue };
        if *name != HOST && *name != CONTENT_LENGTH && !is_hop_by_hop(name, value) {
            map.append(name.clone(), value.clone());
        }
    }
    for name in nominated(head) {
        map.remove(name);
    }
    map
}

/// The fields that `connection` names. `te` is not one of them: its one value that may pass is decided by value.
fn nominated(head: &Headers) -> impl Iterator<Item = HeaderName> {
    let connection = head.iter().filter(|field| matches!(&field.name, Name::Header(name) if *name == CONNECTION));
    connection
        .flat_map(|field| field.value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| *name != TE)
}

fn is_hop_by_hop(name: &HeaderName, value: &HeaderValue) -> bool {
    match name.as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => true,
        "te" => !value.as_bytes().eq_ignore_ascii_case(b"trailers"),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
