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

/// What a key may be made of.
pub(crate) trait Source {
    /// The authenticated consumer.
    fn consumer(&self) -> Option<String>;
    /// The client's address.
    fn ip(&self) -> Option<IpAddr>;
    /// The path, without the query.
    fn path(&self) -> String;
    /// The route's name.
    fn route(&self) -> String;
    /// The method.
    fn method(&self) -> String;
    /// All values of a header, joined by commas.
    fn header(&self, name: &str) -> String;
}

/// The bucket of a request under a limit. Parts are kept apart by a byte that no part can contain.
#[must_use]
pub(crate) fn bucket(limit: &str, parts: &[Part], source: &impl Source) -> String {
    let mut key = limit.to_owned();
    for part in parts {
        let (kind, value) = match part {
            Part::Consumer => match source.consumer() {
                Some(consumer) => ("c", consumer),
                None => ("i", address(source.ip())),
            },
            Part::Ip => ("i", address(source.ip())),
            Part::Path => ("p", source.path()),
            Part::Route => ("r", source.route()),
            Part::Method => ("m", source.method()),
            Part::Header(name) => ("h", source.header(name)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Fixed {
        consumer: Option<&'static str>,
        ip: Option<&'static str>,
        header: &'static str,
    }

    impl Source for Fixed {
        fn consumer(&self) -> Option<String> {
            self.consumer.map(str::to_owned)
        }
        fn ip(&self) -> Option<IpAddr> {
            self.ip.map(|ip| ip.parse().unwrap())
        }
        fn path(&self) -> String {
            "/a".to_owned()
        }
        fn route(&self) -> String {
            "users".to_owned()
        }
        fn method(&self) -> String {
            "GET".to_owned()
        }
        fn header(&self, _name: &str) -> String {
            self.header.to_owned()
        }
    }

    fn key(parts: &[Part], source: &Fixed) -> String {
        bucket("n", parts, source).replace('\0', "|")
    }

    #[test]
    fn a_request_without_a_consumer_is_counted_by_address() {
        let alice = Fixed { consumer: Some("alice"), ip: Some("10.0.0.7"), ..Fixed::default() };
        assert_eq!(key(&[Part::Consumer], &alice), "n|calice");
        let nobody = Fixed { ip: Some("10.0.0.7"), ..Fixed::default() };
        assert_eq!(key(&[Part::Consumer], &nobody), "n|i10.0.0.7");
        assert_eq!(key(&[Part::Consumer], &Fixed::default()), "n|iunknown");
    }

    #[test]
    fn a_consumer_named_like_an_address_has_a_bucket_of_its_own() {
        let named = Fixed { consumer: Some("10.0.0.7"), ..Fixed::default() };
        let address = Fixed { ip: Some("10.0.0.7"), ..Fixed::default() };
        assert_ne!(key(&[Part::Consumer], &named), key(&[Part::Consumer], &address));
    }

    #[test]
    fn an_ipv6_network_shares_a_bucket_and_a_mapped_address_is_ipv4() {
        let key_of = |ip| key(&[Part::Ip], &Fixed { ip: Some(ip), ..Fixed::default() });
        assert_eq!(key_of("2001:db8:1:2:3:4:5:6"), key_of("2001:db8:1:2::9"));
        assert_ne!(key_of("2001:db8:1:2::9"), key_of("2001:db8:1:3::9"));
        assert_eq!(key_of("::ffff:10.0.0.7"), key_of("10.0.0.7"));
    }

    #[test]
    fn parts_are_combined_and_long_values_are_cut() {
        let source = Fixed { ip: Some("10.0.0.7"), header: "t1", ..Fixed::default() };
        let parts = [Part::Ip, Part::Path, Part::Route, Part::Method, Part::Header("x-tenant".to_owned())];
        assert_eq!(key(&parts, &source), "n|i10.0.0.7|p/a|rusers|mGET|ht1");
        let long = Fixed { header: Box::leak("x".repeat(5000).into_boxed_str()), ..Fixed::default() };
        assert_eq!(bucket("n", &parts[4..], &long).len(), 3 + MAX_VALUE);
    }
}
