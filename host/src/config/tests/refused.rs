//! Configurations that are refused: what is said, and where.

use super::{filter, good, refuses, route, top};

#[test]
fn syntax_errors_are_reported_where_they_are() {
    for (text, message) in [
        ("§", "expected a configuration, found nothing"),
        ("§// nothing but a note\n", "expected a configuration, found nothing"),
        ("{\n  \"listeners\": [§}", "unexpected close brace"),
        ("§{\"listeners\": [1]", "unterminated object"),
        ("{\"a\": 1§ \"b\": 2}", "expected comma"),
        ("{§a: 1}", "expected string for object property"),
        ("{\"a\": §'b'}", "single-quoted strings are not allowed"),
        ("{\"a\": §0x1F}", "hexadecimal numbers are not allowed"),
        ("{\"a\" §1}", "expected colon after the string or word in object property"),
        ("{\"a\": §\"b", "unterminated string literal"),
        ("{} §{}", "text cannot contain more than one JSON value"),
        ("{ §/* ", "unterminated comment block"),
    ] {
        refuses(text, &[message]);
    }
}

#[test]
fn wrong_types_are_named() {
    refuses("§[]", &["expected an object, found an array"]);
    refuses("§null", &["expected an object, found null"]);
    refuses(r#"{"listeners": §{}}"#, &["listeners: expected an array, found an object"]);
    refuses(r#"{"listeners": [§7]}"#, &["listeners[0]: expected an object, found a number"]);
    refuses(&top(r#""$schema": §1"#), &["$schema: expected a string, found a number"]);
    refuses(&top(r#""plugins": {"dir": §true}"#), &["plugins.dir: expected a string, found a boolean"]);
    refuses(&route(r#""name": §7"#), &["routes[0].name: expected a string, found a number"]);
    refuses(
        &route(r#""timeout": §15"#),
        &[r#"routes[0].timeout: expected a duration such as "250ms", "5s", "1m" or "1h", found a number"#],
    );
    refuses(
        &filter(r#""memory": §null"#),
        &[r#"filters[0].memory: expected a size such as "64KiB" or "1MiB", found null"#],
    );
}

#[test]
fn missing_and_empty_things_are_reported_at_their_parent() {
    refuses("§{}", &[r#"missing key "listeners""#]);
    refuses(r#"{"listeners": §[]}"#, &["listeners: must not be empty"]);
    refuses(r#"{"listeners": [§{}]}"#, &[r#"listeners[0]: missing key "address""#]);
    refuses(
        &top(r#""routes": [§{}]"#),
        &[r#"routes[0]: expected exactly one of "upstream", "upstreams", "redirect", "respond""#],
    );
    refuses(&top(r#""filters": [§{}]"#), &[r#"filters[0]: missing key "use""#]);
    refuses(&top(r#""plugins": {"dir": §""}"#), &["plugins.dir: must not be empty"]);
    refuses(
        &top(r#""filters": [{"use": "a", "ticks": §"proces"}]"#),
        &["filters[0].ticks: expected \"worker\" or \"process\", found \"proces\"; did you mean \"process\"?"],
    );
    refuses(&top(r#""filters": [{"use": "a", "root_id": §""}]"#), &["filters[0].root_id: must not be empty"]);
    refuses(&top(r#""plugins": {"cache": §true}"#), &["plugins.cache: expected a directory, or false for no cache"]);
    refuses(
        &top(r#""plugins": {"sha256": {"a": §"e3b0"}}"#),
        &[r#"plugins.sha256.a: expected 64 hexadecimal digits, as `plugins inspect` shows them, found "e3b0""#],
    );
    refuses(
        &top(r#""plugins": {"keys": [§"secret"]}"#),
        &[r#"plugins.keys[0]: expected a public key of minisign such as "RWQ…", found "secret""#],
    );
}

#[test]
fn unknown_keys_are_reported_with_what_was_meant() {
    refuses(
        r#"{§"listners": [{"address": "127.0.0.1:0"}], "listeners": [{"address": "127.0.0.1:0"}]}"#,
        &["listners: unknown key"],
    );
    refuses(
        r#"§{§"listners": [{"address": "127.0.0.1:0"}]}"#,
        &[r#"missing key "listeners""#, r#"listners: unknown key; did you mean "listeners"?"#],
    );
    refuses(&filter(r#"§"on-error": "open""#), &[r#"filters[0].on-error: unknown key; did you mean "on_error"?"#]);
    refuses(&route(r#"§"plugins": []"#), &["routes[0].plugins: unknown key"]);
    refuses(&top(r#"§"odd key": 1"#), &[r#"["odd key"]: unknown key"#]);
    refuses(&top(r#""limits": {§"worker": 2}"#), &[r#"limits.worker: unknown key; did you mean "workers"?"#]);
}

#[test]
fn a_second_key_of_the_same_name_is_an_error() {
    refuses(&route("\n\"name\": \"a\",\n §\"name\": \"b\""), &["routes[0].name: duplicate key; the first is at 2:1"]);
    refuses(&top("§\"upstreams\": {}"), &["upstreams: duplicate key; the first is at 1:45"]);
    refuses(
        &filter("\"config\": {\"a\": {\"k\": 1, §\"k\": 2}}"),
        &["filters[0].config.a.k: duplicate key; the first is at 1:148"],
    );
}

#[test]
fn addresses_are_checked() {
    let expected = r#"expected an address and a port such as "127.0.0.1:8080""#;
    for (written, suggestion) in [
        (":8080", Some("0.0.0.0:8080")),
        ("8080", Some("127.0.0.1:8080")),
        ("localhost:8080", Some("127.0.0.1:8080")),
        ("127.0.0.1", Some("127.0.0.1:8080")),
        ("[::1]", Some("[::1]:8080")),
        ("gateway:8080", None),
        ("127.0.0.1:99999", None),
    ] {
        let hint = suggestion.map(|suggestion| format!("; did you mean \"{suggestion}\"?")).unwrap_or_default();
        refuses(
            &format!(r#"{{"listeners": [{{"address": §"{written}"}}]}}"#),
            &[&format!("listeners[0].address: {expected}, found \"{written}\"{hint}")],
        );
    }
    refuses(
        r#"{"listeners": [{"address": "127.0.0.1:80"}, {"address": §"127.0.0.1:80"}]}"#,
        &["listeners[1].address: a listener before it has this address"],
    );
    refuses(
        r#"{"listeners": [{"address": "127.0.0.1:80"}], "admin": {"address": §"127.0.0.1:80"}}"#,
        &["admin.address: a listener before it has this address"],
    );
    good(
        r#"{"listeners": [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0"}], "admin": {"address": "127.0.0.1:0"}}"#,
    );
}

#[test]
fn upstreams_are_checked() {
    let upstream =
        |more: &str| format!(r#"{{"listeners": [{{"address": "127.0.0.1:0"}}], "upstreams": {{"api": {more}}}}}"#);
    let target = |written: &str| upstream(&format!(r#"{{"targets": [§"{written}"]}}"#));
    for (written, message) in [
        (
            "users:9001",
            r#"expected a URL such as "http://127.0.0.1:9001", found "users:9001"; did you mean "http://users:9001"?"#,
        ),
        ("ftp://users", r#"expected http://, https://, tcp:// or unix:/, found "ftp://users""#),
        ("unix:app.sock", r#"a Unix socket has an absolute path, such as "unix:/run/app.sock""#),
        ("http://users/v1", r#"a target has no path and no query, found "http://users/v1""#),
        ("http://users:0", r#"not a port: "http://users:0""#),
        ("http://users:70000", r#"not a port: "http://users:70000""#),
        ("http://", r#"the host is empty: "http://""#),
        ("http://a b", r#"not a host name: "http://a b""#),
        ("http://u:p@users", r#"the host has a user name before it: "http://u:p@users""#),
        ("http://[::g]:1", r#"not an IPv6 address in brackets: "http://[::g]:1""#),
    ] {
        refuses(&target(written), &[&format!("upstreams.api.targets[0]: {message}")]);
    }
    refuses(&upstream(r#"{"targets": §[]}"#), &["upstreams.api.targets: must not be empty"]);
    refuses(&upstream("§{}"), &[r#"upstreams.api: missing key "targets""#]);
    refuses(
        &upstream(r#"{"targets": ["http://a"], "protocol": §"http/2"}"#),
        &[r#"upstreams.api.protocol: expected "http1" or "http2", found "http/2"; did you mean "http2"?"#],
    );
    refuses(
        &upstream(r#"{"targets": ["http://a"], "connect_timeout": §"0s"}"#),
        &[r#"upstreams.api.connect_timeout: must be between "1ms" and "10m", found "0s""#],
    );
    refuses(
        &top(r#""routes": []"#).replace("\"idp\"", "§\"i dp\""),
        &[r#"upstreams["i dp"]: an upstream's name has 1 to 128 characters and no spaces"#],
    );
}

#[test]
fn unknown_upstreams_are_reported_with_what_was_meant() {
    refuses(
        &top(r#""routes": [{"upstream": §"ipd"}]"#),
        &[r#"routes[0].upstream: unknown upstream "ipd"; did you mean "idp"?"#],
    );
    refuses(&top(r#""routes": [{"upstream": §"users"}]"#), &[r#"routes[0].upstream: unknown upstream "users""#]);
    refuses(
        &filter(r#""upstreams": ["idp", §"idp2"]"#),
        &[r#"filters[0].upstreams[1]: unknown upstream "idp2"; did you mean "idp"?"#],
    );
}

#[test]
fn a_faulty_upstream_is_reported_once() {
    refuses(
        r#"{"listeners": [{"address": "127.0.0.1:0"}], "upstreams": §[], "routes": [{"upstream": "a"}, {"upstream": "b"}]}"#,
        &["upstreams: expected an object, found an array"],
    );
    refuses(
        r#"{"listeners": [{"address": "127.0.0.1:0"}], "upstreams": {"a": §{}}, "routes": [{"upstream": "a"}]}"#,
        &[r#"upstreams.a: missing key "targets""#],
    );
}

#[test]
fn filters_are_checked() {
    let plugin = |name: &str| top(&format!(r#""filters": [{{"use": §"{name}"}}]"#));
    let expected = r#"filters[0].use: expected the name of a plugin such as "rate-limit""#;
    refuses(&plugin("auth.wasm"), &[&format!(r#"{expected}, found "auth.wasm"; did you mean "auth"?"#)]);
    refuses(
        &plugin("../plugins/auth.wasm"),
        &[&format!(r#"{expected}, found "../plugins/auth.wasm"; did you mean "auth"?"#)],
    );
    refuses(&plugin(""), &[&format!(r#"{expected}, found """#)]);
    refuses(&plugin("../auth"), &[&format!(r#"{expected}, found "../auth""#)]);
    refuses(
        &filter(r#""on_error": §"opne""#),
        &[r#"filters[0].on_error: expected "closed" or "open", found "opne"; did you mean "open"?"#],
    );
    refuses(
        &filter(r#""pause": §"stop""#),
        &[r#"filters[0].pause: expected "stop_all" or "stop_iteration", found "stop""#],
    );
    refuses(
        &filter(r#""deadline": §"5min""#),
        &[r#"filters[0].deadline: expected a duration such as "250ms", "5s", "1m" or "1h", found "5min""#],
    );
    refuses(&filter(r#""deadline": §"2m""#), &[r#"filters[0].deadline: must be between "1ms" and "1m", found "2m""#]);
    refuses(
        &filter(r#""memory": §"64MB""#),
        &[r#"filters[0].memory: expected a size such as "64KiB" or "1MiB", found "64MB"; did you mean "64MiB"?"#],
    );
    refuses(
        &filter(r#""memory": §"8GiB""#),
        &[r#"filters[0].memory: must be between "64KiB" and "4GiB", found "8GiB""#],
    );
    refuses(&filter(r#""memory": §100"#), &[r#"filters[0].memory: must be between 65536 and 4294967296, found 100"#]);
    refuses(&filter(r#""env": {§"A=B": "c"}"#), &[r#"filters[0].env["A=B"]: not a name of an environment variable"#]);
    refuses(&filter(r#""env": {"A": §1}"#), &["filters[0].env.A: expected a string, found a number"]);
    refuses(
        &filter(r#""when": {"path": §"/a//b"}"#),
        &[r#"filters[0].when.path: no request has the path "/a//b" after normalisation; did you mean "/a/b"?"#],
    );
}

#[test]
fn a_token_of_the_admin_api_that_protects_nothing_is_refused() {
    let admin = |more: &str| top(&format!(r#""admin": {{"address": "127.0.0.1:0", {more}}}"#));
    let tls = r#""tls": {"certificates": [{"certificate": "a", "key": "b"}]}"#;
    let short = "admin.token: must have at least 16 characters, visible ASCII only";
    refuses(&admin(&format!(r#"{tls}, "token": §"short""#)), &[short]);
    refuses(&admin(&format!(r#"{tls}, "token": §"with a space in it""#)), &[short]);
    refuses(
        &admin(r#""token": §"0123456789abcdef""#),
        &[r#"admin.token: needs "tls" beside it: in the clear, whoever is on the way reads it"#],
    );
}

#[test]
fn numbers_are_bounded() {
    let limit = |more: &str| top(&format!(r#""limits": {{{more}}}"#));
    refuses(&limit(r#""workers": §0"#), &["limits.workers: must be between 1 and 1024, found 0"]);
    refuses(&limit(r#""workers": §-1"#), &["limits.workers: must be between 1 and 1024, found -1"]);
    refuses(&limit(r#""workers": §1.5"#), &["limits.workers: expected a whole number, found 1.5"]);
    refuses(
        &limit(r#""memory": §true"#),
        &[r#"limits.memory: expected a size such as "512MiB", or false for no limit"#],
    );
    refuses(
        &limit(r#""memory": §"1KiB""#),
        &[r#"limits.memory: must be between "1MiB" and "1048576GiB", found "1KiB""#],
    );
    refuses(&limit(r#""workers": §"4""#), &["limits.workers: expected a number, found a string"]);
    refuses(
        &limit(r#""connections": §99999999999999999999"#),
        &["limits.connections: must be between 1 and 10000000, found 99999999999999999999"],
    );
    refuses(
        &limit(r#""buffer_bytes": §"2GiB""#),
        &[r#"limits.buffer_bytes: must be between "1KiB" and "1GiB", found "2GiB""#],
    );
    refuses(
        &limit(r#""idle_timeout": §"99999999999999999999s""#),
        &[
            r#"limits.idle_timeout: expected a duration such as "250ms", "5s", "1m" or "1h", found "99999999999999999999s""#,
        ],
    );
}

#[test]
fn every_problem_is_reported_at_once_in_the_order_of_the_file() {
    refuses(
        r#"{
  "listeners": [{ "address": §"8080" }],
  "upstreams": { "users": { "targets": [§"users:1"], "protocol": §"h2" } },
  "filters": [{ "use": "log", §"confg": {} }],
  "routes": [
    { "upstream": §"user", "match": { "methods": [§"get"] } },
    { "upstream": "users", "timeout": §"fast" },
  ],
}"#,
        &[
            r#"listeners[0].address: expected an address and a port such as "127.0.0.1:8080", found "8080"; did you mean "127.0.0.1:8080"?"#,
            r#"upstreams.users.targets[0]: expected a URL such as "http://127.0.0.1:9001", found "users:1"; did you mean "http://users:1"?"#,
            r#"upstreams.users.protocol: expected "http1" or "http2", found "h2""#,
            r#"filters[0].confg: unknown key; did you mean "config"?"#,
            r#"routes[0].upstream: unknown upstream "user"; did you mean "users"?"#,
            r#"routes[0].match.methods[0]: unknown method "get"; did you mean "GET"?"#,
            r#"routes[1].timeout: expected a duration such as "250ms", "5s", "1m" or "1h", found "fast""#,
        ],
    );
}
