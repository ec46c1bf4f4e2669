//! What the ABI calls a VM: which state entries share, which root context is meant, and whose timers run.

use http::Method;
use serde_json::json;
use sluicegate_tests::wait::eventually;
use sluicegate_tests::{Origin, Site, guests, one_route};

#[tokio::test]
async fn entries_of_one_vm_share_their_state_whatever_plugins_they_are() {
    let origin = Origin::echo().await;
    let write = json!([{ "share": ["key", "theirs"] }]);
    let read = |name: &str| json!([{ "set": ["request", name, { "shared": "key" }] }]);
    let filters = json!([
        { "use": "one", "vm_id": "common", "config": { "request_headers": write } },
        { "use": "two", "vm_id": "common", "config": { "request_headers": read("x-common") } },
        { "use": "one", "config": { "request_headers": read("x-own") } },
    ]);
    let site = Site::new(&one_route(&origin.url(), &filters)).plugin("one", guests::script());
    let gateway = site.plugin("two", guests::script()).start().await;
    let response = gateway.get("/").await;
    let seen = response.json();
    assert_eq!(seen["headers"]["x-common"], "theirs", "{seen}");
    assert_eq!(seen["headers"]["x-own"], "(none)", "the plugin's own state is another: {seen}");
}

#[tokio::test]
async fn a_filter_is_told_its_vm_and_which_of_its_root_contexts_is_meant() {
    let origin = Origin::echo().await;
    let show = |prefix: &str| {
        json!({ "request_headers": [
            { "set": ["request", format!("x-{prefix}-root"), { "property": ["plugin_root_id"] }] },
            { "set": ["request", format!("x-{prefix}-vm"), { "property": ["plugin_vm_id"] }] },
        ] })
    };
    let filters = json!([
        { "use": "script", "root_id": "limiter", "vm_id": "common", "config": show("a") },
        { "use": "script", "config": show("b") },
    ]);
    let gateway = Site::new(&one_route(&origin.url(), &filters)).script().start().await;
    let seen = gateway.request(Method::GET, "/").send().await.json();
    let header = |name: &str| seen["headers"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(["x-a-root", "x-a-vm", "x-b-root", "x-b-vm"].map(header), ["limiter", "common", "(none)", "script"]);
}

#[tokio::test]
async fn timers_run_on_every_worker_or_once_in_the_process() {
    let origin = Origin::text("ok").await;
    let count = |key: &str| json!({ "tick_ms": 20, "tick": [{ "count_shared": key }] });
    let show = |key: &str| json!({ "set": ["response", format!("x-{key}"), { "shared": key }] });
    let filters = json!([
        { "use": "script", "config": count("each") },
        { "use": "script", "ticks": "process", "config": count("once") },
        { "use": "script", "config": { "response_headers": [show("each"), show("once")] } },
    ]);
    let gateway = Site::new(&one_route(&origin.url(), &filters)).script().start().await;
    let ticks = async || {
        let response = gateway.get("/").await;
        ["x-each", "x-once"].map(|name| response.header(name).parse::<u32>().unwrap_or_default())
    };
    eventually("both workers have ticked for a while", || async { ticks().await[0] > 100 }).await;
    let [each, once] = ticks().await;
    assert!(once * 3 / 2 < each && once * 3 > each, "two workers tick {each} times, the process {once}");
}

#[tokio::test]
async fn twenty_filters_cost_a_worker_less_than_ten_megabytes() {
    let origin = Origin::text("ok").await;
    let filters: Vec<_> = (0..20).map(|_| json!({ "use": "script", "config": {} })).collect();
    let resident = async |workers: u64| {
        let mut config = one_route(&origin.url(), &json!(filters));
        config["limits"] = json!({ "workers": workers });
        let gateway = Site::new(&config).script().start().await;
        for _ in 0..20 {
            gateway.get("/").await.expect(200);
        }
        let resident = gateway.resident();
        gateway.stop().await;
        resident
    };
    let (one, five) = (resident(1).await, resident(5).await);
    let each = five.saturating_sub(one) / 4;
    assert!(each <= 10 << 20, "a worker holds {each} bytes");
}
