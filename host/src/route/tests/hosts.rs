//! Authorities in their one form.

use std::borrow::Cow;

use proptest::prelude::*;

use super::super::host::{Authority, BadAuthority};

#[test]
fn an_authority_has_one_form() {
    for (text, host, port) in [
        ("example.com", "example.com", None),
        ("Example.COM.", "example.com", None),
        ("example.com:8080", "example.com", Some(8080)),
        ("example.com.:80", "example.com", Some(80)),
        ("a_b-c.example", "a_b-c.example", None),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", None),
        ("localhost", "localhost", None),
        ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
        ("[::1]", "[::1]", None),
        ("[0:0::0:1]:443", "[::1]", Some(443)),
        ("[2001:DB8::A]", "[2001:db8::a]", None),
        ("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", None),
    ] {
        assert_eq!(Authority::parse(text), Ok(Authority { host: Cow::Borrowed(host), port }), "{text}");
    }
}

#[test]
fn a_doubtful_authority_is_refused() {
    let long_label = "a".repeat(64);
    let long_name = ["a".repeat(63).as_str(); 4].join(".");
    for (text, error) in [
        ("", BadAuthority::Empty),
        (".", BadAuthority::Empty),
        (":80", BadAuthority::Empty),
        ("user@example.com", BadAuthority::UserInfo),
        ("user:secret@example.com:80", BadAuthority::UserInfo),
        ("a..b", BadAuthority::BadHost),
        (".a", BadAuthority::BadHost),
        ("a..", BadAuthority::BadHost),
        ("a b", BadAuthority::BadHost),
        ("a/b", BadAuthority::BadHost),
        ("a\\b", BadAuthority::BadHost),
        ("a?b", BadAuthority::BadHost),
        ("a#b", BadAuthority::BadHost),
        ("a,b", BadAuthority::BadHost),
        ("a%2eb", BadAuthority::BadHost),
        ("a\0", BadAuthority::BadHost),
        ("bücher.example", BadAuthority::BadHost),
        (&long_label, BadAuthority::BadHost),
        (&long_name, BadAuthority::BadHost),
        ("::1", BadAuthority::BadAddress),
        ("a:1:2", BadAuthority::BadAddress),
        ("[::1", BadAuthority::BadAddress),
        ("[]", BadAuthority::BadAddress),
        ("[127.0.0.1]", BadAuthority::BadAddress),
        ("[fe80::1%25eth0]", BadAuthority::BadAddress),
        ("[v1.a]", BadAuthority::BadAddress),
        ("[::1]80", BadAuthority::BadPort),
        ("[::1]:", BadAuthority::BadPort),
        ("a:", BadAuthority::BadPort),
        ("a:0", BadAuthority::BadPort),
        ("a:+80", BadAuthority::BadPort),
        ("a:-1", BadAuthority::BadPort),
        ("a:65536", BadAuthority::BadPort),
        ("a:000080", BadAuthority::BadPort),
        ("a:80x", BadAuthority::BadPort),
    ] {
        assert_eq!(Authority::parse(text), Err(error), "{text}");
    }
}

#[test]
fn a_plain_name_is_not_copied() {
    assert!(matches!(Authority::parse("a.example:80").map(|authority| authority.host), Ok(Cow::Borrowed(_))));
}

proptest! {
    #[test]
    fn the_form_of_a_form_is_itself(text in "[a-cA-C0-9.:\\[\\]@-]{0,12}") {
        if let Ok(Authority { host, .. }) = Authority::parse(&text) {
            let again = Authority::parse(&host).map(|authority| authority.host.into_owned());
            prop_assert_eq!(again.as_deref(), Ok(&*host));
        }
    }
}
