//! Swaps under load: nothing fails, nothing is mixed, nothing is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use sluicegate_tests::load::Load;
use sluicegate_tests::wat::version_guest;
use sluicegate_tests::{Gateway, Origin, Response, Site, one_route, wait};

const MIB: u64 = 1 << 20;
const SWAPS: u32 = 200;
const RELOADS: u32 = 50;
const CONNECTIONS: usize = 32;

/// A configuration whose number shows in a request and a response header, with the versioned plugin behind it.
fn config(origin: &str, number: u32) -> Value {
    let show = |map: &str, name: &str| json!([{ "add": [map, name, number.to_string()] }]);
    let script = json!({
        "request_headers": show("request", "x-request-config"),
        "response_headers": show("response", "x-response-config"),
    });
    one_route(origin, &json!([{ "use": "script", "config": script }, { "use": "version" }]))
}

/// An origin whose answer tells which versions the request has met.
async fn telling_origin() -> Origin {
    Origin::start(|seen| async move {
        let text = format!("config={};version={}", seen.header("x-request-config"), seen.header("x-request-version"));
        sluicegate_tests::origin::answer(200, text)
    })
    .await
}

/// The one configuration and the one version that an answer shows, or what is mixed in it.
fn versions(response: &Response) -> Result<(u64, u64), String> {
    let (config, version) = (response.header("x-response-config"), response.header("x-response-version"));
    let expected = format!("config={config};version={version};version={version}");
    if response.code() != 200 || response.text() != expected {
        return Err(format!("{response:?}"));
    }
    match (config.parse(), version.parse()) {
        (Ok(config), Ok(version)) => Ok((config, version)),
        _ => Err(format!("{response:?}")),
    }
}

/// The newest versions that any answer has shown.
#[derive(Default)]
struct Newest {
    config: AtomicU64,
    version: AtomicU64,
}

impl Newest {
    async fn reaches(&self, config: u32, version: u32) {
        wait::eventually("the new versions serve", || {
            let there = self.config.load(Ordering::Relaxed) >= config.into()
                && self.version.load(Ordering::Relaxed) >= version.into();
            std::future::ready(there)
        })
        .await;
    }
}

