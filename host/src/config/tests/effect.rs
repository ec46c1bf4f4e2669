//! Keys that have no effect where they stand, and routes that nothing reaches.

use super::{Problem, good, read, refuses, route, top};

/// The warnings of a configuration that is right.
#[track_caller]
fn warns(marked: &str, messages: &[&str]) {
    let loaded = read(&marked.replace('§', "")).unwrap_or_else(|problems| panic!("{marked}\nis refused:\n{problems}"));
    let mut found = loaded.warnings;
    found.sort_by_key(|problem| (problem.line, problem.column));
    let found: Vec<String> = found.iter().map(Problem::to_string).collect();
    assert_eq!(found, super::expected(marked, messages), "{marked}");
}

fn routes(routes: &str) -> String {
    top(&format!(r#""routes": [{routes}]"#))
}

#[test]
fn what_is_about_sending_is_refused_where_nothing_is_sent() {
    let message = "has no effect: this route redirects, and sends nothing to an upstream";
    for (key, value, instead) in [
        ("mirrors", r#"[{"upstream": "idp"}]"#, ""),
        ("retry", r#"{"attempts": 2}"#, ""),
        ("rewrite", r#"{"host": "a.example"}"#, r#"; did you mean "redirect.path"?"#),
        ("request_headers", r#"{"set": {"a": "b"}}"#, ""),
        ("response_headers", r#"{"set": {"a": "b"}}"#, ""),
    ] {
        let text = routes(&format!(r#"{{"redirect": {{"scheme": "https"}}, §"{key}": {value}}}"#));
        refuses(&text, &[&format!("routes[0].{key}: {message}{instead}")]);
    }
    refuses(
        &routes(r#"{"respond": {}, §"response_headers": {"set": {"a": "b"}}}"#),
        &[
            r#"routes[0].response_headers: has no effect: this route responds by itself, and sends nothing to an upstream; did you mean "respond.headers"?"#,
        ],
    );
    good(&routes(r#"{"respond": {}, "mirrors": [], "request_headers": {}}"#));
}

#[test]
fn limits_and_upgrades_of_routes_that_answer_at_once_are_warned_about() {
    let at_once =
        "routes[0].timeout: has no effect: this route answers at once, without an upstream or filters to wait for";
    warns(&routes(r#"{"respond": {}, §"timeout": "1s"}"#), &[at_once]);
    for (key, value) in [("body_bytes", "1000"), ("body_timeout", "\"5s\"")] {
        warns(&routes(&format!(r#"{{"respond": {{}}, §"{key}": {value}}}"#)), &[&at_once.replace("timeout", key)]);
        warns(&routes(&format!(r#"{{"respond": {{}}, "{key}": {value}, "filters": [{{"use": "auth"}}]}}"#)), &[]);
    }
    warns(&routes(r#"{"respond": {}, "timeout": "1s", "filters": [{"use": "auth"}]}"#), &[]);
    warns(
        &routes(r#"{"respond": {}, §"upgrades": ["websocket"]}"#),
        &["routes[0].upgrades: has no effect: this route responds by itself, and sends nothing to an upstream"],
    );
    warns(
        &route(r#""match": {"methods": ["POST", "PATCH"]}, §"retry": {}"#),
        &[
            "routes[0].retry: has no effect: only requests of idempotent methods are sent again, and this route takes none",
        ],
    );
}

#[test]
fn upstreams_that_encrypt_nothing_or_ask_nobody_are_refused() {
    let upstream = |upstream: &str| {
        format!(r#"{{"listeners": [{{"address": "127.0.0.1:0"}}], "upstreams": {{"a": {upstream}}}}}"#)
    };
    refuses(
        &upstream(r#"{"targets": ["http://127.0.0.1:1"], §"tls": {}}"#),
        &["upstreams.a.tls: has no effect: no target is https://; write the targets so, or leave it out"],
    );
    good(&upstream(r#"{"targets": ["http://127.0.0.1:1", "https://127.0.0.1:2"], "tls": {}}"#));
    refuses(
        &upstream(r#"{"targets": §[{"url": "http://127.0.0.1:1", "weight": 0}]}"#),
        &["upstreams.a.targets: one target at least must have a weight above 0"],
    );
}

#[test]
fn listeners_for_tcp_have_no_requests() {
    let text = |listener: &str, more: &str| {
        format!(
            r#"{{"listeners": [{{"address": "127.0.0.1:0", "tcp": {{"upstream": "a"}} {listener}}}],
            "upstreams": {{"a": {{"targets": ["http://127.0.0.1:1"]}}}} {more}}}"#
        )
    };
    let trusted = r#"listeners[0].trusted_proxies: has no effect: bytes carry no "x-forwarded-for"; a load balancer tells the client with "proxy_protocol""#;
    warns(&text(r#", §"trusted_proxies": ["10.0.0.0/8"]"#, ""), &[trusted]);
    // They are not counted as clients.
    warns(&text(r#", "trusted_proxies": ["10.0.0.0/8"]"#, r#", "limits": {"connections_per_client": 5}"#), &[]);
    let none = "has no effect: every listener is for TCP, so that there are no requests";
    warns(
        &text("", r#", §"filters": [{"use": "log"}], §"routes": [{"upstream": "a"}]"#),
        &[&format!("filters: {none}"), &format!("routes: {none}")],
    );
}

#[test]
fn a_route_that_another_leaves_nothing_to_is_warned_about() {
    let pair = |a: &str, b: &str| {
        routes(&format!(
            "\n{{\"name\": \"a\", \"upstream\": \"idp\", \"match\": {{{a}}}}},\n§{{\"name\": \"b\", \"upstream\": \"idp\", \"match\": {{{b}}}}}"
        ))
    };
    for (a, b) in [
        ("", ""),
        (r#""path": "/a""#, r#""path": {"prefix": "/a/"}"#),
        (r#""path": "/a", "methods": ["GET", "PUT"]"#, r#""path": "/a", "methods": ["PUT"]"#),
        (r#""hosts": ["a.example", "*.b.example"]"#, r#""host": "*.b.example""#),
        (r#""headers": {"x": {"present": true}}"#, r#""headers": {"X": "1"}"#),
        (r#""query": {"x": {"regex": "[0-9]+"}}"#, r#""query": {"x": "12"}"#),
        (r#""path": {"regex": "/a/.*"}"#, r#""path": {"regex": "/a/.*"}"#),
        (r#""path": "/""#, r#""path": {"regex": "/a|/b"}"#),
        (r#""path": "/users""#, r#""path": {"regex": "/users/[0-9]+"}"#),
        (r#""path": "/""#, r#""methods": ["GET"]"#),
    ] {
        let message =
            r#"routes[1]: can never match: the route "a" (2:1) goes before it and takes all that it could take"#;
        warns(&pair(a, b), &[message]);
    }
    for (a, b) in [
        (r#""path": "/a""#, r#""path": {"exact": "/a"}"#),
        (r#""path": "/a""#, r#""path": "/a", "methods": ["GET"]"#),
        (r#""path": "/a", "methods": ["GET"]"#, r#""path": "/a""#),
        (r#""host": "*.example""#, r#""host": "a.example""#),
        (r#""host": "a.example""#, r#""hosts": ["a.example", "b.example"]"#),
        (r#""headers": {"x": "1"}"#, r#""headers": {"x": {"present": true}}"#),
        (r#""path": "/users""#, r#""path": {"regex": "/users[0-9]+"}"#),
        (r#""path": "/users""#, r#""path": {"regex": "/users/?|/b"}"#),
        (r#""path": "/a""#, r#""path": {"regex": "/a/?"}"#),
        (r#""path": "/""#, ""),
    ] {
        warns(&pair(a, b).replace('§', ""), &[]);
    }
    // An earlier place in the file does not help against a more specific one.
    warns(
        &routes(
            "§{\"upstream\": \"idp\", \"match\": {\"path\": {\"regex\": \"/a/b\"}}},\n{\"upstream\": \"idp\", \"match\": {\"path\": \"/a\"}}",
        ),
        &[r#"routes[0]: can never match: the route "routes[1]" (2:1) goes before it and takes all that it could take"#],
    );
}

#[test]
fn a_filter_whose_condition_its_route_excludes_is_warned_about() {
    let filter = |matches: &str, when: &str| {
        route(&format!(r#""match": {{{matches}}}, "filters": [{{"use": "log", "when": §{{{when}}}}}]"#))
    };
    for (matches, when) in [
        (r#""methods": ["GET"]"#, r#""methods": ["POST"]"#),
        (r#""host": "a.example""#, r#""host": "*.b.example""#),
        (r#""path": "/a""#, r#""path": "/b""#),
        (r#""path": "/a""#, r#""path": {"exact": "/ab"}"#),
    ] {
        warns(
            &filter(matches, when),
            &["routes[0].filters[0].when: never holds for a request of this route, so that the filter never runs"],
        );
    }
    for (matches, when) in [
        ("", r#""methods": ["GET"]"#),
        (r#""path": "/a""#, r#""path": "/a/b""#),
        (r#""path": "/a/b""#, r#""path": "/a""#),
    ] {
        warns(&filter(matches, when).replace('§', ""), &[]);
    }
}

#[test]
fn a_configuration_in_which_nothing_answers_is_warned_about() {
    let message = "0 routes: every request is answered 404";
    warns(r#"§{"listeners": [{"address": "127.0.0.1:0"}]}"#, &[message]);
    warns(r#"{"listeners": [{"address": "127.0.0.1:0"}], "routes": §[]}"#, &[&format!("routes: {message}")]);
    warns(&top(r#""filters": [{"use": "cors"}]"#), &[]);
    warns(&top(r#""routes": [{"respond": {}}]"#), &[]);
}
