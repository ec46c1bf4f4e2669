//! What the HTTP library lets through and a gateway must not: requests that two servers could read differently
//! (RFC 9110 §7.2, RFC 9112 §3.2 and §6.3, RFC 9113 §8.3). Pure.

use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderValue, Method, Version, header};

use super::methods;

/// Why a request is refused. The connection is closed after the answer, as its further bytes cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// No `host` and no `:authority`.
    #[error("missing host")]
    MissingHost,
    /// More than one `host`.
    #[error("duplicate host")]
    DuplicateHost,
    /// A `host` that is none: empty, with a user name, a path, a bad port.
    #[error("invalid host")]
    InvalidHost,
    /// `host` is not the authority of the request's target.
    #[error("host does not match the request target")]
    HostMismatch,
    /// Neither a path nor an `http` or `https` URI.
    #[error("invalid request target")]
    InvalidTarget,
    /// A fragment in the request's target.
    #[error("fragment in the request target")]
    Fragment,
    /// A path that cannot be normalised.
    #[error("invalid path")]
    InvalidPath,
    /// `content-length` beside `transfer-encoding`.
    #[error("both content-length and transfer-encoding")]
    LengthAndEncoding,
    /// More than one `content-length`.
    #[error("duplicate content-length")]
    DuplicateLength,
    /// A `content-length` that is no number.
    #[error("invalid content-length")]
    InvalidLength,
    /// A `transfer-encoding` that is not exactly `chunked`, or not allowed in this version.
    #[error("unsupported transfer-encoding")]
    InvalidEncoding,
    /// A line that does not end with CR LF, or a CR inside it.
    #[error("invalid line ending")]
    LineEnding,
}

/// Checks a head and gives its one authority.
///
/// # Errors
/// See [`BadRequest`].
pub(super) fn authority(parts: &Parts) -> Result<HeaderValue, BadRequest> {
    target(parts)?;
    framing(parts)?;
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(BadRequest::DuplicateHost);
    }
    match (parts.uri.authority(), host) {
        (None, None) => Err(BadRequest::MissingHost),
        (None, Some(host)) => Ok(host.clone()),
        (Some(authority), Some(host)) if authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) => {
            Ok(host.clone())
        }
        (Some(_), Some(_)) => Err(BadRequest::HostMismatch),
        // An absolute target does not replace `host` in HTTP/1.1 (RFC 9112 §3.2.2), `:authority` does.
        (Some(authority), None) if parts.version == Version::HTTP_2 => {
            HeaderValue::from_str(authority.as_str()).map_err(|_| BadRequest::InvalidHost)
        }
        (Some(_), None) => Err(BadRequest::MissingHost),
    }
}

fn target(parts: &Parts) -> Result<(), BadRequest> {
    let uri = &parts.uri;
    match uri.scheme() {
        Some(scheme) if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS => return Err(BadRequest::InvalidTarget),
        Some(_) if uri.authority().is_none() => return Err(BadRequest::InvalidTarget),
        // `example.com:80`, the form of CONNECT.
        None if uri.authority().is_some() => return Err(BadRequest::InvalidTarget),
        Some(_) | None => {}
    }
    if methods::is_asterisk(parts) {
        return Ok(());
    }
    if uri.path().starts_with('/') && parts.method != Method::CONNECT { Ok(()) } else { Err(BadRequest::InvalidTarget) }
}

fn framing(parts: &Parts) -> Result<(), BadRequest> {
    let mut encodings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    let encoding = encodings.next();
    if let Some(encoding) = encoding
        && (parts.version != Version::HTTP_11
            || encodings.next().is_some()
            || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(BadRequest::InvalidEncoding);
    }
    let mut lengths = parts.headers.get_all(header::CONTENT_LENGTH).iter();
    match lengths.next() {
        None => Ok(()),
        Some(_) if lengths.next().is_some() => Err(BadRequest::DuplicateLength),
        Some(_) if encoding.is_some() => Err(BadRequest::LengthAndEncoding),
        Some(length) if length.as_bytes().iter().all(u8::is_ascii_digit) && !length.is_empty() => Ok(()),
        Some(_) => Err(BadRequest::InvalidLength),
    }
}
