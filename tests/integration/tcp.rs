//! TCP listeners: bytes both ways, through filters that look at them, change them and hold them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sluicegate_tests::origin::answer as answer_of;
use sluicegate_tests::tcp::Tcp;
use sluicegate_tests::{Gateway, Origin, RawOrigin, Site, guests, one_route, one_tcp, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn gateway(origin: &RawOrigin, filters: &Value) -> Gateway {
    Site::new(&one_tcp(&origin.tcp_url(), filters)).tcp_script().start().await
}

/// The scripted filter with this script.
fn tcp(script: &Value) -> Value {
    json!({ "use": "tcp", "config": script })
}

#[tokio::test]
async fn bytes_go_both_ways_and_so_do_their_ends() {
    let origin = RawOrigin::echo().await;
    for target in [origin.tcp_url(), origin.url()] {
        let gateway = Site::new(&one_tcp(&target, &json!([]))).start().await;
        // The origin ends only after the client has: the answer comes through a half-closed connection.
        assert_eq!(Tcp::to(&gateway).await.ask("hello").await, "hello");
        wait::eventually("it is counted", || async {
            gateway.metric("sluicegate_tcp_connections_closed_total", &[("reason", "complete")]).await >= 1.0
        })
        .await;
        assert!(gateway.metric("sluicegate_tcp_connections_opened_total", &[]).await >= 1.0);
        for direction in ["received", "sent"] {
            assert!(gateway.metric(&format!("sluicegate_tcp_{direction}_bytes_total"), &[]).await >= 5.0);
        }
        assert!(gateway.output.all().iter().any(|line| line.starts_with("listening tcp://")));
    }
}

#[tokio::test]
async fn an_upstream_that_speaks_first_and_ends_first_is_heard() {
    let (sender, mut heard) = tokio::sync::mpsc::channel(1);
    let origin = RawOrigin::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            stream.write_all(b"welcome").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            sender.send(text).await.unwrap();
        }
    })
    .await;
    let gateway = gateway(&origin, &json!([tcp(&json!({ "trace": true }))])).await;
    let mut client = Tcp::to(&gateway).await;
    assert_eq!(client.rest().await, ("welcome".to_owned(), true));
    client.write("and after the end").await;
    client.shut().await;
    assert_eq!(heard.recv().await.unwrap(), "and after the end");
    gateway.wait_for_log("saw upstream_close remote").await;
    gateway.wait_for_log("saw downstream_close local").await;
}

#[tokio::test]
async fn filters_see_the_clients_bytes_in_order_and_the_upstreams_in_reverse() {
    let origin = RawOrigin::echo().await;
    let mark = |name: &str| {
        tcp(&json!({ "downstream": [{ "append": name }], "upstream": [{ "append": name.to_uppercase() }] }))
    };
    let gateway = gateway(&origin, &json!([mark("a"), mark("b")])).await;
    let mut client = Tcp::to(&gateway).await;
    client.write("x").await;
    client.expect("xabBA").await;
    // The end is a callback too, and what it adds goes on.
    client.shut().await;
    assert_eq!(client.rest().await, ("abBABA".to_owned(), true));
}

#[tokio::test]
async fn bytes_can_be_replaced_inserted_and_cut() {
    let origin = RawOrigin::echo().await;
    for (step, answer) in [
        (json!("uppercase"), "HELLO"),
        (json!({ "insert": "> " }), "> hello"),
        (json!({ "replace": "no" }), "no"),
        (json!({ "cut": 3 }), "lo"),
    ] {
        for way in ["downstream", "upstream"] {
            let gateway = gateway(&origin, &json!([tcp(&json!({ way: [{ "when": ["hello", [step]] }] }))])).await;
            assert_eq!(Tcp::to(&gateway).await.ask("hello").await, answer, "{step} {way}");
        }
    }
}

#[tokio::test]
async fn a_filter_waits_until_a_frame_is_whole() {
    let origin = RawOrigin::echo().await;
    let gateway = gateway(&origin, &json!([tcp(&json!({ "downstream": ["frames"] }))])).await;
    let mut client = Tcp::to(&gateway).await;
    client.write(b"\x05he").await;
    gateway.wait_for_log("frames 0 of 3").await;
    client.write("llo").await;
    gateway.wait_for_log("frames 6 of 6").await;
    client.expect("\x05hello").await;
    client.shut().await;
    assert_eq!(client.rest().await, (String::new(), true));
}

#[tokio::test]
async fn what_is_held_goes_on_when_the_filter_resumes() {
    let origin = RawOrigin::echo().await;
    for (way, callback) in [("downstream", "saw downstream 4 false"), ("upstream", "saw upstream 4 false")] {
        let script = json!({ "trace": true, "tick_ms": 10, way: [{ "when": ["wait", ["pause", "resume_later"]] }] });
        let gateway = gateway(&origin, &json!([tcp(&script)])).await;
        let mut client = Tcp::to(&gateway).await;
        client.write("wait").await;
        client.expect("wait").await;
        gateway.wait_for_log("resumes").await;
        // It was called once with them.
        assert_eq!(gateway.log.count(callback), 1);
        // An end that is held is resumed likewise.
        client.write("and wait").await;
        client.shut().await;
        assert_eq!(client.rest().await, ("and wait".to_owned(), true));
    }
}

