//! Modules that are no plugins, or bad ones: `check` refuses each with a sentence that says why.

use serde_json::json;
use sluicegate_tests::{Site, Wat, one_route, wat::version_guest};

/// What a bad module is called here, its bytes, and a word of what must be said about it.
fn bad_modules() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let plain = |text: &str| wat::parse_str(text).unwrap();
    let whole = version_guest(1);
    let mut newer = whole.clone();
    newer[4] = 9;
    vec![
        ("an empty file", Vec::new(), "empty"),
        ("a text", b"hello, world, I am a filter".to_vec(), "not WebAssembly"),
        ("half a module", whole[..whole.len() / 2].to_vec(), ""),
        ("a module of another version", newer, "version"),
        ("a component", plain("(component)"), "component"),
        ("a module without a memory", Wat::new().memory("(memory 1)").build(), "memory"),
        (
            "a module without an allocator",
            Wat::new().without("proxy_on_memory_allocate").build(),
            "proxy_on_memory_allocate",
        ),
        ("a module without anything", plain("(module)"), ""),
        (
            "an import with another signature",
            Wat::new().import("(import \"env\" \"proxy_log\" (func (param i64)))").build(),
            "proxy_log",
        ),
        (
            "an export with another signature",
            Wat::new().with("(func (export \"proxy_on_request_headers\") (param i32))").build(),
            "proxy_on_request_headers",
        ),
        (
            "an imported memory",
            Wat::new().import("(import \"env\" \"memory\" (memory 1))").memory("").build(),
            "memory",
        ),
        ("a memory above the ceiling", Wat::new().memory("(memory (export \"memory\") 2000)").build(), "memory"),
        ("a shared memory", Wat::new().memory("(memory (export \"memory\") 4 4 shared)").build(), ""),
        ("a memory of 64 bits", plain("(module (memory (export \"memory\") i64 1))"), ""),
        (
            "a start that answers false",
            Wat::new().on("proxy_on_vm_start", "(i32.const 0)").build(),
            "proxy_on_vm_start",
        ),
        (
            "a configuration that is refused",
            Wat::new().on("proxy_on_configure", "(i32.const 0)").build(),
            "proxy_on_configure",
        ),
        ("a start that traps", Wat::new().on("_initialize", "unreachable").build(), "_initialize"),
        (
            "a configuration that traps",
            Wat::new().on("proxy_on_configure", "unreachable").build(),
            "proxy_on_configure",
        ),
        (
            "a configuration that never ends",
            Wat::new().on("proxy_on_configure", "(loop $l (br $l)) (i32.const 1)").build(),
            "proxy_on_configure",
        ),
        (
            "a wild pointer",
            Wat::new().doing("proxy_on_configure", "(i32.store (i32.const -8) (i32.const 1))").build(),
            "proxy_on_configure",
        ),
    ]
}

#[tokio::test]
async fn each_is_refused_with_a_reason_and_its_place_in_the_configuration() {
    let config = one_route("http://127.0.0.1:9", &json!([{ "use": "bad" }]));
    let mut wrong = Vec::new();
    for (what, bytes, said) in bad_modules() {
        let site = Site::new(&config).plugin("bad", bytes);
        let output = tokio::task::spawn_blocking(move || site.check()).await.unwrap();
        let text = output.text();
        let placed = text.contains("gateway.json:") && text.contains("routes[0].filters[0]");
        if output.code != 1 || !placed || !text.contains(said) || text.contains("panicked") {
            wrong.push(format!("{what}: expected {said:?}, got {} {text}", output.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn none_of_them_gets_in_while_serving() {
    let origin = sluicegate_tests::Origin::text("ok").await;
    let site = Site::new(&one_route(&origin.url(), &json!([{ "use": "bad" }])));
    let gateway = site.plugin("bad", version_guest(1)).start().await;
    let generation = gateway.generation().await;
    for (what, bytes, _) in bad_modules() {
        let from = gateway.log.len();
        gateway.site().drop_in("bad", bytes);
        gateway.log.wait_from(from, "Change refused").await;
        assert_eq!(gateway.get("/").await.expect(200).header("x-response-version"), "1", "{what}");
    }
    assert_eq!(gateway.generation().await, generation);
    gateway.swap("bad", version_guest(2)).await;
    assert_eq!(gateway.get("/").await.expect(200).header("x-response-version"), "2");
}

#[tokio::test]
async fn an_unknown_function_of_the_host_is_a_warning_and_a_trap_when_it_is_called() {
    let origin = sluicegate_tests::Origin::text("ok").await;
    let vendor = Wat::new()
        .import("(import \"env\" \"vendor_special\" (func $special (param i32) (result i32)))")
        .doing("proxy_on_response_headers", "(drop (call $special (i32.const 1)))");
    let site = Site::new(&one_route(&origin.url(), &json!([{ "use": "vendor" }]))).plugin("vendor", vendor.build());
    let gateway = site.start().await;
    gateway.wait_for_log("vendor_special").await;
    gateway.get("/").await.expect(503);
}
