//! Switching protocols towards an upstream: by an upgrade over HTTP/1.1 (RFC 9110 §7.8), by an extended CONNECT over HTTP/2 (RFC 8441).
//! Whoever sends such a request sees the former, whatever the upstream speaks.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::ext::Protocol;
use ring::digest;

use super::body::{RequestBody, ResponseBody};

/// What follows the key in what is hashed (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The protocol that a request's connection is to change to. It stands in the extensions of a GET; the head does not name it yet.
#[derive(Clone, Debug)]
pub struct Switch {
    protocol: HeaderValue,
    key: Key,
}

/// Proves that a server has understood a WebSocket's handshake over HTTP/1.1. HTTP/2 has none.
#[derive(Clone, Debug)]
enum Key {
    /// No WebSocket, or a client that has sent none.
    None,
    /// The client's, which checks the answer by it.
    Clients(HeaderValue),
    /// Made up for a client that has none.
    Ours(HeaderValue),
}

impl Switch {
    /// For a client that has asked over HTTP/1.1, with these fields.
    #[must_use]
    pub fn of_upgrade(protocol: HeaderValue, headers: &HeaderMap) -> Self {
        let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| is_websocket(&protocol));
        Self { key: key.cloned().map_or(Key::None, Key::Clients), protocol }
    }
    /// For a client that has asked over HTTP/2.
    #[must_use]
    pub fn of_connect(protocol: HeaderValue) -> Self {
        let key = is_websocket(&protocol).then(|| BASE64_STANDARD.encode(fastrand::u128(..).to_be_bytes()));
        let key = key.and_then(|key| HeaderValue::try_from(key).ok());
        Self { key: key.map_or(Key::None, Key::Ours), protocol }
    }
    /// Writes a request for an HTTP/1.1 upstream.
    pub(super) fn ask_http1(&self, request: &mut Request<RequestBody>) {
        let headers = request.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
        if let Key::Ours(key) = &self.key {
            headers.insert(header::SEC_WEBSOCKET_KEY, key.clone());
        }
    }
    /// Writes a request for an HTTP/2 upstream.
    pub(super) fn ask_http2(&self, request: &mut Request<RequestBody>) {
        *request.method_mut() = Method::CONNECT;
        request.headers_mut().remove(header::SEC_WEBSOCKET_KEY);
        request.extensions_mut().insert(Protocol::from(self.protocol.to_str().unwrap_or_default()));
    }
    /// What the client of an answer over HTTP/1.1 is told. `None`: the upstream has not understood what it has agreed to.
    pub(super) fn answered_http1(&self, mut response: Response<ResponseBody>) -> Option<Response<ResponseBody>> {
        if let (StatusCode::SWITCHING_PROTOCOLS, Key::Ours(key)) = (response.status(), &self.key) {
            response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT).filter(|accept| *accept == accepting(key))?;
        }
        Some(response)
    }
    /// The same over HTTP/2: a success is a 101.
    pub(super) fn answered_http2(&self, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
        if response.status().is_success() {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, self.protocol.clone());
            if let Key::Clients(key) = &self.key
                && let Ok(accept) = HeaderValue::try_from(accepting(key))
            {
                headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
            }
        }
        response
    }
}

fn is_websocket(protocol: &HeaderValue) -> bool {
    protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// How a server answers that key.
fn accepting(key: &HeaderValue) -> String {
    let hashed = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID].concat());
    BASE64_STANDARD.encode(hashed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_as_the_standard_has_it() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accepting(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn keys_are_made_up_for_websockets_alone_and_differ() {
        let key = |protocol| match Switch::of_connect(HeaderValue::from_static(protocol)).key {
            Key::Ours(key) => Some(key),
            Key::None | Key::Clients(_) => None,
        };
        let made = key("websocket").unwrap();
        assert_eq!(BASE64_STANDARD.decode(made.as_bytes()).unwrap().len(), 16);
        assert_ne!(Some(made), key("websocket"));
        assert_eq!(key("other"), None);
    }
}