#[tokio::test]
async fn a_new_connection_waits_until_its_filters_let_it_go_on() {
    let (sender, mut seen) = tokio::sync::mpsc::channel(4);
    let origin = RawOrigin::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            sender.send(()).await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.ok();
        }
    })
    .await;
    let held = tcp(&json!({ "trace": true, "new_connection": ["pause"] }));
    let waiting = gateway(&origin, &json!([held])).await;
    let mut client = Tcp::to(&waiting).await;
    client.write("hello").await;
    waiting.wait_for_log("saw new_connection").await;
    assert!(seen.try_recv().is_err(), "no upstream is connected yet");
    assert_eq!(waiting.log.count("saw downstream "), 0);
    for steps in [json!(["pause", "resume"]), json!(["pause", "resume_later"])] {
        let later = tcp(&json!({ "tick_ms": 10, "new_connection": steps }));
        let gateway = gateway(&origin, &json!([later, tcp(&json!({ "downstream": ["uppercase"] }))])).await;
        assert_eq!(Tcp::to(&gateway).await.ask("hello").await, "HELLO");
        seen.recv().await.unwrap();
    }
}

#[tokio::test]
async fn a_callout_decides_about_a_new_connection() {
    let origin = RawOrigin::echo().await;
    for (status, answer) in [(200, "hello"), (403, "")] {
        let judge = Origin::start(move |_| async move { answer_of(status, "") }).await;
        let mut filter = tcp(&json!({ "new_connection": ["pause", { "ask": "judge" }] }));
        filter["upstreams"] = json!(["judge"]);
        let mut config = one_tcp(&origin.tcp_url(), &json!([filter]));
        config["upstreams"]["judge"] = json!({ "targets": [judge.url()] });
        let gateway = Site::new(&config).tcp_script().start().await;
        let mut client = Tcp::to(&gateway).await;
        client.write("hello").await;
        client.shut().await;
        assert_eq!(client.rest().await.0, answer);
        assert_eq!(judge.count(), 1);
    }
}

#[tokio::test]
async fn properties_tell_of_the_connection() {
    let origin = RawOrigin::echo().await;
    let names = [
        json!(["source", "address"]),
        json!(["destination", "address"]),
        json!(["upstream", "address"]),
        json!(["cluster_name"]),
        json!(["request", "path"]),
        json!(["mine"]),
    ];
    let steps: Vec<Value> = [json!({ "set_property": ["mine", "yours"] })]
        .into_iter()
        .chain(names.map(|name| json!({ "property": name })))
        .chain([json!("ask_for_request")])
        .collect();
    let gateway = gateway(&origin, &json!([tcp(&json!({ "downstream": [{ "when": ["hello", steps] }] }))])).await;
    let mut client = Tcp::to(&gateway).await;
    let source: SocketAddr = client.stream.local_addr().unwrap();
    client.write("hello").await;
    client.expect("hello").await;
    let (target, own) = (origin.address(), gateway.address());
    for (name, value) in [("source.address", source), ("destination.address", own), ("upstream.address", target)] {
        gateway.wait_for_log(&format!("property {name} is {value}")).await;
    }
    for (name, value) in [("cluster_name", "origin"), ("mine", "yours"), ("request.path", "missing")] {
        gateway.wait_for_log(&format!("property {name} is {value}")).await;
    }
    // What is about requests is empty, and refused without harm.
    gateway.wait_for_log("asked [0, 0] None None").await;
}

#[tokio::test]
async fn a_hundred_megabytes_pass_without_being_kept() {
    let origin = RawOrigin::echo().await;
    let gateway = gateway(&origin, &json!([tcp(&json!({})), tcp(&json!({}))])).await;
    assert_eq!(Tcp::to(&gateway).await.ask("warm").await, "warm");
    let before = gateway.resident();
    let (mut read, mut write) = Tcp::to(&gateway).await.stream.into_split();
    const CHUNK: usize = 1 << 20;
    let sending = tokio::spawn(async move {
        let chunk = vec![7; CHUNK];
        for _ in 0..100 {
            write.write_all(&chunk).await.unwrap();
        }
        write.shutdown().await.unwrap();
    });
    let (mut received, mut most, mut buffer) = (0, 0, vec![0; CHUNK]);
    loop {
        let count = wait::within("more comes", read.read(&mut buffer)).await.unwrap();
        if count == 0 {
            break;
        }
        assert!(buffer[..count].iter().all(|byte| *byte == 7));
        received += count;
        most = most.max(gateway.resident());
    }
    sending.await.unwrap();
    assert_eq!(received, 100 * CHUNK);
    assert!(most - before.min(most) < 16 << 20, "{before} bytes before, {most} at most");
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_upstream() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let origin = RawOrigin::start(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            let chunk = vec![7; 1 << 16];
            while stream.write_all(&chunk).await.is_ok() {
                count.fetch_add(chunk.len(), Ordering::Relaxed);
            }
        }
    })
    .await;
    let gateway = gateway(&origin, &json!([tcp(&json!({}))])).await;
    let before = gateway.resident();
    let client = Tcp::to(&gateway).await;
    // Stopped: for a hundred looks nothing more is written.
    let (mut last, mut looks) = (0, 0);
    wait::eventually("the upstream is stopped", || {
        let now = written.load(Ordering::Relaxed);
        looks = if now == last && now > 0 { looks + 1 } else { 0 };
        last = now;
        std::future::ready(looks == 100)
    })
    .await;
    assert!(last < 256 << 20, "{last} bytes");
    assert!(gateway.resident().saturating_sub(before) < 16 << 20);
    drop(client);
}

