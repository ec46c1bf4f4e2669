//! `sluicegate explain`: the decision that the gateway would make, and why, without sending anything.

use serde_json::{Value, json};
use sluicegate_tests::site::Output;
use sluicegate_tests::tls::Authority;
use sluicegate_tests::{Gateway, Origin, Site, guests::digest, one_route, wat::version_guest};

use crate::tls::{pairs, put};

/// A configuration with rivals, conditions, secrets, shares, a redirect and an answer.
fn config() -> Value {
    json!({
        "upstreams": {
            "users": { "targets": ["http://127.0.0.1:9001", "http://127.0.0.1:${USERS_PORT:-9011}"] },
            "users-v2": { "targets": ["https://users.example"] },
        },
        "filters": [
            { "use": "version", "config": { "key": "${TESTS_SECRET}", "seen": "plain" } },
            { "use": "version", "when": { "methods": ["POST"] } },
        ],
        "routes": [
            { "name": "all", "match": { "path": "/" }, "upstream": "users" },
            { "name": "users", "match": { "path": "/users", "methods": ["GET"] }, "upstreams": { "users": 90, "users-v2": 10 },
              "rewrite": { "path": { "prefix": "/v1" }, "host": "inner.example" }, "timeout": "3s", "retry": { "attempts": 2 },
              "filters": [{ "use": "auth", "config": { "api_keys": { "alice": "hunter2hunter2" } } }] },
            { "name": "beta", "match": { "path": "/users", "headers": { "x-beta": "${TESTS_SECRET}" } }, "upstream": "users" },
            { "name": "old", "match": { "host": "*.old.example" }, "redirect": { "scheme": "https", "host": "new.example", "status": 308 } },
            { "name": "health", "match": { "path": { "exact": "/health" } }, "respond": { "body": "${TESTS_SECRET}" } },
        ],
    })
}

fn site() -> Site {
    let site = Site::new(&config()).plugin("version", version_guest(1));
    site.env("TESTS_SECRET", "hunter2hunter2")
}

async fn explain(arguments: &[&str]) -> Output {
    let site = site();
    let arguments: Vec<String> = ["explain"].iter().chain(arguments).map(|word| (*word).to_owned()).collect();
    let output =
        tokio::task::spawn_blocking(move || site.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
    let output = output.await.unwrap();
    assert!(!output.text().contains("hunter2"), "{}", output.text());
    output
}

async fn explained(arguments: &[&str], code: i32) -> Value {
    let output = explain(&[arguments, &["-o", "json"]].concat()).await;
    assert_eq!(output.code, code, "{}", output.text());
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.text()))
}

