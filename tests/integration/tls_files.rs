//! The files of a listener's TLS: what is said of broken ones, and how changed ones are taken over.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use sluicegate_tests::tls::{Authority, TlsClient};
use sluicegate_tests::{Gateway, Origin, Site, one_route, wait};

use crate::tls::{config, file, pairs, put};

/// A site that is good but for what `change` does to its files; `tls` is the listener's. What `check` says.
fn checked(tls: &str, change: impl FnOnce(&Site, &Authority)) -> (i32, String) {
    let site = Site::empty();
    let authority = Authority::new("Test");
    put(&site, "a", &authority.issue(&["a.test"]));
    file(&site, "ca.pem", &authority.pem);
    site.write_text(&format!("{{\n  \"listeners\": [{{ \"address\": \"127.0.0.1:0\", \"tls\": {tls} }}]\n}}"));
    change(&site, &authority);
    let output = site.check();
    (output.code, output.text())
}

const ONE: &str = r#"{ "certificates": [{ "certificate": "a.pem", "key": "a.key" }] }"#;
const CLIENTS: &str =
    r#"{ "certificates": [{ "certificate": "a.pem", "key": "a.key" }], "client": { "ca": "ca.pem" } }"#;

/// Checks that exactly this is said, at its place.
#[track_caller]
fn refused(tls: &str, place: &str, message: &str, change: impl FnOnce(&Site, &Authority)) {
    let (code, text) = checked(tls, change);
    // The value of the last key of the place, in the second line.
    let key = place.rsplit('.').next().unwrap();
    let line = format!("  \"listeners\": [{{ \"address\": \"127.0.0.1:0\", \"tls\": {tls} }}]");
    let column = line.find(&format!("\"{key}\": ")).unwrap() + key.len() + 5;
    let expected = format!("gateway.json:2:{column}: listeners[0].tls.{place}: {message}");
    assert_eq!(code, 1, "{text}");
    assert!(text.lines().any(|line| line.starts_with(&expected)), "{text}\nlacks\n{expected}");
}

