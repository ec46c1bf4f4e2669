//! Connections to targets: how many there are, who waits for them, and when they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::client::Call;
use sluicegate_tests::wait::eventually;
use sluicegate_tests::{Gateway, RawOrigin, Site};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// An origin that answers each request when it is let, and counts.
struct Origin {
    raw: RawOrigin,
    gate: Arc<Semaphore>,
    /// Connections ever made, open ones, requests under way, and the most of both that there were.
    made: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    waiting: Arc<AtomicUsize>,
}

async fn origin() -> Origin {
    let gate = Arc::new(Semaphore::new(0));
    let (made, most, waiting) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let open = Arc::<AtomicUsize>::default();
    let shared = (Arc::clone(&gate), Arc::clone(&made), Arc::clone(&most), Arc::clone(&waiting));
    let raw = RawOrigin::start(move |mut stream| {
        let ((gate, made, most, waiting), open) = (shared.clone(), Arc::clone(&open));
        async move {
            made.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let (mut text, mut piece) = (Vec::new(), [0; 1024]);
            while let Ok(read @ 1..) = stream.read(&mut piece).await {
                text.extend_from_slice(&piece[..read]);
                if text.ends_with(b"\r\n\r\n") {
                    text.clear();
                    waiting.fetch_add(1, Ordering::SeqCst);
                    gate.acquire().await.unwrap().forget();
                    waiting.fetch_sub(1, Ordering::SeqCst);
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.ok();
                }
            }
            open.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    Origin { raw, gate, made, most, waiting }
}

async fn gateway(targets: &[&Origin], pool: &Value) -> Gateway {
    let targets: Vec<String> = targets.iter().map(|origin| origin.raw.url()).collect();
    let config = json!({
        "limits": { "workers": 1 },
        "upstreams": { "backend": { "targets": targets, "pool": pool } },
        "routes": [{ "name": "all", "upstream": "backend" }],
    });
    Site::new(&config).start().await
}

/// A request that goes on by itself.
fn begin(gateway: &Gateway) -> JoinHandle<u16> {
    let call = Call::new(gateway.address(), Method::GET, "/");
    tokio::spawn(async move { call.send().await.status.as_u16() })
}

#[tokio::test]
async fn requests_wait_for_one_of_the_connections_that_there_may_be() {
    let origin = origin().await;
    let gateway = gateway(&[&origin], &json!({ "connections": 2 })).await;
    let calls: Vec<_> = (0..10).map(|_| begin(&gateway)).collect();
    eventually("two requests have got through", || async { origin.waiting.load(Ordering::SeqCst) == 2 }).await;
    origin.gate.add_permits(10);
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(origin.most.load(Ordering::SeqCst), 2, "connections at a time");
    assert_eq!(origin.made.load(Ordering::SeqCst), 2, "they are used again");
}

#[tokio::test]
async fn more_requests_than_may_wait_are_answered_503_at_once() {
    let origin = origin().await;
    let gateway = gateway(&[&origin], &json!({ "connections": 1, "pending": 0 })).await;
    let first = begin(&gateway);
    eventually("a request is under way", || async { origin.waiting.load(Ordering::SeqCst) == 1 }).await;
    assert_eq!(gateway.get("/").await.status, 503);
    assert_eq!(gateway.metric("sluicegate_replies_total", &[("reason", "overloaded")]).await, 1.0);
    origin.gate.add_permits(2);
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(gateway.get("/").await.status, 200, "the connection is free again");
}

#[tokio::test]
async fn another_target_takes_what_one_has_no_connection_for() {
    let (busy, free) = (origin().await, origin().await);
    let gateway = gateway(&[&busy, &free], &json!({ "connections": 1, "pending": 0 })).await;
    let calls: Vec<_> = (0..2).map(|_| begin(&gateway)).collect();
    let under_way = || busy.waiting.load(Ordering::SeqCst) + free.waiting.load(Ordering::SeqCst);
    eventually("each has one", || async { under_way() == 2 }).await;
    free.gate.add_permits(5);
    eventually("one is free", || async { free.waiting.load(Ordering::SeqCst) == 0 }).await;
    // Whosever turn it is, only one of them can.
    for _ in 0..4 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    busy.gate.add_permits(1);
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_to_the_next() {
    let origin = origin().await;
    let gateway = gateway(&[&origin], &json!({ "connections": 1 })).await;
    let first = begin(&gateway);
    eventually("a request is under way", || async { origin.waiting.load(Ordering::SeqCst) == 1 }).await;
    first.abort();
    origin.gate.add_permits(2);
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test]
async fn connections_are_not_used_beyond_their_lifetime() {
    let origin = origin().await;
    origin.gate.add_permits(100);
    let gateway = gateway(&[&origin], &json!({ "lifetime": "20ms" })).await;
    eventually("a connection was too old for another request", || async {
        assert_eq!(gateway.get("/").await.status, 200);
        origin.made.load(Ordering::SeqCst) > 2
    })
    .await;
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_there_may_be() {
    let origin = origin().await;
    let gateway = gateway(&[&origin], &json!({ "idle": 0 })).await;
    origin.gate.add_permits(3);
    for _ in 0..3 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!(origin.made.load(Ordering::SeqCst), 3, "none is kept");
}
