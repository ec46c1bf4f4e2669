//! The repository keeps the rules that ARCHITECTURE.md states: who may know whom, how long a file is, how a module begins.

use std::fs;
use std::path::{Path, PathBuf};

const MOST_LINES: usize = 500;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// All source files below a folder of the repository, with their texts.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    collect(&root().join(folder), &mut all);
    assert!(!all.is_empty(), "{folder} has no sources");
    all
}

fn collect(folder: &Path, all: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, all);
        } else if name.ends_with(".rs") {
            all.push((path.strip_prefix(root()).unwrap().to_owned(), fs::read_to_string(&path).unwrap()));
        }
    }
}

fn everything() -> Vec<(PathBuf, String)> {
    ["host", "sdk", "plugins", "examples", "tests"].iter().flat_map(|folder| sources(folder)).collect()
}

/// Whether a line of code, comments aside, names a crate or module.
fn names(text: &str, what: &str) -> bool {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or(""));
    code.into_iter().any(|line| {
        line.match_indices(what).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + what.len()..].chars().next();
            let part_of_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            !part_of_word(before) && !part_of_word(after)
        })
    })
}

/// Checks that among the host's sources only those below `allowed` name `what`.
fn only(allowed: &[&str], what: &str) {
    let allowed: Vec<PathBuf> = allowed.iter().map(|folder| Path::new("host/src").join(folder)).collect();
    let strangers = sources("host/src")
        .into_iter()
        .filter(|(path, text)| !allowed.iter().any(|folder| path.starts_with(folder)) && names(text, what));
    let strangers: Vec<_> = strangers.map(|(path, _)| path).collect();
    assert!(strangers.is_empty(), "only {allowed:?} may name {what}, but so do {strangers:?}");
}

#[test]
fn only_the_wasm_folder_names_wasmtime() {
    only(&["wasm"], "wasmtime");
    only(&["wasm"], "wasmtime_wasi");
}

#[test]
fn only_the_folders_that_touch_sockets_name_hyper() {
    for name in ["hyper", "hyper_util"] {
        only(&["listener", "proxy", "upstream", "admin"], name);
    }
}

#[test]
fn nobody_uses_the_gateway_but_the_command_line() {
    only(&["gateway", "cli", "main.rs", "lib.rs"], "crate::gateway");
}

#[test]
fn the_seam_knows_neither_sockets_nor_modules() {
    for (path, text) in sources("host/src/filter") {
        for name in ["tokio", "crate::proxy", "crate::wasm", "crate::upstream", "crate::listener"] {
            assert!(!names(&text, name), "{} names {name}", path.display());
        }
    }
}

#[test]
fn files_are_short() {
    let long = everything()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES);
    let long: Vec<_> = long.collect();
    assert!(long.is_empty(), "longer than {MOST_LINES} lines: {long:?}");
}

#[test]
fn every_module_says_what_it_is() {
    let silent = everything().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path);
    let silent: Vec<_> = silent.collect();
    assert!(silent.is_empty(), "these do not open with `//!`: {silent:?}");
}

#[test]
fn unsafe_code_is_nowhere_but_where_a_reason_is_given() {
    let silent = sources("host")
        .into_iter()
        .filter(|(_, text)| names(text, "unsafe") && !text.contains("SAFETY:"))
        .map(|(path, _)| path);
    let silent: Vec<_> = silent.collect();
    assert!(silent.is_empty(), "unsafe without a reason: {silent:?}");
}

/// The documents that name paths of the repository.
const DOCUMENTS: [&str; 4] = ["ARCHITECTURE.md", "README.md", "CHANGELOG.md", "sdk/HOST.md"];

#[test]
fn paths_that_documents_name_exist() {
    let mut missing = Vec::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).unwrap_or_else(|error| panic!("{document}: {error}"));
        let quoted = text.split('`').skip(1).step_by(2);
        let folders = ["host/", "sdk/", "plugins/", "examples/", "tests/"];
        for path in quoted.filter(|part| {
            folders.iter().any(|folder| part.starts_with(folder))
                && !part.contains([' ', '*', '<', '{', '…', '\n'])
                && !part.contains("NAME")
        }) {
            let file = path.split([':', '#']).next().unwrap_or(path);
            // What a reader builds or drops in is not in the repository.
            if !file.ends_with(".wasm") && !root().join(file).exists() {
                missing.push(format!("{document}: {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_plugin_and_example_has_its_readme_or_says_what_it_is() {
    for plugin in ["auth", "cors", "log", "rate-limit", "transform"] {
        let readme = root().join("plugins").join(plugin).join("README.md");
        assert!(readme.exists(), "{} is missing", readme.display());
    }
}

#[test]
fn nothing_unfinished_is_left_in_the_code() {
    // Put together here, so that this file does not find itself.
    let words = [["to", "do!("], ["unimple", "mented!("], ["FIX", "ME"], ["#[ig", "nore"], ["db", "g!("]]
        .map(|parts| parts.concat());
    for (path, text) in everything() {
        for word in &words {
            assert!(!text.contains(word.as_str()), "{} has {word}", path.display());
        }
    }
}

#[test]
fn the_top_level_holds_documents_and_settings_only() {
    let strangers: Vec<_> = fs::read_dir(root())
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "LICENSE")
        .filter(|name| ![".md", ".toml", ".json", "Cargo.lock"].iter().any(|end| name.ends_with(end)))
        .collect();
    assert!(strangers.is_empty(), "not part of the project: {strangers:?}");
}
