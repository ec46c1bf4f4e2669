//! The one normalisation of a request's path. Routing, filters and upstreams see the same, normalised path, so that none of
//! them can be led around another.
//!
//! What is refused rather than repaired are the forms that servers are known to read differently: an encoded slash (`%2F`),
//! a backslash in any form, control characters in any form, percent-encodings that are none or spell no UTF-8, a fragment,
//! and segments that are nothing, `.` or `..` but for their parameters (`/;x/`, `/..;x/`), which some servers take for those.
//! Parameters of other segments (`/users;v=1`) are handed on and take no part in routing: a server that knows them would
//! otherwise answer `/admin;x` as `/admin` on a route that does not protect it. What stays encoded stays so: `%3F`, `%23`,
//! `%3B` and `%25` mean those characters inside a segment, and are handed on as they are.

use std::borrow::Cow;

/// Why a path cannot be normalised; the request is answered 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It does not begin with `/` (and is not `*`).
    #[error("the path does not begin with \"/\"")]
    NotAbsolute,
    /// `%` without two hexadecimal digits, or octets that are not UTF-8.
    #[error("the path has an invalid percent-encoding")]
    BadEncoding,
    /// A control character, a space or NUL, plain or encoded (an encoded space is fine).
    #[error("the path has a control character or a space")]
    Control,
    /// `\` or `%5C`.
    #[error("the path has a backslash")]
    Backslash,
    /// `%2F`.
    #[error("the path has an encoded slash")]
    EncodedSlash,
    /// `#`.
    #[error("the path has a fragment")]
    Fragment,
    /// `?`: the query has to be cut off before.
    #[error("the path has a query")]
    Query,
    /// Nothing, `.` or `..` with parameters: `/..;x/`.
    #[error("the path has parameters on a segment that is empty or dots")]
    DotSegment,
}

/// Normalises a path (RFC 3986 §6.2.2): percent-encoded unreserved characters are decoded, the hexadecimal digits of the
/// others are upper-cased, characters that a URI may not have are encoded, empty segments (`//`) are dropped and dot segments
/// resolved, those beyond the root staying at the root. `*` (of `OPTIONS *`) is left alone. Doing it twice changes nothing.
///
/// # Errors
/// See [`BadPath`].
pub fn normalise(path: &str) -> Result<Cow<'_, str>, BadPath> {
    if path == "*" || is_normal(path) {
        return Ok(Cow::Borrowed(path));
    }
    if !path.starts_with('/') {
        return Err(BadPath::NotAbsolute);
    }
    let spelled = spell(path)?;
    resolve_segments(&spelled).map(Cow::Owned)
}

/// A normalised path as routing looks at it: without the parameters of its segments (RFC 3986 §3.3).
#[must_use]
pub fn without_parameters(path: &str) -> Cow<'_, str> {
    if !path.contains(';') {
        return Cow::Borrowed(path);
    }
    let segments = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    Cow::Owned(segments.collect::<Vec<_>>().join("/"))
}

/// What follows the segments of `prefix`, which has no slash at its end, whatever their parameters; `None` when the path does
/// not begin with them.
#[must_use]
pub fn after_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let end = path.match_indices('/').nth(prefix.matches('/').count()).map_or(path.len(), |(slash, _)| slash);
    let (head, rest) = path.split_at(end);
    (without_parameters(head) == prefix).then_some(rest)
}

/// Whether a path is plainly normal already: no byte and no segment that needs a closer look.
fn is_normal(path: &str) -> bool {
    let bytes = path.as_bytes();
    let dubious = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.' | b';');
    bytes.first() == Some(&b'/') && bytes.iter().all(|byte| is_plain(*byte)) && !bytes.windows(2).any(dubious)
}

/// RFC 3986 `unreserved`.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What a path may have unencoded: RFC 3986 `pchar`, and the slash.
fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}

/// Spells every character of a path in its one way.
fn spell(path: &str) -> Result<String, BadPath> {
    let mut spelled = String::with_capacity(path.len());
    let mut decoded = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let octet = hex(bytes.next())? << 4 | hex(bytes.next())?;
                match octet {
                    b'/' => return Err(BadPath::EncodedSlash),
                    b'\\' => return Err(BadPath::Backslash),
                    0..=0x1f | 0x7f => return Err(BadPath::Control),
                    _ if is_unreserved(octet) => spelled.push(char::from(octet)),
                    _ => encode(octet, &mut spelled),
                }
                decoded.push(octet);
                continue;
            }
            b'\\' => return Err(BadPath::Backslash),
            b'#' => return Err(BadPath::Fragment),
            b'?' => return Err(BadPath::Query),
            0..=0x20 | 0x7f => return Err(BadPath::Control),
            _ if is_plain(byte) => spelled.push(char::from(byte)),
            _ => encode(byte, &mut spelled),
        }
        decoded.push(byte);
    }
    match std::str::from_utf8(&decoded) {
        // C1 control characters (U+0080 to U+009F) are controls too.
        Ok(text) if text.chars().any(char::is_control) => Err(BadPath::Control),
        Ok(_) => Ok(spelled),
        Err(_) => Err(BadPath::BadEncoding),
    }
}

fn hex(digit: Option<u8>) -> Result<u8, BadPath> {
    match digit {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
        Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
        _ => Err(BadPath::BadEncoding),
    }
}

fn encode(octet: u8, spelled: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    spelled.push('%');
    spelled.push(char::from(DIGITS[usize::from(octet >> 4)]));
    spelled.push(char::from(DIGITS[usize::from(octet & 15)]));
}

/// Drops empty segments and resolves `.` and `..` (RFC 3986 §5.2.4). A slash at the end stays.
fn resolve_segments(path: &str) -> Result<String, BadPath> {
    let mut resolved = String::with_capacity(path.len());
    let mut directory = false;
    for segment in path.split('/').skip(1) {
        directory = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => resolved.truncate(resolved.rfind('/').unwrap_or(0)),
            _ if [";", ".;", "..;"].iter().any(|start| segment.starts_with(start)) => return Err(BadPath::DotSegment),
            _ => {
                resolved.push('/');
                resolved.push_str(segment);
            }
        }
    }
    if directory || resolved.is_empty() {
        resolved.push('/');
    }
    Ok(resolved)
}
