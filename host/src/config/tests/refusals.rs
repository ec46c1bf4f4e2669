//! What plugins say of their configurations, placed.

use super::{expected, filter, good};
use crate::config::Problem;

/// Checks where lines of a plugin about this configuration are placed, and what is left of them.
#[track_caller]
fn says(config: &str, lines: &[&str], messages: &[&str]) {
    let marked = format!(r#""config": {config}"#);
    let loaded = good(&filter(&marked.replace('§', "")));
    let entry = &loaded.config.filters[0];
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let problems = loaded.origins.refusal(&entry.path, &entry.config, &lines, &lines.join(" "));
    let found: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert_eq!(found, expected(&filter(&marked), messages), "{config}");
}

#[test]
fn a_path_of_the_sdk_is_followed_as_far_as_there_is_something() {
    let at = "filters[0].config";
    says(
        r#"{"rules": [{"limit": 1}, {"limit": §0}]}"#,
        &["configuration: rules[1].limit: must be at least 1"],
        &[&format!("{at}.rules[1].limit: must be at least 1")],
    );
    says(
        r#"{"rules": [§{}]}"#,
        &["configuration: rules[0].limit: must be there"],
        &[&format!("{at}.rules[0]: rules[0].limit: must be there")],
    );
    says(
        r#"{"api_keys": {"a": "x", "a.b": §""}}"#,
        &["configuration: api_keys.a.b: is empty"],
        &[&format!("{at}.api_keys[\"a.b\"]: is empty")],
    );
    says(
        r#"{"rules": [{§"limt": 1}]}"#,
        &["configuration: rules[0]: unknown field `limt`; expected `limit`"],
        &[&format!("{at}.rules[0].limt: unknown field `limt`; expected `limit`")],
    );
    says(r#"§{"a": 1}"#, &["configuration: missing field `b`"], &[&format!("{at}: missing field `b`")]);
}

#[test]
fn every_line_with_a_place_is_a_problem_of_its_own() {
    says(
        r#"{"a": §1, "b": {"c": §2}}"#,
        &["configuration: a: too small", "b.c: too small"],
        &["filters[0].config.a: too small", "filters[0].config.b.c: too small"],
    );
}

#[test]
fn words_of_other_plugins_are_placed_where_they_begin_with_what_is_there() {
    says(r#"{"colour": §"blue"}"#, &["colour must be red"], &["filters[0].config.colour: colour must be red"]);
    says(r#"§{"colour": "blue"}"#, &["the colour must be red"], &["filters[0].config: the colour must be red"]);
    says(r#"§"colour""#, &["colour must be red"], &["filters[0].config: colour must be red"]);
}

#[test]
fn lines_and_columns_of_a_json_reader_are_those_of_the_file() {
    says(
        "{\"a\": 1,\n  \"b\": {\n    \"c\": §\"x\"}}",
        &["invalid type: string \"x\", expected u32 at line 1 column 19"],
        &["filters[0].config.b.c: invalid type: string \"x\", expected u32"],
    );
    says(
        "{\"a\": 1,\n  §\"b\": 2}",
        &["unknown field `b`, expected `a` at line 1 column 10"],
        &["filters[0].config.b: unknown field `b`, expected `a`"],
    );
    let died = r#"panicked at src/lib.rs:9: Error("missing field `c`", line: 1, column: 13)"#;
    let loaded = good(&filter(r#""config": {"a": 1, "b": {}, "d": 3}"#));
    let entry = &loaded.config.filters[0];
    let problems = loaded.origins.refusal(&entry.path, &entry.config, &[], died);
    assert_eq!((&*problems[0].path, &*problems[0].message), ("filters[0].config.b", died));
}
