//! Upstreams that break off, drip, storm, or cannot be reached: what clients are told.

use std::time::Duration;

use http::Method;
use hyper::body::Frame;
use serde_json::{Value, json};
use sluicegate_tests::{Gateway, RawOrigin, Site, Wat, body, one_route};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

async fn gateway(target: &str, filters: &Value, upstream: Value, timeout: &str) -> Gateway {
    let mut config = one_route(target, filters);
    for (key, value) in upstream.as_object().unwrap() {
        config["upstreams"]["origin"][key] = value.clone();
    }
    config["routes"][0]["timeout"] = json!(timeout);
    config["routes"][0]["match"] = json!({ "path": { "exact": "/" } });
    let watch = Wat::new().doing("proxy_on_response_headers", "").doing("proxy_on_response_body", "");
    Site::new(&config).plugin("watch", watch.build()).start().await
}

/// Reads a request's head.
async fn asked(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
}

/// Whoever has what to say after the head of a request, again and again until nobody listens.
async fn drip(mut stream: TcpStream, first: &'static str, again: &'static str, pause: Duration) {
    asked(&mut stream).await;
    let mut piece = first;
    while stream.write_all(piece.as_bytes()).await.is_ok() {
        tokio::time::sleep(pause).await;
        piece = again;
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_broken_off_through_filters_too_and_the_log_says_why() {
    for rest in ["content-length: 9\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense"] {
        let origin = RawOrigin::saying(format!("HTTP/1.1 200 OK\r\n{rest}")).await;
        let gateway = gateway(&origin.url(), &json!([{ "use": "watch" }]), json!({}), "15s").await;
        for http2 in [false, true] {
            let call = gateway.request(Method::GET, "/");
            let call = if http2 { call.http2() } else { call };
            assert!(call.try_send().await.is_err(), "{rest:?}");
        }
        gateway.wait_for_log("reason=\"upstream_reset\"").await;
    }
}

#[tokio::test]
async fn heads_that_never_end_cost_no_more_than_the_routes_timeout() {
    let pause = Duration::from_millis(5);
    let cases: [(&str, &str); 2] = [
        ("HTTP/1.1 200 OK\r\nx-slow: ", "x"),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
    ];
    for (first, again) in cases {
        let origin = RawOrigin::start(move |stream| drip(stream, first, again, pause)).await;
        let gateway = gateway(&origin.url(), &json!([]), json!({}), "300ms").await;
        gateway.get("/").await.expect(504);
        gateway.get("/other").await.expect(404);
        assert_eq!(gateway.metric("sluicegate_replies_total", &[("reason", "route_timeout")]).await, 1.0);
    }
}

#[tokio::test]
async fn a_body_that_drips_passes_as_long_as_the_routes_timeout_lets_it() {
    let pause = Duration::from_millis(20);
    let origin = RawOrigin::start(move |stream| {
        drip(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n", pause)
    })
    .await;
    let gateway = gateway(&origin.url(), &json!([]), json!({}), "500ms").await;
    assert!(gateway.request(Method::GET, "/").try_send().await.is_err(), "it is broken off, not ended");
    gateway.wait_for_log("reason=\"route_timeout\"").await;
}

#[tokio::test]
async fn an_answer_that_is_whole_is_handed_on_though_its_stream_is_reset_without_an_error() {
    let origin = RawOrigin::start(|mut stream| async move {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return;
            }
            let length = usize::from(head[1]) * 256 + usize::from(head[2]);
            stream.read_exact(&mut vec![0; length]).await.unwrap();
            if head[3] != 1 {
                continue;
            }
            let id = [head[5], head[6], head[7], head[8]];
            // HEADERS with `:status: 200`, DATA with the end, RST_STREAM with NO_ERROR (RFC 9113 §8.1).
            let frames =
                [&[0, 0, 1, 1, 4][..], &id, &[0x88, 0, 0, 2, 0, 1], &id, b"ok", &[0, 0, 4, 3, 0], &id, &[0, 0, 0, 0]];
            stream.write_all(&frames.concat()).await.unwrap();
        }
    })
    .await;
    for filters in [json!([]), json!([{ "use": "watch" }])] {
        let gateway = gateway(&origin.url(), &filters, json!({ "protocol": "http2" }), "15s").await;
        for http2 in [false, true] {
            let (feed, body) = body::fed();
            let call = gateway.request(Method::POST, "/").stream(body);
            let call = tokio::spawn(if http2 { call.http2() } else { call }.send());
            // The body has not ended, and never will.
            feed.send(Ok(Frame::data("begun".into()))).await.unwrap();
            assert_eq!(call.await.unwrap().expect(200).text(), "ok");
        }
    }
}

#[tokio::test]
async fn a_target_that_takes_no_connection_is_given_up_in_time() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts: once its queue is full, the kernel answers no more.
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    let upstream = json!({ "connect_timeout": "200ms" });
    let gateway = gateway(&format!("http://{address}"), &json!([]), upstream, "15s").await;
    gateway.get("/").await.expect(504);
    assert_eq!(gateway.metric("sluicegate_replies_total", &[("reason", "upstream_connect_timeout")]).await, 1.0);
    drop(waiting);
}
