//! Hostile filters, one after the other in one gateway with one worker: what each client gets, that the others go on, and that
//! memory comes back.

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::wat::Wat;
use sluicegate_tests::{Gateway, Origin, Site, one_route, wait::eventually};

/// A filter, and what its client may get: a status, or 0 for a connection that breaks off.
struct Hostile {
    name: &'static str,
    guest: Wat,
    answers: &'static [u16],
}

fn hostile(name: &'static str, guest: Wat, answers: &'static [u16]) -> Hostile {
    Hostile { name, guest, answers }
}

/// With a body for one callback.
fn on(callback: &'static str, body: &str) -> Wat {
    Wat::new().on(callback, body)
}

/// In the request's headers, which then go on.
fn request(body: &str) -> Wat {
    on("proxy_on_request_headers", &format!("{body} (i32.const 0)"))
}

/// With a body for one callback of a filter that wants to be asked at all.
fn served(callback: &'static str, body: &str) -> Wat {
    Wat::new().doing("proxy_on_request_headers", "").on(callback, body)
}

/// The same thing a hundred thousand times.
fn flood(call: &str) -> Wat {
    request(&format!(
        "(loop $again (i32.store (i32.const 600) (i32.add (i32.load (i32.const 600)) (i32.const 1)))
           (i32.store (i32.const 604) (i32.add (i32.load (i32.const 600)) (i32.const 1000000)))
           (drop {call}) (br_if $again (i32.lt_u (i32.load (i32.const 600)) (i32.const 100000))))"
    ))
}

const LOOP: &str = "(loop $l (br $l))";
const REFUSED: &[u16] = &[503];
const PASSES: &[u16] = &[200];
const EITHER: &[u16] = &[200, 503];
/// A response whose head has been sent breaks off.
const BROKEN_OFF: &[u16] = &[0, 503];

/// Callbacks of a stream, what they answer, and what the client gets when one of them never returns or traps.
const CALLBACKS: [(&str, &str, &[u16]); 8] = [
    ("proxy_on_context_create", "", REFUSED),
    ("proxy_on_request_headers", "(i32.const 0)", REFUSED),
    ("proxy_on_request_body", "(i32.const 0)", REFUSED),
    ("proxy_on_response_headers", "(i32.const 0)", REFUSED),
    ("proxy_on_response_body", "(i32.const 0)", BROKEN_OFF),
    ("proxy_on_done", "(i32.const 1)", PASSES),
    ("proxy_on_log", "", PASSES),
    ("proxy_on_delete", "", PASSES),
];

/// The root context's creation is a callback of the start: only streams may suffer here.
fn in_stream(callback: &str, body: &str) -> String {
    match callback {
        "proxy_on_context_create" | "proxy_on_done" | "proxy_on_delete" => {
            format!("(if (i32.gt_u (local.get 0) (i32.const 1)) (then {body}))")
        }
        _ => body.to_owned(),
    }
}

fn endless() -> Vec<Hostile> {
    let case = |(callback, answer, answers): (&'static str, &str, _)| {
        let body = format!("{} {answer}", in_stream(callback, LOOP));
        hostile("an endless loop", served(callback, &body), answers)
    };
    CALLBACKS.into_iter().map(case).collect()
}

fn trapping() -> Vec<Hostile> {
    let case = |(callback, answer, answers): (&'static str, &str, _)| {
        let body = format!("{} {answer}", in_stream(callback, "unreachable"));
        hostile("a trap", served(callback, &body), answers)
    };
    CALLBACKS.into_iter().map(case).collect()
}

fn bombs() -> Vec<Hostile> {
    let grow = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))";
    let table = "(loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))";
    vec![
        hostile("memory without end, and a trap", request(&format!("{grow} unreachable")), REFUSED),
        hostile("memory without end, and on", request(grow), PASSES),
        hostile("tables without end", request(table).with("(table $t 1 funcref)"), PASSES),
        hostile("recursion without end", request("(call $f)").with("(func $f (call $f))"), REFUSED),
        hostile("division by zero", request("(drop (i32.div_u (i32.const 1) (i32.load (i32.const 900))))"), REFUSED),
        hostile("a load behind its memory", request("(drop (i32.load (i32.const -4)))"), REFUSED),
        hostile(
            "a call of what is not there",
            request("(call_indirect $t (i32.const 0))").with("(table $t 1 funcref)"),
            REFUSED,
        ),
    ]
}

