//! HTTP/2 clients that send what costs them nothing and the gateway much.

use serde_json::json;
use sluicegate_tests::raw::Raw;
use sluicegate_tests::wait::eventually;
use sluicegate_tests::{Gateway, Origin, Site, one_route};

/// A frame of a connection: its type, flags and payload.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short frame");
    let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 0];
    frame.extend(payload);
    frame
}

/// Reads frames until the connection is closed, and gives the reason that the last GOAWAY has and the last stream that it names.
async fn goaway(client: &mut Raw) -> Option<(u32, u32)> {
    let mut last = None;
    while let Some(head) = client.take_if_there(9).await {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some(payload) = client.take_if_there(length).await else { break };
        if head[3] == 7 {
            let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
            last = Some((number(4), number(0)));
        }
    }
    last
}

/// A connection that has sent its preface and its settings.
async fn connection(gateway: &Gateway) -> Raw {
    let mut client = Raw::connect(gateway.address()).await;
    client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.write(frame(4, 0, b"")).await;
    client
}

/// `GET /` as the request of a stream.
fn request(stream: u8) -> Vec<u8> {
    let mut head = frame(1, 5, &[0x82, 0x86, 0x84, 0x41, 1, b'a']);
    head[8] = stream;
    head
}

const ENHANCE_YOUR_CALM: u32 = 11;

async fn floods(gateway: &Gateway) -> f64 {
    gateway.metric("sluicegate_replies_total", &[("reason", "http2_flood")]).await
}

#[tokio::test]
async fn floods_of_pings_settings_and_priorities_end_their_connection_and_no_other() {
    let origin = Origin::text("ok").await;
    let gateway = Site::new(&one_route(&origin.url(), &json!([]))).start().await;
    let ping = frame(6, 0, b"12345678");
    let settings = frame(4, 0, b"");
    let mut priority = frame(2, 0, &[0, 0, 0, 0, 16]);
    priority[8] = 3;
    let unknown = frame(99, 0, b"x");
    for (count, flood) in [ping.clone(), settings, priority, unknown].into_iter().enumerate() {
        let mut client = connection(&gateway).await;
        client.write(request(5)).await;
        client.write(flood.repeat(20_000)).await;
        assert_eq!(goaway(&mut client).await, Some((ENHANCE_YOUR_CALM, 5)), "it is told why, and what was taken up");
        assert!(gateway.wait_for_log("frames that carry nothing").await.contains("http2_flood"));
        gateway.get("/").await.expect(200);
        drop(client);
        eventually("each is counted", || async { floods(&gateway).await == (count + 1) as f64 }).await;
    }
    // As many as connections are kept alive with do no harm.
    let mut client = connection(&gateway).await;
    client.write(ping.repeat(500)).await;
    let answer = frame(6, 1, b"12345678");
    let mut answered = 0;
    while answered < 500 {
        client.take_until(&answer).await;
        answered += 1;
    }
}

#[tokio::test]
async fn streams_that_are_reset_as_soon_as_they_are_opened_are_a_flood_too() {
    let origin = Origin::text("ok").await;
    let gateway = Site::new(&one_route(&origin.url(), &json!([]))).start().await;
    let mut client = connection(&gateway).await;
    let mut bytes = Vec::new();
    for stream in (1..=255).step_by(2) {
        bytes.extend(request(stream));
        let mut reset = frame(3, 0, &[0, 0, 0, 8]);
        reset[8] = stream;
        bytes.extend(reset);
    }
    client.write(bytes).await;
    let told = goaway(&mut client).await.map(|(reason, _)| reason);
    assert_eq!(told, Some(ENHANCE_YOUR_CALM));
    gateway.wait_for_log("http2_flood").await;
    eventually("it is counted", || async { floods(&gateway).await == 1.0 }).await;
}

#[tokio::test]
async fn a_connection_with_all_its_requests_is_told_to_go_at_once_and_keeps_what_runs() {
    let origin = Origin::text("ok").await;
    let mut config = one_route(&origin.url(), &json!([]));
    config["limits"] = json!({ "requests_per_connection": 3 });
    let gateway = Site::new(&config).start().await;
    let mut client = connection(&gateway).await;
    client.write([request(1), request(3)].concat()).await;
    for _ in 0..2 {
        client.take_until(b"ok").await;
    }
    client.write(request(5)).await;
    // Word comes before the answer, not when a timer looks: first that it ends, then, when a ping has been answered, what was taken up.
    client.take_until(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]).await;
    client.take_until(&[0, 0, 8, 6, 0, 0, 0, 0, 0]).await;
    let ping = client.take(8).await;
    client.take_until(b"ok").await;
    client.write(frame(6, 1, &ping)).await;
    assert_eq!(goaway(&mut client).await, Some((0, 5)));
    assert_eq!(origin.count(), 3);
}
