//! Large numbers: of routes, of connections that wait, of configurations in the life of a connection.

use std::time::Instant;

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::raw::Raw;
use sluicegate_tests::{Connection, Gateway, Origin, Site, one_route, process, wait};

const ROUTES: usize = 10_000;
/// Connections that wait for their next request, if the limit of open files lets both sides have so many.
const IDLE: usize = 10_000;
/// Open files that are not clients' connections.
const SPARE_FILES: usize = 500;
/// Requests between two looks at the memory.
const ALLOCATING: usize = 8;
/// The most memory that such a connection may keep in use, bytes.
const IDLE_BYTES: u64 = 8 * 1024;

/// Such connections of HTTP/2, and what one may keep: the HTTP library's buffers and tables, which are there as long as it is.
const IDLE_HTTP2: usize = 1000;
const IDLE_HTTP2_BYTES: u64 = 64 * 1024;

/// The memory that may come with configurations while connections from the time of older ones live, bytes.
const OLD_CONFIGURATIONS: u64 = 16 << 20;

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

async fn ask(raw: &mut Raw) {
    raw.write("GET / HTTP/1.1\r\nhost: a.example\r\naccept: */*\r\nuser-agent: idle\r\n\r\n").await;
    assert_eq!(raw.response().await.status, 200);
}

/// Opens so many connections, and asks once on each.
async fn asked_once(gateway: &Gateway, count: usize) -> Vec<Raw> {
    let mut idle = Vec::with_capacity(count);
    for _ in 0..count {
        let mut raw = Raw::connect(gateway.address()).await;
        ask(&mut raw).await;
        idle.push(raw);
    }
    idle
}

#[tokio::test]
async fn a_thousand_connections_of_http2_that_wait_keep_no_more_than_the_buffers_of_their_library() {
    let count = IDLE_HTTP2.min((process::most_descriptors() / 2).saturating_sub(SPARE_FILES));
    let origin = Origin::text("ok").await;
    let mut config = one_route(&origin.url(), &json!([]));
    config["limits"] = json!({ "idle_timeout": "1h" });
    let gateway = Site::new(&config).start().await;
    let asked_once = async |count: usize| {
        let mut idle = Vec::with_capacity(count);
        for _ in 0..count {
            let mut connection = Connection::http2(gateway.address()).await.expect("it is served");
            connection.get("/").await.expect(200);
            idle.push(connection);
        }
        idle
    };
    drop(asked_once(100).await);
    let before = gateway.resident();
    let mut idle = asked_once(count).await;
    let each = gateway.resident().saturating_sub(before) / count as u64;
    println!("{count} idle connections of HTTP/2 keep {each} bytes each");
    assert!(each <= IDLE_HTTP2_BYTES, "{each} bytes each");
    for connection in idle.iter_mut().step_by(97) {
        connection.get("/").await.expect(200);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn ten_thousand_connections_that_wait_keep_little_memory_in_use() {
    // A gateway keeps half of its descriptors for upstreams.
    let count = IDLE.min((process::most_descriptors() / 2).saturating_sub(SPARE_FILES));
    let origin = Origin::text("ok").await;
    let mut config = one_route(&origin.url(), &json!([]));
    config["limits"] = json!({ "connections": IDLE + 1000, "idle_timeout": "1h", "header_timeout": "2s" });
    let gateway = Site::new(&config).start().await;
    // What is there once: pools, allocators, buffers of the workers.
    drop(asked_once(&gateway, 100).await);
    let before = gateway.resident();
    let mut idle = asked_once(&gateway, count).await;
    let each = || gateway.resident().saturating_sub(before) / count as u64;
    println!("{count} connections, some of which were just answered, keep {} bytes each", each());
    wait::eventually("connections that wait give back memory", || async {
        // The allocator gives back what is free when it is asked for something, on each worker for itself.
        for _ in 0..ALLOCATING {
            gateway.get("/").await.expect(200);
        }
        each() <= IDLE_BYTES
    })
    .await;
    println!("{count} idle connections keep {} bytes each", each());
    for raw in idle.iter_mut().step_by(97) {
        ask(raw).await;
    }
    drop(idle);
    gateway.stop().await;
}

#[tokio::test]
async fn connections_that_live_long_do_not_keep_the_configurations_of_their_time() {
    const OLD: usize = 24;
    let origin = Origin::text("ok").await;
    let round = |number: usize| {
        let mut config = routes(&origin, ROUTES / 4, "round");
        // Something that differs, and a route for those who ask.
        config["routes"][0] =
            json!({ "name": format!("all-{number}"), "match": { "path": "/" }, "upstream": "origin" });
        config
    };
    let gateway = Site::new(&round(0)).start().await;
    let mut kept = Vec::new();
    let mut before = 0;
    for number in 1..=OLD {
        gateway.reload(&round(number)).await;
        kept.extend(asked_once(&gateway, 2).await);
        // The first ones fill what stays filled.
        if number == OLD / 4 {
            before = gateway.resident();
        }
    }
    let grown = gateway.resident().saturating_sub(before);
    println!("{} KiB more after {} further configurations", grown / 1024, OLD - OLD / 4);
    assert!(grown < OLD_CONFIGURATIONS, "{} KiB more", grown / 1024);
    for raw in &mut kept {
        ask(raw).await;
    }
    gateway.stop().await;
}
