//! Fuzz target of the paths of requests.

use crate::route::path::{after_prefix, normalise, without_parameters};

/// Any text as a path: refused, or normal for good, below the root before and after decoding, and without segments that some
/// server resolves; and so is what routing looks at.
pub fn paths(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(normal) = normalise(&text) else { return };
    assert_eq!(normalise(&normal).as_deref(), Ok(&*normal), "normalising twice changes it");
    if normal == "*" {
        return;
    }
    check_segments(&normal);
    let decoded = percent_encoding::percent_decode_str(&normal).decode_utf8().expect("UTF-8 in every reading");
    check_segments(&decoded);
    assert!(!decoded.contains('\\') && !decoded.chars().any(char::is_control), "{decoded:?}");
    let slashes = |text: &str| text.matches('/').count();
    assert_eq!(slashes(&decoded), slashes(&normal), "a slash is hidden in {normal:?}");
    let seen = without_parameters(&normal);
    check_segments(&seen);
    assert_eq!(slashes(&seen), slashes(&normal), "parameters hide a segment of {normal:?}");
    for (slash, _) in seen.match_indices('/').skip(1) {
        let rest = after_prefix(&normal, &seen[..slash]).expect("it begins with its own beginning");
        assert!(rest.starts_with('/') && normal.ends_with(rest), "{rest:?} of {normal:?}");
    }
}

/// Below the root, without empty or dot segments.
fn check_segments(path: &str) {
    let segments = path.strip_prefix('/').unwrap_or_else(|| panic!("{path:?} is not absolute")).split('/');
    let count = segments.clone().count();
    for (number, segment) in segments.enumerate() {
        assert!(!matches!(segment, "." | ".."), "a dot segment in {path:?}");
        assert!(!segment.is_empty() || number + 1 == count, "an empty segment in {path:?}");
    }
}
