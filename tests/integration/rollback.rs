//! Versions of a plugin that only die: held off, and taken back for the version before.

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::guests::digest;
use sluicegate_tests::wat::{Wat, version_guest};
use sluicegate_tests::{Gateway, Origin, Site, one_route, wait::eventually};

fn broken() -> Vec<u8> {
    Wat::new().on("proxy_on_request_headers", "unreachable").build()
}

/// One worker, so that the deaths are counted together.
fn config(target: &str, plugins: &Value) -> Value {
    let mut config = one_route(target, &json!([{ "use": "version" }]));
    config["limits"] = json!({ "workers": 1 });
    config["plugins"] = plugins.clone();
    config
}

async fn plugin(gateway: &Gateway) -> Value {
    let generation = gateway.admin_get("/api/v1/generation").await.expect(200);
    serde_json::from_slice::<Value>(&generation.body).unwrap()["plugins"][0].clone()
}

async fn filter(gateway: &Gateway) -> Value {
    let filters = gateway.admin_get("/api/v1/filters").await.expect(200);
    serde_json::from_slice::<Value>(&filters.body).unwrap()["filters"][0].clone()
}

async fn version(gateway: &Gateway) -> String {
    gateway.get("/").await.header("x-response-version")
}

#[tokio::test]
async fn a_version_that_only_dies_is_rolled_back_until_its_file_changes() {
    let origin = Origin::text("ok").await;
    let site = Site::new(&config(&origin.url(), &json!({}))).plugin("version", version_guest(1));
    let gateway = site.start().await;
    assert_eq!(version(&gateway).await, "1");
    gateway.swap("version", broken()).await;
    gateway.get("/").await.expect(503);
    eventually("the version before serves again", || async { version(&gateway).await == "1" }).await;
    let line = gateway.wait_for_log("Plugin rolled back").await;
    assert!(line.contains(&digest(&broken())[..8]) && line.contains(&digest(&version_guest(1))[..8]), "{line}");
    let told = plugin(&gateway).await;
    assert_eq!((&told["digest"], &told["withdrawn"]), (&json!(digest(&version_guest(1))), &json!(digest(&broken()))));
    assert!(gateway.metric("sluicegate_plugin_swaps_total", &[("result", "rolled_back")]).await >= 1.0);

    let mut other = config(&origin.url(), &json!({}));
    other["routes"][0]["name"] = json!("renamed");
    gateway.reload(&other).await;
    assert_eq!(version(&gateway).await, "1", "other changes do not bring it back");
    gateway.swap("version", version_guest(3)).await;
    assert_eq!(version(&gateway).await, "3", "a new file gets its chance");
    assert_eq!(plugin(&gateway).await["withdrawn"], Value::Null);
}

#[tokio::test]
async fn a_first_version_that_only_dies_is_held_off_and_tried_again_later() {
    let origin = Origin::text("ok").await;
    let gateway = Site::new(&config(&origin.url(), &json!({}))).plugin("version", broken()).start().await;
    for _ in 0..20 {
        gateway.get("/").await.expect(503);
    }
    gateway.wait_for_log("Filter held off").await;
    assert_eq!(filter(&gateway).await["state"], "held_off");
    assert_eq!(gateway.metric("sluicegate_filter_held_off_workers", &[]).await, 1.0);
    assert_eq!(filter(&gateway).await["starts"], 10);
    eventually("another instance is tried", || async {
        gateway.get("/").await.expect(503);
        filter(&gateway).await["starts"].as_u64() > Some(10)
    })
    .await;
    // Nothing to go back to: what is broken is said, and mended by a new file.
    gateway.swap("version", version_guest(2)).await;
    assert_eq!(version(&gateway).await, "2");
}

#[tokio::test]
async fn a_pinned_version_is_never_replaced_by_another() {
    let origin = Origin::text("ok").await;
    let pin = |bytes: &[u8]| config(&origin.url(), &json!({ "sha256": { "version": digest(bytes) } }));
    let gateway = Site::new(&pin(&version_guest(1))).plugin("version", version_guest(1)).start().await;
    gateway.site().write(&pin(&broken()));
    gateway.wait_for_log("plugins.sha256 pins").await;
    gateway.swap("version", broken()).await;
    for _ in 0..20 {
        gateway.get("/").await.expect(503);
    }
    gateway.wait_for_log("Filter held off").await;
    assert_eq!(gateway.log.count("rolled back"), 0);
    assert_eq!(plugin(&gateway).await["digest"], json!(digest(&broken())));
}

#[tokio::test]
async fn a_version_that_the_configuration_no_longer_fits_is_not_gone_back_to() {
    let origin = Origin::text("ok").await;
    let site = Site::new(&config(&origin.url(), &json!({}))).plugin("version", version_guest(1));
    let gateway = site.start().await;
    gateway.swap("version", broken()).await;
    gateway.site().write_text("{ this is no configuration");
    gateway.wait_for_log("Change refused").await;
    eventually("it is tried and said", || async {
        gateway.get("/").await.expect(503);
        gateway.log.count("A failing plugin cannot be rolled back") > 0
    })
    .await;
}

/// Dies of a request with many fields.
fn fragile() -> Vec<u8> {
    let poison = "(if (i32.gt_u (local.get 1) (i32.const 30)) (then unreachable))";
    Wat::new().doing("proxy_on_request_headers", poison).build()
}

async fn poison(gateway: &Gateway) {
    let call = gateway.request(Method::GET, "/");
    let call = (0..40).fold(call, |call, number| call.header(&format!("x-poison-{number}"), "1"));
    let response = call.send().await;
    assert_eq!(response.code(), 503);
}

#[tokio::test]
async fn requests_that_kill_close_a_version_that_serves_for_nobody_and_take_nothing_back() {
    let origin = Origin::text("ok").await;
    let site = Site::new(&config(&origin.url(), &json!({}))).plugin("version", version_guest(1));
    let gateway = site.start().await;
    gateway.swap("version", fragile()).await;
    for _ in 0..5 {
        gateway.get("/").await.expect(200);
    }
    for _ in 0..50 {
        poison(&gateway).await;
    }
    let good = async {
        for _ in 0..100 {
            // The filter has nothing to do with responses, so a death costs a request that waits for the upstream nothing.
            gateway.get("/").await.expect(200);
        }
    };
    let bad = async {
        for _ in 0..100 {
            poison(&gateway).await;
        }
    };
    tokio::join!(good, bad);
    let filter = filter(&gateway).await;
    assert_eq!((&filter["state"], filter["starts"].as_u64() > Some(100)), (&json!("running"), true), "{filter:#}");
    assert_eq!(plugin(&gateway).await["digest"], json!(digest(&fragile())));
    assert_eq!((gateway.log.count("Filter held off"), gateway.log.count("rolled back")), (0, 0));
}
