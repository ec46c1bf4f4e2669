//! How TCP connections end: by filters, by peers that break off, by limits, and with the gateway.

use serde_json::{Value, json};
use sluicegate_tests::tcp::Tcp;
use sluicegate_tests::{Gateway, RawOrigin, Site, one_tcp, process, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn tcp(script: &Value) -> Value {
    json!({ "use": "tcp", "config": script })
}

async fn start(config: &Value) -> Gateway {
    Site::new(config).tcp_script().start().await
}

/// Waits until so many connections have ended for that reason, and nothing is open.
async fn ended(gateway: &Gateway, reason: &str, count: f64) {
    wait::eventually(reason, || async {
        gateway.metric("sluicegate_tcp_connections_closed_total", &[("reason", reason)]).await >= count
            && gateway.metric("sluicegate_tcp_connections", &[]).await == 0.0
            && gateway.metric("sluicegate_connections", &[]).await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_filter_refuses_a_connection_before_an_upstream_is_connected() {
    let (sender, mut seen) = tokio::sync::mpsc::channel(4);
    let origin = RawOrigin::start(move |_| {
        let sender = sender.clone();
        async move { sender.send(()).await.unwrap() }
    })
    .await;
    let filters = [
        json!([tcp(&json!({ "trace": true, "new_connection": ["close"] })), tcp(&json!({ "trace": true }))]),
        json!([tcp(&json!({ "trace": true, "new_connection": ["close", "pause"] }))]),
    ];
    for filters in filters {
        let gateway = start(&one_tcp(&origin.tcp_url(), &filters)).await;
        assert_eq!(Tcp::to(&gateway).await.rest().await, (String::new(), true));
        ended(&gateway, "filter", 1.0).await;
        gateway.wait_for_log("saw downstream_close local").await;
        gateway.wait_for_log("saw delete").await;
        // The second filter has not heard of it.
        assert_eq!(gateway.log.count("saw delete"), 1);
        assert_eq!(gateway.log.count("saw upstream_close"), 0);
        gateway.wait_for_log("closed the connection").await;
    }
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn nothing_goes_on_once_a_filter_has_closed_the_connection() {
    let (sender, mut heard) = tokio::sync::mpsc::channel(1);
    let origin = RawOrigin::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            stream.write_all(b"secret").await.unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.ok();
            sender.send(bytes).await.unwrap();
        }
    })
    .await;
    let script = json!({ "upstream": [{ "when": ["secret", ["close"]] }] });
    let gateway = start(&one_tcp(&origin.tcp_url(), &json!([tcp(&script)]))).await;
    let mut client = Tcp::to(&gateway).await;
    assert_eq!(client.rest().await, (String::new(), true));
    drop(client);
    assert!(heard.recv().await.unwrap().is_empty());
    ended(&gateway, "filter", 1.0).await;

    let script = json!({ "upstream": [{ "cut": 100 }], "downstream": [{ "when": ["attack", ["close"]] }] });
    let gateway = start(&one_tcp(&origin.tcp_url(), &json!([tcp(&script)]))).await;
    let mut client = Tcp::to(&gateway).await;
    client.write("attack").await;
    assert_eq!(client.rest().await, (String::new(), true));
    drop(client);
    assert!(heard.recv().await.unwrap().is_empty());
    ended(&gateway, "filter", 1.0).await;
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_ends_the_connection() {
    let gone = RawOrigin::start(|_| async {}).await.tcp_url();
    let origin = RawOrigin::echo().await;
    let mut config = one_tcp(&gone, &json!([tcp(&json!({ "trace": true }))]));
    let gateway = start(&config).await;
    let (nothing, _) = Tcp::to(&gateway).await.rest().await;
    assert!(nothing.is_empty());
    ended(&gateway, "upstream_connect", 1.0).await;
    gateway.wait_for_log("saw downstream_close local").await;
    assert_eq!(gateway.log.count("saw upstream_close"), 0);
    // Another target takes it.
    config["upstreams"]["origin"]["targets"] = json!([gone, origin.tcp_url()]);
    gateway.reload(&config).await;
    for _ in 0..4 {
        assert_eq!(Tcp::to(&gateway).await.ask("hello").await, "hello");
    }
}

#[tokio::test]
async fn a_peer_that_breaks_off_is_not_taken_for_one_that_ends() {
    let (sender, mut heard) = tokio::sync::mpsc::channel(4);
    let origin = RawOrigin::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            stream.write_all(b"hello").await.unwrap();
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).await.unwrap();
            if &bytes == b"break" {
                stream.set_zero_linger().unwrap();
                return;
            }
            let mut rest = Vec::new();
            let outcome = stream.read_to_end(&mut rest).await;
            sender.send(outcome.is_err()).await.unwrap();
        }
    })
    .await;
    let gateway = start(&one_tcp(&origin.tcp_url(), &json!([tcp(&json!({ "trace": true }))]))).await;
    let mut client = Tcp::to(&gateway).await;
    client.expect("hello").await;
    client.write("break").await;
    let (_, proper) = client.rest().await;
    assert!(!proper, "the client is told that the stream is not whole");
    ended(&gateway, "upstream_gone", 1.0).await;
    gateway.wait_for_log("saw upstream_close remote").await;
    gateway.wait_for_log("saw downstream_close local").await;

    let mut client = Tcp::to(&gateway).await;
    client.expect("hello").await;
    client.write("whole").await;
    gateway.log.wait_for_count("saw downstream 5 false", 2).await;
    client.stream.set_zero_linger().unwrap();
    drop(client);
    assert!(heard.recv().await.unwrap(), "the upstream is told that the stream is not whole");
    ended(&gateway, "client_gone", 1.0).await;
    gateway.wait_for_log("saw downstream_close remote").await;
    gateway.wait_for_log("saw upstream_close local").await;
}

