//! Entries that name the same VM: several root contexts in one instance, here and in Envoy.

use std::fs;

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::client::Call;
use sluicegate_tests::envoy::{Envoy, Setup, WasmFilter};
use sluicegate_tests::wait::eventually;
use sluicegate_tests::wat::Wat;
use sluicegate_tests::{Gateway, Origin, Site, one_route, peers};

/// What the guest below writes down: a letter for what happens and one for the root context, `A` for the first.
const DIARY: &str = "
    (global $end (mut i32) (i32.const 12288))
    (global $first (mut i32) (i32.const 0))
    (func $write (param $letter i32)
      (if (i32.lt_u (global.get $end) (i32.const 16384)) (then
        (i32.store8 (global.get $end) (local.get $letter))
        (global.set $end (i32.add (global.get $end) (i32.const 1))))))
    (func $parent (param $context i32) (result i32)
      (i32.load (i32.add (i32.const 20480) (i32.mul (local.get $context) (i32.const 4)))))
    (func $diary (param $letter i32) (param $root i32)
      (call $write (local.get $letter))
      (call $write (select (i32.const 65) (i32.const 66) (i32.eq (local.get $root) (global.get $first)))))
    (func $show (param $name i32) (param $size i32)
      (if (i32.eqz (call $get_property (text \"plugin_root_id\") (i32.const 16) (i32.const 20))) (then
        (drop (call $add_header (i32.const 2) (local.get $name) (local.get $size)
          (i32.load (i32.const 16)) (i32.load (i32.const 20)))))))";

/// A guest that writes a diary of the callbacks of all its contexts, and shows it in the response.
fn diarist() -> Vec<u8> {
    let letter = |letter: char| u32::from(letter);
    let of_root = |what: char| format!("(call $diary (i32.const {}) (local.get 0))", letter(what));
    let of_stream = |what: char| format!("(call $diary (i32.const {}) (call $parent (local.get 0)))", letter(what));
    let created = format!(
        "(i32.store (i32.add (i32.const 20480) (i32.mul (local.get 0) (i32.const 4))) (local.get 1))
         (if (local.get 1) (then {}) (else
           (if (i32.eqz (global.get $first)) (then (global.set $first (local.get 0)))) {}))",
        of_stream('s'),
        of_root('c')
    );
    let configured = format!(
        "{} (call $write (i32.add (i32.const 48) (local.get 1)))
         (if (i32.eq (local.get 1) (i32.const 2)) (then (drop (call $tick_period (i32.const 10)))))",
        of_root('g')
    );
    // Only the second is called by a timer.
    let ticked = "(i32.store (i32.const 64) (i32.add (i32.const 65) (i32.ne (local.get 0) (global.get $first))))";
    // The second asks a service, and tries what other contexts are good for.
    let asked = format!(
        "{} (if (result i32) (i32.eq (call $parent (local.get 0)) (global.get $first)) (then (i32.const 0)) (else
           (i32.store (i32.const 68) (local.get 0))
           (call $write (i32.add (i32.const 48) (call $effective (i32.const 9999))))
           (call $write (i32.add (i32.const 48) (call $effective (global.get $first))))
           (if (i32.eqz (call $get_property (text \"plugin_root_id\") (i32.const 16) (i32.const 20))) (then
             (call $write (i32.load8_u (i32.load (i32.const 16))))))
           (call $write (i32.add (i32.const 48) (call $effective (local.get 0))))
           (call $write (i32.add (i32.const 48) (call $call (text \"side\")
             (text \"\\03\\00\\00\\00\\07\\00\\00\\00\\03\\00\\00\\00\\05\\00\\00\\00\\01\\00\\00\\00\\0a\\00\\00\\00\\01\\00\\00\\00:method\\00GET\\00:path\\00/\\00:authority\\00a\\00\")
             (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 72))))
           (i32.const 1)))",
        of_stream('r')
    );
    let answered = format!(
        "{} (drop (call $effective (i32.load (i32.const 68)))) (drop (call $resume (i32.const 0)))",
        of_root('h')
    );
    let shown = format!(
        "{} (call $show (text \"x-root\"))
         (if (i32.eq (call $parent (local.get 0)) (global.get $first)) (then
           (drop (call $add_header (i32.const 2) (text \"x-diary\")
             (i32.const 12288) (i32.sub (global.get $end) (i32.const 12288))))
           (drop (call $add_header (i32.const 2) (text \"x-ticked\") (i32.const 64) (i32.load8_u (i32.const 66))))))",
        of_stream('p')
    );
    Wat::new()
        .with(DIARY)
        .on("proxy_on_context_create", &created)
        .doing("proxy_on_vm_start", &of_root('v'))
        .doing("proxy_on_configure", &configured)
        .on("proxy_on_tick", &format!("{ticked} (i32.store8 (i32.const 66) (i32.const 1))"))
        .on("proxy_on_request_headers", &asked)
        .on("proxy_on_http_call_response", &answered)
        .doing("proxy_on_response_headers", &shown)
        .build()
}

#[tokio::test]
async fn root_contexts_that_share_a_vm_live_as_they_do_in_envoy() {
    let binary = match peers::envoy() {
        Ok(binary) => binary,
        Err(reason) => return peers::skip("several root contexts in Envoy", &reason),
    };
    let (origin, side) = (Origin::text("ok").await, Origin::text("side").await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("diarist.wasm");
    fs::write(&file, diarist()).unwrap();
    let entries = [("first", "a"), ("second", "bc")];
    let filter =
        |(name, config): (&str, &str)| WasmFilter { name: name.into(), file: file.clone(), config: config.into() };
    let setup = Setup {
        binary,
        clusters: vec![("origin".into(), origin.address()), ("side".into(), side.address())],
        http2_clusters: Vec::new(),
        chains: vec![entries.map(filter).into()],
        core: None,
    };
    let envoy = Envoy::start_in_one_vm(&setup, "common").await;
    let entry = |(name, config): (&str, &str)| json!({ "use": "diarist", "vm_id": "common", "root_id": name, "config": config, "upstreams": ["side"] });
    let mut config = one_route(&origin.url(), &json!(entries.map(entry)));
    config["upstreams"]["side"] = json!({ "targets": [side.url()] });
    config["limits"] = json!({ "workers": 1 });
    let gateway = Site::new(&config).plugin("diarist", diarist()).start().await;
    let mut diaries = Vec::new();
    for address in [gateway.address(), envoy.address()] {
        let ask = || Call::new(address, Method::GET, "/").send();
        let first = ask().await;
        assert_eq!(first.header("x-root"), "second, first", "{first:?}");
        diaries.push((first.header("x-diary"), ask().await.header("x-diary")));
        eventually("the timer of the second runs", || async { ask().await.header("x-ticked") == "B" }).await;
    }
    assert_eq!(diaries[0], diaries[1], "{}", envoy.log.tail());
    assert_eq!(diaries[0].0, "cAvAgA1cBvBgB2sArAsBrB20f00hBpBpA");
}

/// Counts requests in a global, and shows the number. It refuses to be configured with three bytes.
fn counter(version: char) -> Vec<u8> {
    let shown = format!(
        "(global.set $count (i32.add (global.get $count) (i32.const 1)))
         (i32.store8 (i32.const 64) (i32.const {}))
         (i32.store8 (i32.const 65) (i32.add (i32.const 48) (global.get $count)))
         (drop (call $add_header (i32.const 2) (text \"x-count\") (i32.const 64) (i32.const 2)))",
        u32::from(version)
    );
    Wat::new()
        .with("(global $count (mut i32) (i32.const 0))")
        .on(
            "proxy_on_configure",
            "(if (i32.eq (local.get 1) (i32.const 3)) (then (drop (call $log (i32.const 4) (text \"no\")))))
             (i32.ne (local.get 1) (i32.const 3))",
        )
        .doing("proxy_on_response_headers", &shown)
        .build()
}

/// Routes `/0`, `/1` …, each with a filter that counts in the common VM; on one worker.
fn routes(origin: &Origin, configs: &[&str]) -> Value {
    let route = |(number, config): (usize, &&str)| {
        let on_error = if *config == "open" { "open" } else { "closed" };
        let filter = json!({ "use": "counter", "vm_id": "common", "config": config, "on_error": on_error });
        json!({ "match": { "path": { "prefix": format!("/{number}") } }, "filters": [filter], "upstream": "origin" })
    };
    json!({
        "limits": { "workers": 1 },
        "upstreams": { "origin": { "targets": [origin.url()] } },
        "routes": configs.iter().enumerate().map(route).collect::<Vec<_>>(),
    })
}

async fn count(gateway: &Gateway, path: &str) -> String {
    gateway.get(path).await.header("x-count")
}

#[tokio::test]
async fn a_change_of_one_entry_or_of_the_module_gives_all_of_the_vm_a_new_instance() {
    let origin = Origin::text("ok").await;
    let gateway = Site::new(&routes(&origin, &["a", "b"])).plugin("counter", counter('v')).start().await;
    assert_eq!([count(&gateway, "/0").await, count(&gateway, "/1").await], ["v1", "v2"]);
    assert_eq!(gateway.metric("sluicegate_filter_instances", &[("filter", "counter")]).await, 1.0);
    let filters = gateway.admin_get("/api/v1/filters").await.json();
    let states: Vec<_> = filters["filters"].as_array().into_iter().flatten().map(|filter| &filter["state"]).collect();
    assert_eq!(states, ["running", "running"]);

    gateway.reload(&routes(&origin, &["a", "b", "c"])).await;
    assert_eq!([count(&gateway, "/1").await, count(&gateway, "/2").await], ["v1", "v2"], "one more is another VM");
    let mut same = routes(&origin, &["a", "b", "c"]);
    same["limits"]["callouts"] = json!(10);
    gateway.reload(&same).await;
    assert_eq!(count(&gateway, "/0").await, "v3", "what has nothing to do with it changes nothing");
    gateway.swap("counter", counter('w')).await;
    assert_eq!([count(&gateway, "/0").await, count(&gateway, "/1").await], ["w1", "w2"]);

    gateway.site().write(&routes(&origin, &["a", "bad", "c"]));
    let refused = gateway.wait_for_log("Change refused.").await;
    assert!(refused.contains("routes[1].filters[0]") && refused.contains("no"), "the entry is named: {refused}");
    assert_eq!(count(&gateway, "/2").await, "w3", "the old instance serves on");
}

#[tokio::test]
async fn a_trap_in_the_tick_of_one_entry_ends_the_instance_and_each_stream_goes_by_its_own_entry() {
    let holding = "(global.set $held (i32.add (global.get $held) (i32.const 1))) (i32.const 1)";
    let holder = Wat::new()
        .with("(global $held (mut i32) (i32.const 0))")
        .doing(
            "proxy_on_configure",
            "(if (i32.eq (local.get 1) (i32.const 4)) (then (drop (call $tick_period (i32.const 20)))))",
        )
        .on("proxy_on_tick", "(if (i32.eq (global.get $held) (i32.const 2)) (then unreachable))")
        .on("proxy_on_request_headers", holding);
    let origin = Origin::text("ok").await;
    let gateway = Site::new(&routes(&origin, &["a", "open"])).plugin("counter", holder.build()).start().await;
    for _ in 0..3 {
        let (closed, open) = tokio::join!(gateway.get("/0"), gateway.get("/1"));
        assert_eq!((closed.code(), open.code()), (503, 200), "both were held by the instance that ended");
    }
    let trap = gateway.wait_for_log("Filter faulted.").await;
    assert!(trap.contains("routes[1].filters[0]") && trap.contains("proxy_on_tick"), "{trap}");
}

#[tokio::test]
async fn filters_of_the_sdk_share_an_instance_each_with_its_own_configuration() {
    let origin = Origin::echo().await;
    let entry = |root: &str, name: &str| {
        let config = json!({ "request": { "headers": { "set": { name: root } } } });
        json!({ "use": "transform", "vm_id": "common", "root_id": root, "config": config })
    };
    let filters = json!([entry("one", "x-one"), entry("two", "x-two")]);
    let gateway = Site::new(&one_route(&origin.url(), &filters)).start().await;
    let seen = gateway.get("/").await.json();
    assert_eq!([&seen["headers"]["x-one"], &seen["headers"]["x-two"]], ["one", "two"]);
    assert_eq!(gateway.metric("sluicegate_filter_instances", &[]).await, 2.0, "one on each worker");
}
