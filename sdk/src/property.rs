//! Properties: what the host knows about an exchange beside its messages (abi.md of Envoy: attributes).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use crate::extension;
use crate::host::{HOST, Host};

/// The property a filter sets to say who the client is. A single part, because not every host finds longer paths again.
const CONSUMER: &[&str] = &["consumer"];

/// A property's value, in the host's encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property(Bytes);

impl Property {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As an integer: 8 bytes, little-endian. Some hosts write it in decimal.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        match <[u8; 8]>::try_from(&self.0[..]) {
            Ok(number) => Some(u64::from_le_bytes(number)),
            Err(_) => std::str::from_utf8(&self.0).ok()?.parse().ok(),
        }
    }

    /// As a text; none when it is empty, or not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok().filter(|text| !text.is_empty())
    }

    /// As a text of one's own; none when it is empty, or not UTF-8.
    #[must_use]
    pub fn text(self) -> Option<String> {
        String::from_utf8(self.0.into()).ok().filter(|text| !text.is_empty())
    }

    /// As an address, with or without a port.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        let text = std::str::from_utf8(&self.0).ok()?;
        text.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| text.parse()).ok()
    }
}

impl From<Property> for Bytes {
    fn from(property: Property) -> Self {
        property.0
    }
}

pub(crate) fn one(path: &[&str]) -> Option<Property> {
    HOST.property(path).map(Property)
}

/// Paths of properties that are asked for together, written down once as the host takes them.
pub struct PropertyPaths {
    paths: Vec<&'static [&'static str]>,
    /// Each behind its length, its parts parted by zeros.
    encoded: Vec<u8>,
}

impl PropertyPaths {
    /// These, in this order.
    #[must_use]
    pub fn new(paths: Vec<&'static [&'static str]>) -> Self {
        let mut encoded = Vec::with_capacity(paths.len() * 32);
        for path in &paths {
            let path = path.join("\0");
            encoded.extend_from_slice(&u32::try_from(path.len()).unwrap_or(u32::MAX).to_le_bytes());
            encoded.extend_from_slice(path.as_bytes());
        }
        Self { paths, encoded }
    }
}

/// Several at once, in their order.
pub(crate) fn many(paths: &PropertyPaths) -> impl Iterator<Item = Option<Property>> {
    let answer = extension::call(extension::PROPERTIES, &paths.encoded);
    let mut at = 0;
    paths.paths.iter().map(move |path| match &answer {
        Ok(answer) => next(answer, &mut at),
        Err(_) => one(path),
    })
}

/// The value at a place of an answer: behind its length, or the greatest of lengths for what is not known.
fn next(answer: &Bytes, at: &mut usize) -> Option<Property> {
    let length = u32::from_le_bytes(answer.get(*at..*at + 4)?.try_into().ok()?);
    *at += 4;
    let end = at.checked_add(usize::try_from(length).ok().filter(|_| length != u32::MAX)?)?;
    let value = (end <= answer.len()).then(|| answer.slice(*at..end))?;
    *at = end;
    Some(Property(value))
}

pub(crate) fn text(path: &[&str]) -> Option<String> {
    one(path)?.text()
}

pub(crate) fn number(path: &[&str]) -> Option<u64> {
    one(path)?.number()
}

/// A duration: nanoseconds.
pub(crate) fn duration(path: &[&str]) -> Option<Duration> {
    number(path).map(Duration::from_nanos)
}

/// `source.address`: with or without a port.
pub(crate) fn client_ip() -> Option<IpAddr> {
    one(&["source", "address"])?.ip()
}

pub(crate) fn consumer() -> Option<String> {
    text(CONSUMER)
}

pub(crate) fn set_consumer(name: &str) {
    HOST.set_property(CONSUMER, name.as_bytes());
}