/// Its allocator lies when a header is read.
fn lying() -> Vec<Hostile> {
    let read = "(drop (call $get_header (i32.const 0) (text \":authority\") (i32.const 8) (i32.const 12)))";
    let case = |(name, allocate): (&'static str, &str)| {
        hostile(name, request(read).on("proxy_on_memory_allocate", allocate), REFUSED)
    };
    [
        ("an allocator that has nothing", "(i32.const 0)"),
        ("an allocator that points behind memory", "(i32.const -16)"),
        ("an allocator that points to the last byte", "(i32.const 262143)"),
        ("an allocator that traps", "unreachable"),
        ("an allocator that never returns", "(loop $l (br $l)) (i32.const 64)"),
        (
            "an allocator that calls the host",
            "(drop (call $get_header (i32.const 0) (text \":path\") (i32.const 8) (i32.const 12))) (i32.const 64)",
        ),
    ]
    .map(case)
    .into()
}

fn broken_rules() -> Vec<Hostile> {
    let reply = "(drop (call $reply (i32.const 403) (text \"\") (text \"first\") (text \"\") (i32.const -1)))";
    let second = "(drop (call $reply (i32.const 404) (text \"\") (text \"second\") (text \"\") (i32.const -1)))";
    vec![
        hostile("an action that does not exist", on("proxy_on_request_headers", "(i32.const 77)"), REFUSED),
        hostile("a negative action", on("proxy_on_request_headers", "(i32.const -1)"), REFUSED),
        hostile("an action of bodies that does not exist", on("proxy_on_request_body", "(i32.const 9)"), REFUSED),
        hostile("two replies", request(&format!("{reply}{second}")), &[403]),
        hostile("a reply, and on", request(reply), &[403]),
        hostile(
            "a reply with an impossible status",
            request("(drop (call $reply (i32.const 42) (text \"\") (text \"\") (text \"\") (i32.const -1)))"),
            &[500],
        ),
        hostile(
            "resuming what is not held",
            request("(drop (call $resume (i32.const 0))) (drop (call $resume (i32.const 1)))"),
            PASSES,
        ),
        hostile("resuming what does not exist", request("(drop (call $resume (i32.const 77)))"), PASSES),
        hostile(
            "acting on a context that does not exist",
            request("(drop (call $effective (i32.const 4242)))"),
            PASSES,
        ),
        hostile(
            "acting on the root as if it were a stream",
            request(
                "(drop (call $effective (i32.const 1))) (drop (call $add_header (i32.const 0) (text \"x-a\") (text \"1\")))",
            ),
            PASSES,
        ),
        hostile("being done when nobody asked", request("(drop (call $done))"), PASSES),
        hostile("closing its own stream", request("(drop (call $close (i32.const 0)))"), BROKEN_OFF),
        hostile("closing and replying", request(&format!("{reply} (drop (call $close (i32.const 0)))")), &[403, 0]),
    ]
}