#[tokio::test]
async fn open_connections_end_with_the_filter_that_they_began_with() {
    let origin = RawOrigin::echo().await;
    let config = |mark: &str| {
        let script = json!({ "trace": true, "downstream": [{ "append": mark }] });
        one_tcp(&origin.tcp_url(), &json!([tcp(&script)]))
    };
    let gateway = Site::new(&config("1")).tcp_script().start().await;
    let mut old = Tcp::to(&gateway).await;
    old.write("a").await;
    old.expect("a1").await;
    gateway.reload(&config("2")).await;
    let mut new = Tcp::to(&gateway).await;
    new.write("b").await;
    new.expect("b2").await;
    old.write("c").await;
    old.expect("c1").await;
    let wat = sluicegate_tests::Wat::new().doing("proxy_on_downstream_data", "");
    gateway.swap("tcp", wat.build()).await;
    old.write("d").await;
    old.expect("d1").await;
    new.write("e").await;
    new.expect("e2").await;
    assert_eq!(Tcp::to(&gateway).await.ask("f").await, "f");
    for mut client in [old, new] {
        client.shut().await;
        let (_, proper) = client.rest().await;
        assert!(proper);
    }
    gateway.log.wait_for_count("saw delete", 2).await;
}

#[tokio::test]
async fn a_connection_outlives_its_filter_only_until_the_drain_timeout() {
    let origin = RawOrigin::echo().await;
    for (on_error, goes_on) in [("closed", false), ("open", true)] {
        let config = |mark: &str| {
            let filter =
                json!({ "use": "tcp", "on_error": on_error, "config": { "downstream": [{ "append": mark }] } });
            let mut config = one_tcp(&origin.tcp_url(), &json!([filter]));
            config["limits"] = json!({ "drain_timeout": "10ms" });
            config
        };
        let gateway = Site::new(&config("1")).tcp_script().start().await;
        let mut client = Tcp::to(&gateway).await;
        client.write("a").await;
        client.expect("a1").await;
        gateway.reload(&config("2")).await;
        wait::eventually("the old instances are gone", || async {
            gateway.metric("sluicegate_filter_instances", &[]).await == 2.0
        })
        .await;
        client.write("b").await;
        if goes_on {
            client.expect("b").await;
        } else {
            assert_eq!(client.rest().await, (String::new(), false));
            gateway.wait_for_log("still in use at the end of its drain").await;
        }
    }
}

#[tokio::test]
async fn a_listener_becomes_one_for_tcp_and_back() {
    let (http, raw) = (Origin::text("requests").await, RawOrigin::echo().await);
    let listeners = json!([{ "address": "127.0.0.1:0" }]);
    let mut config = one_route(&http.url(), &json!([]));
    config["upstreams"]["raw"] = json!({ "targets": [raw.tcp_url()] });
    config["listeners"] = listeners.clone();
    let gateway = Site::new(&config).start().await;
    assert_eq!(gateway.get("/").await.expect(200).text(), "requests");
    config["listeners"][0]["tcp"] = json!({ "upstream": "raw" });
    gateway.reload(&config).await;
    assert_eq!(Tcp::to(&gateway).await.ask("bytes").await, "bytes");
    config["listeners"] = listeners;
    gateway.reload(&config).await;
    assert_eq!(gateway.get("/").await.expect(200).text(), "requests");
}

#[tokio::test]
async fn what_is_no_filter_of_connections_is_refused() {
    let config = one_tcp("tcp://127.0.0.1:1", &json!([{ "use": "log" }, { "use": "old" }]));
    let requests_only = sluicegate_tests::Wat::new().doing("proxy_on_request_headers", "");
    let output = Site::new(&config).plugin("old", requests_only.build()).check();
    assert_ne!(output.code, 0);
    for name in ["log", "old"] {
        let message = format!("plugin \"{name}\" is no filter for TCP: it has no callback for connections");
        assert!(output.text().contains(&message), "{}", output.text());
    }
    // The scripted filter is one, for people too.
    let report = Site::empty().tcp_script().run(&["plugins", "inspect", "plugins/tcp.wasm"]);
    assert!(report.stdout.contains("downstream_data"), "{}", report.stdout);
    drop(guests::tcp_script());
}
