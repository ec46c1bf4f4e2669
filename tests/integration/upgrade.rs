//! Connections that switch to another protocol, as WebSockets do: heads pass the filters, bytes pass both ways until somebody ends it.

use std::sync::Arc;

use serde_json::{Value, json};
use sluicegate_tests::origin::RawOrigin;
use sluicegate_tests::raw::Raw;
use sluicegate_tests::{Gateway, Site, one_route, process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: yes\r\nServer: origin\r\n\r\n";
const ASKING: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: key\r\n\r\n";

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).to_ascii_lowercase()
}

/// An origin that grants what it is asked for, tells the head that it got in one line, and repeats whatever comes.
async fn repeating() -> RawOrigin {
    RawOrigin::start(|mut stream| async move {
        let head = head(&mut stream).await;
        stream.write_all(GRANTED.as_bytes()).await.ok();
        stream.write_all(format!("{}\n", head.replace("\r\n", "|")).as_bytes()).await.ok();
        let mut piece = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            stream.write_all(&piece[..read]).await.ok();
        }
        stream.write_all(b"bye").await.ok();
    })
    .await
}

async fn gateway(origin: &RawOrigin, filters: &Value, limits: &Value) -> Gateway {
    let mut config = one_route(&origin.url(), filters);
    config["limits"] = limits.clone();
    Site::new(&config).script().start().await
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_side_may_end_its_own() {
    let origin = repeating().await;
    for filters in [json!([]), json!([{ "use": "log" }])] {
        let gateway = gateway(&origin, &filters, &json!({})).await;
        let mut client = Raw::connect(gateway.address()).await;
        client.write(ASKING).await;
        let answer = client.response().await;
        assert_eq!(answer.status, 101, "{}", answer.head);
        for line in ["connection: upgrade", "upgrade: websocket", "sec-websocket-accept: yes", "via: 1.1 sluicegate"] {
            assert!(answer.has_line(line), "{line} in {}", answer.head);
        }
        let seen = String::from_utf8(client.take_until(b"\n").await).expect("text");
        for field in
            ["|connection: upgrade|", "|upgrade: websocket|", "|sec-websocket-key: key|", "|via: 1.1 sluicegate|"]
        {
            assert!(seen.contains(field), "{field} in {seen}");
        }
        for text in ["hello", "GET / HTTP/1.1\r\nbroken\n\n\0", "and on"] {
            client.write(text).await;
            assert_eq!(client.take(text.len()).await, text.as_bytes());
        }
        client.shut().await;
        assert_eq!(client.rest().await, b"bye");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn filters_decide_about_the_heads_and_the_record_counts_the_bytes() {
    let origin = repeating().await;
    let script = json!({
        "request_headers": [
            { "when": ["refuse", [{ "reply": { "status": 401, "body": "no" } }]] },
            { "set": ["request", "x-protocol", { "header": ["request", "upgrade"] }] },
            { "set": ["request", "upgrade", "h2c"] },
        ],
        "response_headers": [
            { "set": ["response", "x-status", { "header": ["response", ":status"] }] },
            { "remove": ["response", "server"] },
        ],
    });
    let template = "{status} {request_size} {response_size}";
    let filters = json!([{ "use": "log", "config": { "template": template } }, { "use": "script", "config": script }]);
    let gateway = gateway(&origin, &filters, &json!({})).await;
    let mut refused = Raw::connect(gateway.address()).await;
    refused.write(ASKING.replace("\r\n\r\n", "\r\nx-do: refuse\r\n\r\n")).await;
    assert_eq!(refused.response().await.status, 401);
    let mut client = Raw::connect(gateway.address()).await;
    client.write(ASKING).await;
    let answer = client.response().await;
    assert!(
        answer.has_line("x-status: 101") && !answer.head.to_ascii_lowercase().contains("server:"),
        "{}",
        answer.head
    );
    let seen = String::from_utf8(client.take_until(b"\n").await).expect("text");
    assert!(seen.contains("|x-protocol: websocket|") && seen.contains("|upgrade: websocket|"), "{seen}");
    client.write("hello").await;
    client.take(5).await;
    client.shut().await;
    assert_eq!(client.rest().await, b"bye");
    gateway.output.wait_for(&format!("101 5 {}", seen.len() + 8)).await;
}

#[tokio::test]
async fn only_what_the_route_offers_is_asked_for_and_only_that_is_believed() {
    let unasked = RawOrigin::saying(GRANTED).await;
    let gateway = gateway(&unasked, &json!([]), &json!({})).await;
    let variants = [
        ASKING.replace("Upgrade: websocket", "Upgrade: h2c"),
        ASKING.replace("Upgrade: websocket", "Upgrade: websocket, h2c"),
        ASKING.replace("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: h2c"),
        ASKING.replace("Connection: keep-alive, Upgrade", "Connection: keep-alive"),
        ASKING.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"),
    ];
    for request in variants {
        let mut client = Raw::connect(gateway.address()).await;
        client.write(&request).await;
        assert_eq!(client.response().await.status, 502, "a 101 that was not asked for: {request}");
    }
    gateway.stop().await;
    let other = RawOrigin::saying(GRANTED.replace("Upgrade: WebSocket", "Upgrade: other")).await;
    let gateway = self::gateway(&other, &json!([]), &json!({})).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.write(ASKING).await;
    assert_eq!(client.response().await.status, 502, "a 101 for another protocol");
}

#[tokio::test]
async fn an_upstream_may_refuse_to_switch() {
    let origin = RawOrigin::saying("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    for filters in [json!([]), json!([{ "use": "script" }])] {
        let gateway = gateway(&origin, &filters, &json!({})).await;
        let mut client = Raw::connect(gateway.address()).await;
        client.write(ASKING).await;
        let answer = client.response().await;
        assert_eq!((answer.status, answer.body.as_slice()), (403, &b"no"[..]));
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_connection_through_which_nothing_flows_is_ended() {
    let origin = repeating().await;
    let gateway = gateway(&origin, &json!([]), &json!({ "tunnel_timeout": "200ms" })).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.write(ASKING).await;
    assert_eq!(client.response().await.status, 101);
    client.take_until(b"\n").await;
    assert!(client.rest().await.is_empty(), "it is closed");
    gateway.wait_for_log("tunnel_idle").await;
}

#[tokio::test]
async fn swaps_leave_it_alone_and_a_shutdown_waits_for_it_as_long_as_for_all_else() {
    let origin = repeating().await;
    let mut gateway = gateway(&origin, &json!([{ "use": "script" }]), &json!({ "drain_timeout": "2s" })).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.write(ASKING).await;
    assert_eq!(client.response().await.status, 101);
    client.take_until(b"\n").await;
    let mut config = one_route(&origin.url(), &json!([{ "use": "script", "config": { "trace": true } }]));
    config["limits"] = json!({ "drain_timeout": "2s" });
    gateway.reload(&config).await;
    client.write("after a reload").await;
    assert_eq!(client.take(14).await, b"after a reload");
    process::signal(gateway.pid(), "TERM");
    gateway.wait_for_log("Draining").await;
    client.write("while draining").await;
    assert_eq!(client.take(14).await, b"while draining");
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert!(client.rest().await.is_empty(), "closed at the drain timeout");
}

#[tokio::test]
async fn an_upstream_that_has_said_its_last_word_still_hears_the_client() {
    let (sender, mut heard) = tokio::sync::mpsc::channel(1);
    let origin = RawOrigin::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            head(&mut stream).await;
            stream.write_all(GRANTED.as_bytes()).await.ok();
            stream.write_all(b"bye").await.ok();
            stream.shutdown().await.ok();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.ok();
            sender.send(all).await.ok();
        }
    })
    .await;
    let gateway = gateway(&origin, &json!([]), &json!({})).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.write(ASKING).await;
    assert_eq!(client.response().await.status, 101);
    assert_eq!(client.rest().await, b"bye");
    let messages: String = (0..500).map(|number| format!("{number:07}\n")).collect();
    for message in messages.as_bytes().chunks(8) {
        client.write(message).await;
    }
    client.shut().await;
    let all = sluicegate_tests::wait::within("the upstream hears it", heard.recv()).await.expect("it was told");
    assert_eq!(String::from_utf8_lossy(&all), messages);
}

#[tokio::test]
async fn a_client_that_breaks_off_ends_the_tunnel_on_both_sides() {
    let (sender, mut ended) = tokio::sync::mpsc::channel(1);
    let origin = RawOrigin::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            head(&mut stream).await;
            stream.write_all(GRANTED.as_bytes()).await.ok();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.ok();
            sender.send(()).await.ok();
            // It would go on for ever.
            std::future::pending::<()>().await;
        }
    })
    .await;
    let gateway = gateway(&origin, &json!([]), &json!({})).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.write(ASKING).await;
    assert_eq!(client.response().await.status, 101);
    client.socket().set_zero_linger().expect("a socket can be reset");
    drop(client);
    sluicegate_tests::wait::within("the upstream is told", ended.recv()).await;
    sluicegate_tests::wait::eventually("the connection is over", || async {
        gateway.metric("sluicegate_http_server_active_requests", &[("route", "all")]).await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_counts_as_a_request_under_way() {
    let origin = repeating().await;
    let mut config = one_route(&origin.url(), &json!([]));
    config["upstreams"]["origin"]["max_requests"] = json!(1);
    let gateway = Site::new(&config).start().await;
    let mut first = Raw::connect(gateway.address()).await;
    first.write(ASKING).await;
    assert_eq!(first.response().await.status, 101);
    let mut second = Raw::connect(gateway.address()).await;
    second.write(ASKING).await;
    assert_eq!(second.response().await.status, 503);
}

#[tokio::test]
async fn a_tunnel_that_is_granted_during_a_drain_is_one() {
    let release = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&release);
    let origin = RawOrigin::start(move |mut stream| {
        let gate = Arc::clone(&gate);
        async move {
            head(&mut stream).await;
            drop(gate.acquire().await);
            stream.write_all(GRANTED.as_bytes()).await.ok();
            let mut piece = [0; 1024];
            while let Ok(read @ 1..) = stream.read(&mut piece).await {
                stream.write_all(&piece[..read]).await.ok();
            }
            stream.write_all(b"bye").await.ok();
        }
    })
    .await;
    for filters in [json!([]), json!([{ "use": "script" }])] {
        let mut gateway = gateway(&origin, &filters, &json!({ "drain_timeout": "30s" })).await;
        let mut client = Raw::connect(gateway.address()).await;
        client.write(format!("{ASKING}early")).await;
        sluicegate_tests::wait::eventually("the request is under way", || async {
            gateway.metric("sluicegate_http_server_active_requests", &[("route", "all")]).await == 1.0
        })
        .await;
        process::signal(gateway.pid(), "TERM");
        gateway.wait_for_log("Draining").await;
        release.add_permits(1);
        let answer = client.response().await;
        assert_eq!(answer.status, 101, "{}", answer.head);
        assert!(answer.has_line("connection: upgrade"), "{}", answer.head);
        client.write("and late").await;
        assert_eq!(client.take(13).await, b"earlyand late");
        client.shut().await;
        assert_eq!(client.rest().await, b"bye");
        assert_eq!(gateway.ended().await.code(), Some(0), "nothing is waited for any more");
        release.forget_permits(1);
    }
}
