//! gRPC calls that filters make, to a service over real sockets; and the same filter in Envoy.

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::client::Call;
use sluicegate_tests::envoy::{Envoy, Setup, WasmFilter};
use sluicegate_tests::grpc::GrpcOrigin;
use sluicegate_tests::{Gateway, Origin, Site, guests, one_route, peers};
use tempfile::TempDir;

/// The upstream. Envoy reads the name first as a serialised message, and ends its whole process for one that happens to be
/// legal as such, as `users` is; this one is not.
const SERVICE: &str = "people";

/// Calls the method that the client names with `x-do`, and shows to the upstream what came of it.
fn unary(timeout_ms: u64) -> Value {
    let methods = ["Get", "Deny", "Fail", "Silent", "Hang", "Cut", "Huge", "Packed", "Html", "Gone", "Missing"];
    let ask = |method: &&str| {
        let call = json!({ "upstream": SERVICE, "method": method, "message": "hello", "timeout_ms": timeout_ms, "metadata": [["x-asked", "filter"]] });
        json!({ "when": [method, [{ "grpc": call }, "pause"]] })
    };
    json!({
        "request_headers": methods.iter().map(ask).collect::<Vec<_>>(),
        "grpc_response": [
            { "set": ["request", "x-status", { "grpc_status": null }] },
            { "set": ["request", "x-answer", { "body": "grpc" }] },
            { "resume": "request" },
        ],
    })
}

async fn gateway(origin: &Origin, users: &str, protocol: &str, config: &Value) -> Gateway {
    let filter = json!({ "use": "script", "config": config, "upstreams": [SERVICE] });
    let mut whole = one_route(&origin.url(), &json!([filter]));
    whole["upstreams"][SERVICE] = json!({ "targets": [users], "protocol": protocol });
    Site::new(&whole).script().start().await
}

/// What reached the origin of a request for that method: the status, and the message.
async fn outcome(gateway: &Gateway, origin: &Origin, method: &str) -> (String, String) {
    gateway.request(Method::GET, "/").header("x-do", method).send().await.expect(200);
    let seen = origin.last();
    (seen.header("x-status"), seen.header("x-answer"))
}

#[tokio::test]
async fn a_request_waits_for_the_answer_of_a_unary_call() {
    let (origin, users) = (Origin::echo().await, GrpcOrigin::start().await);
    let gateway = gateway(&origin, &users.url(), "http2", &unary(10_000)).await;
    assert_eq!(outcome(&gateway, &origin, "Get").await, ("0".to_owned(), "hello from filter".to_owned()));
    assert_eq!(outcome(&gateway, &origin, "Get").await.1, "hello from filter", "and again on the same connection");
}

