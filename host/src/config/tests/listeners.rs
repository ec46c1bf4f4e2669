//! Listeners with TLS: what is read, and what is refused before any of its files is looked at.

use std::path::Path;

use super::{good, refuses};
use crate::config::{Alpn, CertificateFiles, ClientCertificates, ListenerTls, TlsVersion};

fn listener(tls: &str) -> String {
    format!(r#"{{"listeners": [{{"address": "127.0.0.1:0", "tls": {tls}}}]}}"#)
}

#[test]
fn tls_is_read_with_its_defaults_and_paths_start_beside_the_file() {
    let text = listener(r#"{"certificates": [{"certificate": "a.pem", "key": "/keys/a.key"}]}"#);
    let expected = ListenerTls {
        certificates: vec![CertificateFiles {
            certificate: "/etc/sluicegate/a.pem".into(),
            key: "/keys/a.key".into(),
            ocsp: None,
            hosts: Vec::new(),
        }],
        min_version: TlsVersion::V12,
        alpn: vec![Alpn::Http2, Alpn::Http11],
        client: None,
    };
    assert_eq!(good(&text).config.listeners[0].tls, Some(expected));
    let text = listener(
        r#"{"certificates": [{"certificate": "a", "key": "b", "hosts": ["A.example.", "*.B.example"]}], "min_version": "1.3",
            "alpn": ["http/1.1"], "client": {"ca": "ca.pem", "mode": "optional", "crl": ["r.pem"]}}"#,
    );
    let tls = good(&text).config.listeners.remove(0).tls.unwrap();
    assert_eq!(tls.certificates[0].hosts, ["a.example", "*.b.example"]);
    assert_eq!((tls.min_version, &*tls.alpn), (TlsVersion::V13, &[Alpn::Http11][..]));
    assert_eq!(
        tls.client,
        Some(ClientCertificates {
            ca: "/etc/sluicegate/ca.pem".into(),
            required: false,
            crl: vec!["/etc/sluicegate/r.pem".into()]
        })
    );
    let files: Vec<_> = ["a", "b", "ca.pem", "r.pem"].map(|name| Path::new("/etc/sluicegate").join(name)).to_vec();
    assert_eq!(tls.files().collect::<Vec<_>>(), files);
}

#[test]
fn clients_have_to_show_a_certificate_unless_the_file_says_otherwise() {
    let text = listener(r#"{"certificates": [{"certificate": "a", "key": "b"}], "client": {"ca": "c"}}"#);
    assert!(good(&text).config.listeners[0].tls.as_ref().unwrap().client.as_ref().unwrap().required);
}

#[test]
fn tls_that_is_none_is_refused() {
    let pair = r#"{"certificate": "a", "key": "b"}"#;
    for (tls, messages) in [
        ("§{}", vec![r#"tls: missing key "certificates""#]),
        (r#"{"certificates": §[]}"#, vec!["tls.certificates: must not be empty"]),
        (
            r#"{"certificates": [§{}]}"#,
            vec![r#"tls.certificates[0]: missing key "certificate""#, r#"tls.certificates[0]: missing key "key""#],
        ),
        (
            r#"{"certificates": [{"certificate": §"", "key": "b", "hosts": [§"*"]}]}"#,
            vec![
                "tls.certificates[0].certificate: must not be empty",
                r#"tls.certificates[0].hosts[0]: expected a host such as "api.example.com" or "*.example.com", found "*""#,
            ],
        ),
        (
            &format!(r#"{{"certificates": [{pair}], "min_version": §"1.1", "alpn": [§"h3"], §"cient": {{}}}}"#),
            vec![
                r#"tls.min_version: expected "1.2" or "1.3", found "1.1"; did you mean "1.2"?"#,
                r#"tls.alpn[0]: expected "h2" or "http/1.1", found "h3"; did you mean "h2"?"#,
                r#"tls.cient: unknown key; did you mean "client"?"#,
            ],
        ),
        (
            &format!(r#"{{"certificates": [{pair}], "client": §{{"mode": §"never"}}}}"#),
            vec![
                r#"tls.client: missing key "ca""#,
                r#"tls.client.mode: expected "required" or "optional", found "never""#,
            ],
        ),
    ] {
        let messages: Vec<String> = messages.into_iter().map(|message| format!("listeners[0].{message}")).collect();
        let marked = listener(tls).replace("[§{}]", "[§§{}]");
        refuses(&marked, &messages.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn a_listener_with_tls_shares_its_address_with_none_even_if_the_kernel_chooses_the_port() {
    let tls = r#""tls": {"certificates": [{"certificate": "a", "key": "b"}]}"#;
    let message = r#"listeners[1].address: a listener before it has this address: with "name", "tls", "proxy_protocol" or "trusted_proxies" it has to be another, port 0 or not"#;
    for (first, second) in [(tls, r#""x-a": 1"#), (r#""x-a": 1"#, tls), (tls, tls)] {
        refuses(
            &format!(
                r#"{{"listeners": [{{"address": "127.0.0.1:0", {first}}}, {{"address": §"127.0.0.1:0", {second}}}]}}"#
            ),
            &[message],
        );
    }
}

#[test]
fn routes_name_the_listeners_that_they_belong_to() {
    let text = |routes: &str| {
        format!(
            r#"{{"listeners": [{{"name": "public", "address": "127.0.0.1:80"}}, {{"address": "127.0.0.1:81"}},
                {{"name": "wire", "address": "127.0.0.1:82", "tcp": {{"upstream": "raw"}}}}],
              "upstreams": {{"raw": {{"targets": ["tcp://127.0.0.1:1"]}}}}, "routes": [{{"respond": {{}}, "listeners": {routes}}}]}}"#
        )
    };
    let config = good(&text(r#"["public"]"#)).config;
    assert_eq!(config.listeners[0].name.as_deref(), Some("public"));
    assert_eq!(config.routes[0].listeners, [config.listeners[0].address]);
    refuses(
        &text(r#"[§"pubic", §"wire", §""]"#),
        &[
            r#"routes[0].listeners[0]: unknown listener "pubic"; did you mean "public"?"#,
            r#"routes[0].listeners[1]: the listener "wire" carries TCP connections, which have no routes"#,
            r#"routes[0].listeners[2]: unknown listener """#,
        ],
    );
    refuses(&text("§[]"), &["routes[0].listeners: must not be empty"]);
    // What is wrong with a listener is told once, where it stands.
    let broken = text(r#"["any"]"#).replace(r#""127.0.0.1:81""#, r#"§"nowhere""#);
    refuses(
        &broken,
        &[r#"listeners[1].address: expected an address and a port such as "127.0.0.1:8080", found "nowhere""#],
    );
}

#[test]
fn a_listeners_name_is_its_own_and_so_is_its_address() {
    let text =
        |second: &str| format!(r#"{{"listeners": [{{"name": "a", "address": "127.0.0.1:0"}}, {{"name": {second}}}]}}"#);
    refuses(
        &text(r#"§"a", "address": "127.0.0.2:0""#),
        &[r#"listeners[1].name: a listener before it has the name "a""#],
    );
    refuses(
        &text(r#"§"", "address": "127.0.0.2:0""#),
        &[r#"listeners[1].name: a listener's name has 1 to 128 characters, found """#],
    );
    let alone = r#"listeners[1].address: a listener before it has this address: with "name", "tls", "proxy_protocol" or "trusted_proxies" it has to be another, port 0 or not"#;
    refuses(&text(r#""b", "address": §"127.0.0.1:0""#), &[alone]);
}
