//! Durations, sizes, suggestions, and how problems are shown.

use std::time::Duration;

use super::{filter, read, top};
use crate::config::{closest, duration, size};

#[test]
fn durations_are_whole_numbers_with_a_unit() {
    for (text, millis) in [
        ("250ms", 250),
        ("5s", 5000),
        ("1m", 60_000),
        ("1h", 3_600_000),
        ("90s", 90_000),
        ("0s", 0),
        ("1m30s", 90_000),
        ("1h1ms", 3_600_001),
        ("7d", 604_800_000),
    ] {
        assert_eq!(duration::parse(text), Some(Duration::from_millis(millis)), "{text}");
    }
    for text in [
        "",
        "5",
        "s",
        "1.5s",
        "-1s",
        "5 s",
        "5S",
        "1m30",
        "1m s",
        "1m-1s",
        "99999999999999999999s",
        "18446744073709551615h",
    ] {
        assert_eq!(duration::parse(text), None, "{text}");
    }
    for text in ["250ms", "5s", "90s", "1m", "24h", "0ms"] {
        assert_eq!(duration::display(duration::parse(text).unwrap()), text);
    }
}

#[test]
fn sizes_are_whole_numbers_with_a_binary_unit() {
    for (text, bytes) in [("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("2GiB", 2 << 30)] {
        assert_eq!(size::parse(text), Some(bytes), "{text}");
        assert_eq!(size::display(bytes), text);
    }
    for text in ["", "5", "KiB", "1.5MiB", "1KB", "1 KiB", "99999999999999999999B", "17179869184GiB"] {
        assert_eq!(size::parse(text), None, "{text}");
    }
    assert_eq!(size::suggest("1 mb").as_deref(), Some("1MiB"));
    assert_eq!(size::suggest("64k").as_deref(), Some("64KiB"));
    assert_eq!(size::suggest("large"), None);
}

#[test]
fn a_suggestion_is_a_slip_of_the_keyboard_away() {
    let words = ["idp", "users", "rate-limit"];
    for (word, meant) in [
        ("ipd", Some("idp")),
        ("user", Some("users")),
        ("rate_limt", Some("rate-limit")),
        ("orders", None),
        ("x", None),
    ] {
        assert_eq!(closest(word, words).as_deref(), meant, "{word}");
    }
}

#[test]
fn a_terminal_sees_the_line_with_a_mark_below() {
    let problems = read("{\n  \"listeners\": [\n\t{ \"address\": \"8080\" }]\n}\n").unwrap_err();
    let shown = "\
error: expected an address and a port such as \"127.0.0.1:8080\", found \"8080\"; did you mean \"127.0.0.1:8080\"?
  ┌ gateway.json:3:15  listeners[0].address
3 │  { \"address\": \"8080\" }]
  │               ^^^^^^
";
    assert_eq!(problems.render(), shown);
}

#[test]
fn a_long_line_is_shown_in_part() {
    let problems = read(&filter(&format!(r#""config": "{}", "deadline": 7"#, "ä".repeat(500)))).unwrap_err();
    let shown = problems.render();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.iter().all(|line| line.chars().count() < 140), "{shown}");
    let mark = lines[3].chars().position(|c| c == '^').unwrap();
    assert_eq!(lines[2].chars().nth(mark), Some('7'), "{shown}");
}

#[test]
fn a_long_list_is_counted() {
    let routes: Vec<&str> = vec![r#"{"upstream": "none"}"#; 250];
    let problems = read(&top(&format!("\"routes\": [{}]", routes.join(",")))).unwrap_err();
    assert_eq!(problems.len(), 250);
    assert_eq!(problems.to_string().lines().count(), 101);
    assert!(problems.to_string().ends_with("\n… and 150 more"));
}
