//! Upstreams at Unix sockets.

use serde_json::{Value, json};
use sluicegate_tests::origin::json_answer;
use sluicegate_tests::raw::Raw;
use sluicegate_tests::socket::Socket;
use sluicegate_tests::wait::eventually;
use sluicegate_tests::{Gateway, Origin, RawOrigin, Site};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn gateway(upstream: &Value) -> Gateway {
    let config =
        json!({ "limits": { "workers": 1 }, "upstreams": { "app": upstream }, "routes": [{ "upstream": "app" }] });
    Site::new(&config).start().await
}

/// A folder for sockets, and the target at one in it.
fn place() -> (tempfile::TempDir, std::path::PathBuf, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let target = format!("unix:{}", path.display());
    (folder, path, target)
}

#[tokio::test]
async fn requests_go_to_a_unix_socket_over_kept_connections_in_either_version() {
    let http1 = Origin::echo().await;
    let http2 = Origin::start_http2(|seen| async move { json_answer(&seen.to_json()) }).await;
    for origin in [http1, http2] {
        let (_folder, path, target) = place();
        let socket = Socket::before(origin.address(), &path);
        let gateway = gateway(&json!({ "targets": [target], "protocol": origin.protocol() })).await;
        for n in 0..3 {
            let seen = gateway.post("/a?b", format!("body {n}")).await.expect(200).json();
            assert_eq!((&seen["target"], &seen["body"]), (&json!("/a?b"), &json!(format!("body {n}"))));
            assert_eq!(seen["headers"]["host"], json!(gateway.address().to_string()), "the host is the client's");
        }
        assert_eq!(socket.connections(), 1, "{}", origin.protocol());
    }
}

#[tokio::test]
async fn a_connection_to_a_unix_socket_may_switch_protocols() {
    let granted = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let origin = RawOrigin::start(move |mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
        stream.write_all(granted.as_bytes()).await.ok();
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.ok();
    })
    .await;
    let (_folder, path, target) = place();
    let _socket = Socket::before(origin.address(), &path);
    let gateway = gateway(&json!({ "targets": [target] })).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    assert_eq!(client.response().await.status, 101);
    for text in ["one", "another one"] {
        client.write(text).await;
        assert_eq!(client.take(text.len()).await, text.as_bytes());
    }
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_a_target_that_cannot_be_reached_until_somebody_does() {
    let origin = Origin::text("well").await;
    let (_folder, path, target) = place();
    let health = json!({ "path": "/", "interval": "20ms", "healthy": 1, "unhealthy": 1 });
    let gateway = gateway(&json!({ "targets": [target], "health": health })).await;
    gateway.wait_for_log("fails its health check").await;
    gateway.get("/").await.expect(503);
    // A file without a server behind it is no better.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    gateway.get("/").await.expect(503);
    std::fs::remove_file(&path).unwrap();
    let _socket = Socket::before(origin.address(), &path);
    eventually("it is back", || async { gateway.get("/").await.code() == 200 }).await;
    assert_eq!(origin.requests()[0].header("host"), "localhost", "a check names a host too");
    let shown = gateway.admin_get("/api/v1/upstreams").await.json();
    assert_eq!(shown["targets"][0]["target"], json!(target), "{shown}");
}
