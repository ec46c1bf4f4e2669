//! How upstreams spread requests, as it is refused.

use super::{good, refuses};

fn upstream(more: &str) -> String {
    format!(
        r#"{{"listeners": [{{"address": "127.0.0.1:0"}}], "upstreams": {{"a": {{"targets": ["http://127.0.0.1:1"], {more}}}}}}}"#
    )
}

#[test]
fn balancing_is_checked() {
    let path = "upstreams.a.balance";
    refuses(
        &upstream(r#""balance": §"least_requests""#),
        &[&format!(
            r#"{path}: expected "round_robin", "least_request", {{"hash": …}} or {{"cookie": …}}, found "least_requests"; did you mean "least_request"?"#
        )],
    );
    refuses(
        &upstream(r#""balance": §{"hash": "ip", "cookie": {"name": "a"}}"#),
        &[&format!(r#"{path}: expected exactly one of "hash", "cookie""#)],
    );
    refuses(
        &upstream(r#""balance": {"cookie": §{"ttl": §"0s", "path": §"a", "secret": §"short", §"nam": "a"}}"#),
        &[
            &format!(r#"{path}.cookie: missing key "name""#),
            &format!(r#"{path}.cookie.ttl: must be between "1s" and "8784h", found "0s""#),
            &format!(r#"{path}.cookie.path: expected a path such as "/", found "a""#),
            &format!("{path}.cookie.secret: a secret has 16 characters at least"),
            &format!(r#"{path}.cookie.nam: unknown key; did you mean "name"?"#),
        ],
    );
    let sticky = r#""balance": {"cookie": {"name": "gw", "ttl": "1h", "path": "/app", "secret": "0123456789abcdef"}}"#;
    let config = good(&upstream(sticky)).config;
    assert!(!format!("{config:?}").contains("0123456789"), "a secret is not written to logs");
    refuses(
        &upstream(r#""balance": {"hash": §{}}"#),
        &[&format!(r#"{path}.hash: expected exactly one of "header", "cookie""#)],
    );
    refuses(
        &upstream(r#""balance": {"hash": {"cookie": §"a b"}}"#),
        &[&format!(r#"{path}.hash.cookie: expected a cookie's name, found "a b""#)],
    );
    good(&upstream(r#""balance": {"hash": "ip"}"#));
}

#[test]
fn health_checks_are_checked() {
    let path = "upstreams.a.health";
    refuses(&upstream(r#""health": §{}"#), &[&format!(r#"{path}: expected exactly one of "path", "connect", "grpc""#)]);
    refuses(
        &upstream(r#""health": {"path": §"healthz"}"#),
        &[&format!(r#"{path}.path: expected a path such as "/healthz", found "healthz""#)],
    );
    refuses(
        &upstream(r#""health": {"path": "/", "statuses": §"400-200"}"#),
        &[&format!(r#"{path}.statuses: expected statuses such as "200-399", found "400-200""#)],
    );
    let grpc = upstream("x").replace(r#"{"targets""#, r#"§{"targets""#).replace(", x", r#", "health": {"grpc": ""}"#);
    refuses(&grpc, &[r#"upstreams.a: a health check over gRPC needs "protocol": "http2""#]);
    refuses(&upstream(r#""health": {"connect": §false}"#), &[&format!("{path}.connect: only true is possible")]);
    refuses(
        &upstream(r#""health": {"path": "/", "unhealthy": §0}"#),
        &[&format!("{path}.unhealthy: must be between 1 and 100, found 0")],
    );
}

#[test]
fn targets_and_bounds_are_checked() {
    let targets = |targets: &str| {
        format!(r#"{{"listeners": [{{"address": "127.0.0.1:0"}}], "upstreams": {{"a": {{"targets": [{targets}]}}}}}}"#)
    };
    refuses(&targets(r#"§{"weight": 1}"#), &[r#"upstreams.a.targets[0]: missing key "url""#]);
    refuses(
        &targets(r#"{"url": "http://a", "priority": §200}"#),
        &["upstreams.a.targets[0].priority: must be between 0 and 127, found 200"],
    );
    refuses(&upstream(r#""max_requests": §0"#), &["upstreams.a.max_requests: must be between 1 and 1000000, found 0"]);
    refuses(
        &upstream(r#""eject": {"most_percent": §101}"#),
        &["upstreams.a.eject.most_percent: must be between 0 and 100, found 101"],
    );
}

#[test]
fn the_resolving_of_names_is_checked() {
    let path = "upstreams.a.dns";
    refuses(
        &upstream(r#""dns": {"servers": [§"dns.example"]}"#),
        &[&format!(
            r#"{path}.servers[0]: expected the address of a server such as "10.0.0.10" or "127.0.0.1:5353", found "dns.example""#
        )],
    );
    refuses(
        &upstream(r#""dns": {"min_ttl": "1m", "max_ttl": §"1s"}"#),
        &[&format!(r#"{path}.max_ttl: "max_ttl" must not be less than "min_ttl""#)],
    );
    refuses(
        &upstream(r#""dns": {"family": §"ipv5"}"#),
        &[&format!(r#"{path}.family: expected "any" or "ipv4" or "ipv6", found "ipv5"; did you mean "ipv4"?"#)],
    );
    let read = good(&upstream(r#""dns": {"servers": ["::1", "127.0.0.1:5353"], "family": "ipv6"}"#)).config;
    let servers: Vec<_> = read.upstreams["a"].dns.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["[::1]:53", "127.0.0.1:5353"]);
}
