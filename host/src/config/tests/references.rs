//! `${…}` in string values, and that what it stands for is never shown.

use std::path::Path;

use super::{filter, good, parse, read, refuses, route, top, variables};

/// What a filter is handed for a configuration.
fn filled(config: &str) -> String {
    good(&filter(&format!(r#""config": {config}"#))).config.filters[0].config.to_string()
}

#[test]
fn references_are_filled_in_inside_strings() {
    assert_eq!(filled(r#"{"key": "${ALICE_KEY}"}"#), r#"{"key":"hunter2"}"#);
    assert_eq!(
        filled(r#"["a${PORT}b${PORT}", "${NO:-x}", "${EMPTY:-y}", "${EMPTY}", "${NO:-}"]"#),
        r#"["a8080b8080","x","y","",""]"#
    );
    assert_eq!(
        filled(r#"["$${PORT}", "$$${PORT}", "$PORT", "$", "{}", "$$"]"#),
        r#"["${PORT}","$${PORT}","$PORT","$","{}","$$"]"#
    );
    assert_eq!(filled(r#"{"${PORT}": "${QUOTE}"}"#), r#"{"${PORT}":"a\"b\\c"}"#);
}

#[test]
fn references_are_filled_in_everywhere() {
    let config =
        good(r#"{"listeners": [{"address": "127.0.0.1:${PORT}"}], "plugins": {"dir": "${DIR:-there}"}}"#).config;
    assert_eq!(config.listeners[0].address.network().unwrap().port(), 8080);
    assert_eq!(config.plugins.dir, Path::new("/etc/sluicegate/there"));
}

#[test]
fn what_cannot_be_resolved_is_reported_where_it_stands() {
    refuses(
        &filter(r#""config": {"a": ["x §${NO}"]}"#),
        &[r#"filters[0].config.a[0]: environment variable "NO" is not set"#],
    );
    refuses(
        &filter(r#""config": "§${NO} and §${NEITHER}""#),
        &[
            r#"filters[0].config: environment variable "NO" is not set"#,
            r#"filters[0].config: environment variable "NEITHER" is not set"#,
        ],
    );
    // Behind an escape the place inside the string is not known.
    refuses(
        &filter(r#""config": {"a": §"\t${NO}"}"#),
        &[r#"filters[0].config.a: environment variable "NO" is not set"#],
    );
    let hint = r#"write "$${" for a plain "${""#;
    refuses(&filter(r#""config": "§${NO""#), &[&format!(r#"filters[0].config: "${{" without "}}"; {hint}"#)]);
    for wrong in ["a b", "1A", "", "A-B", "A:?x", "a.b"] {
        refuses(
            &filter(&format!(r#""config": "§${{{wrong}}}""#)),
            &[&format!(r#"filters[0].config: "${{{wrong}}}" is not a reference; {hint}"#)],
        );
    }
}

#[test]
fn a_file_is_filled_in_without_the_line_break_at_its_end() {
    let dir = std::env::temp_dir().join(format!("sluicegate-secrets-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for (name, content) in [("lf", "s3cret\n"), ("crlf", "s3cret\r\n"), ("two", "s3cret\n\n"), ("empty", "")] {
        std::fs::write(dir.join(name), content).unwrap();
    }
    std::fs::write(dir.join("binary"), b"\xff").unwrap();
    std::fs::write(dir.join("large"), vec![b'a'; 64 * 1024 + 1]).unwrap();
    let text = |config: &str| {
        let loaded = parse("gateway.json", &filter(&format!(r#""config": {config}"#)), &dir, &variables());
        loaded.map(|loaded| loaded.config.filters[0].config.to_string()).map_err(|problems| problems.to_string())
    };
    assert_eq!(
        text(r#"["${file:lf}", "${file:crlf}", "${file:two}", "${file:empty}"]"#).unwrap(),
        r#"["s3cret","s3cret","s3cret\n",""]"#
    );
    assert_eq!(text(&format!(r#""${{file:{}/lf}}""#, dir.display())).unwrap(), "s3cret");
    for (reference, reason) in [
        ("file:binary", "not UTF-8"),
        ("file:large", "larger than 64KiB"),
        ("file:.", "not a regular file"),
        ("file:missing", "No such file or directory (os error 2)"),
    ] {
        let message = text(&format!(r#""${{{reference}}}""#)).unwrap_err();
        let path = reference.trim_start_matches("file:");
        let wanted = format!("filters[0].config: cannot read the file \"{path}\": {reason}");
        assert!(message.ends_with(&wanted), "{message}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn messages_show_the_reference_and_never_its_value() {
    for text in [
        r#"{"listeners": [{"address": "${ALICE_KEY}"}]}"#.to_owned(),
        route(r#""timeout": "${ALICE_KEY}""#),
        route(r#""rewrite": {"host": "${ALICE_KEY}/"}"#),
        route(r#""match": {"path": "${ALICE_KEY}"}"#),
        route(r#""match": {"path": {"exact": "/${ALICE_KEY}//"}}"#),
        route(r#""match": {"path": {"regex": "(${ALICE_KEY}"}}"#),
        route(r#""match": {"host": "${ALICE_KEY}:1"}"#),
        route(r#""match": {"methods": ["${ALICE_KEY}"]}"#),
        filter(r#""memory": "${ALICE_KEY}""#),
        filter(r#""on_error": "${ALICE_KEY}""#),
        filter(r#""upstreams": ["${ALICE_KEY}"]"#),
        top(r#""filters": [{"use": "${ALICE_KEY}.wasm"}]"#),
        r#"{"listeners": [{"address": "127.0.0.1:0"}], "upstreams": {"a": {"targets": ["${ALICE_KEY}", "http://${ALICE_KEY}/x"]}}}"#
            .to_owned(),
    ] {
        let problems = read(&text).unwrap_err();
        for said in [problems.to_string(), problems.render(), format!("{problems:?}")] {
            assert!(!said.to_lowercase().contains("hunter2"), "{said}");
        }
        assert!(problems.to_string().contains("${ALICE_KEY}"), "{problems}");
    }
}

#[test]
fn a_name_from_the_environment_gets_no_suggestion() {
    refuses(&top(r#""routes": [{"upstream": §"${NAME}"}]"#), &[r#"routes[0].upstream: unknown upstream "${NAME}""#]);
}

#[test]
fn the_debug_form_of_a_filter_hides_its_configuration() {
    let loaded = good(&filter(r#""config": {"key": "${ALICE_KEY}"}, "env": {"KEY": "${ALICE_KEY}"}"#));
    assert!(!format!("{loaded:?}").contains("hunter2"));
}
