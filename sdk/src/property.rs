//! Properties: what the host knows about an exchange beside its messages (abi.md of Envoy: attributes).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use crate::host::{HOST, Host};

/// The property a filter sets to say who the client is. A single part, because not every host finds longer paths again.
const CONSUMER: &[&str] = &["consumer"];

pub(crate) fn bytes(path: &[&str]) -> Option<Bytes> {
    HOST.property(path)
}

pub(crate) fn text(path: &[&str]) -> Option<String> {
    String::from_utf8(bytes(path)?.into()).ok().filter(|text| !text.is_empty())
}

/// An integer: 8 bytes, little-endian. Some hosts write it in decimal.
pub(crate) fn number(path: &[&str]) -> Option<u64> {
    let value = bytes(path)?;
    match <[u8; 8]>::try_from(&value[..]) {
        Ok(number) => Some(u64::from_le_bytes(number)),
        Err(_) => std::str::from_utf8(&value).ok()?.parse().ok(),
    }
}

/// A duration: nanoseconds.
pub(crate) fn duration(path: &[&str]) -> Option<Duration> {
    number(path).map(Duration::from_nanos)
}

/// `source.address`: with or without a port.
pub(crate) fn client_ip() -> Option<IpAddr> {
    let address = text(&["source", "address"])?;
    address.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| address.parse()).ok()
}

pub(crate) fn consumer() -> Option<String> {
    text(CONSUMER)
}

pub(crate) fn set_consumer(name: &str) {
    HOST.set_property(CONSUMER, name.as_bytes());
}