fn because(explained: &Value, route: &str) -> String {
    let verdict = explained["routes"].as_array().unwrap().iter().find(|verdict| verdict["route"] == route);
    verdict.unwrap()["because"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_route_the_filters_and_the_upstream_are_told_with_reasons() {
    let told = explained(&["GET", "http://api.example/x/..//users/%37;v=1?q=1"], 0).await;
    assert_eq!(
        told["request"],
        json!({ "method": "GET", "host": "api.example", "path": "/users/7;v=1", "query": "q=1", "listener": "127.0.0.1:0" })
    );
    assert_eq!(told["route"], "users");
    assert_eq!(because(&told, "all"), "would take it, but \"users\" goes before: its path is more specific");
    assert_eq!(because(&told, "beta"), "header \"x-beta\" is missing");
    assert_eq!(because(&told, "old"), "host \"api.example\" is none of [\"*.old.example\"]");
    assert_eq!(because(&told, "health"), "path \"/users/7\" does not match {\"exact\":\"/health\"}");
    let filters = told["filters"].as_array().unwrap();
    let runs: Vec<_> =
        filters.iter().map(|step| (step["path"].as_str().unwrap(), step["runs"].as_bool().unwrap())).collect();
    assert_eq!(runs, [("filters[0]", true), ("filters[1]", false), ("routes[1].filters[0]", true)]);
    assert_eq!(filters[1]["because"], "method GET is none of [\"POST\"]");
    assert_eq!(filters[0]["digest"], digest(&version_guest(1))[..8]);
    assert_eq!(filters[0]["config"], json!({ "key": "${TESTS_SECRET}", "seen": "plain" }));
    assert_eq!(filters[2]["config"], json!({ "api_keys": { "alice": "***" } }));
    let then = &told["then"];
    let users =
        json!({ "upstream": "users", "percent": 90, "targets": ["http://127.0.0.1:9001", "http://127.0.0.1:9011"] });
    assert_eq!(then["upstreams"][0], users);
    assert_eq!(
        then["upstreams"][1],
        json!({ "upstream": "users-v2", "percent": 10, "targets": ["https://users.example:443"] })
    );
    assert_eq!((&then["target"], &then["host"]), (&json!("/v1/7;v=1?q=1"), &json!("inner.example")));
    assert_eq!((&then["timeout"], &then["retry"]["attempts"]), (&json!("3s"), &json!(2)));
}

#[tokio::test]
async fn headers_of_the_command_line_count_and_a_host_among_them_wins() {
    let told = explained(&["GET", "/users", "-H", "x-beta: wrong"], 0).await;
    assert_eq!(because(&told, "beta"), "header \"x-beta\" has another value");
    let told = explained(&["GET", "http://api.example/a?b=c", "-H", "Host: www.OLD.example:8443"], 0).await;
    assert_eq!(told["route"], "old");
    assert_eq!(told["then"]["redirect"], json!({ "status": 308, "location": "https://new.example/a?b=c" }));
    let told = explained(&["PUT", "/health"], 0).await;
    assert_eq!(told["then"]["respond"]["body"], "${TESTS_SECRET}");
}

#[tokio::test]
async fn what_no_route_takes_and_what_is_refused_before_is_1() {
    let output = explain(&["GET", "/users/%2e%2e%2fadmin"]).await;
    assert_eq!(output.code, 1);
    assert!(
        output.stdout.contains("refused    400: bad request: invalid path: the path has an encoded slash"),
        "{}",
        output.stdout
    );
    let told = explained(&["CONNECT", "/"], 1).await;
    assert_eq!(told["refused"]["status"], 501);
    let mut config = config();
    config["routes"].as_array_mut().unwrap().remove(0);
    let site = Site::new(&config).plugin("version", version_guest(1)).env("TESTS_SECRET", "s");
    let output = tokio::task::spawn_blocking(move || site.run(&["explain", "GET", "/nowhere"])).await.unwrap();
    assert_eq!(output.code, 1);
    assert!(output.stdout.contains("none takes it") && output.stdout.contains("404"), "{}", output.stdout);
    assert!(output.stdout.contains(" 1 version"), "global filters run for it all the same: {}", output.stdout);
}

#[tokio::test]
async fn a_broken_configuration_is_told_as_check_tells_it() {
    let site = Site::empty();
    site.write_text("{ \"routs\": [] }");
    let output = tokio::task::spawn_blocking(move || site.run(&["explain", "GET", "/"])).await.unwrap();
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert!(output.stderr.contains("gateway.json:1:3: routs: unknown key"), "{}", output.stderr);
    assert_eq!(explain(&["GET", "/", "-H", "no colon"]).await.code, 2);
}

#[tokio::test]
async fn the_gateway_does_what_is_explained() {
    let origin = Origin::echo().await;
    let mut config = one_route(&origin.url(), &json!([]));
    config["routes"] = json!([
        { "name": "one", "match": { "path": "/a", "query": { "v": "1" } }, "respond": { "body": "one" } },
        { "name": "two", "match": { "path": "/a" }, "respond": { "body": "two" } },
        { "name": "three", "match": { "host": "b.example", "path": "/a" }, "respond": { "body": "three" } },
    ]);
    let gateway: Gateway = Site::new(&config).start().await;
    for (target, host) in
        [("/a?v=1", "a.example"), ("/a?v=2", "a.example"), ("/x/../a/?v=1", "b.example"), ("/%61;x", "c.example")]
    {
        let served = gateway.request(http::Method::GET, target).header("host", host).send().await.expect(200).text();
        let site = Site::new(&config);
        let arguments = ["explain", "GET", target, "-H", &format!("host: {host}"), "-o", "json"].map(str::to_owned);
        let output =
            tokio::task::spawn_blocking(move || site.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
        let told: Value = serde_json::from_str(&output.await.unwrap().stdout).unwrap();
        assert_eq!(told["route"], served, "{target} at {host}");
    }
}

#[tokio::test]
async fn a_request_is_explained_for_the_listener_that_it_comes_to() {
    let mut config = config();
    config["listeners"] = json!([
        { "name": "public", "address": "127.0.0.1:0" },
        { "name": "internal", "address": "127.0.0.2:8443" },
    ]);
    config["routes"][0]["listeners"] = json!(["internal"]);
    config["routes"][3]["listeners"] = json!(["public"]);
    let site = Site::new(&config).plugin("version", version_guest(1)).env("TESTS_SECRET", "s");
    let ask = |listener: &[&str]| {
        let output = site.run(&[&["explain", "GET", "/x", "-o", "json"], listener].concat());
        (output.code, serde_json::from_str(&output.stdout).unwrap_or(Value::Null), output.stderr)
    };
    let (code, told, _) = ask(&[]);
    assert_eq!((code, &told["request"]["listener"], &told["route"]), (1, &json!("public"), &Value::Null));
    assert_eq!(because(&told, "all"), "listener \"public\" is none of [\"internal\"]");
    let (code, told, _) = ask(&["--listener", "internal"]);
    assert_eq!((code, &told["route"], &told["request"]["host"]), (0, &json!("all"), &json!("127.0.0.2")));
    assert_eq!(because(&told, "old"), "listener \"internal\" is none of [\"public\"]");
    assert_eq!(ask(&["--listener", "127.0.0.2:8443"]).1["route"], "all");
    let (code, _, stderr) = ask(&["--listener", "intern"]);
    assert!(code > 1 && stderr.contains("unknown listener \"intern\"; did you mean \"internal\"?"), "{code} {stderr}");
}

#[test]
fn scheme_and_port_of_the_url_choose_the_listener_and_what_is_not_clear_is_said() {
    let mut config = config();
    let tls = json!({ "certificates": pairs(&["a"]) });
    config["listeners"] = json!([
        { "name": "plain", "address": "127.0.0.1:18080" },
        { "name": "other", "address": "127.0.0.1:18081" },
        { "name": "secure", "address": "127.0.0.1:18443", "tls": tls },
    ]);
    let site = Site::new(&config).plugin("version", version_guest(1)).env("TESTS_SECRET", "s");
    put(&site, "a", &Authority::new("Test").issue(&["localhost"]));
    let several = "several listeners fit, and the first is taken: --listener chooses of plain, other";
    for (method, url, listener, note) in [
        ("GET", "https://api.example:18443/users", "secure", None),
        ("GET", "https://api.example/users", "secure", None),
        ("GET", "http://api.example:18081/users", "other", None),
        ("GET", "http://api.example/users", "plain", Some(several)),
        ("get", "https://api.example/", "secure", Some("case counts; did you mean \"GET\"?")),
    ] {
        let output = site.run(&["explain", method, url, "-o", "json"]);
        let told: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}", output.text()));
        assert_eq!(told["request"]["listener"], listener, "{url}");
        let notes = told["notes"].as_array().unwrap();
        assert_eq!(notes.len(), usize::from(note.is_some()), "{url}: {told:#}");
        assert!(note.is_none_or(|note| notes[0].as_str().unwrap().contains(note)), "{url}: {told:#}");
    }
    let output = site.run(&["explain", "get", "https://api.example/"]);
    assert!(output.stdout.contains("note       the method \"get\""), "{}", output.text());
}
