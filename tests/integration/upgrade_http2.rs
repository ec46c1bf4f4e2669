//! WebSockets over HTTP/2 (RFC 8441), from clients and to upstreams: an extended CONNECT passes filters as the upgrade of HTTP/1.1 does, and
//! either becomes what the other side speaks.

use serde_json::{Value, json};
use sluicegate_tests::origin::RawOrigin;
use sluicegate_tests::raw::Raw;
use sluicegate_tests::tunnels::{Granting, Opener, accepting, head};
use sluicegate_tests::wait::{eventually, within};
use sluicegate_tests::{Gateway, Origin, Site, one_route, process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// An HTTP/1.1 origin that grants upgrades, checks them as WebSockets, tells the head in one line and repeats what comes. All other requests
/// are answered 200 without a body.
async fn repeating() -> RawOrigin {
    RawOrigin::start(|mut stream| async move {
        let head = head(&mut stream).await;
        let Some(key) = field(&head, "sec-websocket-key: ") else { return ok(stream).await };
        let accept = if head.starts_with("GET /wrong") { "wrong".to_owned() } else { accepting(&key) };
        let granted = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Origin: yes";
        stream.write_all(format!("{granted}\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").as_bytes()).await.ok();
        stream.write_all(format!("{}\n", head.replace("\r\n", "|")).as_bytes()).await.ok();
        let mut piece = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            stream.write_all(&piece[..read]).await.ok();
        }
        stream.write_all(b"bye").await.ok();
    })
    .await
}

async fn ok(mut stream: TcpStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await.ok();
}

fn field(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| line.to_ascii_lowercase().starts_with(name).then(|| line[name.len()..].to_owned()))
}

async fn gateway(url: &str, protocol: &str, filters: &Value, limits: &Value) -> Gateway {
    let mut config = one_route(url, filters);
    config["upstreams"]["origin"]["protocol"] = json!(protocol);
    config["limits"] = limits.clone();
    Site::new(&config).script().start().await
}

/// Filters that tell the upstream what they have seen of the request, and the client what they have seen of the response.
fn telling() -> Value {
    let script = json!({
        "request_headers": [
            { "set": ["request", "x-method", { "header": ["request", ":method"] }] },
            { "set": ["request", "x-protocol", { "header": ["request", "upgrade"] }] },
        ],
        "response_headers": [{ "set": ["response", "x-status", { "header": ["response", ":status"] }] }],
    });
    let template = "{method} {status} {request_size} {response_size}";
    json!([{ "use": "log", "config": { "template": template } }, { "use": "script", "config": script }])
}

#[tokio::test]
async fn a_stream_becomes_a_tunnel_to_an_upstream_of_either_version() {
    let (http1, http2) = (repeating().await, Granting::start(true).await);
    for (url, protocol, asked) in
        [(http1.url(), "http1", "GET /chat HTTP/1.1|"), (http2.url(), "http2", "CONNECT /chat Some(\"websocket\")|")]
    {
        for filters in [json!([]), telling()] {
            let gateway = gateway(&url, protocol, &filters, &json!({})).await;
            let mut opener = Opener::connect(gateway.address()).await;
            assert!(opener.offered);
            let (headers, stream) = opener.open("/chat").await;
            assert!(!headers.contains_key("sec-websocket-accept") && headers.contains_key("x-origin"), "{headers:?}");
            let mut stream = BufReader::new(stream);
            let mut seen = String::new();
            within("the head that it got", stream.read_line(&mut seen)).await.expect("a line");
            assert!(seen.starts_with(asked), "{seen}");
            assert_eq!(protocol == "http1", seen.to_ascii_lowercase().contains("|upgrade: websocket|"), "{seen}");
            let key = field(&seen.replace('|', "\n"), "sec-websocket-key: ");
            assert_eq!(key.map(|key| key.len()), (protocol == "http1").then_some(24), "{seen}");
            if filters != json!([]) {
                assert!(seen.contains("x-method: GET|") && seen.contains("x-protocol: websocket|"), "{seen}");
                assert_eq!(headers["x-status"], "101");
            }
            for text in ["hello", "GET / HTTP/1.1\r\nbroken\n\n\0", "and on"] {
                stream.write_all(text.as_bytes()).await.expect("it is taken");
                let mut echoed = vec![0; text.len()];
                within("the echo", stream.read_exact(&mut echoed)).await.expect("it comes back");
                assert_eq!(echoed, text.as_bytes());
            }
            assert_eq!(opener.get("/").await, 200, "other streams are served beside it");
            stream.shutdown().await.expect("an end");
            let mut rest = Vec::new();
            within("the end", stream.read_to_end(&mut rest)).await.expect("an end");
            assert_eq!(rest, b"bye");
            if filters != json!([]) {
                gateway.output.wait_for(&format!("GET 200 36 {}", seen.len() + 39)).await;
            }
            gateway.stop().await;
        }
    }
}

