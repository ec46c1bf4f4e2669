//! HTTP/2 clients that send what costs them nothing and the gateway much.

use serde_json::json;
use sluicegate_tests::raw::Raw;
use sluicegate_tests::{Origin, Site, one_route};

/// A frame of a connection: its type, flags and payload.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short frame");
    let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 0];
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn floods_of_pings_settings_and_priorities_end_their_connection_and_no_other() {
    let origin = Origin::text("ok").await;
    let gateway = Site::new(&one_route(&origin.url(), &json!([]))).start().await;
    let ping = frame(6, 0, b"12345678");
    let settings = frame(4, 0, b"");
    let mut priority = frame(2, 0, &[0, 0, 0, 0, 16]);
    priority[8] = 3;
    for flood in [ping.clone(), settings, priority] {
        let mut client = Raw::connect(gateway.address()).await;
        client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        client.write(frame(4, 0, b"")).await;
        client.write(flood.repeat(20_000)).await;
        client.rest().await;
        gateway.get("/").await.expect(200);
    }
    // As many as connections are kept alive with do no harm.
    let mut client = Raw::connect(gateway.address()).await;
    client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.write(frame(4, 0, b"")).await;
    client.write(ping.repeat(500)).await;
    let answer = frame(6, 1, b"12345678");
    let mut answered = 0;
    while answered < 500 {
        client.take_until(&answer).await;
        answered += 1;
    }
}
