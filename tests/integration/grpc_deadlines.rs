//! Calls of gRPC: how long their clients wait, and what they are told when the gateway answers.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::client::Call;
use sluicegate_tests::origin::{stream, with};
use sluicegate_tests::{Gateway, Origin, Response, Site, body, one_route};

/// An upstream that answers each call with what it was told of the time, but for `/hang`, which it leaves alone.
async fn upstream() -> Origin {
    Origin::start_http2(|seen| async move {
        if seen.target == "/hang" {
            std::future::pending::<()>().await;
        }
        let fields =
            [("content-type", "application/grpc"), ("grpc-status", "0"), ("x-told", &seen.header("grpc-timeout"))];
        with(stream(200, body::empty()), &fields)
    })
    .await
}

async fn gateway(origin: &Origin, filters: &Value, timeout: &str) -> Gateway {
    let mut config = one_route(&origin.url(), filters);
    config["upstreams"]["origin"]["protocol"] = json!("http2");
    config["upstreams"]["origin"]["eject"] = json!({ "failures": 1, "most_percent": 100 });
    config["routes"][0]["timeout"] = json!(timeout);
    config["routes"][0]["match"] = json!({ "path": { "regex": "/(call|hang)" } });
    Site::new(&config).script().start().await
}

fn call(gateway: &Gateway, path: &str) -> Call {
    gateway.request(Method::POST, path).http2().header("content-type", "application/grpc").header("te", "trailers")
}

/// A trailers-only answer's status.
fn status(answer: Response) -> u32 {
    let answer = answer.expect(200);
    assert_eq!((answer.header("content-type").as_str(), answer.text().as_str()), ("application/grpc", ""));
    answer.header("grpc-status").parse().unwrap()
}

#[tokio::test]
async fn a_client_that_waits_no_longer_is_told_so_and_its_target_is_not_blamed() {
    let origin = upstream().await;
    for filters in [json!([]), json!([{ "use": "script" }])] {
        for timeout in ["10s", "0s"] {
            let gateway = gateway(&origin, &filters, timeout).await;
            let answer = call(&gateway, "/hang").header("grpc-timeout", "100m").send().await;
            assert_eq!(answer.header("grpc-message"), "deadline exceeded");
            assert_eq!(status(answer), 4);
            assert_eq!(gateway.metric("sluicegate_replies_total", &[("reason", "client_deadline")]).await, 1.0);
            assert!(!gateway.log.all().iter().any(|line| line.contains("left out")));
        }
    }
}

#[tokio::test]
async fn the_upstream_is_told_what_is_left_of_the_sooner_limit() {
    let origin = upstream().await;
    for filters in [json!([]), json!([{ "use": "script" }])] {
        for (timeout, asked, most) in [("10s", "5S", 5000), ("2s", "1H", 2000), ("0s", "5S", 5000)] {
            let gateway = gateway(&origin, &filters, timeout).await;
            let told = call(&gateway, "/call").header("grpc-timeout", asked).send().await.expect(200).header("x-told");
            let micros: u64 = told.strip_suffix('u').unwrap_or_else(|| panic!("{told}")).parse().unwrap();
            let left = Duration::from_micros(micros);
            assert!(left < Duration::from_millis(most) && left > Duration::from_millis(most / 4), "{asked}: {told}");
        }
    }
}

#[tokio::test]
async fn a_timeout_that_is_none_and_one_of_another_protocol_change_nothing() {
    let origin = upstream().await;
    let gateway = gateway(&origin, &json!([]), "10s").await;
    let answer = call(&gateway, "/call").header("grpc-timeout", "soon").send().await.expect(200);
    assert_eq!(answer.header("x-told"), "soon");
    let answer = gateway.request(Method::POST, "/call").http2().header("grpc-timeout", "0S").send().await.expect(200);
    assert_eq!(answer.header("x-told"), "0S");
}

#[tokio::test]
async fn a_clients_time_never_lengthens_that_of_its_route() {
    let origin = upstream().await;
    let gateway = gateway(&origin, &json!([]), "100ms").await;
    assert_eq!(status(call(&gateway, "/hang").header("grpc-timeout", "1H").send().await), 14);
    assert_eq!(gateway.metric("sluicegate_replies_total", &[("reason", "route_timeout")]).await, 1.0);
}

#[tokio::test]
async fn every_error_of_the_gateway_is_a_status_of_grpc() {
    let origin = Origin::text("unused").await;
    let reply = |status: u16| json!({ "respond": { "status": status }, "match": { "path": { "exact": format!("/{status}") } } });
    let statuses = [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (502, 14), (503, 14), (504, 14), (500, 2)];
    let mut config = one_route(&origin.url(), &json!([]));
    let mut routes: Vec<Value> = statuses.iter().map(|(http, _)| reply(*http)).collect();
    routes.push(json!({ "match": { "path": { "exact": "/down" } }, "upstream": "down" }));
    routes.push(json!({ "match": { "path": { "exact": "/long" } }, "upstream": "origin", "body_bytes": 1 }));
    config["upstreams"]["down"] = json!({ "targets": ["http://127.0.0.1:1"] });
    config["routes"] = json!(routes);
    let gateway = Site::new(&config).start().await;
    for (http, grpc) in statuses {
        assert_eq!(status(call(&gateway, &format!("/{http}")).send().await), grpc, "{http}");
    }
    assert_eq!(status(call(&gateway, "/nowhere").send().await), 12);
    assert_eq!(status(call(&gateway, "/down").send().await), 14);
    assert_eq!(status(call(&gateway, "/long").body("longer").send().await), 8);
}
