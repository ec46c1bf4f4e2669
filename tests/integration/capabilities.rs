//! What an entry grants its filter: checked when the module is loaded, and kept to while it runs.

use serde_json::{Value, json};
use sluicegate_tests::site::Output;
use sluicegate_tests::wat::{Wat, header_guest, version_guest};
use sluicegate_tests::{Origin, Site, one_route};

fn config(target: &str, plugin: &str, capabilities: &Value) -> Value {
    one_route(target, &json!([{ "use": plugin, "capabilities": capabilities }]))
}

async fn check(module: Vec<u8>, capabilities: &Value) -> Output {
    let site = Site::new(&config("http://127.0.0.1:9", "some", capabilities)).plugin("some", module);
    tokio::task::spawn_blocking(move || site.check()).await.unwrap()
}

#[tokio::test]
async fn a_module_that_imports_more_than_it_is_granted_is_refused_with_what_is_missing() {
    let module = header_guest();
    let output = check(module.clone(), &json!({ "hostcalls": ["log"] })).await;
    assert_eq!(output.code, 1, "{}", output.text());
    let said = "plugin \"some\" imports what its capabilities.hostcalls do not grant: proxy_add_header_map_value (\"headers\")";
    assert!(output.text().contains(said), "{}", output.text());
    for granted in [json!({ "hostcalls": ["headers", "log"] }), json!({ "foreign": [] }), json!({})] {
        assert_eq!(check(module.clone(), &granted).await.code, 0, "{granted}");
    }
}

#[tokio::test]
async fn single_hostcalls_can_be_granted() {
    let output = check(version_guest(1), &json!({ "hostcalls": ["proxy_add_header_map_value", "buffers"] })).await;
    assert_eq!(output.code, 0, "{}", output.text());
}

#[tokio::test]
async fn inspecting_a_module_shows_the_areas_to_grant() {
    let site = Site::empty().plugin("some", header_guest());
    let file = site.plugin_file("some").display().to_string();
    let output =
        tokio::task::spawn_blocking(move || site.run(&["plugins", "inspect", &file, "-o", "json"])).await.unwrap();
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    let areas = report["areas"].as_array().unwrap();
    assert!(areas.contains(&json!("headers")), "{areas:?}");
}

#[tokio::test]
async fn a_swap_to_a_module_that_wants_more_is_refused_and_the_old_one_goes_on() {
    let origin = Origin::text("ok").await;
    let granted = json!({ "hostcalls": ["proxy_add_header_map_value", "buffers"] });
    let gateway = Site::new(&config(&origin.url(), "some", &granted)).plugin("some", version_guest(1)).start().await;
    gateway.get("/").await.expect(200);
    let greedy = Wat::new().doing(
        "proxy_on_request_headers",
        "(drop (call $reply (i32.const 200) (text \"\") (text \"\") (text \"\") (i32.const -1)))",
    );
    gateway.site().drop_in("some", greedy.build());
    gateway.wait_for_log("do not grant: proxy_send_local_response").await;
    assert_eq!(gateway.get("/").await.expect(200).header("x-response-version"), "1");
}

#[tokio::test]
async fn a_foreign_function_that_is_not_granted_is_refused_and_logged_while_it_runs() {
    let origin = Origin::echo().await;
    let script = json!({
        "request_headers": [
            { "set": ["request", "x-a", { "foreign": ["sluicegate.kv_get", "k"] }] },
            { "set": ["request", "x-b", { "foreign": ["compress", "k"] }] },
        ],
    });
    let entry = json!([{ "use": "script", "config": script, "capabilities": { "foreign": ["sluicegate.kv_get"] } }]);
    let gateway = Site::new(&one_route(&origin.url(), &entry)).script().start().await;
    gateway.get("/").await.expect(200);
    assert!(origin.last().has("x-a") && !origin.last().has("x-b"));
    gateway.wait_for_log("was not granted").await;
}
