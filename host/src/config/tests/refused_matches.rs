//! Conditions, rewrites and names of routes that are refused.

use super::{condition, refuses, route, top};

#[test]
fn protocols_that_carry_http_are_not_switched_to() {
    let expected = "expected a protocol such as \"websocket\", and none that carries HTTP, found";
    for wrong in ["h2c", "HTTP", "", "two words"] {
        refuses(
            &route(&format!(r#""upgrades": [§"{wrong}"]"#)),
            &[&format!("routes[0].upgrades[0]: {expected} \"{wrong}\"")],
        );
    }
}

#[test]
fn route_names_are_unique() {
    refuses(
        &top("\"routes\": [{\"upstream\": \"idp\", \"name\": \"a\"},\n {\"upstream\": \"idp\", \"name\": §\"a\"}]"),
        &[r#"routes[1].name: duplicate route name "a"; the first is at 1:143"#],
    );
    refuses(&route(r#""name": §"""#), &[r#"routes[0].name: a route's name has 1 to 128 characters, found """#]);
}

#[test]
fn hosts_are_checked() {
    let expected = r#"expected a host such as "api.example.com" or "*.example.com""#;
    refuses(&condition(r#""hosts": §[]"#), &["routes[0].match.hosts: must not be empty"]);
    refuses(&condition(r#""host": §"*""#), &["routes[0].match.host: any host is meant by leaving hosts out"]);
    refuses(&condition(r#""host": §"a:80""#), &[r#"routes[0].match.host: a host pattern has no port, found "a:80""#]);
    for written in ["api.*", "a..b", "http://a", "bücher.example", "*.[::1]", "*."] {
        refuses(
            &condition(&format!(r#""hosts": ["ok.example", §"{written}"]"#)),
            &[&format!("routes[0].match.hosts[1]: {expected}, found \"{written}\"")],
        );
    }
}

#[test]
fn paths_are_checked() {
    for (written, message) in [
        ("users", r#"the path does not begin with "/": "users""#),
        ("/a b", r#"the path has a control character or a space: "/a b""#),
        ("/a%2fb", r#"the path has an encoded slash: "/a%2fb""#),
        ("/a%zz", r#"the path has an invalid percent-encoding: "/a%zz""#),
        ("/a?b=c", r#"the path has a query: "/a?b=c""#),
        ("/a#b", r#"the path has a fragment: "/a#b""#),
        ("/a;x/b", r#"parameters of a path (";...") take no part in routing; did you mean "/a/b"?"#),
        ("/a/../b", r#"no request has the path "/a/../b" after normalisation; did you mean "/b"?"#),
        ("/%41", r#"no request has the path "/%41" after normalisation; did you mean "/A"?"#),
        ("/users/*", r#"a prefix takes every path below it without "*"; did you mean "/users"?"#),
        ("/*", r#"a prefix takes every path below it without "*"; did you mean "/"?"#),
    ] {
        refuses(&condition(&format!(r#""path": §"{written}""#)), &[&format!("routes[0].match.path: {message}")]);
        refuses(
            &condition(&format!(r#""path": {{"prefix": §"{written}"}}"#)),
            &[&format!("routes[0].match.path.prefix: {message}")],
        );
    }
    let one = r#"routes[0].match.path: expected exactly one of "exact", "prefix", "regex""#;
    refuses(&condition(r#""path": §{}"#), &[one]);
    refuses(&condition(r#""path": §{"exact": "/a", "prefix": "/b"}"#), &[one]);
    refuses(
        &condition(r#""path": §{§"exakt": "/a"}"#),
        &[one, r#"routes[0].match.path.exakt: unknown key; did you mean "exact"?"#],
    );
    refuses(&condition(r#""path": §7"#), &["routes[0].match.path: expected an object, found a number"]);
}

#[test]
fn regular_expressions_are_checked() {
    for (written, reason) in [
        ("/a(", "unclosed group"),
        ("/a)(b", "unopened group"),
        ("/[z-a]", "invalid character class range, the start must be <= the end"),
        ("/a{3,1}", "invalid repetition count range, the start must be <= the end"),
    ] {
        refuses(
            &condition(&format!(r#""path": {{"regex": §"{written}"}}"#)),
            &[&format!("routes[0].match.path.regex: bad regular expression \"{written}\": {reason}")],
        );
    }
    refuses(
        &condition(r#""headers": {"x-a": {"regex": §"*"}}"#),
        &[r#"routes[0].match.headers.x-a.regex: bad regular expression "*": repetition operator missing expression"#],
    );
}

#[test]
fn methods_are_checked() {
    refuses(&condition(r#""methods": §[]"#), &["routes[0].match.methods: must not be empty"]);
    refuses(
        &condition(r#""methods": [§"GTE"]"#),
        &[r#"routes[0].match.methods[0]: unknown method "GTE"; did you mean "GET"?"#],
    );
    refuses(
        &condition(r#""methods": [§"purge"]"#),
        &[r#"routes[0].match.methods[0]: unknown method "purge"; did you mean "PURGE"?"#],
    );
    refuses(&condition(r#""methods": [§"GET POST"]"#), &[r#"routes[0].match.methods[0]: "GET POST" is not a method"#]);
    refuses(&condition(r#""methods": §"GET""#), &["routes[0].match.methods: expected an array, found a string"]);
}

#[test]
fn headers_and_query_parameters_are_checked() {
    refuses(&condition(r#""headers": {§"x user": "a"}"#), &[r#"routes[0].match.headers["x user"]: not a header name"#]);
    refuses(
        &condition(r#""headers": {"x-user": {"present": §false}}"#),
        &["routes[0].match.headers.x-user.present: only true is possible"],
    );
    refuses(
        &condition(r#""headers": {"x-user": §3}"#),
        &["routes[0].match.headers.x-user: expected an object, found a number"],
    );
    refuses(
        &condition(r#""query": {"page": §{}}"#),
        &[r#"routes[0].match.query.page: expected exactly one of "exact", "regex", "present""#],
    );
    refuses(&condition(r#""query": §["page"]"#), &["routes[0].match.query: expected an object, found an array"]);
}

#[test]
fn rewrites_are_checked() {
    refuses(
        &route(r#""match": {"path": {"exact": "/a"}}, "rewrite": {"path": {"prefix": §"/b"}}"#),
        &["routes[0].rewrite.path.prefix: a prefix is rewritten only where the route matches a path prefix"],
    );
    refuses(
        &route(r#""rewrite": {"path": {"prefix": §"/b"}}"#),
        &["routes[0].rewrite.path.prefix: a prefix is rewritten only where the route matches a path prefix"],
    );
    // What a faulty condition was meant to be is not known: nothing is said about the rewrite.
    refuses(
        &route(r#""match": {"path": §"a"}, "rewrite": {"path": {"prefix": "/b"}}"#),
        &[r#"routes[0].match.path: the path does not begin with "/": "a""#],
    );
    refuses(&route(r#""rewrite": {"path": §"/b"}"#), &["routes[0].rewrite.path: expected an object, found a string"]);
    refuses(
        &route(r#""rewrite": {"path": {"full": §"b"}}"#),
        &[r#"routes[0].rewrite.path.full: the path does not begin with "/": "b""#],
    );
    refuses(&route(r#""rewrite": {"host": §"a/b"}"#), &[r#"routes[0].rewrite.host: not a host name: "a/b""#]);
}