#[tokio::test]
async fn what_a_filter_holds_is_bounded() {
    let origin = RawOrigin::echo().await;
    for (script, bytes) in [
        (json!({ "downstream": ["pause"] }), 100_000),
        (json!({ "upstream": ["pause"] }), 100_000),
        (json!({ "downstream": [{ "grow": 1_000_000 }] }), 1),
    ] {
        let mut config = one_tcp(&origin.tcp_url(), &json!([tcp(&script)]));
        config["limits"] = json!({ "buffer_bytes": "64KiB" });
        let gateway = start(&config).await;
        let mut client = Tcp::to(&gateway).await;
        client.write(vec![b'x'; bytes]).await;
        let (_, proper) = client.rest().await;
        assert!(!proper, "{script}");
        ended(&gateway, "buffer_limit", 1.0).await;
        gateway.wait_for_log("reason=\"buffer_limit\"").await;
    }
}

#[tokio::test]
async fn a_silent_connection_is_closed_and_a_talking_one_is_not() {
    let origin = RawOrigin::echo().await;
    let mut config = one_tcp(&origin.tcp_url(), &json!([]));
    config["listeners"][0]["tcp"]["idle_timeout"] = json!("2s");
    let gateway = start(&config).await;
    let mut silent = Tcp::to(&gateway).await;
    let mut talking = Tcp::to(&gateway).await;
    let waiting = tokio::spawn(async move { silent.rest().await });
    while !waiting.is_finished() {
        talking.write("a").await;
        talking.expect("a").await;
    }
    assert!(waiting.await.unwrap().0.is_empty());
    talking.write("still here").await;
    talking.expect("still here").await;
    // A new connection that a filter holds is silent, too.
    config["listeners"][0]["tcp"]["filters"] = json!([tcp(&json!({ "new_connection": ["pause"] }))]);
    gateway.reload(&config).await;
    Tcp::to(&gateway).await.rest().await;
    drop(talking);
    ended(&gateway, "idle_timeout", 2.0).await;
}

#[tokio::test]
async fn a_gateway_that_ends_lets_connections_finish_until_its_deadline() {
    let origin = RawOrigin::echo().await;
    let filters = json!([tcp(&json!({ "trace": true, "downstream": ["uppercase"] }))]);
    let mut config = one_tcp(&origin.tcp_url(), &filters);
    let mut gateway = start(&config).await;
    let mut client = Tcp::to(&gateway).await;
    client.write("a").await;
    client.expect("A").await;
    process::signal(gateway.pid(), "TERM");
    gateway.wait_for_log("Draining").await;
    client.write("b").await;
    client.expect("B").await;
    assert!(gateway.is_running());
    assert_eq!(client.ask("c").await, "C");
    assert_eq!(gateway.ended().await.code(), Some(0));
    gateway.wait_for_log("saw delete").await;

    config["limits"] = json!({ "drain_timeout": "200ms" });
    let mut gateway = start(&config).await;
    let mut client = Tcp::to(&gateway).await;
    client.write("a").await;
    client.expect("A").await;
    process::signal(gateway.pid(), "TERM");
    let (nothing, proper) = client.rest().await;
    assert!(nothing.is_empty() && !proper, "a stream that is cut off does not look whole");
    assert_eq!(gateway.ended().await.code(), Some(0));
    gateway.wait_for_log("reason=\"drain\"").await;
    gateway.wait_for_log("saw downstream_close local").await;
    gateway.wait_for_log("saw delete").await;
}

#[tokio::test]
async fn a_client_that_leaves_while_a_filter_holds_its_new_connection_is_not_waited_for() {
    let origin = RawOrigin::echo().await;
    let filters = json!([tcp(&json!({ "trace": true, "new_connection": ["pause"] }))]);
    let gateway = start(&one_tcp(&origin.tcp_url(), &filters)).await;
    // It breaks off, it closes, and it closes after it has sent something that nobody has read.
    for (count, (bytes, breaks)) in [("", true), ("", false), ("hello", true), ("hello", false)].into_iter().enumerate()
    {
        let mut client = Tcp::to(&gateway).await;
        client.write(bytes).await;
        gateway.log.wait_for_count("saw new_connection", count + 1).await;
        if breaks {
            client.stream.set_zero_linger().unwrap();
        }
        drop(client);
        ended(&gateway, "client_gone", (count + 1) as f64).await;
    }
    gateway.log.wait_for_count("saw delete", 4).await;
    assert_eq!(gateway.log.count("saw downstream_close remote"), 4, "each connection ends once");
    assert_eq!(gateway.log.count("saw upstream_close"), 0);
}

#[tokio::test]
async fn a_client_that_has_said_all_while_a_filter_holds_its_new_connection_gets_its_answer() {
    let (origin, side) = (RawOrigin::echo().await, sluicegate_tests::Origin::text("yes").await);
    let script = json!({ "new_connection": [{ "ask": "side" }, "pause"] });
    let mut config = one_tcp(&origin.tcp_url(), &json!([{ "use": "tcp", "config": script, "upstreams": ["side"] }]));
    config["upstreams"]["side"] = json!({ "targets": [side.url()] });
    let gateway = start(&config).await;
    assert_eq!(Tcp::to(&gateway).await.ask("hello").await, "hello");
    ended(&gateway, "complete", 1.0).await;
}
