//! TLS on listeners: versions, protocols, certificates by name, sessions, and what broken files and clients lead to.

use std::time::Duration;

use http::Version;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use sluicegate_tests::origin::answer;
use sluicegate_tests::raw::Raw;
use sluicegate_tests::tls::{Authority, Issued, TlsClient};
use sluicegate_tests::{Gateway, Origin, Site, one_route, process, wait};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A configuration whose only listener has this TLS, in front of `origin` with a filter between.
pub(crate) fn config(origin: &Origin, tls: &Value) -> Value {
    let filter = json!({ "use": "script", "config": { "request_headers": [
        { "set": ["request", "x-scheme", { "property": ["request", "scheme"] }] },
    ] } });
    let mut config = one_route(&origin.url(), &json!([filter]));
    config["listeners"] = json!([{ "address": "127.0.0.1:0", "tls": tls }]);
    config
}

/// Certificates as `a.pem` with `a.key` and so on.
pub(crate) fn pairs(names: &[&str]) -> Value {
    names.iter().map(|name| json!({ "certificate": format!("{name}.pem"), "key": format!("{name}.key") })).collect()
}

pub(crate) fn put(site: &Site, name: &str, issued: &Issued) {
    file(site, &format!("{name}.pem"), &issued.pem);
    file(site, &format!("{name}.key"), &issued.key);
}

pub(crate) fn file(site: &Site, name: &str, text: &str) {
    sluicegate_tests::site::replace(&site.folder().join(name), text.as_bytes());
}

/// A gateway with one certificate, for `localhost`.
async fn serving(more: &[(&str, Value)]) -> (Gateway, Origin, Authority) {
    let (origin, authority) = (Origin::text("ok").await, Authority::new("Test"));
    let mut tls = json!({ "certificates": pairs(&["a"]) });
    for (key, value) in more {
        tls[*key] = value.clone();
    }
    let site = Site::new(&config(&origin, &tls)).script();
    put(&site, "a", &authority.issue(&["localhost"]));
    (site.start().await, origin, authority)
}

