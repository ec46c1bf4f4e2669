//! Listeners at Unix sockets.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sluicegate_tests::tls::{Authority, TlsClient};
use sluicegate_tests::wait::eventually;
use sluicegate_tests::{Connection, Gateway, Origin, RawOrigin, Site, one_route, one_tcp, process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// What clients call a gateway without an address.
fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 80))
}

fn socket(site: &Site) -> PathBuf {
    site.folder().join("gateway.sock")
}

/// A site whose only listener is at a Unix socket and has these keys more; filters show who asks.
fn site(config: &Value, keys: Value) -> Site {
    let site = Site::empty().script();
    site.write(&listening(&site, config, keys));
    site
}

fn listening(site: &Site, config: &Value, keys: Value) -> Value {
    let (mut config, mut keys) = (config.clone(), keys);
    keys["address"] = json!(format!("unix:{}", socket(site).display()));
    config["listeners"] = json!([keys]);
    config
}

fn showing(origin: &Origin) -> Value {
    let show = json!({ "use": "script", "config": { "request_headers": [
        { "set": ["request", "x-seen", { "property": ["source", "address"] }] },
    ] } });
    one_route(&origin.url(), &json!([show]))
}

/// Ends a gateway whose folder stays.
async fn ends(gateway: &mut Gateway) {
    process::signal(gateway.pid(), "TERM");
    assert_eq!(gateway.ended().await.code(), Some(0));
}

async fn connect(path: &Path) -> Connection {
    let stream = UnixStream::connect(path).await.expect("somebody listens");
    Connection::http1_over(nowhere(), stream).await.unwrap()
}

/// Sends bytes and reads until the gateway closes.
async fn exchange(path: &Path, bytes: &str) -> String {
    let mut stream = UnixStream::connect(path).await.expect("somebody listens");
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    String::from_utf8(all).unwrap()
}

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n")
}

