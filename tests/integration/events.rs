//! Server-sent events: they come when they come, however long the route's timeout is.

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use sluicegate_tests::body::{Part, fed};
use sluicegate_tests::origin::{stream, with};
use sluicegate_tests::{Gateway, Origin, Site, one_route, wait};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Answers that the origin may begin before the test feeds them.
const ANSWERS: usize = 4;

/// An origin whose answers the test feeds, `/events` with events and everything else with text.
async fn fed_origin() -> (Origin, Receiver<Sender<Part>>) {
    let (sender, feeds) = channel(ANSWERS);
    let origin = Origin::start(move |seen| {
        let (feed, body) = fed();
        sender.try_send(feed).unwrap();
        let kind = if seen.target == "/events" { "text/event-stream; charset=utf-8" } else { "text/plain" };
        async move { with(stream(200, body), &[("content-type", kind)]) }
    })
    .await;
    (origin, feeds)
}

async fn gateway(origin: &Origin, filters: &Value, silence: &str) -> Gateway {
    let mut config = one_route(&origin.url(), filters);
    config["routes"][0]["timeout"] = json!("300ms");
    config["limits"] = json!({ "tunnel_timeout": silence });
    Site::new(&config).script().start().await
}

fn both() -> [Value; 2] {
    [json!([]), json!([{ "use": "script", "config": { "trace": true } }])]
}

async fn say(feed: &Sender<Part>, text: &'static str) {
    feed.send(Ok(Frame::data(Bytes::from_static(text.as_bytes())))).await.expect("the origin's answer is read");
}

/// The next piece of a body; `None` when it breaks off.
async fn piece(body: &mut Incoming) -> Option<Bytes> {
    let frame = wait::within("a piece or an end", body.frame()).await.expect("it does not end");
    Some(frame.ok()?.into_data().expect("data"))
}

#[tokio::test]
async fn events_outlast_the_routes_timeout_and_nothing_else_does() {
    for filters in both() {
        let (origin, mut feeds) = fed_origin().await;
        let gateway = gateway(&origin, &filters, "10m").await;
        for http2 in [false, true] {
            let call = |target| {
                let call = gateway.request(Method::GET, target);
                if http2 { call.http2() } else { call }
            };
            let (_kept, events) = call("/events").open().await;
            let (feed, mut events) = (feeds.recv().await.unwrap(), events.into_body());
            say(&feed, "data: 1\n\n").await;
            assert_eq!(piece(&mut events).await.unwrap(), "data: 1\n\n");
            // Begun later, cut off earlier: the timeout of both has passed then.
            let (_too, text) = call("/text").open().await;
            let (_silent, mut text) = (feeds.recv().await.unwrap(), text.into_body());
            assert_eq!(piece(&mut text).await, None);
            say(&feed, "data: 2\n\n").await;
            assert_eq!(piece(&mut events).await.unwrap(), "data: 2\n\n");
        }
    }
}

#[tokio::test]
async fn events_that_stay_away_for_too_long_end_the_answer() {
    for filters in both() {
        let (origin, mut feeds) = fed_origin().await;
        let gateway = gateway(&origin, &filters, "400ms").await;
        let (_kept, events) = gateway.request(Method::GET, "/events").open().await;
        let (feed, mut events) = (feeds.recv().await.unwrap(), events.into_body());
        say(&feed, "data: 1\n\n").await;
        assert_eq!(piece(&mut events).await.unwrap(), "data: 1\n\n");
        assert_eq!(piece(&mut events).await, None);
        let line = gateway.wait_for_log("Response broken off").await;
        assert!(line.contains("no event for too long") && line.contains("upstream_timeout"), "{line}");
    }
}