#[tokio::test]
async fn a_connection_of_http1_becomes_a_tunnel_to_an_http2_upstream() {
    let origin = Granting::start(true).await;
    for filters in [json!([]), telling()] {
        let gateway = gateway(&origin.url(), "http2", &filters, &json!({})).await;
        let mut client = Raw::connect(gateway.address()).await;
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        client.write(format!("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n")).await;
        let answer = client.response().await;
        assert_eq!(answer.status, 101, "{}", answer.head);
        for line in ["connection: upgrade", "upgrade: websocket", "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
        {
            assert!(answer.has_line(line), "{line} in {}", answer.head);
        }
        let seen = String::from_utf8(client.take_until(b"\n").await).expect("text");
        assert!(seen.starts_with("CONNECT /chat Some(\"websocket\")|") && !seen.contains("-key"), "{seen}");
        assert!(seen.contains("|sec-websocket-version: 13|"), "{seen}");
        client.write("hello").await;
        assert_eq!(client.take(5).await, b"hello");
        client.shut().await;
        assert_eq!(client.rest().await, b"bye");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn what_is_no_tunnel_is_never_taken_for_one() {
    let origin = repeating().await;
    let script = json!({ "request_headers": [{ "when": ["allow", [{ "reply": { "status": 200, "body": "no" } }]] },
        { "when": ["refuse", [{ "reply": { "status": 401, "body": "no" } }]] }] });
    let gateway = gateway(&origin.url(), "http1", &json!([{ "use": "script", "config": script }]), &json!({})).await;
    let mut opener = Opener::connect(gateway.address()).await;
    for (path, protocol, word, status) in [
        ("/", "h2c", "", 501),
        ("/", "websocket", "allow", 502),
        ("/", "websocket", "refuse", 401),
        ("/wrong", "websocket", "", 502),
    ] {
        let answer = opener.ask(path, protocol, &[("x-do", word)]).await;
        assert_eq!(answer.status(), status, "{path} {protocol} {word}");
    }
    gateway.stop().await;
    // An upstream that answers without switching, or with a refusal.
    for (answer, status) in [("200 OK", 502), ("403 Forbidden", 403)] {
        let origin = RawOrigin::saying(format!("HTTP/1.1 {answer}\r\nContent-Length: 2\r\n\r\nno")).await;
        for filters in [json!([]), telling()] {
            let gateway = self::gateway(&origin.url(), "http1", &filters, &json!({})).await;
            let mut opener = Opener::connect(gateway.address()).await;
            assert_eq!(opener.ask("/", "websocket", &[]).await.status(), status, "{filters}");
        }
    }
}

#[tokio::test]
async fn it_is_only_offered_and_asked_for_where_it_is_taken() {
    let origin = Origin::text("ok").await;
    let mut config = one_route(&origin.url(), &json!([]));
    config["routes"][0]["upgrades"] = json!([]);
    let gateway = Site::new(&config).start().await;
    assert!(!Opener::connect(gateway.address()).await.offered);
    gateway.stop().await;

    let unoffered = Granting::start(false).await;
    let gateway = self::gateway(&unoffered.url(), "http2", &json!([]), &json!({})).await;
    for _ in 0..2 {
        let mut client = Raw::connect(gateway.address()).await;
        client.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
        assert_eq!(client.response().await.status, 502);
    }
    let mut opener = Opener::connect(gateway.address()).await;
    assert_eq!(opener.ask("/", "websocket", &[]).await.status(), 502);
    assert_eq!(opener.get("/").await, 200);
    gateway.wait_for_log("does not offer an extended CONNECT").await;
}

#[tokio::test]
async fn a_tunnel_through_which_nothing_flows_is_ended_and_its_connection_goes_on() {
    let origin = repeating().await;
    let gateway = gateway(&origin.url(), "http1", &json!([]), &json!({ "tunnel_timeout": "200ms" })).await;
    let mut opener = Opener::connect(gateway.address()).await;
    let (_, mut stream) = opener.open("/").await;
    let mut all = Vec::new();
    within("its end", stream.read_to_end(&mut all)).await.ok();
    gateway.wait_for_log("tunnel_idle").await;
    assert_eq!(opener.get("/").await, 200);
}

#[tokio::test]
async fn a_shutdown_waits_for_tunnels_as_long_as_for_all_else() {
    let origin = repeating().await;
    let mut gateway = gateway(&origin.url(), "http1", &json!([]), &json!({ "drain_timeout": "2s" })).await;
    let mut opener = Opener::connect(gateway.address()).await;
    let (_, stream) = opener.open("/").await;
    let mut stream = BufReader::new(stream);
    stream.read_line(&mut String::new()).await.expect("a line");
    process::signal(gateway.pid(), "TERM");
    gateway.wait_for_log("Draining").await;
    stream.write_all(b"while draining").await.expect("it is taken");
    let mut echoed = [0; 14];
    within("the echo", stream.read_exact(&mut echoed)).await.expect("it comes back");
    assert_eq!(&echoed, b"while draining");
    assert_eq!(gateway.ended().await.code(), Some(0));
    let mut rest = Vec::new();
    within("its end", stream.read_to_end(&mut rest)).await.ok();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_stream_that_is_reset_ends_the_tunnel_on_both_sides() {
    let (sender, mut ended) = tokio::sync::mpsc::channel(1);
    let origin = RawOrigin::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            let head = head(&mut stream).await;
            let Some(key) = field(&head, "sec-websocket-key: ") else { return ok(stream).await };
            let granted = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket";
            let granted = format!("{granted}\r\nSec-WebSocket-Accept: {}\r\n\r\n", accepting(&key));
            stream.write_all(granted.as_bytes()).await.ok();
            stream.read_to_end(&mut Vec::new()).await.ok();
            sender.send(()).await.ok();
            // It would go on for ever.
            std::future::pending::<()>().await;
        }
    })
    .await;
    let gateway = gateway(&origin.url(), "http1", &json!([]), &json!({})).await;
    let mut opener = Opener::connect(gateway.address()).await;
    let (_, stream) = opener.open("/").await;
    drop(stream);
    within("the upstream is told", ended.recv()).await;
    eventually("the request is over", || async {
        gateway.metric("sluicegate_http_server_active_requests", &[("route", "all")]).await == 0.0
    })
    .await;
    assert_eq!(opener.get("/").await, 200);
}
