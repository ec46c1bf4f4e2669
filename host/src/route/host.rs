//! Authorities: `host[:port]` as it stands in `Host`, `:authority` and an absolute request target, checked and in one form.
//!
//! Stricter than RFC 3986 §3.2: no userinfo, no percent-encoding, no empty host, ASCII names only (IDNA names in their
//! `xn--` form), no zone of an IPv6 address.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Most characters of a host name (RFC 1035 §2.3.4).
const HOST_CHARS: usize = 253;

/// Most characters of one label of a host name (RFC 1035 §2.3.4).
const LABEL_CHARS: usize = 63;

/// A checked authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The host: lower-case, without a trailing dot; an IPv6 address in brackets and in its canonical form.
    pub host: Cow<'a, str>,
    /// The port, when one is given; never 0.
    pub port: Option<u16>,
}

/// Why a text is no authority; the request is answered 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAuthority {
    /// There is no host.
    #[error("the host is empty")]
    Empty,
    /// `user@host`.
    #[error("the host has a user name before it")]
    UserInfo,
    /// A character that no host name has, an empty label, or one that is too long.
    #[error("not a host name")]
    BadHost,
    /// Brackets without an IPv6 address in them, or an IPv6 address without brackets.
    #[error("not an IPv6 address in brackets")]
    BadAddress,
    /// Not a number from 1 to 65535.
    #[error("not a port")]
    BadPort,
}

impl<'a> Authority<'a> {
    /// Reads an authority.
    ///
    /// # Errors
    /// See [`BadAuthority`].
    pub fn parse(text: &'a str) -> Result<Self, BadAuthority> {
        if text.contains('@') {
            return Err(BadAuthority::UserInfo);
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (address, after) = rest.split_once(']').ok_or(BadAuthority::BadAddress)?;
            let port = match after.strip_prefix(':') {
                Some(port) => Some(parse_port(port)?),
                None if after.is_empty() => None,
                None => return Err(BadAuthority::BadPort),
            };
            let address: Ipv6Addr = address.parse().map_err(|_| BadAuthority::BadAddress)?;
            return Ok(Self { host: Cow::Owned(format!("[{address}]")), port });
        }
        let (host, port) = match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(BadAuthority::BadAddress),
            Some((host, port)) => (host, Some(parse_port(port)?)),
            None => (text, None),
        };
        Ok(Self { host: parse_name(host)?, port })
    }
}

/// Checks a host name and writes it in lower case without a trailing dot.
fn parse_name(name: &str) -> Result<Cow<'_, str>, BadAuthority> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(BadAuthority::Empty);
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_CHARS
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if name.len() > HOST_CHARS || !name.split('.').all(is_label) {
        return Err(BadAuthority::BadHost);
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(Cow::Owned(name.to_ascii_lowercase()));
    }
    Ok(Cow::Borrowed(name))
}

fn parse_port(text: &str) -> Result<u16, BadAuthority> {
    let digits = !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(BadAuthority::BadPort),
    }
}
