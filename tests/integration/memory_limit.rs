//! A gateway that has as much memory as it may have refuses what is new, finishes what runs, and recovers.

use serde_json::{Value, json};
use sluicegate_tests::raw::Raw;
use sluicegate_tests::tcp::Tcp;
use sluicegate_tests::wait::eventually;
use sluicegate_tests::{Connection, Gateway, Origin, RawOrigin, Site, one_route, one_tcp, wait};

const MIB: usize = 1 << 20;
/// Clients whose bodies a filter holds, and bytes of each.
const BODIES: usize = 24;
const BODY: usize = 6 * MIB;
/// What the gateway may grow by: less than the bodies need.
const ROOM: u64 = 80 * MIB as u64;

/// Bodies are held until they are whole.
fn config(origin: &Origin, memory: &Value) -> Value {
    let script = json!({ "request_body": [{ "before_end": ["pause"] }] });
    let mut config = one_route(&origin.url(), &json!([{ "use": "script", "config": script }]));
    config["routes"][0]["timeout"] = json!("0s");
    config["limits"] = json!({ "memory": memory, "buffer_bytes": "8MiB" });
    config
}

/// A gateway whose limit is a little above what it needs, and what that limit is.
async fn limited(origin: &Origin) -> Gateway {
    let gateway = Site::new(&config(origin, &json!(false))).script().start().await;
    gateway.post("/", "warm").await.expect(200);
    assert_eq!(gateway.metric("sluicegate_memory_limit_bytes", &[]).await, 0.0);
    gateway.reload(&config(origin, &json!(gateway.resident() + ROOM))).await;
    wait::eventually("the limit is looked at", || async {
        gateway.metric("sluicegate_memory_limit_bytes", &[]).await > 0.0
    })
    .await;
    gateway
}

async fn is_overloaded(gateway: &Gateway) -> bool {
    gateway.metric("sluicegate_overloaded", &[]).await == 1.0
}

/// Clients whose bodies are there but for the last byte.
async fn hold(gateway: &Gateway) -> Vec<Raw> {
    let mut clients = Vec::new();
    for _ in 0..BODIES {
        let mut client = Raw::connect(gateway.address()).await;
        client.write(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", BODY + 1)).await;
        clients.push(client);
    }
    // A piece of each in turn, so that all requests run before there is too much.
    for _ in 0..BODY / MIB {
        for client in &mut clients {
            client.write(vec![b'x'; MIB]).await;
        }
    }
    clients
}

#[tokio::test]
async fn over_its_memory_limit_new_requests_are_refused_and_what_runs_is_finished() {
    let origin = Origin::text("ok").await;
    let gateway = limited(&origin).await;
    let mut kept = Raw::connect(gateway.address()).await;
    kept.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(kept.response().await.status, 200);
    let mut clients = hold(&gateway).await;
    eventually("the limit is passed", || is_overloaded(&gateway)).await;

    assert!(kept.rest().await.is_empty(), "an idle connection is closed");
    let before = origin.count();
    let refused = gateway.get("/").await.expect(503);
    assert_eq!((refused.header("retry-after"), refused.header("connection")), ("1".into(), "close".into()));
    assert!(refused.has("x-request-id") && !refused.text().contains("memory"), "{refused:?}");
    let mut connection = Connection::http2(gateway.address()).await.unwrap();
    connection.get("/").await.expect(503);
    assert_eq!(origin.count(), before);
    assert!(gateway.metric("sluicegate_replies_total", &[("reason", "memory_limit")]).await >= 2.0);
    gateway.admin_get("/livez").await.expect(200);
    let reasons = gateway.admin_get("/readyz").await.expect(503).json()["reasons"].to_string();
    assert!(reasons.contains("memory: "), "{reasons}");
    gateway.wait_for_log("Memory limit passed").await;

    for client in &mut clients {
        client.write("x").await;
    }
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200, "what runs is finished");
    }
    drop(clients);
    eventually("requests are served again", || async { !is_overloaded(&gateway).await }).await;
    gateway.get("/").await.expect(200);
    gateway.admin_get("/readyz").await.expect(200);
    gateway.wait_for_log("Memory is below its limit again").await;
}

#[tokio::test]
async fn the_gateway_recovers_from_its_memory_limit_again_and_again() {
    let origin = Origin::text("ok").await;
    let gateway = limited(&origin).await;
    for round in 1..=3 {
        let clients = hold(&gateway).await;
        eventually("the limit is passed", || is_overloaded(&gateway)).await;
        gateway.get("/").await.expect(503);
        // Clients that leave give back what they held.
        drop(clients);
        eventually("requests are served again", || async { !is_overloaded(&gateway).await }).await;
        gateway.get("/").await.expect(200);
        assert_eq!(gateway.log.count("Memory limit passed"), round);
    }
}

#[tokio::test]
async fn over_the_memory_limit_new_tcp_connections_are_closed_and_open_ones_go_on() {
    let origin = RawOrigin::echo().await;
    let mut config = one_tcp(&origin.tcp_url(), &json!([]));
    let gateway = Site::new(&config).start().await;
    let mut open = Tcp::to(&gateway).await;
    open.write("a").await;
    open.expect("a").await;
    config["limits"] = json!({ "memory": "1MiB" });
    gateway.reload(&config).await;
    eventually("the limit is passed", || is_overloaded(&gateway)).await;
    assert_eq!(Tcp::to(&gateway).await.rest().await.0, "");
    assert_eq!(gateway.metric("sluicegate_tcp_connections_closed_total", &[("reason", "memory_limit")]).await, 1.0);
    open.write("b").await;
    open.expect("b").await;
    // A limit that is lifted is not looked at any more.
    config["limits"] = json!({ "memory": false });
    gateway.reload(&config).await;
    eventually("connections are taken on", || async { !is_overloaded(&gateway).await }).await;
    assert_eq!(Tcp::to(&gateway).await.ask("c").await, "c");
}