#[tokio::test]
async fn whatever_a_service_does_wrong_a_unary_call_ends_with_a_status() {
    let (origin, users) = (Origin::echo().await, GrpcOrigin::start().await);
    let gateway = gateway(&origin, &users.url(), "http2", &unary(10_000)).await;
    for (method, status) in [
        ("Deny", "7 not yours"),
        ("Fail", "9 not now"),
        ("Silent", "13 the upstream sent no message"),
        ("Huge", "8 the upstream's message is larger than 1048576 bytes"),
        ("Packed", "13 the upstream's message is compressed, which was not offered"),
        ("Html", "2 the upstream's answer is not gRPC"),
        ("Gone", "14 the upstream answered HTTP 503"),
        ("Missing", "12"),
    ] {
        assert_eq!(outcome(&gateway, &origin, method).await, (status.to_owned(), "(none)".to_owned()), "{method}");
    }
    assert!(outcome(&gateway, &origin, "Cut").await.0.starts_with("14 "));
    assert_eq!(outcome(&gateway, &origin, "Get").await.1, "hello from filter", "later calls are none the worse");
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_ended_by_its_deadline() {
    let (origin, users) = (Origin::echo().await, GrpcOrigin::start().await);
    let gateway = gateway(&origin, &users.url(), "http2", &unary(50)).await;
    assert_eq!(outcome(&gateway, &origin, "Hang").await.0, "4 the call's time is up");
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_unavailable() {
    let origin = Origin::echo().await;
    let gateway = gateway(&origin, "http://127.0.0.1:1", "http2", &unary(10_000)).await;
    assert!(outcome(&gateway, &origin, "Get").await.0.starts_with("14 "));
}

#[tokio::test]
async fn an_upstream_of_http1_is_refused_and_the_log_says_what_to_change() {
    let (origin, users) = (Origin::echo().await, GrpcOrigin::start().await);
    let config = json!({ "request_headers": [{ "grpc": { "upstream": SERVICE, "method": "Get", "message": "x" } }] });
    let gateway = gateway(&origin, &users.url(), "http1", &config).await;
    gateway.get("/").await.expect(200);
    gateway.log.wait_for("refused InternalFailure").await;
    gateway.log.wait_for("gRPC needs an upstream whose protocol is http2").await;
}

/// A stream that answers what was said last, and shows all that it heard when it ends.
fn chat() -> Value {
    let heard = |more: Value| json!({ "share": ["heard", { "concat": [{ "shared": "heard" }, more] }] });
    json!({
        "request_headers": [
            { "share": ["heard", "heard "] },
            { "grpc": { "upstream": SERVICE, "method": "Chat" } },
            { "grpc_send": ["hello", false] },
            "pause",
        ],
        "grpc_initial": [heard(json!({ "header": ["grpc_initial", "x-kind"] })), { "grpc_send": ["again", true] }],
        "grpc_message": [heard(json!({ "concat": [" ", { "body": "grpc" }] }))],
        "grpc_trailing": [heard(json!({ "concat": [" ", { "header": ["grpc_trailing", "x-kind"] }] }))],
        "grpc_close": [
            { "set": ["request", "x-heard", { "shared": "heard" }] },
            { "set": ["request", "x-status", { "grpc_status": null }] },
            { "resume": "request" },
        ],
    })
}

#[tokio::test]
async fn a_stream_goes_both_ways_until_both_sides_have_ended() {
    let (origin, users) = (Origin::echo().await, GrpcOrigin::start().await);
    let gateway = gateway(&origin, &users.url(), "http2", &chat()).await;
    gateway.get("/").await.expect(200);
    let seen = origin.last();
    assert_eq!(
        (seen.header("x-heard").as_str(), seen.header("x-status").as_str()),
        ("heard initial HELLO AGAIN trailing", "0")
    );
}

#[tokio::test]
async fn a_cancelled_stream_says_nothing_more_and_others_go_on() {
    let (origin, users) = (Origin::echo().await, GrpcOrigin::start().await);
    let config = json!({
        "trace": true,
        "request_headers": [{ "grpc": { "upstream": SERVICE, "method": "Watch" } }, "pause"],
        "grpc_message": ["grpc_cancel", { "resume": "request" }],
    });
    let gateway = gateway(&origin, &users.url(), "http2", &config).await;
    for _ in 0..3 {
        gateway.get("/").await.expect(200);
    }
    gateway.log.wait_for("saw grpc_message 3").await;
    assert_eq!(gateway.log.count("saw grpc_close"), 0);
}

#[tokio::test]
async fn the_same_filter_tells_the_same_in_envoy() {
    let binary = match peers::envoy() {
        Ok(binary) => binary,
        Err(reason) => return peers::skip("gRPC calls in Envoy", &reason),
    };
    let (origin, users) = (Origin::echo().await, GrpcOrigin::start().await);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("plugin.wasm");
    std::fs::write(&file, guests::script()).unwrap();
    for (config, methods) in [(unary(10_000), &["Get", "Deny", "Fail", "Missing"][..]), (chat(), &[""])] {
        let gateway = gateway(&origin, &users.url(), "http2", &config).await;
        let setup = Setup {
            binary: binary.clone(),
            clusters: vec![("origin".into(), origin.address())],
            http2_clusters: vec![(SERVICE.into(), users.address())],
            chains: vec![vec![WasmFilter { name: "script".into(), file: file.clone(), config: config.to_string() }]],
            core: None,
        };
        let envoy = Envoy::start(&setup).await;
        for method in methods {
            let mut seen = Vec::new();
            for address in [gateway.address(), envoy.address()] {
                let answer = Call::new(address, Method::GET, "/").header("x-do", method).try_send().await;
                answer
                    .unwrap_or_else(|error| panic!("{method}: {error}\nEnvoy's log:\n{}", envoy.log.tail()))
                    .expect(200);
                let last = origin.last();
                // Envoy leaves the message as it is encoded, and adds where it comes from.
                let code = last.header("x-status").split(' ').next().unwrap_or_default().to_owned();
                seen.push([code, last.header("x-answer"), last.header("x-heard")]);
            }
            assert_eq!(seen[0], seen[1], "{method}\nEnvoy's log:\n{}", envoy.log.tail());
        }
    }
}