/// Instances that are alive, and memory in use.
async fn footprint(gateway: &Gateway) -> (f64, u64) {
    (gateway.metric("sluicegate_filter_instances", &[]).await, gateway.resident())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_swaps_and_fifty_reloads_under_load_fail_nothing_and_mix_nothing() {
    let origin = telling_origin().await;
    let gateway = Site::new(&config(&origin.url(), 0)).script().plugin("version", version_guest(0)).start().await;
    let newest = Arc::new(Newest::default());
    let seen = Arc::clone(&newest);
    let load = Load::start(gateway.address(), CONNECTIONS, "/", move |response| {
        let (config, version) = versions(response)?;
        seen.config.fetch_max(config, Ordering::Relaxed);
        seen.version.fetch_max(version, Ordering::Relaxed);
        Ok(())
    });
    load.advance(1000).await;
    // The first swaps fill what stays filled: allocators, pools, the previous version that is kept.
    for round in 1..=2 {
        gateway.site().drop_in("version", version_guest(round));
        newest.reaches(0, round).await;
    }
    // The first answer of a version comes from one worker: the other one has it, too, before its instances are counted.
    load.advance(1000).await;
    let (instances, memory) = footprint(&gateway).await;
    let mut reloads = 0;
    for round in 3..=SWAPS {
        gateway.site().drop_in("version", version_guest(round));
        if round % (SWAPS / RELOADS) == 0 {
            reloads = round / (SWAPS / RELOADS);
            gateway.site().write(&config(&origin.url(), reloads));
        }
        newest.reaches(reloads, round).await;
    }
    assert_eq!(reloads, RELOADS);
    load.advance(1000).await;
    let served = load.stop().await;
    println!("{served} requests over {SWAPS} swaps and {RELOADS} reloads");
    wait::eventually("old instances are gone", || async { footprint(&gateway).await.0 <= instances }).await;
    let grown = gateway.resident().saturating_sub(memory);
    assert!(grown < 32 * MIB, "the swaps left {} MiB behind", grown / MIB);
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_in_flight_finishes_on_the_version_that_it_started_with() {
    let release = Arc::new(tokio::sync::Notify::new());
    let gate = Arc::clone(&release);
    let origin = Origin::start(move |seen| {
        let gate = Arc::clone(&gate);
        async move {
            if seen.target == "/slow" {
                gate.notified().await;
            }
            let text =
                format!("config={};version={}", seen.header("x-request-config"), seen.header("x-request-version"));
            sluicegate_tests::origin::answer(200, text)
        }
    })
    .await;
    let gateway = Site::new(&config(&origin.url(), 1)).script().plugin("version", version_guest(1)).start().await;
    let slow = tokio::spawn(gateway.request(http::Method::GET, "/slow").send());
    origin.wait_for(1).await;
    gateway.swap("version", version_guest(2)).await;
    gateway.reload(&config(&origin.url(), 2)).await;
    assert_eq!(versions(&gateway.get("/").await), Ok((2, 2)));
    release.notify_one();
    assert_eq!(versions(&slow.await.unwrap()), Ok((1, 1)));
}

#[tokio::test]
async fn a_swap_is_told_in_one_line_with_digests_times_and_draining_streams() {
    let origin = telling_origin().await;
    let gateway = Site::new(&config(&origin.url(), 1)).script().plugin("version", version_guest(1)).start().await;
    let old = digest(gateway.site());
    let from = gateway.log.len();
    gateway.swap("version", version_guest(2)).await;
    let new = digest(gateway.site());
    let line = gateway.log.wait_from(from, &new[..8]).await;
    for part in [&old[..8], "version", "compile", "configure", "draining"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[tokio::test]
async fn connections_that_wait_are_not_told_of_as_draining() {
    let origin = telling_origin().await;
    let gateway = Site::new(&config(&origin.url(), 1)).script().plugin("version", version_guest(1)).start().await;
    let mut kept = Vec::new();
    for _ in 0..4 {
        let mut connection = sluicegate_tests::Connection::http1(gateway.address()).await.unwrap();
        connection.get("/").await.expect(200);
        kept.push(connection);
    }
    let from = gateway.log.len();
    gateway.swap("version", version_guest(2)).await;
    let line = gateway.log.wait_from(from, "Plugin swapped").await;
    assert!(line.contains("draining=0"), "{line}");
    for connection in &mut kept {
        assert_eq!(versions(&connection.get("/").await), Ok((1, 2)));
    }
}

/// The digest of the versioned plugin's file, as the system's own tool has it.
fn digest(site: &Site) -> String {
    let output = std::process::Command::new("sha256sum").arg(site.plugin_file("version")).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_old_plugin_itself_ends_once_when_its_last_stream_has() {
    let origin = Origin::text("ok").await;
    let filter = |name: &str| json!([{ "use": "script", "config": { "trace": true, "root_done": [{ "log": format!("goodbye {name}") }] } }]);
    let mut first = one_route(&origin.url(), &filter("one"));
    first["limits"] = json!({ "workers": 1 });
    let mut second = one_route(&origin.url(), &filter("two"));
    second["limits"] = json!({ "workers": 1 });
    let gateway = Site::new(&first).script().start().await;
    gateway.get("/").await.expect(200);
    let from = gateway.log.count("goodbye one");
    gateway.reload(&second).await;
    gateway.log.wait_for_count("goodbye one", from + 1).await;
    gateway.get("/").await.expect(200);
    assert_eq!(gateway.log.count("goodbye one"), from + 1);
}

#[tokio::test]
async fn routes_upstreams_and_filters_change_without_a_restart() {
    let (one, two) = (Origin::text("one").await, Origin::text("two").await);
    let gateway = Site::new(&one_route(&one.url(), &json!([]))).start().await;
    let mut connection = sluicegate_tests::Connection::http1(gateway.address()).await.unwrap();
    assert_eq!(connection.get("/").await.expect(200).text(), "one");
    gateway
        .reload(&one_route(&two.url(), &json!([{ "use": "cors", "config": { "origins": ["https://a.example"] } }])))
        .await;
    assert_eq!(connection.get("/").await.expect(200).text(), "two");
    assert!(!connection.is_closed());
}
