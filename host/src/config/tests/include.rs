//! Configurations of several files, as they are on disk.

use std::path::{Path, PathBuf};

use super::Problem;
use crate::config::load;

/// A directory of files, in which the configuration is `gateway.json`.
struct Files(PathBuf);

impl Files {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let dir = std::env::temp_dir().join(format!("sluicegate-include-{name}-{}", std::process::id()));
        let files_of = Self(dir);
        files_of.write(files);
        files_of
    }
    fn write(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.0.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }
    fn main(&self) -> PathBuf {
        self.0.join("gateway.json")
    }
    /// The problems, with paths from the directory on.
    fn problems(&self) -> Vec<String> {
        let prefix = format!("{}/", self.0.display());
        let refused = load(&self.main()).map(|loaded| loaded.config).unwrap_err();
        refused.problems.iter().map(Problem::to_string).map(|line| line.replace(&prefix, "")).collect()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

const MAIN: &str = r#"{"include": ["routes.d/*.json", "upstreams.json"], "listeners": [{"address": "127.0.0.1:0"}],
"routes": [{"name": "first", "upstream": "a"}]}"#;

#[test]
fn lists_and_objects_of_all_files_are_put_together_in_order() {
    let files = Files::new(
        "together",
        &[
            ("gateway.json", MAIN),
            ("routes.d/b.json", r#"{"routes": [{"name": "third", "upstream": "b"}], "filters": [{"use": "log"}]}"#),
            (
                "routes.d/a.json",
                "\u{feff}// why\n{\"$schema\": \"x\", \"routes\": [{\"name\": \"second\", \"upstream\": \"a\"},]}",
            ),
            ("routes.d/.hidden.json", "{"),
            ("routes.d/c.txt", "{"),
            ("routes.d/empty.json", "// nothing yet"),
            (
                "upstreams.json",
                r#"{"include": ["more/[ab].json"], "upstreams": {"a": {"targets": ["http://127.0.0.1:1"]}}}"#,
            ),
            ("more/b.json", r#"{"upstreams": {"b": {"targets": ["https://127.0.0.1:1"], "tls": {"ca": "ca.pem"}}}}"#),
        ],
    );
    let loaded = load(&files.main()).unwrap();
    let names: Vec<&str> = loaded.config.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["first", "second", "third"]);
    assert_eq!(loaded.config.upstreams.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(loaded.config.filters.len(), 1);
    let ca = loaded.config.upstreams["b"].tls.as_ref().unwrap().ca.as_ref().unwrap();
    assert_eq!(ca, &files.0.join("more/ca.pem"), "paths start at the file that they stand in");
    let read: Vec<&Path> = loaded.included.files.iter().map(|file| file.strip_prefix(&files.0).unwrap()).collect();
    let all = ["routes.d/a.json", "routes.d/b.json", "routes.d/empty.json", "upstreams.json", "more/b.json"];
    assert_eq!(read, all.map(Path::new));
    let shown = loaded.origins.shown(&loaded.config, |_| None);
    assert_eq!(shown["routes"][2]["name"], "third");
    assert_eq!(shown.get("include"), None);
}

#[test]
fn a_problem_is_told_with_the_file_that_it_stands_in() {
    let files = Files::new(
        "places",
        &[
            ("gateway.json", MAIN),
            ("routes.d/a.json", "{\"routes\": [\n  {\"name\": \"first\", \"upstream\": \"b\"}]}"),
            ("routes.d/b.json", "{\n\"listen\": 1,\n\"routes\": {}}"),
            ("upstreams.json", r#"{"upstreams": {"a": {"targets": ["http://127.0.0.1:1"]}}}"#),
        ],
    );
    assert_eq!(
        files.problems(),
        [
            r#"routes.d/b.json:2:1: listen: unknown key"#,
            "routes.d/b.json:3:1: routes: duplicate key; the first is at gateway.json:2:1",
            r#"routes.d/a.json:2:12: routes[1].name: duplicate route name "first"; the first is at gateway.json:2:21"#,
            r#"routes.d/a.json:2:33: routes[1].upstream: unknown upstream "b"; did you mean "a"?"#,
        ]
    );
    files.write(&[("routes.d/a.json", "{\"routes\": [}"), ("routes.d/b.json", "[]")]);
    assert_eq!(files.problems(), ["routes.d/a.json:1:13: unexpected close brace"]);
    files.write(&[("routes.d/a.json", "{}")]);
    assert_eq!(files.problems(), ["routes.d/b.json:1:1: expected an object, as in every file of a configuration"]);
}

#[test]
fn an_upstream_of_the_same_name_in_two_files_is_told_with_both_places() {
    let upstream = r#"{"upstreams": {"a": {"targets": ["http://127.0.0.1:1"]}}}"#;
    let files = Files::new(
        "twice",
        &[
            ("gateway.json", r#"{"include": ["*.d/a.json"], "listeners": [{"address": "127.0.0.1:0"}]}"#),
            ("x.d/a.json", upstream),
            ("y.d/a.json", upstream),
        ],
    );
    assert_eq!(files.problems(), ["y.d/a.json:1:16: upstreams.a: duplicate key; the first is at x.d/a.json:1:16"]);
}

#[test]
fn files_that_include_themselves_or_are_missing_are_told_where_they_are_named() {
    let files = Files::new(
        "cycle",
        &[
            ("gateway.json", r#"{"include": ["a.json", "none.json", "none*.json", "/**/x", "a[", 7]}"#),
            ("a.json", r#"{"include": ["b/*.json"]}"#),
            ("b/c.json", r#"{"include": ["../gateway.json", "../b/c.json"]}"#),
        ],
    );
    assert_eq!(
        files.problems(),
        [
            r#"gateway.json:1:24: include[1]: there is no such file"#,
            r#"gateway.json:1:51: include[3]: "**" is not followed: name the directories"#,
            r#"gateway.json:1:60: include[4]: bad pattern "a[": invalid range pattern"#,
            "b/c.json:1:14: include[0]: includes itself: gateway.json → a.json → b/c.json → b/../gateway.json",
            "b/c.json:1:33: include[1]: includes itself: b/c.json → b/../b/c.json",
        ]
    );
}

#[test]
fn depth_and_size_are_bounded() {
    let chain: Vec<(String, String)> = (0..10)
        .map(|n| (format!("{n}.json"), format!(r#"{{"include": ["{}.json"]}}"#, n + 1)))
        .chain([("10.json".to_owned(), "{}".to_owned())])
        .collect();
    let mut all: Vec<(&str, &str)> = chain.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    all.push(("gateway.json", r#"{"include": ["0.json"]}"#));
    let files = Files::new("bounds", &all);
    assert_eq!(files.problems(), ["7.json:1:14: include[0]: 8.json is included more than 8 files deep"]);
    let large = format!("/*{}*/ {{}}", " ".repeat(9 << 20));
    files.write(&[
        ("gateway.json", r#"{"include": ["large*.json"]}"#),
        ("large1.json", &large),
        ("large2.json", &large),
    ]);
    assert_eq!(files.problems(), ["gateway.json:1:14: include[0]: large2.json: larger than 16MiB, all files together"]);
}

#[test]
fn a_file_is_taken_once_however_often_it_is_meant() {
    let files = Files::new(
        "once",
        &[
            (
                "gateway.json",
                r#"{"include": ["a.json", "*a.json", "b.json"], "listeners": [{"address": "127.0.0.1:0"}]}"#,
            ),
            ("a.json", r#"{"filters": [{"use": "log"}]}"#),
            ("b.json", r#"{"include": ["a.json"]}"#),
        ],
    );
    assert_eq!(load(&files.main()).unwrap().config.filters.len(), 1);
}

#[test]
fn what_opens_ports_or_holds_for_everything_is_refused_in_an_included_file() {
    let files = Files::new(
        "first-only",
        &[
            (
                "gateway.json",
                r#"{"include": ["team.json"], "listeners": [{"address": "127.0.0.1:0"}], "plugins": {"dir": "plugins"}}"#,
            ),
            (
                "team.json",
                "{\"listeners\": [{\"address\": \"0.0.0.0:0\"}],\n\"admin\": 7,\n\"plugins\": {\"keys\": []},\n\"limits\": {},\n\"routes\": [{}]}",
            ),
        ],
    );
    let main = files.main().display().to_string();
    let problems = files.problems();
    for (line, key) in ["listeners", "admin", "plugins", "limits"].iter().enumerate() {
        let (line, column) = (line + 1, if line == 0 { 2 } else { 1 });
        let file = main.rsplit('/').next().unwrap_or_default();
        let expected = format!(
            "team.json:{line}:{column}: {key}: belongs in {file}: an included file has upstreams, filters and routes"
        );
        assert!(problems.contains(&expected), "{expected}\n{problems:#?}");
    }
    assert_eq!(problems.len(), 5, "what else is wrong is told with it: {problems:#?}");
}

#[test]
fn a_pattern_that_matches_no_file_is_warned_about_where_it_stands() {
    let files = Files::new(
        "nothing",
        &[(
            "gateway.json",
            r#"{"include": ["route.d/*.json"], "listeners": [{"address": "127.0.0.1:0"}], "filters": [{"use": "log"}]}"#,
        )],
    );
    let warnings = load(&files.main()).unwrap().warnings;
    let warnings: Vec<String> = warnings.iter().map(Problem::to_string).collect();
    let expected = format!("{}:1:14: include[0]: matches no file, so that nothing is included", files.main().display());
    assert_eq!(warnings, [expected]);
}