#[tokio::test]
async fn http1_and_http2_are_served_over_tls_as_the_client_wishes() {
    let (gateway, origin, authority) = serving(&[]).await;
    let wishes: [(&[&str], Version); 4] = [
        (&[], Version::HTTP_11),
        (&["http/1.1"], Version::HTTP_11),
        (&["h2"], Version::HTTP_2),
        (&["http/1.1", "h2"], Version::HTTP_2),
    ];
    for (alpn, version) in wishes {
        for tls in [&TLS12, &TLS13] {
            let client = TlsClient::trusting(&authority).alpn(alpn).version(tls).build();
            let response = client.get(gateway.address(), "localhost").await.unwrap().expect(200);
            assert_eq!((response.version, response.text()), (version, "ok".to_owned()));
        }
    }
    let seen = origin.last();
    assert_eq!((seen.header("x-scheme"), seen.header("x-forwarded-proto")), ("https".to_owned(), "https".to_owned()));
    let output = gateway.output.all();
    assert!(output.contains(&format!("listening https://{}", gateway.address())), "{output:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn protocols_that_are_not_offered_are_not_agreed_on() {
    let (gateway, _origin, authority) = serving(&[("alpn", json!(["http/1.1"]))]).await;
    let both = TlsClient::trusting(&authority).alpn(&["h2", "http/1.1"]).build();
    let response = both.get(gateway.address(), "localhost").await.unwrap().expect(200);
    assert_eq!(response.version, Version::HTTP_11);
    let only = TlsClient::trusting(&authority).alpn(&["h2"]).build();
    assert!(only.get(gateway.address(), "localhost").await.is_err());
    counted(&gateway, "protocol", 1.0).await;
}

/// Waits until so many handshakes have failed for that reason.
pub(crate) async fn counted(gateway: &Gateway, reason: &str, count: f64) {
    let name = "sluicegate_tls_handshake_failures_total";
    wait::eventually("the failure is counted", || async {
        (gateway.metric(name, &[("reason", reason)]).await - count).abs() < 0.5
    })
    .await;
}

#[tokio::test]
async fn the_name_that_is_asked_for_chooses_the_certificate() {
    let (origin, authority) = (Origin::text("ok").await, Authority::new("Test"));
    let mut certificates = pairs(&["first", "wild", "exact", "given"]);
    certificates[3]["hosts"] = json!(["Given.test", "*.given.test"]);
    let site = Site::new(&config(&origin, &json!({ "certificates": certificates }))).script();
    let issued = [
        ("first", authority.issue(&["first.test"])),
        ("wild", authority.issue(&["*.example.test"])),
        ("exact", authority.issue(&["API.example.test", "other.test"])),
        ("given", authority.issue(&["unused.test"])),
    ];
    for (name, pair) in &issued {
        put(&site, name, pair);
    }
    let gateway = site.start().await;
    let client = TlsClient::credulous().build();
    for (asked, expected) in [
        ("first.test", "first"),
        ("www.example.test", "wild"),
        ("api.example.test", "exact"),
        ("other.test", "exact"),
        ("example.test", "first"),
        ("a.b.example.test", "first"),
        ("given.test", "given"),
        ("x.given.test", "given"),
        ("unused.test", "first"),
        ("127.0.0.1", "first"),
    ] {
        let seen = client.open(gateway.address(), asked).await.unwrap().certificate;
        let found = issued.iter().find(|(_, pair)| pair.der == seen).map(|(name, _)| *name);
        assert_eq!(found, Some(expected), "for {asked}");
    }
}

#[tokio::test]
async fn of_two_certificates_for_a_name_a_client_is_shown_the_one_that_it_can_verify() {
    let (origin, authority) = (Origin::text("ok").await, Authority::new("Test"));
    let site = Site::new(&config(&origin, &json!({ "certificates": pairs(&["common", "rare"]) }))).script();
    let (common, rare) = (authority.issue(&["a.test"]), authority.issue_ed25519(&["a.test"]));
    put(&site, "common", &common);
    put(&site, "rare", &rare);
    let gateway = site.start().await;
    for name in ["a.test", "127.0.0.1"] {
        let seen = TlsClient::credulous().build().open(gateway.address(), name).await.unwrap();
        assert_eq!(seen.certificate, common.der);
        let seen = TlsClient::credulous().only_ed25519().build().open(gateway.address(), name).await.unwrap();
        assert_eq!(seen.certificate, rare.der);
    }
}

#[tokio::test]
async fn versions_below_the_least_are_refused() {
    let (gateway, _origin, authority) = serving(&[("min_version", json!("1.3"))]).await;
    let client = TlsClient::trusting(&authority);
    assert!(client.version(&TLS12).build().get(gateway.address(), "localhost").await.is_err());
    counted(&gateway, "version", 1.0).await;
    let client = TlsClient::trusting(&authority);
    client.version(&TLS13).build().get(gateway.address(), "localhost").await.unwrap().expect(200);
}

/// A ClientHello of that version, as clients of long ago sent it (RFC 4346 §7.4.1.2).
fn old_hello(minor: u8) -> Vec<u8> {
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    // No session; one cipher suite; no compression.
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}

#[tokio::test]
async fn tls_1_1_is_refused_with_an_alert() {
    let (gateway, _origin, _authority) = serving(&[]).await;
    let mut raw = Raw::connect(gateway.address()).await;
    raw.write(old_hello(2)).await;
    let answer = raw.rest().await;
    // An alert, and a fatal one (RFC 5246 §7.2).
    assert_eq!((answer.first(), answer.get(5)), (Some(&21), Some(&2)), "{answer:?}");
    counted(&gateway, "version", 1.0).await;
}

#[tokio::test]
async fn plain_http_on_a_listener_with_tls_is_closed_and_counted() {
    let (gateway, origin, authority) = serving(&[]).await;
    let mut raw = Raw::connect(gateway.address()).await;
    raw.write("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let answer = raw.rest().await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    counted(&gateway, "not_tls", 1.0).await;
    drop(TcpStream::connect(gateway.address()).await.unwrap());
    counted(&gateway, "closed", 1.0).await;
    assert_eq!(origin.count(), 0);
    // A client that does not trust the certificate says so.
    let stranger = TlsClient::trusting(&Authority::new("Other")).build();
    assert!(stranger.get(gateway.address(), "localhost").await.is_err());
    counted(&gateway, "alert", 1.0).await;
    TlsClient::trusting(&authority).build().get(gateway.address(), "localhost").await.unwrap().expect(200);
}

#[tokio::test]
async fn the_rules_of_http1_hold_inside_tls() {
    let (gateway, origin, authority) = serving(&[]).await;
    let client = TlsClient::trusting(&authority).build();
    let ambiguous = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let mut stream = client.stream(gateway.address(), "localhost").await.unwrap();
    stream.write_all(ambiguous).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
    // HTTP/2 is what was agreed on, not what the first bytes look like.
    let mut stream = client.stream(gateway.address(), "localhost").await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    assert_eq!(origin.count(), 0);
}

/// Reads until the peer closes, in whatever way.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut answer = Vec::new();
    wait::within("the end of a connection", stream.read_to_end(&mut answer)).await.ok();
    answer
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed_in_time_and_holds_up_nobody() {
    let (origin, authority) = (Origin::text("ok").await, Authority::new("Test"));
    let mut config = config(&origin, &json!({ "certificates": pairs(&["a"]) }));
    config["limits"] = json!({ "workers": 1, "header_timeout": "2s" });
    let site = Site::new(&config).script();
    put(&site, "a", &authority.issue(&["localhost"]));
    let gateway = site.start().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::connect(gateway.address()).await;
        // The beginning of a record.
        raw.write([22, 3, 1]).await;
        silent.push(raw);
    }
    let client = TlsClient::trusting(&authority).build();
    for _ in 0..5 {
        client.get(gateway.address(), "localhost").await.unwrap().expect(200);
    }
    for mut raw in silent {
        assert!(raw.rest().await.is_empty());
    }
    counted(&gateway, "timeout", 20.0).await;
    // After the handshake the head has its own time.
    let mut stream = client.stream(gateway.address(), "localhost").await.unwrap();
    assert!(rest(&mut stream).await.is_empty());
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_cut_off() {
    let (large, authority) = ("x".repeat(1024), Authority::new("Test"));
    // More than sockets and TLS hold on the way.
    let origin = Origin::start(move |_| std::future::ready(answer(200, large.repeat(32 * 1024)))).await;
    let mut config = config(&origin, &json!({ "certificates": pairs(&["a"]) }));
    config["limits"] = json!({ "idle_timeout": "1s" });
    let site = Site::new(&config).script();
    put(&site, "a", &authority.issue(&["localhost"]));
    let gateway = site.start().await;
    let client = TlsClient::trusting(&authority).build();
    let mut stream = client.stream(gateway.address(), "localhost").await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    origin.wait_for(1).await;
    wait::eventually("the connection is closed", || async {
        gateway.metric("sluicegate_connections", &[]).await < 0.5
    })
    .await;
}

#[tokio::test]
async fn a_session_is_resumed_also_after_a_reload_that_leaves_the_listener_as_it_is() {
    let (gateway, origin, authority) = serving(&[]).await;
    for version in [&TLS12, &TLS13] {
        let client = TlsClient::trusting(&authority).version(version).build();
        assert!(!resumed(&client, &gateway).await);
        assert!(resumed(&client, &gateway).await);
        let mut other = config(&origin, &json!({ "certificates": pairs(&["a"]) }));
        other["routes"][0]["timeout"] = json!(if std::ptr::eq(version, &TLS12) { "20s" } else { "21s" });
        gateway.reload(&other).await;
        assert!(resumed(&client, &gateway).await);
        // Another certificate is another listener to its clients.
        let before = gateway.generation().await;
        put(gateway.site(), "a", &authority.issue(&["localhost"]));
        gateway.next_generation(before).await;
        wait::eventually("no session is resumed", || async { !resumed(&client, &gateway).await }).await;
    }
}

async fn resumed(client: &TlsClient, gateway: &Gateway) -> bool {
    let mut secure = client.open(gateway.address(), "localhost").await.unwrap();
    // Sessions of TLS 1.3 are handed out after the handshake.
    secure.connection.get("/").await.expect(200);
    secure.resumed
}

#[tokio::test]
async fn a_shutdown_ends_idle_connections_and_unfinished_handshakes() {
    let (mut gateway, _origin, authority) = serving(&[]).await;
    let mut held = Vec::new();
    for alpn in [&[][..], &["h2"]] {
        let client = TlsClient::trusting(&authority).alpn(alpn).build();
        let mut secure = client.open(gateway.address(), "localhost").await.unwrap();
        secure.connection.get("/").await.expect(200);
        held.push(secure);
    }
    let mut unused = TlsClient::trusting(&authority).build().stream(gateway.address(), "localhost").await.unwrap();
    let mut silent = Raw::connect(gateway.address()).await;
    silent.write([22, 3, 1]).await;
    process::signal(gateway.pid(), "TERM");
    assert!(silent.rest().await.is_empty());
    assert!(rest(&mut unused).await.is_empty());
    wait::eventually("idle connections are closed", || {
        std::future::ready(held.iter().all(|secure| secure.connection.is_closed()))
    })
    .await;
    let ended = tokio::time::timeout(Duration::from_secs(20), gateway.ended()).await;
    assert_eq!(ended.unwrap().code(), Some(0));
}