#[test]
fn broken_files_are_reported_where_they_are_named() {
    let (certificate, key) = ("certificates[0].certificate", "certificates[0].key");
    refused(ONE, certificate, "cannot read the file: No such file or directory", |site, _| {
        fs::remove_file(site.folder().join("a.pem")).unwrap();
    });
    refused(ONE, key, "cannot read the file: it is none", |site, _| {
        fs::remove_file(site.folder().join("a.key")).unwrap();
        fs::create_dir(site.folder().join("a.key")).unwrap();
    });
    refused(ONE, certificate, "has no certificate in PEM form", |site, _| file(site, "a.pem", "garbage"));
    refused(ONE, certificate, "cannot be read as PEM: ", |site, _| {
        file(site, "a.pem", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n");
    });
    refused(ONE, certificate, "is no certificate: ", |site, _| {
        file(site, "a.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    });
    refused(ONE, key, "is not the key of the certificate", |site, authority| {
        file(site, "a.key", &authority.issue(&["a.test"]).key);
    });
    refused(ONE, key, "has no private key in PEM form", |site, _| {
        fs::copy(site.folder().join("a.pem"), site.folder().join("a.key")).unwrap();
    });
    refused(ONE, key, "is encrypted: only keys without a passphrase can be used", |site, _| {
        file(site, "a.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    });
    refused(ONE, key, "cannot be used: ", |site, _| {
        file(site, "a.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    });
    refused(CLIENTS, "client.ca", "has no certificate in PEM form", |site, _| file(site, "ca.pem", ""));
    refused(CLIENTS, "client.ca", "certificate 1 is not usable: ", |site, _| {
        file(site, "ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    });
    let (code, text) = checked(CLIENTS, |_, _| ());
    assert_eq!(code, 0, "{text}");
}

#[test]
fn certificates_that_are_out_of_date_are_used_with_a_warning() {
    let (code, text) = checked(ONE, |site, authority| put(site, "a", &authority.expired(&["a.test"])));
    assert_eq!(code, 0, "{text}");
    let expected = "listeners[0].tls.certificates[0].certificate: expired at 2001-01-01T00:00:00Z";
    assert!(text.contains(expected), "{text}");
}

async fn shows(gateway: &Gateway) -> Vec<u8> {
    let client = TlsClient::credulous().build();
    client.open(gateway.address(), "a.test").await.unwrap().certificate.to_vec()
}

#[tokio::test]
async fn a_new_certificate_is_taken_over_under_load_and_nothing_fails() {
    let (origin, authority) = (Origin::text("ok").await, Authority::new("Test"));
    let site = Site::new(&config(&origin, &json!({ "certificates": pairs(&["a"]) }))).script();
    put(&site, "a", &authority.issue(&["a.test"]));
    let gateway = site.start().await;
    let address = gateway.address();
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = |kept: bool| {
        let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
        let alpn: &[&str] = if kept { &["h2"] } else { &[] };
        let client = TlsClient::trusting(&authority).alpn(alpn).build();
        tokio::spawn(async move {
            let mut connection = client.open(address, "a.test").await.unwrap().connection;
            while !stop.load(Ordering::Relaxed) {
                if !kept {
                    connection = client.open(address, "a.test").await.unwrap().connection;
                }
                connection.get("/").await.expect(200);
                served.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let tasks = [client(true), client(true), client(false), client(false)];
    for _ in 0..3 {
        let new = authority.issue(&["a.test"]);
        // The files do not change at once: between the two they do not fit, and what ran goes on.
        put(gateway.site(), "a", &new);
        wait::eventually("the new certificate is shown", || async { shows(&gateway).await == new.der.to_vec() }).await;
        let goal = served.load(Ordering::Relaxed) + 50;
        wait::eventually("load goes on", || std::future::ready(served.load(Ordering::Relaxed) >= goal)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no request fails, and no kept connection is closed");
    }
}

#[tokio::test]
async fn files_that_do_not_fit_keep_what_ran_and_are_taken_once_they_do() {
    let (origin, authority) = (Origin::text("ok").await, Authority::new("Test"));
    let site = Site::new(&config(&origin, &json!({ "certificates": pairs(&["a"]) }))).script();
    let (old, new) = (authority.issue(&["a.test"]), authority.issue(&["a.test"]));
    put(&site, "a", &old);
    let gateway = site.start().await;
    let from = gateway.log.len();
    file(gateway.site(), "a.pem", &new.pem);
    gateway.log.wait_from(from, "listeners[0].tls.certificates[0].key: is not the key of the certificate").await;
    assert_eq!(shows(&gateway).await, old.der.to_vec());
    file(gateway.site(), "a.key", &new.key);
    wait::eventually("the new certificate is shown", || async { shows(&gateway).await == new.der.to_vec() }).await;
    // The same for files that a refused configuration is the first to name.
    let from = gateway.log.len();
    gateway.site().write(&config(&origin, &json!({ "certificates": pairs(&["later"]) })));
    gateway.log.wait_from(from, "listeners[0].tls.certificates[0].certificate: cannot read the file").await;
    put(gateway.site(), "later", &old);
    wait::eventually("the other certificate is shown", || async { shows(&gateway).await == old.der.to_vec() }).await;
}

#[tokio::test]
async fn a_directory_of_certificates_is_exchanged_behind_a_link() {
    let (origin, authority) = (Origin::text("ok").await, Authority::new("Test"));
    let site = Site::new(&config(&origin, &json!({ "certificates": pairs(&["certs/tls"]) }))).script();
    let certs = site.folder().join("certs");
    fs::create_dir(&certs).unwrap();
    let issued = [authority.issue(&["a.test"]), authority.issue(&["a.test"])];
    for (number, pair) in issued.iter().enumerate() {
        fs::create_dir(certs.join(format!("..{number}"))).unwrap();
        put(&site, &format!("certs/..{number}/tls"), pair);
    }
    symlink("..0", certs.join("..data")).unwrap();
    symlink("..data/tls.pem", certs.join("tls.pem")).unwrap();
    symlink("..data/tls.key", certs.join("tls.key")).unwrap();
    let gateway = site.start().await;
    assert_eq!(shows(&gateway).await, issued[0].der.to_vec());
    for number in [1, 0] {
        symlink(format!("..{number}"), certs_of(&gateway).join("..data_tmp")).unwrap();
        fs::rename(certs_of(&gateway).join("..data_tmp"), certs_of(&gateway).join("..data")).unwrap();
        let expected = issued[number].der.to_vec();
        wait::eventually("the other certificate is shown", || async { shows(&gateway).await == expected }).await;
    }
}

fn certs_of(gateway: &Gateway) -> std::path::PathBuf {
    gateway.site().folder().join("certs")
}

#[tokio::test]
async fn tls_is_put_on_a_listener_and_taken_off_while_it_serves() {
    let (origin, authority) = (Origin::text("ok").await, Authority::new("Test"));
    let mut plain: Value = one_route(&origin.url(), &json!([]));
    plain["listeners"] = json!([{ "address": "127.0.0.1:0" }]);
    let site = Site::new(&plain).script();
    put(&site, "a", &authority.issue(&["a.test"]));
    let gateway = site.start().await;
    let client = TlsClient::trusting(&authority).build();
    for _ in 0..2 {
        gateway.get("/").await.expect(200);
        assert!(client.get(gateway.address(), "a.test").await.is_err());
        gateway.reload(&config(&origin, &json!({ "certificates": pairs(&["a"]) }))).await;
        client.get(gateway.address(), "a.test").await.unwrap().expect(200);
        assert!(gateway.request(http::Method::GET, "/").try_send().await.is_err());
        gateway.reload(&plain).await;
    }
}
