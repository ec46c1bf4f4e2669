//! Large numbers: of routes.

use std::time::Instant;

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::{Gateway, Origin, Site};

const ROUTES: usize = 10_000;

/// So many routes, each with a host and a path of its own, that tell their names.
fn routes(origin: &Origin, count: usize, round: &str) -> Value {
    let route = |index: usize| {
        json!({
            "name": format!("{round}-{index}"),
            "match": { "host": format!("h{index}.example"), "path": { "prefix": format!("/service-{index}") } },
            "upstream": "origin",
            "rewrite": { "path": { "prefix": format!("/{round}/{index}") } },
        })
    };
    json!({
        "upstreams": { "origin": { "targets": [origin.url()] } },
        "routes": (0..count).map(route).collect::<Vec<_>>(),
    })
}

async fn serves(gateway: &Gateway, origin: &Origin, index: usize, round: &str) {
    let call =
        gateway.request(Method::GET, &format!("/service-{index}/x")).header("host", &format!("h{index}.example"));
    call.send().await.expect(200);
    assert_eq!(origin.last().target, format!("/{round}/{index}/x"));
}

#[tokio::test]
async fn ten_thousand_routes_are_served_and_exchanged() {
    let origin = Origin::text("ok").await;
    let gateway = Site::new(&routes(&origin, ROUTES, "one")).start().await;
    for index in [0, 1, ROUTES / 2, ROUTES - 1] {
        serves(&gateway, &origin, index, "one").await;
    }
    let started = Instant::now();
    gateway.reload(&routes(&origin, ROUTES, "two")).await;
    println!("exchanged in {} ms", started.elapsed().as_millis());
    for index in [0, 1, ROUTES / 2, ROUTES - 1] {
        serves(&gateway, &origin, index, "two").await;
    }
    let elsewhere = gateway.request(Method::GET, "/service-1/x").header("host", "h2.example").send().await;
    elsewhere.expect(404);
    gateway.reload(&routes(&origin, 10, "three")).await;
    serves(&gateway, &origin, 9, "three").await;
    gateway.stop().await;
}
