//! Listeners at Unix sockets.

use super::{good, refuses};
use crate::address::Address;

#[test]
fn a_listener_may_be_at_a_unix_socket() {
    let text = r#"{"listeners": [{"address": "unix:/run/a.sock", "mode": "0660", "trusted_proxies": ["unix:"]}, {"address": "unix:/run/b.sock"}]}"#;
    let config = good(text).config;
    let [first, second] = &config.listeners[..] else { panic!("two listeners") };
    assert_eq!((first.address.to_string().as_str(), first.mode), ("unix:/run/a.sock", Some(0o660)));
    assert!(first.trusted_proxies.contains(&Address::local_client()));
    assert!(!first.trusted_proxies.contains(&Address::Ip(([127, 0, 0, 1], 1).into())));
    assert_eq!(second.mode, None);
    assert!(second.trusted_proxies.is_empty());
}

#[test]
fn sockets_that_cannot_be_are_refused_where_they_stand() {
    let absolute = "listeners[0].address: a Unix socket has an absolute path, such as \"unix:/run/gateway.sock\"";
    for path in ["", "gateway.sock", "./gateway.sock", "/run/"] {
        refuses(&format!(r#"{{"listeners": [{{"address": §"unix:{path}"}}]}}"#), &[absolute]);
    }
    let long = "x".repeat(107);
    refuses(
        &format!(r#"{{"listeners": [{{"address": §"unix:/{long}"}}]}}"#),
        &["listeners[0].address: the path of a Unix socket has at most 107 bytes, found 108"],
    );
    good(&format!(r#"{{"listeners": [{{"address": "unix:/{}"}}]}}"#, &long[1..]));
    refuses(
        r#"{"listeners": [{"address": "unix:/a"}, {"address": §"unix:/a"}]}"#,
        &["listeners[1].address: a listener before it has this address"],
    );
    refuses(
        r#"{"listeners": [{"address": "127.0.0.1:0"}], "admin": {"address": §"unix:/a"}}"#,
        &["admin.address: expected an address and a port: the admin API is not at Unix sockets"],
    );
}

#[test]
fn permissions_are_octal_and_of_unix_sockets_alone() {
    for mode in ["660x", "0888", "01777", "+660", ""] {
        refuses(
            &format!(r#"{{"listeners": [{{"address": "unix:/a", "mode": §"{mode}"}}]}}"#),
            &[&format!("listeners[0].mode: expected permissions such as \"0660\", found \"{mode}\"")],
        );
    }
    refuses(
        r#"{"listeners": [{"address": "127.0.0.1:1", "mode": §"0660"}]}"#,
        &["listeners[0].mode: permissions are those of a Unix socket's file: this address has none"],
    );
}