fn bad_arguments() -> Vec<Hostile> {
    let case = |(name, body, answers): (&'static str, &str, _)| hostile(name, request(body), answers);
    [
        ("a text behind its memory", "(drop (call $log (i32.const 2) (i32.const -16) (i32.const 64)))", PASSES),
        ("a length that wraps around", "(drop (call $log (i32.const 2) (i32.const 64) (i32.const -1)))", PASSES),
        ("a result behind its memory", "(drop (call $clock (i32.const -4)))", REFUSED),
        ("a map that does not exist", "(drop (call $get_pairs (i32.const 99) (i32.const 8) (i32.const 12)))", PASSES),
        (
            "a buffer that does not exist",
            "(drop (call $get_body (i32.const 99) (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 12)))",
            PASSES,
        ),
        ("pairs that are none", "(drop (call $set_pairs (i32.const 0) (text \"nonsense\")))", PASSES),
        (
            "pairs by the million",
            "(drop (call $set_pairs (i32.const 0) (text \"\\ff\\ff\\ff\\7f\\01\\00\\00\\00\")))",
            PASSES,
        ),
        (
            "pairs whose lengths overflow",
            "(drop (call $set_pairs (i32.const 0) (text \"\\01\\00\\00\\00\\ff\\ff\\ff\\ff\\ff\\ff\\ff\\ff\")))",
            PASSES,
        ),
        ("a level of logs that does not exist", "(drop (call $log (i32.const 77) (text \"hello\")))", PASSES),
        ("a metric that does not exist", "(drop (call $get_metric (i32.const 4242) (i32.const 8)))", PASSES),
        (
            "a metric of a kind that does not exist",
            "(drop (call $define_metric (i32.const 9) (text \"m\") (i32.const 8)))",
            PASSES,
        ),
        ("a queue that does not exist", "(drop (call $enqueue (i32.const 4242) (text \"item\")))", PASSES),
        (
            "a gRPC call that does not exist",
            "(drop (call $grpc_send (i32.const 4242) (text \"m\") (i32.const 0)))",
            PASSES,
        ),
        (
            "a call to nobody",
            "(drop (call $call (text \"nobody\") (text \"\") (text \"\") (text \"\") (i32.const 0) (i32.const 8)))",
            PASSES,
        ),
        (
            "a foreign function that does not exist",
            "(drop (call $foreign (text \"nonsense\") (text \"\") (i32.const 8) (i32.const 12)))",
            PASSES,
        ),
        (
            "a foreign function with nonsense",
            "(drop (call $foreign (text \"verify_signature\") (text \"\\ff\\ff\") (i32.const 8) (i32.const 12)))",
            PASSES,
        ),
        (
            "a body before its time",
            "(drop (call $set_body (i32.const 1) (i32.const -1) (i32.const -1) (text \"x\")))",
            PASSES,
        ),
    ]
    .map(case)
    .into()
}

fn floods() -> Vec<Hostile> {
    let case = |(name, call, answers): (&'static str, &str, _)| hostile(name, flood(call), answers);
    [
        ("logs by the thousands", "(call $log (i32.const 2) (i32.const 600) (i32.const 8))", EITHER),
        ("metrics by the thousands", "(call $define_metric (i32.const 0) (i32.const 600) (i32.const 8) (i32.const 8))", EITHER),
        ("shared data by the thousands", "(call $set_shared (i32.const 600) (i32.const 8) (i32.const 0) (i32.const 60000) (i32.const 0))", EITHER),
        ("queues by the thousands", "(call $register_queue (i32.const 600) (i32.const 8) (i32.const 8))", EITHER),
        ("properties by the thousands", "(call $set_property (i32.const 600) (i32.const 8) (i32.const 0) (i32.const 8))", EITHER),
        ("header fields by the thousands", "(call $add_header (i32.const 0) (text \"x-flood\") (text \"value\"))", &[200, 400, 431, 500, 502, 503]),
        ("replies by the thousands", "(call $reply (i32.const 403) (text \"\") (text \"\") (text \"\") (i32.const -1))", &[403, 503]),
        ("calls by the thousands", "(call $call (text \"origin\") (text \"\\03\\00\\00\\00\\07\\00\\00\\00\\03\\00\\00\\00\\05\\00\\00\\00\\01\\00\\00\\00\\0a\\00\\00\\00\\01\\00\\00\\00:method\\00GET\\00:path\\00/\\00:authority\\00o\\00\") (text \"\") (text \"\") (i32.const 10) (i32.const 8))", EITHER),
    ]
    .map(case)
    .into()
}

/// Fields that must not leave as they were written; the origin shows what reached it.
fn injections() -> Vec<Hostile> {
    let case = |(name, key, value): (&'static str, &str, &str)| {
        let add = format!("(drop (call $add_header (i32.const 0) (text \"{key}\") (text \"{value}\")))");
        hostile(name, request(&add), PASSES)
    };
    [
        ("a line break in a value", "x-injected", "a\\0d\\0ax-injected: yes"),
        ("a line feed in a value", "x-injected", "a\\0ax-injected: yes"),
        ("NUL in a value", "x-injected", "a\\00b"),
        ("a line break in a name", "x\\0d\\0ax-injected", "yes"),
        ("a space in a name", "x-injected ", "yes"),
        ("a colon in a name", "x-injected:", "yes"),
        ("an empty name", "", "x-injected"),
        ("a pseudo header that does not exist", ":x-injected", "yes"),
        ("a response's status in a request", ":status", "x-injected"),
        ("its own framing", "transfer-encoding", "x-injected"),
        ("its own length", "content-length", "4242"),
        ("fields of the connection", "connection", "x-injected"),
        ("an upgrade", "upgrade", "x-injected"),
    ]
    .map(case)
    .into()
}

fn all() -> Vec<Hostile> {
    [endless(), trapping(), bombs(), lying(), broken_rules(), bad_arguments(), floods(), injections()]
        .into_iter()
        .flatten()
        .collect()
}

/// One route per filter, by host, and one without.
async fn gateway(cases: &[Hostile], origin: &Origin) -> Gateway {
    let mut config = one_route(&origin.url(), &json!([]));
    let mut routes: Vec<Value> = Vec::new();
    for number in 0..cases.len() {
        let filter =
            json!({ "use": format!("case-{number}"), "deadline": "20ms", "memory": "4MiB", "upstreams": ["origin"] });
        let host = format!("case-{number}.example");
        routes.push(json!({ "match": { "hosts": [host] }, "filters": [filter], "upstream": "origin" }));
    }
    routes.push(config["routes"][0].clone());
    config["routes"] = Value::Array(routes);
    config["limits"] = json!({ "workers": 1 });
    let numbered = cases.iter().enumerate();
    let site = numbered
        .fold(Site::new(&config), |site, (number, case)| site.plugin(&format!("case-{number}"), case.guest.build()));
    site.start().await
}

/// What a client of that filter gets: the status, or 0, and what reached the origin.
async fn attack(gateway: &Gateway, number: usize) -> (u16, String) {
    let call = gateway.request(Method::POST, "/").header("host", &format!("case-{number}.example")).body("a body");
    match call.try_send().await {
        Ok(response) => (response.code(), response.text()),
        Err(_) => (0, String::new()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_harms_its_own_stream_at_most() {
    let cases = all();
    assert!(cases.len() >= 80, "{}", cases.len());
    let origin = Origin::echo().await;
    let mut gateway = gateway(&cases, &origin).await;
    let instances = gateway.metric("sluicegate_filter_instances", &[]).await;
    for round in 0..2 {
        for (number, case) in cases.iter().enumerate() {
            let (status, text) = attack(&gateway, number).await;
            assert!(case.answers.contains(&status), "round {round}, case {number}, {}: {status} {text}", case.name);
            assert!(!text.contains("x-injected"), "{}: {text}", case.name);
            assert!(!text.contains("4242"), "{}: {text}", case.name);
            assert_eq!(gateway.get("/").await.code(), 200, "after {}", case.name);
        }
    }
    assert!(gateway.is_running());
    assert_eq!(gateway.log.count("panicked"), 0, "the host itself is whole");
    // The memory of all instances is that of those that live; what died has given its own back.
    let memory = gateway.metric("sluicegate_filter_memory_bytes", &[]).await;
    let alive = gateway.metric("sluicegate_filter_instances", &[]).await;
    assert!(alive <= instances && memory <= alive * f64::from(4 << 20), "{alive} instances of {memory} bytes");
    eventually("and requests go on", || async { gateway.get("/").await.code() == 200 }).await;
}

/// Those that misbehave when they are loaded never serve.
#[tokio::test]
async fn a_filter_that_misbehaves_when_it_starts_is_refused() {
    let starts = [
        on("proxy_on_vm_start", &format!("{LOOP} (i32.const 1)")),
        on("proxy_on_configure", &format!("{LOOP} (i32.const 1)")),
        on("_initialize", LOOP),
        Wat::new().with(&format!("(func $s {LOOP}) (start $s)")),
        on("proxy_on_configure", "unreachable"),
        on("proxy_on_configure", "(i32.const 0)"),
        on("proxy_on_context_create", "unreachable"),
        Wat::new().memory("(memory (export \"memory\") 1025)"),
        Wat::new().with("(table 200000 funcref)"),
        Wat::new().with("(func $f (call $f)) (start $f)"),
        Wat::new().with("(data (i32.const 262140) \"behind memory\")"),
    ];
    for guest in starts {
        let config = one_route("http://127.0.0.1:9", &json!([{ "use": "hostile" }]));
        let site = Site::new(&config).plugin("hostile", guest.on("proxy_on_tick", "").build());
        let output = tokio::task::spawn_blocking(move || site.check()).await.unwrap();
        assert_eq!(output.code, 1, "{}", output.text());
        assert!(output.text().contains("routes[0].filters[0]"), "{}", output.text());
    }
}
