//! Each first-party filter and each example in Envoy too: the same requests give the same answers.

use std::fs;

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::client::Call;
use sluicegate_tests::conformance::essence;
use sluicegate_tests::envoy::{Envoy, Setup, WasmFilter};
use sluicegate_tests::{Origin, Response, Site, guests, one_route, peers};
use tempfile::TempDir;

/// One request to send to both.
#[derive(Clone)]
struct Ask {
    method: Method,
    target: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Option<&'static str>,
}

fn ask(method: Method, target: &'static str, headers: &[(&'static str, &'static str)]) -> Ask {
    Ask { method, target, headers: headers.to_vec(), body: None }
}

fn get(target: &'static str, headers: &[(&'static str, &'static str)]) -> Ask {
    ask(Method::GET, target, headers)
}

fn post(target: &'static str, body: &'static str) -> Ask {
    Ask { method: Method::POST, target, headers: vec![("content-type", "application/json")], body: Some(body) }
}

impl Ask {
    async fn send(&self, address: std::net::SocketAddr) -> Response {
        let mut call = Call::new(address, self.method.clone(), self.target).header("host", "shop.example");
        for (name, value) in &self.headers {
            call = call.header(name, value);
        }
        if let Some(body) = self.body {
            call = call.body(body);
        }
        call.send().await
    }
}

/// Sends each request through the gateway and through Envoy, both with this filter in front of an echo, and compares.
async fn same_in_both(name: &str, module: &[u8], config: &Value, asks: &[Ask]) {
    let binary = match peers::envoy() {
        Ok(binary) => binary,
        Err(reason) => return peers::skip("the same filter in Envoy", &reason),
    };
    let (origin, users) = (Origin::echo().await, users().await);
    let mut whole = one_route(&origin.url(), &json!([{ "use": name, "config": config, "upstreams": ["users"] }]));
    whole["upstreams"]["users"] = json!({ "targets": [users.url()] });
    whole["limits"] = json!({ "workers": 1 });
    let gateway = Site::new(&whole).plugin(name, module).start().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("plugin.wasm");
    fs::write(&file, module).unwrap();
    let setup = Setup {
        binary,
        clusters: vec![("origin".into(), origin.address()), ("users".into(), users.address())],
        http2_clusters: Vec::new(),
        chains: vec![vec![WasmFilter { name: name.into(), file, config: config.to_string() }]],
        core: None,
    };
    let envoy = Envoy::start(&setup).await;
    for ask in asks {
        let (ours, theirs) = (ask.send(gateway.address()).await, ask.send(envoy.address()).await);
        let what = format!("{name}: {} {} {:?}", ask.method, ask.target, ask.headers);
        assert_eq!(essence(&ours), essence(&theirs), "{what}\nEnvoy's log:\n{}", envoy.log.tail());
    }
}

/// A service that filters call: it knows one user.
async fn users() -> Origin {
    Origin::start(|seen| async move {
        match seen.target.rsplit('/').next() {
            Some("alice" | "1" | "7") => {
                sluicegate_tests::origin::json_answer(&json!({ "id": "1", "name": "Alice", "plan": "gold" }))
            }
            _ => sluicegate_tests::origin::answer(404, "no such user"),
        }
    })
    .await
}

#[tokio::test]
async fn cors() {
    let config = json!({
        "origins": ["https://app.example", "https://*.shop.example"], "credentials": true,
        "methods": ["GET", "PUT"], "headers": ["x-token"], "expose_headers": ["x-total"], "max_age": "10m",
    });
    let preflight = |origin: &'static str, method: &'static str| {
        ask(Method::OPTIONS, "/", &[("origin", origin), ("access-control-request-method", method)])
    };
    let asks = [
        get("/", &[]),
        get("/", &[("origin", "https://app.example")]),
        get("/", &[("origin", "https://a.shop.example")]),
        get("/", &[("origin", "https://evil.example")]),
        preflight("https://app.example", "PUT"),
        preflight("https://app.example", "DELETE"),
        preflight("https://evil.example", "GET"),
        ask(Method::OPTIONS, "/", &[]),
    ];
    same_in_both("cors", &guests::bundled("cors"), &config, &asks).await;
}

#[tokio::test]
async fn auth() {
    let config = json!({ "api_keys": { "alice": "key-of-alice" } });
    let asks = [
        get("/", &[]),
        get("/", &[("x-api-key", "key-of-alice")]),
        get("/", &[("x-api-key", "wrong")]),
        get("/", &[("x-api-key", "key-of-alice"), ("x-consumer", "mallory")]),
    ];
    same_in_both("auth", &guests::bundled("auth"), &config, &asks).await;
}

#[tokio::test]
async fn rate_limit() {
    let config = json!({ "limit": 2, "per": "1h", "key": "ip" });
    let asks = [get("/", &[]), get("/", &[]), get("/", &[])];
    same_in_both("rate-limit", &guests::bundled("rate-limit"), &config, &asks).await;
}

#[tokio::test]
async fn transform() {
    let config = json!({
        "request": { "headers": { "set": { "x-added": "1" }, "remove": ["x-gone"] } },
        "response": { "headers": { "set": { "x-served-by": "filter" } } },
    });
    let asks = [get("/", &[("x-gone", "1"), ("x-kept", "2")]), post("/", "{\"a\":1}")];
    same_in_both("transform", &guests::bundled("transform"), &config, &asks).await;
}

#[tokio::test]
async fn log() {
    same_in_both("log", &guests::bundled("log"), &json!({}), &[get("/a?b=c", &[]), post("/", "{}")]).await;
}

#[tokio::test]
async fn hello() {
    let config = json!({ "greeting": "Good morning" });
    same_in_both("hello", &guests::bytes(guests::HELLO), &config, &[get("/", &[]), post("/", "{}")]).await;
}

#[tokio::test]
async fn enrich() {
    let user = |name: &'static str| get("/", &[("x-user", name)]);
    let asks = [
        get("/", &[]),
        user("alice"),
        user("nobody"),
        user("../x"),
        get("/", &[("x-user", "alice"), ("x-plan", "free")]),
    ];
    same_in_both("enrich", &guests::bytes(guests::ENRICH), &json!({ "profiles": "users" }), &asks).await;
}

#[tokio::test]
async fn edit_json() {
    let config = json!({ "add": { "source": "gateway" }, "remove": ["password"] });
    let asks =
        [post("/", "{\"name\":\"x\",\"password\":\"y\"}"), post("/", "not json"), post("/", "[1]"), get("/", &[])];
    same_in_both("edit-json", &guests::bytes(guests::EDIT_JSON), &config, &asks).await;
}
