//! Sessions that stay at their target, by a cookie of the gateway's own.
//!
//! Its value is a keyed hash (HMAC-SHA256, RFC 2104) of the target, for a name of the very address: it tells no address, is the same on
//! every worker, after every reload, restart and answer of DNS, and in every gateway with the same configuration. With a secret,
//! nobody else can make one.

use http::{HeaderMap, HeaderValue, header};
use ring::hmac;

use crate::config::balance::StickyCookie;
use crate::state::targets::Endpoint;

/// Bytes of the hash that a value has: enough that none is met by chance.
const VALUE_BYTES: usize = 16;

/// The cookie of one upstream.
pub(super) struct Sticky {
    name: String,
    /// One for each target, in their order.
    marks: Box<[Mark]>,
}

/// What stands for one target.
struct Mark {
    value: String,
    /// `set-cookie` for a client in cleartext.
    plain: HeaderValue,
    /// The same for one that speaks TLS.
    secure: HeaderValue,
}

impl Sticky {
    pub(super) fn new(cookie: &StickyCookie, upstream: &str, targets: &[Endpoint]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, cookie.secret.as_bytes());
        Self {
            name: cookie.name.clone(),
            marks: targets.iter().map(|target| Mark::new(cookie, &value(&key, upstream, target))).collect(),
        }
    }
    /// The place of the target that a request's session belongs to, if it has one that there is.
    pub(super) fn home(&self, headers: &HeaderMap) -> Option<usize> {
        cookies(headers, &self.name).find_map(|value| self.marks.iter().position(|mark| mark.value == value))
    }
    /// The field that makes a session belong to the target at `place`.
    pub(super) fn field(&self, place: usize, secure: bool) -> Option<&HeaderValue> {
        self.marks.get(place).map(|mark| if secure { &mark.secure } else { &mark.plain })
    }
}

impl Mark {
    fn new(cookie: &StickyCookie, value: &str) -> Self {
        let StickyCookie { name, ttl, path, .. } = cookie;
        let age = ttl.map(|ttl| format!("; Max-Age={}", ttl.as_secs())).unwrap_or_default();
        let field = format!("{name}={value}; Path={path}{age}; HttpOnly; SameSite=Lax");
        // Name and path are visible ASCII: the configuration was checked.
        let parse = |field: &str| HeaderValue::from_str(field).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { plain: parse(&field), secure: parse(&format!("{field}; Secure")), value: value.to_owned() }
    }
}

/// Lower-case hex.
fn value(key: &hmac::Key, upstream: &str, endpoint: &Endpoint) -> String {
    let scheme = if endpoint.target.tls { "https" } else { "http" };
    let tag = hmac::sign(key, format!("{upstream}\0{scheme}://{}", endpoint.identity()).as_bytes());
    tag.as_ref().iter().take(VALUE_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// The values of a request's cookies of that name.
pub(super) fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = fields.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(known, _)| *known == name).map(|(_, value)| value)
}
