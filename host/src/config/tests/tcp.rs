//! Listeners for TCP connections.

use std::time::Duration;

use super::{good, refuses};
use crate::config::UpstreamProtocol;

/// A configuration with this listener, upstreams for bytes (`raw`), for requests (`web`), for both, and `more`.
fn listener(listener: &str, more: &str) -> String {
    format!(
        r#"{{"listeners": [{listener}], "upstreams": {{
            "raw": {{"targets": ["tcp://db.example:5432"]}}, "both": {{"targets": ["http://127.0.0.1:1"]}},
            "web": {{"targets": ["https://web.example"]}}, "web2": {{"targets": ["http://127.0.0.1:1"], "protocol": "http2"}}
        }} {more}}}"#
    )
}

fn service(tcp: &str) -> String {
    listener(&format!(r#"{{"address": "127.0.0.1:0", "tcp": {tcp}}}"#), "")
}

#[test]
fn a_tcp_listener_is_read() {
    let config = good(&service(
        r#"{"upstream": "raw", "idle_timeout": "5m", "filters": [{"use": "a_b", "config": {"c": 1}, "on_error": "open"}]}"#,
    ))
    .config;
    let tcp = config.listeners[0].tcp.as_ref().unwrap();
    assert_eq!((&*tcp.upstream, tcp.idle_timeout), ("raw", Duration::from_secs(300)));
    assert_eq!((&*tcp.filters[0].plugin, &*tcp.filters[0].path), ("a-b", "listeners[0].tcp.filters[0]"));
    let raw = &config.upstreams["raw"];
    assert_eq!((raw.protocol, &*raw.targets[0].to_string()), (UpstreamProtocol::Tcp, "db.example:5432"));
    let config = good(&service(r#"{"upstream": "both"}"#)).config;
    let tcp = config.listeners[0].tcp.as_ref().unwrap();
    assert_eq!((tcp.filters.len(), tcp.idle_timeout), (0, Duration::from_secs(3600)));
}

#[test]
fn bytes_and_requests_are_not_mixed() {
    let bytes = "listeners[0].tcp.upstream: TCP connections need an upstream of tcp:// (or http://) targets, without TLS or HTTP/2";
    refuses(&service(r#"{"upstream": §"web"}"#), &[bytes]);
    refuses(&service(r#"{"upstream": §"web2"}"#), &[bytes]);
    let requests = "an upstream of tcp:// targets takes no requests";
    let web = r#"{"address": "127.0.0.1:0"}"#;
    refuses(&listener(web, r#", "routes": [{"upstream": §"raw"}]"#), &[&format!("routes[0].upstream: {requests}")]);
    refuses(
        &listener(web, r#", "filters": [{"use": "a", "upstreams": [§"raw"]}]"#),
        &[&format!("filters[0].upstreams[0]: {requests}")],
    );
    refuses(
        &service(r#"{"upstream": "raw", "filters": [{"use": "a", "when": §{"methods": ["GET"]}}]}"#),
        &["listeners[0].tcp.filters[0].when: conditions are about requests; connections have none"],
    );
}

#[test]
fn what_is_wrong_with_a_tcp_listener_is_told() {
    refuses(&service(r#"§{}"#), &[r#"listeners[0].tcp: missing key "upstream""#]);
    refuses(&service(r#"§"raw""#), &["listeners[0].tcp: expected an object, found a string"]);
    refuses(
        &service(r#"{"upstream": §"rwa", "filters": §{}}"#),
        &[
            r#"listeners[0].tcp.upstream: unknown upstream "rwa"; did you mean "raw"?"#,
            "listeners[0].tcp.filters: expected an array, found an object",
        ],
    );
    // Which of the two a connection belongs to could not be told.
    refuses(
        &listener(r#"{"address": "127.0.0.1:0"}, §{"address": "127.0.0.1:0", "tcp": {"upstream": "raw"}}"#, ""),
        &["listeners[1]: a listener before it has this address, and one of them is for TCP"],
    );
    let upstream = |upstream: &str| {
        format!(r#"{{"listeners": [{{"address": "127.0.0.1:0"}}], "upstreams": {{"raw": {upstream}}}}}"#)
    };
    for (text, message) in [
        (
            r#"{"targets": [§"tcp://db"]}"#,
            r#"upstreams.raw.targets[0]: a tcp:// target needs a port, found "tcp://db""#,
        ),
        (r#"{"targets": §["tcp://db:1", "http://db:2"]}"#, "upstreams.raw.targets: targets are all tcp:// or none is"),
        (
            r#"{"targets": ["tcp://db:1"], "protocol": §"http2"}"#,
            "upstreams.raw.protocol: an upstream of tcp:// targets has no HTTP version",
        ),
    ] {
        refuses(&upstream(text), &[message]);
    }
}
