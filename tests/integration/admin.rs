//! The admin API as operators use it: what is in force, and the changes that may be asked for.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::client::Call;
use sluicegate_tests::guests::digest;
use sluicegate_tests::raw::{Raw, exchange};
use sluicegate_tests::wat::version_guest;
use sluicegate_tests::{Gateway, Origin, Site, one_route, wait};

fn config(target: &str) -> Value {
    one_route(target, &json!([{ "use": "version" }]))
}

async fn start(origin: &Origin) -> Gateway {
    Site::new(&config(&origin.url())).plugin("version", version_guest(1)).start().await
}

async fn version(gateway: &Gateway) -> String {
    gateway.get("/").await.expect(200).header("x-response-version")
}

#[tokio::test]
async fn the_configuration_in_force_is_shown_in_full_and_without_secrets() {
    let mut config = config("http://127.0.0.1:9");
    config["filters"] =
        json!([{ "use": "auth", "config": { "api_keys": { "a": "${TESTS_SECRET}", "b": "literal-hunter2" } } }]);
    config["upstreams"]["origin"]["targets"] = json!(["http://127.0.0.1:${TESTS_PORT:-19}"]);
    let site = Site::new(&config).plugin("version", version_guest(1)).env("TESTS_SECRET", "hunter2hunter2");
    let gateway = site.start().await;
    let shown = gateway.admin_get("/api/v1/config").await.expect(200);
    assert!(!shown.text().contains("hunter2"), "{}", shown.text());
    let shown = shown.json();
    assert_eq!(shown["filters"][0]["config"], json!({ "api_keys": { "a": "${TESTS_SECRET}", "b": "***" } }));
    assert_eq!(shown["upstreams"]["origin"]["targets"], json!(["http://127.0.0.1:19"]));
    assert_eq!((&shown["routes"][0]["timeout"], &shown["limits"]["callouts"]), (&json!("15s"), &json!(1000)));
    config["routes"][0]["timeout"] = json!("7s");
    gateway.reload(&config).await;
    assert_eq!(gateway.admin_get("/api/v1/config").await.json()["routes"][0]["timeout"], "7s");
}

#[tokio::test]
async fn what_needs_a_restart_is_shown_as_it_is_in_force_and_named() {
    let mut config = config("http://127.0.0.1:9");
    config["limits"] = json!({ "workers": 1 });
    let gateway = Site::new(&config).plugin("version", version_guest(1)).start().await;
    let shown = gateway.admin_get("/api/v1/config").await.json();
    let named = async || gateway.admin_get("/api/v1/generation").await.json()["restart_needed"].clone();
    assert_eq!((&shown["limits"]["workers"], named().await), (&json!(1), json!([])));
    let address = shown["admin"]["address"].clone();
    config["limits"] = json!({ "workers": 2, "connections": 77 });
    config["admin"] = json!({ "address": "127.0.0.2:0" });
    gateway.reload(&config).await;
    let shown = gateway.admin_get("/api/v1/config").await.json();
    let limits = &shown["limits"];
    assert_eq!((&limits["workers"], &limits["connections"]), (&json!(1), &json!(77)));
    assert_eq!((&shown["admin"]["address"], named().await), (&address, json!(["admin.address", "limits.workers"])));
}

