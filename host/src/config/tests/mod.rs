//! The configuration from the outside: texts in, checked values or problems out.

mod accepted;
mod document;
mod effect;
mod include;
mod listeners;
mod references;
mod refusals;
mod refused;
mod refused_actions;
mod refused_matches;
mod refused_upstreams;
mod scale;
mod schemas;
mod shown;
mod tcp;
mod words;

use std::collections::HashMap;
use std::path::Path;

use super::{Environment, Loaded, Problem, Problems, parse};

impl Environment for HashMap<&str, &str> {
    fn variable(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| (*value).to_owned())
    }
}

/// The variables of every test here.
fn variables() -> HashMap<&'static str, &'static str> {
    HashMap::from([("ALICE_KEY", "hunter2"), ("EMPTY", ""), ("PORT", "8080"), ("NAME", "ipd"), ("QUOTE", "a\"b\\c")])
}

fn read(text: &str) -> Result<Loaded, Problems> {
    parse("gateway.json", text, Path::new("/etc/sluicegate"), &variables())
}

/// A text that is a configuration; the schema for editors takes it, too.
#[track_caller]
fn good(text: &str) -> Loaded {
    match read(text) {
        Ok(loaded) => {
            document::fits(text);
            loaded
        }
        Err(problems) => panic!("{text}\nis refused:\n{problems}"),
    }
}

/// A configuration with a listener, an upstream `idp`, and `more`.
fn top(more: &str) -> String {
    format!(
        r#"{{"listeners": [{{"address": "127.0.0.1:0"}}], "upstreams": {{"idp": {{"targets": ["http://127.0.0.1:1"]}}}}, {more}}}"#
    )
}
/// One with a route that has `more`.
fn route(more: &str) -> String {
    top(&format!(r#""routes": [{{"upstream": "idp", {more}}}]"#))
}
/// One with a route that has this condition.
fn condition(more: &str) -> String {
    route(&format!(r#""match": {{{more}}}"#))
}
/// One with a filter that has `more`.
fn filter(more: &str) -> String {
    top(&format!(r#""filters": [{{"use": "log", {more}}}]"#))
}

/// Checks that a text is refused with exactly these problems. In the text, `§` stands before each place that is to be
/// reported; the messages begin with the JSON path.
#[track_caller]
fn refuses(marked: &str, messages: &[&str]) {
    let text = marked.replace('§', "");
    let Err(problems) = read(&text) else {
        panic!("{text}\nis accepted");
    };
    let found: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert_eq!(found, expected(marked, messages), "{text}");
}

/// The messages with the positions of the marks before them.
#[track_caller]
fn expected(marked: &str, messages: &[&str]) -> Vec<String> {
    let marks: Vec<usize> = marked.match_indices('§').map(|(at, _)| at).collect();
    assert_eq!(marks.len(), messages.len(), "a mark for each message: {marked}");
    let place = |at: &usize| {
        let before = marked[..*at].replace('§', "");
        let line = before.matches('\n').count() + 1;
        format!("{line}:{}", before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
    };
    marks.iter().zip(messages).map(|(at, message)| format!("gateway.json:{}: {message}", place(at))).collect()
}
