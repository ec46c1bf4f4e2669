//! What takes bytes from outside, as functions of any bytes that panic where a promise is broken. Compiled for tests, which run
//! them over the inputs in `tests/fuzz/corpus` and changed ones, and for cargo-fuzz (`tests/fuzz`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "It fails by panicking, as tests do.")]

#[cfg(test)]
mod runs;

use std::path::Path;

pub use http_paths::paths;

use crate::config::{self, Environment};
use crate::route::Router;

mod http_paths;

/// A target: it panics when a promise is broken.
pub type Target = fn(&[u8]);

/// Every target by the name of its folder in the corpus.
pub const TARGETS: [(&str, Target); 7] = [
    ("config", config),
    ("hostcalls", hostcalls),
    ("modules", modules),
    ("pairs", pairs),
    ("paths", paths),
    ("properties", properties),
    ("strict", strict),
];

/// See [`crate::wasm::fuzz::pairs`].
pub fn pairs(input: &[u8]) {
    crate::wasm::fuzz::pairs(input);
}
/// See [`crate::wasm::fuzz::properties`].
pub fn properties(input: &[u8]) {
    crate::wasm::fuzz::properties(input);
}
/// See [`crate::wasm::fuzz::hostcalls`].
pub fn hostcalls(input: &[u8]) {
    crate::wasm::fuzz::hostcalls(input);
}
/// See [`crate::wasm::fuzz::modules`].
pub fn modules(input: &[u8]) {
    crate::wasm::fuzz::modules(input);
}
/// See [`crate::listener::fuzz::strict`].
pub fn strict(input: &[u8]) {
    crate::listener::fuzz::strict(input);
}

/// The value of every variable, which no message may show.
const SECRET: &str = "hunter2-hunter2";

struct Secrets;

impl Environment for Secrets {
    fn variable(&self, name: &str) -> Option<String> {
        (name != "UNSET").then(|| SECRET.to_owned())
    }
}

/// Any text as a configuration: it can be routed by, or each of its problems has a place inside it and a message that shows no
/// secret.
pub fn config(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let problems = match config::parse("gateway.json", &text, Path::new("/nowhere"), &Secrets) {
        Ok(loaded) => {
            drop(Router::new(&loaded.config.routes));
            assert!(!loaded.config.listeners.is_empty(), "nowhere to listen");
            return;
        }
        Err(problems) => problems,
    };
    assert!(!problems.is_empty(), "refused without a problem");
    let lines: Vec<&str> = text.strip_prefix('\u{feff}').unwrap_or(&text).split('\n').collect();
    for problem in &problems {
        let line = problem.line.checked_sub(1).and_then(|line| lines.get(line));
        let length = line.unwrap_or_else(|| panic!("{problem} is outside {} lines", lines.len())).chars().count();
        assert!((1..=length + 1).contains(&problem.column), "{problem} is outside a line of {length}");
        assert!(!problem.message.is_empty(), "a problem that says nothing");
    }
    if !text.contains("hunter2") {
        let told = problems.render() + &problems.to_string();
        assert!(!told.contains("hunter2"), "a message shows a secret: {told}");
    }
}