#[tokio::test]
async fn routes_are_told_in_the_order_of_precedence() {
    let mut config = config("http://127.0.0.1:9");
    config["filters"] = json!([{ "use": "version", "when": { "methods": ["POST"] } }]);
    config["routes"] = json!([
        { "name": "any", "upstream": "origin" },
        { "name": "prefix", "match": { "path": "/a" }, "upstreams": { "origin": 1 }, "filters": [{ "use": "version" }] },
        { "name": "regex", "match": { "path": { "regex": "/b.*" } }, "respond": {} },
        { "name": "exact", "match": { "path": { "exact": "/a" } }, "redirect": { "scheme": "https" } },
        { "name": "host", "match": { "host": "a.example" }, "upstream": "origin" },
        { "name": "longer", "match": { "path": "/a/b" }, "upstream": "origin" },
        { "name": "suffix", "match": { "host": "*.example" }, "upstream": "origin" },
        { "name": "asking", "match": { "path": "/a", "methods": ["GET"] }, "upstream": "origin" },
    ]);
    let gateway = Site::new(&config).plugin("version", version_guest(1)).start().await;
    let told = gateway.admin_get("/api/v1/routes").await.expect(200).json();
    let names: Vec<_> =
        told["routes"].as_array().unwrap().iter().map(|route| route["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["host", "suffix", "exact", "longer", "asking", "prefix", "regex", "any"]);
    let prefix = &told["routes"][5];
    assert_eq!(
        (&prefix["match"], &prefix["action"]),
        (&json!({ "path": "/a" }), &json!({ "upstreams": { "origin": 1 } }))
    );
    let filters: Vec<_> =
        prefix["filters"].as_array().unwrap().iter().map(|filter| filter["path"].as_str().unwrap()).collect();
    assert_eq!(filters, ["filters[0]", "routes[1].filters[0]"]);
    assert_eq!(prefix["filters"][0]["conditional"], true);
}

#[tokio::test]
async fn a_reload_answers_with_the_generation_or_with_every_problem_and_its_place() {
    let origin = Origin::text("ok").await;
    let gateway = start(&origin).await;
    let before = gateway.generation().await;
    let answer = gateway.admin_post("/api/v1/reload").await.expect(200).json();
    assert!(answer["generation"].as_u64().unwrap() > before, "{answer}");
    assert_eq!(answer["generation"], gateway.generation().await);
    let mut wrong = config(&origin.url());
    wrong["routes"][0]["upstream"] = json!("orign");
    wrong["limits"] = json!({ "wrokers": 1 });
    gateway.site().write(&wrong);
    let answer = gateway.admin_post("/api/v1/reload").await.expect(422).json();
    let problems = answer["problems"].as_array().unwrap();
    let paths: Vec<_> = problems.iter().map(|problem| problem["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"routes[0].upstream") && paths.contains(&"limits.wrokers"), "{answer}");
    assert!(
        problems.iter().all(|problem| problem["line"].as_u64() > Some(0) && problem["file"] == "gateway.json"),
        "{answer}"
    );
    assert!(problems.iter().any(|problem| problem["suggestion"] == "origin"), "{answer}");
    assert_eq!(version(&gateway).await, "1", "the previous configuration keeps serving");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut taken_address = config(&origin.url());
    taken_address["listeners"] = json!([{ "address": taken.local_addr().unwrap() }]);
    gateway.site().write(&taken_address);
    let answer = gateway.admin_post("/api/v1/reload").await.expect(422).json();
    assert!(answer["problems"][0]["message"].as_str().unwrap().contains("cannot listen"), "{answer}");
}

#[tokio::test]
async fn a_drain_that_is_asked_for_is_that_of_a_signal() {
    let origin = Origin::text("ok").await;
    let mut gateway = start(&origin).await;
    assert_eq!(gateway.admin_post("/api/v1/drain").await.expect(202).json()["status"], "draining");
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert!(gateway.log.count("Drained.") == 1);
}

#[tokio::test]
async fn a_plugin_goes_back_to_the_version_before_once() {
    let origin = Origin::text("ok").await;
    let gateway = start(&origin).await;
    let roll_back = "/api/v1/plugins/version/rollback";
    let answer = gateway.admin_post(roll_back).await.expect(409).json();
    assert!(answer["error"].as_str().unwrap().contains("no other version"), "{answer}");
    gateway.admin_post("/api/v1/plugins/absent/rollback").await.expect(404);
    gateway.swap("version", version_guest(2)).await;
    assert_eq!(version(&gateway).await, "2");
    let answer = gateway.admin_post(roll_back).await.expect(200).json();
    assert_eq!(
        (&answer["digest"], &answer["withdrawn"]),
        (&json!(digest(&version_guest(1))), &json!(digest(&version_guest(2))))
    );
    assert_eq!(version(&gateway).await, "1");
    assert_eq!(gateway.generation().await, answer["generation"].as_u64().unwrap());
    let answer = gateway.admin_post(roll_back).await.expect(409).json();
    assert!(answer["error"].as_str().unwrap().contains("already"), "{answer}");
    gateway.admin_post("/api/v1/reload").await.expect(200);
    assert_eq!(version(&gateway).await, "1", "a reload does not bring it back");
    gateway.swap("version", version_guest(3)).await;
    assert_eq!(version(&gateway).await, "3", "a new file gets its chance");
    gateway.admin_post(roll_back).await.expect(200);
    assert_eq!(version(&gateway).await, "1");
}

#[tokio::test]
async fn a_pinned_version_and_one_that_no_longer_fits_stay() {
    let origin = Origin::text("ok").await;
    let gateway = start(&origin).await;
    gateway.swap("version", version_guest(2)).await;
    gateway.site().write_text("{ this is no configuration");
    let answer = gateway.admin_post("/api/v1/plugins/version/rollback").await.expect(422).json();
    assert_eq!(answer["problems"][0]["line"], 1, "{answer}");
    assert_eq!(version(&gateway).await, "2");
    let mut pinned = config(&origin.url());
    pinned["plugins"] = json!({ "sha256": { "version": digest(&version_guest(2)) } });
    gateway.site().write(&pinned);
    gateway.admin_post("/api/v1/reload").await.expect(200);
    let answer = gateway.admin_post("/api/v1/plugins/version/rollback").await.expect(409).json();
    assert!(answer["error"].as_str().unwrap().contains("pins"), "{answer}");
}

#[tokio::test]
async fn a_web_page_changes_nothing() {
    let origin = Origin::text("ok").await;
    let gateway = start(&origin).await;
    let before = gateway.generation().await;
    let own = format!("http://{}", gateway.admin());
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", own.as_str()),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let call = Call::new(gateway.admin(), Method::POST, "/api/v1/reload").header(name, value);
        let answer = call.send().await.expect(403).json();
        assert!(answer["error"].is_string(), "{answer}");
    }
    for path in ["/api/v1/reload", "/api/v1/drain", "/api/v1/plugins/version/rollback"] {
        let request = format!("POST {path} HTTP/1.1\r\nhost: rebound.example:9901\r\nconnection: close\r\n\r\n");
        let answer = exchange(gateway.admin(), request).await;
        assert!(answer.starts_with(b"HTTP/1.1 403 "), "{}", String::from_utf8_lossy(&answer));
        let answer = gateway.admin_get(path).await.expect(405);
        assert_eq!(answer.header("allow"), "POST");
        let preflight = Call::new(gateway.admin(), Method::OPTIONS, path).header("origin", "https://evil.example");
        assert!(!preflight.send().await.expect(405).has("access-control-allow-origin"));
    }
    for path in ["/api/v1/config", "/api/v1/routes"] {
        assert_eq!(gateway.admin_post(path).await.expect(405).header("allow"), "GET, HEAD");
    }
    assert_eq!(gateway.generation().await, before);
    let call = Call::new(gateway.admin(), Method::POST, "/api/v1/reload").header("sec-fetch-site", "none");
    call.send().await.expect(200);
    wait::eventually("it serves", || async { version(&gateway).await == "1" }).await;
}

/// The rows of the tables of a document, as their cells.
fn rows(text: &str) -> impl Iterator<Item = Vec<String>> {
    let row = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()
    };
    text.lines().filter(|line| line.starts_with("| `")).map(row)
}

#[tokio::test]
async fn every_metric_is_in_the_document_with_its_type_and_labels_and_no_other() {
    let origin = Origin::text("ok").await;
    let mut config = config(&origin.url());
    config["listeners"] =
        json!([{ "address": "127.0.0.1:0" }, { "address": "127.0.0.2:0", "tcp": { "upstream": "origin" } }]);
    let gateway = Site::new(&config).plugin("version", version_guest(1)).start().await;
    gateway.get("/").await.expect(200);
    let page = gateway.admin_get("/metrics").await.expect(200).text();
    let families: BTreeMap<String, String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    let document = include_str!("../../host/src/observe/README.md");
    let rows: BTreeMap<String, (String, String)> = rows(document)
        .filter(|row| row[0].starts_with("sluicegate_") && !row[0].ends_with("PLUGIN_NAME"))
        .map(|row| (row[0].clone(), (row[1].clone(), row[2].clone())))
        .collect();
    let told: BTreeMap<String, String> = rows.iter().map(|(name, (kind, _))| (name.clone(), kind.clone())).collect();
    assert_eq!(families, told, "the families of the page, then those of the document");
    for sample in page.lines().filter(|line| line.starts_with("sluicegate_")) {
        let (name, labels) = sample.split_once('{').unwrap_or((sample.split(' ').next().unwrap(), ""));
        let family = ["_total", "_bucket", "_sum", "_count"].iter().filter_map(|suffix| name.strip_suffix(suffix));
        let family = family.chain([name]).find(|family| rows.contains_key(*family)).unwrap_or(name);
        let labels: BTreeSet<&str> = labels.split("\",").filter_map(|pair| Some(pair.split_once("=\"")?.0)).collect();
        let labels: BTreeSet<&str> = labels.into_iter().filter(|label| *label != "le").collect();
        let told: BTreeSet<&str> = rows[family].1.split(", ").filter(|label| !label.is_empty()).collect();
        assert_eq!(labels, told, "{sample}");
    }
}

#[tokio::test]
async fn every_path_is_in_the_document() {
    let gateway = start(&Origin::text("ok").await).await;
    let answer = gateway.admin_get("/no/such/path").await.expect(404).json();
    let document: BTreeSet<String> = rows(include_str!("../../host/src/observe/README.md"))
        .filter_map(|row| Some(row[0].split_once(' ')?.1.to_owned()))
        .collect();
    let paths: BTreeSet<String> =
        answer["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap().to_owned()).collect();
    assert_eq!(paths, document);
}

#[tokio::test]
async fn who_holds_connections_of_the_admin_api_shuts_nobody_out() {
    let origin = Origin::text("ok").await;
    let gateway = Site::new(&one_route(&origin.url(), &json!([]))).start().await;
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut half = Raw::connect(gateway.admin()).await;
        half.write("GET /metrics HTTP/1.1\r\n").await;
        held.push(half);
        gateway.admin_get("/livez").await.expect(200);
    }
}
