//! SIGTERM: what runs is finished, what is new is refused, and the gateway ends with 0.

use std::sync::Arc;

use http::Method;
use serde_json::json;
use sluicegate_tests::origin::answer;
use sluicegate_tests::raw::Raw;
use sluicegate_tests::{Connection, Gateway, Origin, Site, one_route, process, wait};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// An origin that answers `/slow` only when it is told to.
async fn slow_origin() -> (Origin, Arc<Notify>) {
    let release = Arc::new(Notify::new());
    let gate = Arc::clone(&release);
    let origin = Origin::start(move |seen| {
        let gate = Arc::clone(&gate);
        async move {
            if seen.target == "/slow" {
                gate.notified().await;
            }
            answer(200, "done")
        }
    })
    .await;
    (origin, release)
}

async fn gateway(origin: &Origin, drain: &str) -> Gateway {
    let mut config = one_route(&origin.url(), &json!([{ "use": "script", "config": { "trace": true } }]));
    config["limits"] = json!({ "drain_timeout": drain });
    Site::new(&config).script().start().await
}

async fn refuses(gateway: &Gateway) {
    let address = gateway.address();
    wait::eventually("new connections are refused", || async move { TcpStream::connect(address).await.is_err() }).await;
}

#[tokio::test]
async fn what_runs_is_finished_and_what_is_idle_is_closed() {
    let (origin, release) = slow_origin().await;
    let mut gateway = gateway(&origin, "30s").await;
    let mut idle = Raw::connect(gateway.address()).await;
    idle.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(idle.response().await.status, 200);
    let http1 = tokio::spawn(gateway.request(Method::GET, "/slow").send());
    let http2 = tokio::spawn(gateway.request(Method::GET, "/slow").http2().send());
    origin.wait_for(3).await;
    process::signal(gateway.pid(), "TERM");
    refuses(&gateway).await;
    assert!(idle.rest().await.is_empty(), "an idle connection is closed");
    assert!(gateway.is_running(), "it waits for what runs");
    release.notify_waiters();
    release.notify_one();
    for call in [http1, http2] {
        assert_eq!(call.await.unwrap().expect(200).text(), "done");
    }
    assert_eq!(gateway.ended().await.code(), Some(0));
    // Every stream's filters have ended.
    gateway.log.wait_for_count("saw delete", 3).await;
}

#[tokio::test]
async fn an_idle_gateway_ends_at_once_with_0() {
    let (origin, _release) = slow_origin().await;
    let gateway = gateway(&origin, "30s").await;
    let kept = Connection::http2(gateway.address()).await.unwrap();
    gateway.get("/").await.expect(200);
    gateway.stop().await;
    drop(kept);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (origin, _release) = slow_origin().await;
    let mut gateway = gateway(&origin, "10m").await;
    let call = tokio::spawn(gateway.request(Method::GET, "/slow").try_send());
    origin.wait_for(1).await;
    process::signal(gateway.pid(), "TERM");
    refuses(&gateway).await;
    process::signal(gateway.pid(), "TERM");
    gateway.ended().await;
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn draining_has_an_end() {
    let (origin, _release) = slow_origin().await;
    let mut gateway = gateway(&origin, "200ms").await;
    let call = tokio::spawn(gateway.request(Method::GET, "/slow").try_send());
    origin.wait_for(1).await;
    process::signal(gateway.pid(), "TERM");
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert!(call.await.unwrap().is_err() || origin.count() == 1);
}

#[tokio::test]
async fn a_looping_filter_does_not_hold_it_up() {
    let origin = Origin::text("ok").await;
    let filter = json!({ "use": "script", "config": { "request_headers": [{ "log": "about to loop" }, "loop"] }, "deadline": "1s" });
    let gateway = Site::new(&one_route(&origin.url(), &json!([filter]))).script().start().await;
    let call = tokio::spawn(gateway.request(Method::GET, "/").try_send());
    gateway.wait_for_log("about to loop").await;
    gateway.stop().await;
    call.await.unwrap().ok();
}

#[tokio::test]
async fn ctrl_c_is_the_same_as_term() {
    let (origin, _release) = slow_origin().await;
    let mut gateway = gateway(&origin, "30s").await;
    process::signal(gateway.pid(), "INT");
    assert_eq!(gateway.ended().await.code(), Some(0));
}

/// A gateway that is about to end, but for ten minutes is not.
async fn leaving(origin: &Origin) -> Gateway {
    let mut config = one_route(&origin.url(), &json!([]));
    config["limits"] = json!({ "drain_delay": "10m", "workers": 1 });
    config["admin"] = json!({ "address": "127.0.0.1:0" });
    Site::new(&config).start().await
}

#[tokio::test]
async fn before_the_drain_it_still_serves_and_tells_clients_to_go_elsewhere() {
    let (origin, release) = slow_origin().await;
    let mut gateway = leaving(&origin).await;
    let mut idle = Raw::connect(gateway.address()).await;
    idle.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(!idle.response().await.has_line("connection: close"));
    let mut http2 = Connection::http2(gateway.address()).await.unwrap();
    http2.get("/").await.expect(200);
    let running = tokio::spawn(gateway.request(Method::GET, "/slow").send());
    origin.wait_for(3).await;
    gateway.admin_get("/readyz").await.expect(200);
    process::signal(gateway.pid(), "TERM");
    gateway.wait_for_log("About to drain").await;
    let unready = gateway.admin_get("/readyz").await.expect(503);
    assert_eq!(unready.json()["reasons"], json!(["draining"]));
    wait::eventually("new connections are served, once each", || async {
        gateway.get("/").await.expect(200).header("connection") == "close"
    })
    .await;
    release.notify_one();
    assert_eq!(running.await.unwrap().expect(200).header("connection"), "close", "the last answer says so");
    idle.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(idle.response().await.has_line("connection: close"), "an idle connection has stayed");
    assert!(idle.rest().await.is_empty(), "and is closed after its next answer");
    http2.get("/").await.expect(200);
    assert!(gateway.is_running() && !http2.is_closed());
    process::signal(gateway.pid(), "TERM");
    assert_eq!(gateway.ended().await.code(), Some(130), "a second signal ends it at once");
}

#[tokio::test]
async fn a_drain_asked_for_over_the_admin_api_waits_as_well() {
    let (origin, _release) = slow_origin().await;
    let mut gateway = leaving(&origin).await;
    gateway.admin_post("/api/v1/drain").await.expect(202);
    gateway.wait_for_log("About to drain").await;
    gateway.admin_get("/readyz").await.expect(503);
    gateway.get("/").await.expect(200);
    assert!(gateway.is_running());
}

#[tokio::test]
async fn the_drain_follows_its_delay() {
    let (origin, _release) = slow_origin().await;
    let mut config = one_route(&origin.url(), &json!([{ "use": "script" }]));
    config["limits"] = json!({ "drain_delay": "300ms" });
    let gateway = Site::new(&config).script().start().await;
    let mut kept = Connection::http2(gateway.address()).await.unwrap();
    kept.get("/").await.expect(200);
    let log = gateway.log.clone();
    gateway.stop().await;
    assert!(kept.try_get("/").await.is_err());
    log.wait_for("Drained.").await;
}
