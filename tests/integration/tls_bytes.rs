//! What is no HTTP over TLS: connections that switch protocols, and those of TCP listeners.

use serde_json::json;
use sluicegate_tests::origin::RawOrigin;
use sluicegate_tests::tls::{Authority, TlsClient};
use sluicegate_tests::wait::eventually;
use sluicegate_tests::{Gateway, Site, one_route, one_tcp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::tls::{pairs, put};

/// A gateway with a certificate for `localhost` on its only listener.
async fn secured(mut config: serde_json::Value, authority: &Authority) -> Gateway {
    config["listeners"][0]["tls"] = json!({ "certificates": pairs(&["a"]) });
    let site = Site::new(&config).script().tcp_script();
    put(&site, "a", &authority.issue(&["localhost"]));
    site.start().await
}

async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &str, end: &str) -> String {
    stream.write_all(bytes.as_bytes()).await.expect("the gateway takes it");
    let mut seen = Vec::new();
    while !seen.ends_with(end.as_bytes()) {
        seen.push(stream.read_u8().await.expect("it is answered"));
    }
    String::from_utf8(seen).expect("text")
}

#[tokio::test]
async fn a_websocket_over_tls_carries_bytes_both_ways() {
    let origin = RawOrigin::start(|mut stream| async move {
        let granted = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head comes"));
        }
        stream.write_all(granted.as_bytes()).await.ok();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.ok();
    })
    .await;
    let authority = Authority::new("Test");
    let mut config = one_route(&origin.url(), &json!([{ "use": "script" }]));
    config["listeners"] = json!([{ "address": "127.0.0.1:0" }]);
    let gateway = secured(config, &authority).await;
    let client = TlsClient::trusting(&authority).alpn(&["http/1.1"]).build();
    let mut stream = client.stream(gateway.address(), "localhost").await.expect("TLS is established");
    let asking = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let answer = ask(&mut stream, asking, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert_eq!(ask(&mut stream, "hello", "hello").await, "hello");
    stream.shutdown().await.expect("the end is sent");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("a proper end");
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_tcp_listener_may_have_tls_and_its_filters_see_the_bytes_within() {
    let origin = RawOrigin::echo().await;
    let authority = Authority::new("Test");
    let script = json!([{ "use": "tcp", "config": { "trace": true } }]);
    let gateway = secured(one_tcp(&origin.tcp_url(), &script), &authority).await;
    for alpn in [&[][..], &["postgresql"][..]] {
        let client = TlsClient::trusting(&authority).alpn(alpn).build();
        let mut stream = client.stream(gateway.address(), "localhost").await.expect("TLS is established");
        assert_eq!(ask(&mut stream, "hello", "hello").await, "hello");
        stream.shutdown().await.expect("the end is sent");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("a proper end");
        assert!(rest.is_empty());
    }
    // What is no TLS is counted as on other listeners.
    let mut plain = sluicegate_tests::raw::Raw::connect(gateway.address()).await;
    plain.write("hello, this is no TLS at all\r\n\r\n").await;
    plain.rest().await;
    let reason = [("reason", "not_tls")];
    eventually("it is counted", || async {
        gateway.metric("sluicegate_tls_handshake_failures_total", &reason).await >= 1.0
    })
    .await;
}
