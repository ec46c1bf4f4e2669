//! What routes do and change, as it is refused.

use super::{good, refuses, top};

fn actions(route: &str) -> String {
    top(&format!(r#""routes": [{{{route}}}]"#))
}

#[test]
fn a_route_does_one_thing() {
    let one = r#"expected exactly one of "upstream", "upstreams", "redirect", "respond""#;
    refuses(
        &top(r#""routes": [§{"upstream": "idp", "redirect": {"scheme": "https"}}]"#),
        &[&format!("routes[0]: {one}")],
    );
    refuses(
        &actions(r#""upstreams": {§"ipd": 1}"#),
        &[r#"routes[0].upstreams.ipd: unknown upstream "ipd"; did you mean "idp"?"#],
    );
    refuses(
        &actions(r#""upstreams": §{"idp": 0}"#),
        &["routes[0].upstreams: one upstream at least must have a weight above 0"],
    );
    refuses(
        &actions(r#""upstreams": {"idp": §1000001}"#),
        &["routes[0].upstreams.idp: must be between 0 and 1000000, found 1000001"],
    );
}

#[test]
fn redirections_are_checked() {
    let lead = "routes[0].redirect";
    refuses(
        &actions(r#""redirect": §{}"#),
        &[&format!("{lead}: leads back to itself: give a scheme, host, port or path")],
    );
    refuses(
        &actions(r#""redirect": {"port": 1, "status": §304}"#),
        &[&format!("{lead}.status: expected 301, 302, 303, 307 or 308, found 304")],
    );
    refuses(
        &actions(r#""redirect": {"port": 1, "status": §200}"#),
        &[&format!("{lead}.status: expected 301, 302, 303, 307 or 308, found 200")],
    );
    refuses(
        &actions(r#""redirect": {"scheme": §"htps"}"#),
        &[&format!(r#"{lead}.scheme: expected "http" or "https", found "htps"; did you mean "https"?"#)],
    );
    refuses(&actions(r#""redirect": {"host": §"a:80"}"#), &[&format!("{lead}.host: the port has a key of its own")]);
    refuses(
        &actions(r#""match": {"path": {"exact": "/a"}}, "redirect": {"path": {"prefix": §"/b"}}"#),
        &[&format!("{lead}.path.prefix: a prefix is rewritten only where the route matches a path prefix")],
    );
}

#[test]
fn answers_and_changes_of_heads_are_checked() {
    refuses(
        &actions(r#""respond": {"status": §101}"#),
        &["routes[0].respond.status: must be between 200 and 599, found 101"],
    );
    refuses(
        &actions(r#""respond": {"headers": {§"content-length": "1"}}"#),
        &[r#"routes[0].respond.headers.content-length: content-length is written by the gateway"#],
    );
    refuses(
        &actions(r#""upstream": "idp", "request_headers": {"set": {§"b ad": "1"}}"#),
        &[r#"routes[0].request_headers.set["b ad"]: not a header name"#],
    );
    refuses(
        &actions(r#""upstream": "idp", "response_headers": {"add": {"a": §"x\ny"}}"#),
        &[r#"routes[0].response_headers.add.a: expected a header's value, found "x\ny""#],
    );
    refuses(
        &actions(r#""upstream": "idp", "request_headers": {"remove": [§"Host"]}"#),
        &["routes[0].request_headers.remove[0]: host is written by the gateway"],
    );
}

#[test]
fn copies_are_checked() {
    let mirrors = |mirrors: &str| actions(&format!(r#""upstream": "idp", "mirrors": [{mirrors}]"#));
    refuses(
        &mirrors(r#"{"upstream": "idp", "percent": §101}"#),
        &["routes[0].mirrors[0].percent: expected a number from 0 to 100"],
    );
    refuses(
        &mirrors(r#"{"upstream": §"ipd"}"#),
        &[r#"routes[0].mirrors[0].upstream: unknown upstream "ipd"; did you mean "idp"?"#],
    );
    good(&mirrors(r#"{"upstream": "idp", "percent": 0.5}"#));
}

#[test]
fn retries_are_checked() {
    let retry = |fields: &str| actions(&format!(r#""upstream": "idp", "retry": {{{fields}}}"#));
    refuses(&retry(r#""attempts": §0"#), &["routes[0].retry.attempts: must be between 1 and 10, found 0"]);
    refuses(&retry(r#""on": §[]"#), &["routes[0].retry.on: must not be empty"]);
    refuses(&retry(r#""on": [§200]"#), &["routes[0].retry.on[0]: must be between 400 and 599, found 200"]);
    refuses(
        &retry(r#""on": [§"conect"]"#),
        &[
            r#"routes[0].retry.on[0]: expected "connect" or "reset" or "timeout", found "conect"; did you mean "connect"?"#,
        ],
    );
    good(&retry(r#""attempts": 2, "on": ["connect", 503], "per_try": "1s", "backoff": "0s""#));
}