#[tokio::test]
async fn requests_come_through_a_socket_whose_file_goes_with_the_gateway() {
    let origin = Origin::echo().await;
    for config in [one_route(&origin.url(), &json!([])), showing(&origin)] {
        let site = site(&config, json!({ "mode": "0620" }));
        let path = socket(&site);
        let mut gateway = site.start().await;
        assert!(gateway.output.all().iter().any(|line| *line == format!("listening http://unix:{}", path.display())));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o620);
        connect(&path).await.get("/").await.expect(200);
        let stream = UnixStream::connect(&path).await.unwrap();
        Connection::http2_over(nowhere(), stream).await.unwrap().get("/").await.expect(200);
        assert_eq!(origin.last().header("x-forwarded-for"), "unix:");
        if config["routes"][0]["filters"] != json!([]) {
            assert_eq!(origin.last().header("x-seen"), "unix:");
        }
        gateway.admin_get("/readyz").await.expect(200);
        let shown = gateway.admin_get("/api/v1/config").await.expect(200).text();
        assert!(shown.contains(&format!("unix:{}", path.display())), "{shown}");
        ends(&mut gateway).await;
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_proxy_beside_the_gateway_tells_who_asks() {
    let origin = Origin::echo().await;
    let seen = || [origin.last().header("x-seen"), origin.last().header("x-forwarded-for")];
    let claim = "x-forwarded-for: 192.0.2.7\r\n";
    for (keys, before, expected) in [
        (json!({}), "", ["unix:", "unix:"]),
        (json!({ "trusted_proxies": ["127.0.0.0/8"] }), "", ["unix:", "unix:"]),
        (json!({ "trusted_proxies": ["unix:"] }), "", ["192.0.2.7:0", "192.0.2.7, unix:"]),
        (json!({ "proxy_protocol": true }), "PROXY TCP4 192.0.2.9 192.0.2.1 7 80\r\n", ["192.0.2.9:7", "192.0.2.9"]),
    ] {
        let site = site(&showing(&origin), keys);
        let path = socket(&site);
        let _gateway = site.start().await;
        let answer = exchange(&path, &format!("{before}{}", get(claim))).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(seen(), expected);
    }
}

#[tokio::test]
async fn what_goes_by_addresses_takes_all_clients_for_one_or_leaves_them_alone() {
    let origin = Origin::text("ok").await;
    let filters =
        json!([{ "use": "log" }, { "use": "rate-limit", "config": { "limit": 3, "per": "1h", "key": "ip" } }]);
    let mut config = one_route(&origin.url(), &filters);
    config["upstreams"]["origin"]["balance"] = json!({ "hash": "ip" });
    config["limits"] = json!({ "connections_per_client": 1 });
    let site = site(&config, json!({}));
    let path = socket(&site);
    let gateway = site.start().await;
    let mut open = Vec::new();
    for expected in [200, 200, 200, 429] {
        let mut connection = connect(&path).await;
        connection.get("/").await.expect(expected);
        open.push(connection);
    }
    gateway.output.wait_for("429").await;
}

#[tokio::test]
async fn a_reload_keeps_the_socket_and_its_connections_and_one_without_it_removes_its_file() {
    let origin = Origin::text("ok").await;
    let config = one_route(&origin.url(), &json!([]));
    let site = site(&config, json!({}));
    let path = socket(&site);
    let gateway = site.start().await;
    let mut connection = connect(&path).await;
    connection.get("/").await.expect(200);
    let inode = std::fs::metadata(&path).unwrap().ino();
    let mut changed = listening(gateway.site(), &config, json!({}));
    changed["routes"][0]["response_headers"] = json!({ "set": { "x-new": "1" } });
    gateway.reload(&changed).await;
    assert_eq!(connection.get("/").await.expect(200).header("x-new"), "1");
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode);
    connect(&path).await.get("/").await.expect(200);
    changed["listeners"] = json!([{ "address": "127.0.0.1:0" }]);
    gateway.reload(&changed).await;
    eventually("the socket is gone", || std::future::ready(!path.exists())).await;
    connection.get("/").await.expect(200);
    gateway.reload(&listening(gateway.site(), &config, json!({}))).await;
    connect(&path).await.get("/").await.expect(200);
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_neither_a_live_one_nor_another_file_is() {
    let origin = Origin::text("ok").await;
    let config = one_route(&origin.url(), &json!([]));
    let first = site(&config, json!({}));
    let path = socket(&first);
    let live = UnixListener::bind(&path).unwrap();
    let refused = first.run(&["run", "-c", "gateway.json"]);
    assert!(refused.code != 0 && refused.text().contains("cannot listen on unix:"), "{}", refused.text());
    drop(live);
    assert!(path.exists(), "nobody has removed it");
    let mut gateway = first.start().await;
    connect(&path).await.get("/").await.expect(200);
    // Another process takes the place: its file stays.
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    ends(&mut gateway).await;
    assert!(path.exists());

    let second = site(&config, json!({}));
    std::fs::write(socket(&second), "precious").unwrap();
    let refused = second.run(&["run", "-c", "gateway.json"]);
    assert!(refused.code != 0 && refused.text().contains("no socket"), "{}", refused.text());
    assert_eq!(std::fs::read(socket(&second)).unwrap(), b"precious");
}

#[tokio::test]
async fn tls_and_bytes_come_through_a_socket_too() {
    let origin = Origin::text("ok").await;
    let authority = Authority::new("test");
    let issued = authority.issue(&["a.example"]);
    let site = site(
        &one_route(&origin.url(), &json!([])),
        json!({ "tls": { "certificates": [{ "certificate": "cert.pem", "key": "key.pem" }] } }),
    );
    std::fs::write(site.folder().join("cert.pem"), &issued.pem).unwrap();
    std::fs::write(site.folder().join("key.pem"), &issued.key).unwrap();
    let path = socket(&site);
    let _gateway = site.start().await;
    let client = TlsClient::trusting(&authority).build();
    let stream = client.over(UnixStream::connect(&path).await.unwrap(), "a.example").await.unwrap();
    Connection::http1_over(nowhere(), stream).await.unwrap().get("/").await.expect(200);

    let echo = RawOrigin::echo().await;
    let mut config = one_tcp(&echo.tcp_url(), &json!([]));
    let site = Site::empty();
    let path = socket(&site);
    config["listeners"][0]["address"] = json!(format!("unix:{}", path.display()));
    site.write(&config);
    let _gateway: Gateway = site.start().await;
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "hello");
}

#[tokio::test]
async fn explain_knows_a_listener_by_its_socket() {
    let origin = Origin::text("ok").await;
    let site = site(&one_route(&origin.url(), &json!([])), json!({}));
    let address = format!("unix:{}", socket(&site).display());
    let output = site.run(&["explain", "-c", "gateway.json", "--listener", &address, "GET", "/"]);
    assert!(output.code == 0 && output.stdout.contains("all"), "{}", output.text());
}
