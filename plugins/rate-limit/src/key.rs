//! What is counted: the parts of a request that share a bucket.

use std::net::IpAddr;

use sluicegate_sdk::prelude::*;

/// Bytes of each value that count: longer values with the same beginning share a bucket, so that a client cannot fill the
/// store with long keys.
const MAX_VALUE: usize = 128;

/// Stands between parts; no part contains it.
const SEPARATOR: char = '\0';

/// One part of a key.
#[derive(Config, Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Who was authenticated by an earlier filter; who was not is counted by address.
    Consumer,
    /// The client's address; of IPv6 the network (/64), since a client commonly has all of one.
    Ip,
    /// The path, without the query.
    Path,
    /// The route's name.
    Route,
    /// The request's method.
    Method,
    /// A request header. Requests without it share one bucket.
    Header(String),
}

/// The bucket of a request under a limit. Parts are kept apart by a byte that no part can contain.
#[must_use]
pub(crate) fn bucket(limit: &str, parts: &[Part], req: &Request) -> String {
    let mut key = limit.to_owned();
    for part in parts {
        let (kind, value) = match part {
            Part::Consumer => match req.consumer() {
                Some(consumer) => ("c", consumer),
                None => ("i", address(req.client_ip())),
            },
            Part::Ip => ("i", address(req.client_ip())),
            Part::Path => ("p", req.path_only()),
            Part::Route => ("r", req.route()),
            Part::Method => ("m", req.method()),
            Part::Header(name) => ("h", all_values(req, name)),
        };
        key.push(SEPARATOR);
        key.push_str(kind);
        key.extend(value[..value.floor_char_boundary(MAX_VALUE)].chars().filter(|char| *char != SEPARATOR));
    }
    key
}

/// The address as it counts.
fn address(ip: Option<IpAddr>) -> String {
    match ip.map(|ip| ip.to_canonical()) {
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        None => "unknown".to_owned(),
    }
}

/// All values of a header, joined by commas.
fn all_values(req: &Request, name: &str) -> String {
    let values = req.headers().get_all(name);
    values.iter().map(HeaderValue::to_string_lossy).collect::<Vec<_>>().join(",")
}
