//! Broken configurations, through `sluicegate check`: what is said about each, and where.

use sluicegate_tests::Site;

/// A configuration that is good but for `more` at its top; `§` marks the place that must be named.
fn top(more: &str) -> String {
    format!(
        "{{\n  \"listeners\": [{{ \"address\": \"127.0.0.1:0\" }}],\n  \"upstreams\": {{ \"idp\": {{ \"targets\": [\"http://127.0.0.1:1\"] }} }},\n  {more}\n}}"
    )
}

fn route(more: &str) -> String {
    top(&format!("\"routes\": [{{ \"upstream\": \"idp\", {more} }}]"))
}

fn condition(more: &str) -> String {
    route(&format!("\"match\": {{ {more} }}"))
}

fn filter(more: &str) -> String {
    top(&format!("\"filters\": [{{ \"use\": \"cors\", {more} }}]"))
}

fn limit(more: &str) -> String {
    top(&format!("\"limits\": {{ {more} }}"))
}

/// What is written, and the message, which begins with the JSON path.
fn broken() -> Vec<(String, &'static str)> {
    vec![
        ("§".to_owned(), "expected a configuration, found nothing"),
        ("{\n  \"listeners\": [§}".to_owned(), "unexpected close brace"),
        ("§{\"listeners\": [1]".to_owned(), "unterminated object"),
        ("{\"a\": 1§ \"b\": 2}".to_owned(), "expected comma"),
        ("{} §{}".to_owned(), "text cannot contain more than one JSON value"),
        ("§[]".to_owned(), "expected an object, found an array"),
        ("§{}".to_owned(), r#"missing key "listeners""#),
        (r#"{"listeners": §[]}"#.to_owned(), "listeners: must not be empty"),
        (r#"{"listeners": [§{}]}"#.to_owned(), r#"listeners[0]: missing key "address""#),
        (
            r#"{"listeners": [{"address": §"localhost:80"}]}"#.to_owned(),
            r#"listeners[0].address: expected an address and a port such as "127.0.0.1:8080", found "localhost:80"; did you mean "127.0.0.1:80"?"#,
        ),
        (
            r#"{"listeners": [{"address": "127.0.0.1:80"}, {"address": §"127.0.0.1:80"}]}"#.to_owned(),
            "listeners[1].address: a listener before it has this address",
        ),
        (top(r#"§"odd key": 1"#), r#"["odd key"]: unknown key"#),
        (top(r#"§"route": []"#), r#"route: unknown key; did you mean "routes"?"#),
        (top(r#""plugins": { "dir": §true }"#), "plugins.dir: expected a string, found a boolean"),
        (top(r#""admin": §{}"#), r#"admin: missing key "address""#),
        (
            top(r#""routes": [§{}]"#),
            r#"routes[0]: expected exactly one of "upstream", "upstreams", "redirect", "respond""#,
        ),
        (
            top(r#""routes": [{ "upstream": §"ipd" }]"#),
            r#"routes[0].upstream: unknown upstream "ipd"; did you mean "idp"?"#,
        ),
        (route(r#""name": "a", §"name": "b""#), "routes[0].name: duplicate key; the first is at 4:35"),
        (
            route(r#""timeout": §15"#),
            r#"routes[0].timeout: expected a duration such as "250ms", "5s", "1m" or "1h", found a number"#,
        ),
        (route(r#"§"plugins": []"#), "routes[0].plugins: unknown key"),
        (route(r#""rewrite": { "path": { "prefix": §"/x" } }"#), "routes[0].rewrite.path.prefix:"),
        (condition(r#""host": §"*""#), "routes[0].match.host: any host is meant by leaving hosts out"),
        (condition(r#""hosts": [§"a:80"]"#), r#"routes[0].match.hosts[0]: a host pattern has no port, found "a:80""#),
        (condition(r#""path": §"users""#), r#"routes[0].match.path: the path does not begin with "/": "users""#),
        (
            condition(r#""path": { "prefix": §"/a/../b" }"#),
            r#"routes[0].match.path.prefix: no request has the path "/a/../b" after normalisation; did you mean "/b"?"#,
        ),
        (
            condition(r#""path": §{ "exact": "/a", "prefix": "/b" }"#),
            r#"routes[0].match.path: expected exactly one of "exact", "prefix", "regex""#,
        ),
        (
            condition(r#""path": { "regex": §"/a(" }"#),
            r#"routes[0].match.path.regex: bad regular expression "/a(": unclosed group"#,
        ),
        (
            condition(r#""methods": [§"GTE"]"#),
            r#"routes[0].match.methods[0]: unknown method "GTE"; did you mean "GET"?"#,
        ),
        (condition(r#""headers": { §"bad name": "x" }"#), r#"routes[0].match.headers["bad name"]: not a header name"#),
        (top(r#""filters": [§{}]"#), r#"filters[0]: missing key "use""#),
        (
            top(r#""filters": [{ "use": §"cors.wasm" }]"#),
            r#"filters[0].use: expected the name of a plugin such as "rate-limit", found "cors.wasm"; did you mean "cors"?"#,
        ),
        (
            top(r#""filters": [{ "use": §"crs" }]"#),
            r#"filters[0].use: unknown plugin "crs": not in plugins, not built in; did you mean "cors"?"#,
        ),
        (
            filter(r#""on_error": §"opne""#),
            r#"filters[0].on_error: expected "closed" or "open", found "opne"; did you mean "open"?"#,
        ),
        (filter(r#""pause": §"stop""#), r#"filters[0].pause: expected "stop_all" or "stop_iteration", found "stop""#),
        (filter(r#""deadline": §"2m""#), r#"filters[0].deadline: must be between "1ms" and "1m", found "2m""#),
        (
            filter(r#""memory": §"64MB""#),
            r#"filters[0].memory: expected a size such as "64KiB" or "1MiB", found "64MB"; did you mean "64MiB"?"#,
        ),
        (
            filter(r#""upstreams": [§"idp2"]"#),
            r#"filters[0].upstreams[0]: unknown upstream "idp2"; did you mean "idp"?"#,
        ),
        (
            filter(r#""capabilities": { "hostcalls": ["log", §"heders"] }"#),
            r#"filters[0].capabilities.hostcalls[1]: expected an area such as "headers" or the name of a hostcall, found "heders"; did you mean "headers"?"#,
        ),
        (
            filter(r#""capabilities": { §"hostcall": ["log"] }"#),
            r#"filters[0].capabilities.hostcall: unknown key; did you mean "hostcalls"?"#,
        ),
        (filter(r#""env": { §"A=B": "c" }"#), r#"filters[0].env["A=B"]: not a name of an environment variable"#),
        (
            filter(r#""config": { "origins": ["§${NO_SUCH}"] }"#),
            r#"filters[0].config.origins[0]: environment variable "NO_SUCH" is not set"#,
        ),
        (
            filter(r#""config": { §"origns": ["*"] }"#),
            r#"filters[0].config.origns: unknown key; did you mean "origins"?"#,
        ),
        (filter(r#""config": { "origins": §"*" }"#), "filters[0].config.origins: expected an array, found a string"),
        (limit(r#""workers": §0"#), "limits.workers: must be between 1 and 1024, found 0"),
        (limit(r#""workers": §1.5"#), "limits.workers: expected a whole number, found 1.5"),
        (
            limit(r#""buffer_bytes": §"2GiB""#),
            r#"limits.buffer_bytes: must be between "1KiB" and "1GiB", found "2GiB""#,
        ),
        (limit(r#"§"worker": 2"#), r#"limits.worker: unknown key; did you mean "workers"?"#),
        (
            top(r#""routes": [{ "upstream": "idp", "name": "a" }, { "upstream": "idp", "name": §"a" }]"#),
            r#"routes[1].name: duplicate route name "a"; the first is at 4:43"#,
        ),
    ]
}

/// Line and column, from 1, of the mark.
fn place(marked: &str) -> (usize, usize) {
    let before = marked.split('§').next().unwrap();
    let line = before.lines().count().max(1);
    let line = if before.ends_with('\n') { line + 1 } else { line };
    (line, before.rsplit('\n').next().unwrap().chars().count() + 1)
}

#[tokio::test]
async fn each_is_refused_with_its_message_and_its_place() {
    let rows = broken();
    assert!(rows.len() >= 40);
    let mut wrong = Vec::new();
    for (marked, message) in rows {
        let site = Site::empty();
        site.write_text(&marked.replace('§', ""));
        let output = tokio::task::spawn_blocking(move || site.check()).await.unwrap();
        let (line, column) = place(&marked);
        let expected = format!("gateway.json:{line}:{column}: {message}");
        if output.code != 1 || !output.text().contains(&expected) {
            wrong.push(format!("{marked}\n  expected {expected}\n  got {} {}", output.code, output.text()));
        }
    }
    assert!(wrong.is_empty(), "{} were not:\n{}", wrong.len(), wrong.join("\n"));
}
