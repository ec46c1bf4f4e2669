//! What leaves the chain: legal heads, and those that are refused.

use http::HeaderValue;
use http::header::{HeaderName, TE};

use super::{Illegal, request, response, strip_hop_by_hop, trailers};
use crate::filter::{Headers, Name};

fn headers(fields: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in fields {
        headers.append(Name::parse(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}
/// A legal request with one of its pseudo headers replaced.
fn with(name: &str, value: &str) -> Headers {
    let mut head = headers(&[(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")]);
    head.set(Name::parse(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    head
}

#[test]
fn a_legal_request_leaves_with_its_fields_in_order() {
    let mut head = with(":path", "/users?id=7");
    for (name, value) in [("accept", "a"), ("x-custom", "1"), ("accept", "b")] {
        head.append(Name::parse(name.as_bytes()).unwrap(), HeaderValue::from_static(value));
    }
    let sent = request(&head).unwrap();
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str(), sent.authority.as_str()),
        ("GET", "/users?id=7", "a.example")
    );
    assert_eq!(sent.scheme.unwrap().as_str(), "http");
    let values: Vec<_> = sent.headers.get_all("accept").iter().collect();
    assert_eq!(values, ["a", "b"]);
    assert_eq!(sent.headers["x-custom"], "1");
}

#[test]
fn a_request_without_a_pseudo_header_does_not_leave() {
    for name in [":method", ":path", ":authority"] {
        let mut head = with("x", "1");
        head.remove(&Name::parse(name.as_bytes()).unwrap());
        let Err(Illegal::Missing(missing)) = request(&head) else { panic!("{name}") };
        assert_eq!(missing, name);
    }
    let mut head = with("x", "1");
    head.remove(&Name::Scheme);
    assert!(request(&head).unwrap().scheme.is_none(), "how the upstream is spoken to is decided elsewhere");
}

#[test]
fn a_pseudo_header_written_twice_does_not_leave() {
    for name in [":method", ":path", ":authority", ":scheme"] {
        let mut head = with("x", "1");
        let name = Name::parse(name.as_bytes()).unwrap();
        let value = head.get(&name).unwrap().clone();
        head.append(name, value);
        assert!(matches!(request(&head), Err(Illegal::Repeated(_))));
    }
}

#[test]
fn paths_that_peers_would_read_differently_do_not_leave() {
    for path in ["/", "/a/b?c=d&e", "/%2e", "//x", "/a;b=1", "/?"] {
        assert_eq!(request(&with(":path", path)).unwrap().path.as_str(), path);
    }
    for path in ["", "a", "http://b/", "/a b", "/a#b", "/a\tb", "/\u{e9}", "*", "?a"] {
        assert_eq!(request(&with(":path", path)).err(), Some(Illegal::Value(":path")), "{path:?}");
    }
    let mut head = with(":path", "*");
    head.set(Name::Method, HeaderValue::from_static("OPTIONS"));
    assert_eq!(request(&head).unwrap().path.as_str(), "*");
}

#[test]
fn authorities_that_are_not_a_host_with_a_port_do_not_leave() {
    for authority in ["a", "a.example:80", "127.0.0.1:1", "[::1]:8080", "[::1]"] {
        assert_eq!(request(&with(":authority", authority)).unwrap().authority, authority);
    }
    for authority in ["", "user@a", "a:b", "a:", "a:99999", "a b", "a/b", ":80", "a:1:2", "a\u{e9}", "a#b", "a?b"] {
        assert_eq!(request(&with(":authority", authority)).err(), Some(Illegal::Value(":authority")), "{authority:?}");
    }
}

#[test]
fn methods_and_schemes_are_tokens_that_a_proxy_forwards() {
    assert_eq!(request(&with(":method", "PURGE")).unwrap().method, "PURGE");
    for method in ["", "G T", "GET\t", "CONNECT"] {
        assert_eq!(request(&with(":method", method)).err(), Some(Illegal::Value(":method")), "{method:?}");
    }
    for scheme in ["ftp", "", "HTTP "] {
        assert_eq!(request(&with(":scheme", scheme)).err(), Some(Illegal::Value(":scheme")), "{scheme:?}");
    }
}

#[test]
fn a_response_has_one_final_status() {
    assert_eq!(response(&headers(&[(":status", "204")])).unwrap().status, 204);
    for status in ["100", "101", "199", "600", "999", "20", "2000", "abc", ""] {
        assert_eq!(response(&headers(&[(":status", status)])).err(), Some(Illegal::Value(":status")), "{status:?}");
    }
    assert_eq!(response(&headers(&[])).err(), Some(Illegal::Missing(":status")));
    assert_eq!(response(&headers(&[(":status", "200"), (":status", "200")])).err(), Some(Illegal::Repeated(":status")));
}

#[test]
fn pseudo_headers_of_the_other_kind_are_dropped() {
    assert!(response(&headers(&[(":status", "200"), (":path", "/")])).unwrap().headers.is_empty());
    assert!(request(&with(":status", "200")).unwrap().headers.is_empty());
}

#[test]
fn fields_of_the_connection_and_of_the_framing_do_not_leave() {
    let head = headers(&[
        (":status", "200"),
        ("connection", "close, X-Nominated ,,bad name"),
        ("x-nominated", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("content-length", "5"),
        ("content-length", "6"),
        ("host", "b.example"),
        ("x-kept", "1"),
    ]);
    let sent = response(&head).unwrap();
    assert_eq!(sent.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-kept"]);
}

#[test]
fn te_passes_with_its_one_end_to_end_value() {
    let sent = request(&{
        let mut head = with("te", "trailers");
        head.append(Name::parse(b"connection").unwrap(), HeaderValue::from_static("te"));
        head
    });
    assert_eq!(sent.unwrap().headers[TE], "trailers");
}

#[test]
fn trailers_carry_no_framing_no_pseudo_headers_and_nothing_of_the_connection() {
    let map = trailers(&headers(&[
        (":status", "200"),
        ("grpc-status", "0"),
        ("content-length", "1"),
        ("transfer-encoding", "chunked"),
        ("host", "a"),
        ("trailer", "x"),
        ("te", "trailers"),
        ("connection", "close"),
    ]));
    assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["grpc-status"]);
}

#[test]
fn what_is_received_is_rid_of_hop_by_hop_fields_before_filters_add_theirs() {
    let mut head =
        headers(&[("connection", "x-consumer, close"), ("x-consumer", "forged"), ("te", "trailers"), ("a", "1")]);
    strip_hop_by_hop(&mut head);
    assert_eq!(head, headers(&[("te", "trailers"), ("a", "1")]));
}
