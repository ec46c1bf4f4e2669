//! The one normal form of a path.

use std::borrow::Cow;

use proptest::prelude::*;

use super::super::path::{BadPath, after_prefix, normalise, without_parameters};

#[test]
fn a_path_has_one_normal_form() {
    for (path, normal) in [
        ("/", "/"),
        ("*", "*"),
        ("/users/7", "/users/7"),
        ("/users/", "/users/"),
        ("/a-b._~!$&'()*+,;=:@c", "/a-b._~!$&'()*+,;=:@c"),
        // Unreserved characters are decoded, the others stay encoded, in upper case.
        ("/%41%7e%2D%5f", "/A~-_"),
        ("/%c3%a9%20%3a", "/%C3%A9%20%3A"),
        ("/%252e%252e/a", "/%252e%252e/a"),
        ("/a%3fb%23c%3bd%25e", "/a%3Fb%23c%3Bd%25e"),
        ("/é\"<>^`{|}", "/%C3%A9%22%3C%3E%5E%60%7B%7C%7D"),
        // Dot segments, plain and encoded.
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/..", "/"),
        ("/../../etc/passwd", "/etc/passwd"),
        ("/.well-known/x", "/.well-known/x"),
        ("/.../a..b/..c/d..", "/.../a..b/..c/d.."),
        // Empty segments.
        ("//admin", "/admin"),
        ("/a//b///c//", "/a/b/c/"),
        ("/a//../b", "/b"),
        ("///", "/"),
        // Parameters belong to their segment, case counts.
        ("/admin;x=1/a", "/admin;x=1/a"),
        ("/ADMIN", "/ADMIN"),
        ("/a;/../b", "/b"),
        ("/a%3B/b", "/a%3B/b"),
    ] {
        assert_eq!(normalise(path).as_deref(), Ok(normal), "{path}");
    }
}

#[test]
fn a_path_that_servers_read_differently_is_refused() {
    for (path, error) in [
        ("", BadPath::NotAbsolute),
        ("users", BadPath::NotAbsolute),
        ("http://a/b", BadPath::NotAbsolute),
        ("**", BadPath::NotAbsolute),
        ("/x/..%2fadmin", BadPath::EncodedSlash),
        ("/x%2Fadmin", BadPath::EncodedSlash),
        ("/x\\admin", BadPath::Backslash),
        ("/x%5cadmin", BadPath::Backslash),
        ("/x%5C..%5Cadmin", BadPath::Backslash),
        ("/x%00", BadPath::Control),
        ("/x%0d%0aa:b", BadPath::Control),
        ("/x%7f", BadPath::Control),
        ("/x%c2%85", BadPath::Control),
        ("/x\0", BadPath::Control),
        ("/x y", BadPath::Control),
        ("/x\ty", BadPath::Control),
        ("/x#y", BadPath::Fragment),
        ("/x?y", BadPath::Query),
        ("/%", BadPath::BadEncoding),
        ("/%4", BadPath::BadEncoding),
        ("/%zz", BadPath::BadEncoding),
        ("/%u002e", BadPath::BadEncoding),
        ("/%+1", BadPath::BadEncoding),
        // Overlong forms of "." and "/", a surrogate, half a character.
        ("/%c0%ae%c0%ae/a", BadPath::BadEncoding),
        ("/%c0%af", BadPath::BadEncoding),
        ("/%ed%a0%80", BadPath::BadEncoding),
        ("/%c3/%a9", BadPath::BadEncoding),
        ("/public/..;/admin", BadPath::DotSegment),
        ("/public/%2e%2e;x=1/admin", BadPath::DotSegment),
        ("/public/.;/admin", BadPath::DotSegment),
        ("/;/admin", BadPath::DotSegment),
        ("/public/;x=1", BadPath::DotSegment),
    ] {
        assert_eq!(normalise(path), Err(error), "{path}");
    }
}

#[test]
fn parameters_take_no_part_in_routing_and_stay_behind_a_prefix() {
    for (path, matched) in [("/a/b", "/a/b"), ("/admin;x", "/admin"), ("/a;x=1/b;y;z/", "/a/b/"), ("/a%3Bx", "/a%3Bx")]
    {
        assert_eq!(without_parameters(path), matched, "{path}");
    }
    for (path, prefix, rest) in [
        ("/a/b;x/c", "/a", Some("/b;x/c")),
        ("/a;x/b;y", "/a", Some("/b;y")),
        ("/a;x/b;y", "/a/b", Some("")),
        ("/a;x", "", Some("/a;x")),
        ("/ab", "/a", None),
        ("/a", "/a/b", None),
        ("/a;/b", "/a;", None),
    ] {
        assert_eq!(after_prefix(path, prefix), rest, "{path} {prefix}");
    }
}

#[test]
fn a_plain_path_is_not_copied() {
    assert!(matches!(normalise("/users/7;v=1"), Ok(Cow::Borrowed(_))));
}

proptest! {
    #[test]
    fn normalising_twice_changes_nothing(path in "/([a-c./;]|%2[eEfF5]|%41|%c3%a9|é|~|\\|){0,12}") {
        if let Ok(once) = normalise(&path) {
            let again = normalise(&once);
            prop_assert_eq!(again.as_deref(), Ok(&*once));
            prop_assert!(once.starts_with('/') && !once.contains("//"));
            prop_assert!(!once.split('/').any(|segment| matches!(segment, "." | "..")));
        }
    }
    #[test]
    fn any_text_is_either_refused_or_made_plain(path in "/?\\PC*") {
        if let Ok(normal) = normalise(&path) {
            prop_assert!(normal.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
