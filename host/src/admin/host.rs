//! Which `host` headers are answered.
//!
//! A web page may make a browser look up the page's own name again and get the address of this API (DNS rebinding); then the browser takes
//! what it reads here for the page's own. Such a request carries the page's name as its host, so only names that nobody else
//! can own are answered: addresses, `localhost`, and those that are configured.

use std::net::IpAddr;

use http::Request;
use http::header::HOST;
use http::uri::Authority;

/// What is said to a request by another name.
pub(super) const REFUSED: &str = "the host header must carry an address, localhost, or a configured name";

/// Whether every host that the request names (the header, once; the request target) may be answered.
pub(super) fn is_allowed<B>(request: &Request<B>, configured: &[String]) -> bool {
    let mut headers = request.headers().get_all(HOST).iter();
    let (Some(header), None) = (headers.next(), headers.next()) else { return false };
    let named = header.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    let target = request.uri().authority();
    named.is_some_and(|named| is_known(&named, configured)) && target.is_none_or(|target| is_known(target, configured))
}

fn is_known(authority: &Authority, configured: &[String]) -> bool {
    let host = authority.host().to_ascii_lowercase();
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&host);
    !authority.as_str().contains('@')
        && (address.parse::<IpAddr>().is_ok() || host == "localhost" || configured.contains(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(hosts: &[&str]) -> bool {
        let mut request = Request::builder().uri("/livez");
        for host in hosts {
            request = request.header(HOST, *host);
        }
        is_allowed(&request.body(()).unwrap(), &["gateway.internal".to_owned()])
    }

    #[test]
    fn addresses_localhost_and_configured_names_are_answered() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9901",
            "10.1.2.3:80",
            "[::1]:9901",
            "localhost:9901",
            "LocalHost",
            "Gateway.Internal:1",
        ] {
            assert!(allowed(&[host]), "{host}");
        }
    }

    #[test]
    fn names_that_others_can_own_are_refused() {
        let refused =
            ["evil.example", "localhost.evil.example:9901", "127.0.0.1.evil.example", "evil@127.0.0.1", "", "a b"];
        for host in refused {
            assert!(!allowed(&[host]), "{host}");
        }
        assert!(!allowed(&[]));
        assert!(!allowed(&["127.0.0.1", "127.0.0.1"]));
    }

    #[test]
    fn an_absolute_target_is_looked_at_too() {
        let request = Request::builder().uri("http://evil.example/livez").header(HOST, "127.0.0.1").body(()).unwrap();
        assert!(!is_allowed(&request, &[]));
    }
}
