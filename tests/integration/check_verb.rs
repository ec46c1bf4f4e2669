//! `sluicegate check` and a `run` that cannot start: everything wrong is said at once, with its place.

use serde_json::json;
use sluicegate_tests::{Site, Wat, one_route, site::Output, wat::version_guest};

async fn check(site: Site) -> Output {
    tokio::task::spawn_blocking(move || site.check()).await.unwrap()
}

#[tokio::test]
async fn a_good_configuration_is_told_so_with_0() {
    let config = one_route(
        "http://127.0.0.1:9",
        &json!([{ "use": "version" }, { "use": "cors", "config": { "origins": ["*"] } }]),
    );
    let output = check(Site::new(&config).plugin("version", version_guest(1))).await;
    assert_eq!(output.code, 0, "{}", output.text());
}

#[tokio::test]
async fn every_problem_is_printed_with_file_line_and_column() {
    let site = Site::empty();
    site.write_text(
        r#"{
  "listeners": [{ "address": "127.0.0.1:0" }],
  "upstreams": { "users": { "targets": ["http://127.0.0.1:9"] } },
  "routs": [],
  "routes": [
    { "name": "a", "match": { "path": { "prefix": "/a" } }, "upstream": "user" },
    { "name": "b", "match": { "path": { "prefix": "b" } }, "upstream": "users" },
  ],
}"#,
    );
    let output = check(site).await;
    assert_eq!(output.code, 1);
    let text = output.text();
    for said in [
        "gateway.json:4:3: routs: unknown key",
        "gateway.json:6:73: routes[0].upstream: unknown upstream \"user\"; did you mean \"users\"?",
        "gateway.json:7:51: routes[1].match.path.prefix:",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
}

#[tokio::test]
async fn every_plugin_that_is_not_there_or_does_not_start_is_reported_at_once() {
    let filters = json!([{ "use": "missing" }, { "use": "broken" }, { "use": "cors", "config": { "origins": 7 } }]);
    let site = Site::new(&one_route("http://127.0.0.1:9", &filters)).plugin("broken", b"not a module");
    let output = check(site).await;
    assert_eq!(output.code, 1);
    for (index, said) in ["missing", "broken", "expected an array"].into_iter().enumerate() {
        let line =
            output.text().lines().find(|line| line.contains(&format!("routes[0].filters[{index}]"))).map(str::to_owned);
        assert!(line.is_some_and(|line| line.contains(said)), "{said} is not in\n{}", output.text());
    }
}

#[tokio::test]
async fn a_filter_that_refuses_its_configuration_is_named_with_its_own_words() {
    let module = Wat::new()
        .on("proxy_on_configure", "(drop (call $log (i32.const 4) (text \"colour must be red\"))) (i32.const 0)");
    let config = one_route("http://127.0.0.1:9", &json!([{ "use": "picky", "config": { "colour": "blue" } }]));
    let output = check(Site::new(&config).plugin("picky", module.build())).await;
    assert_eq!(output.code, 1);
    let text = output.text();
    assert!(text.contains("colour must be red") && text.contains("routes[0].filters[0]"), "{text}");
}

#[tokio::test]
async fn a_plugins_schema_is_checked_with_places_and_suggestions() {
    let config = one_route("http://127.0.0.1:9", &json!([{ "use": "cors", "config": { "origns": ["*"] } }]));
    let output = check(Site::new(&config)).await;
    assert_eq!(output.code, 1);
    let text = output.text();
    assert!(
        text.contains("routes[0].filters[0].config.origns") && text.contains("did you mean \"origins\"?"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_wrong_with_the_file_and_with_every_filter_is_told_at_once() {
    let picky = Wat::new()
        .on("proxy_on_configure", "(drop (call $log (i32.const 4) (text \"colour must be red\"))) (i32.const 0)");
    let site = Site::empty().plugin("picky", picky.build());
    site.write_text(
        r#"{
  "listeners": [{ "address": "127.0.0.1:0" }],
  "upstreams": { "users": { "targets": [] } },
  "filters": [{ "use": "cors", "config": { "origns": ["*"], "max_age": 7 } }, { "use": "corz" }],
  "routes": [
    { "upstream": "user", "filters": [{ "use": "picky", "config": { "colour": "blue" } }] },
    { "upstream": "users", "filters": [{ "use": "rate-limit", "deadlin": "1s", "config": { "per": "1 m" } }] },
    { "upstream": "users", "filters": [{ "use": "cors", "memory": "64KiB", "config": { "origins": ["*"] } }] },
  ],
}"#,
    );
    let output = check(site).await;
    assert_eq!(output.code, 1);
    let text = output.text();
    for said in [
        "gateway.json:3:40: upstreams.users.targets: must not be empty",
        "gateway.json:4:44: filters[0].config.origns: unknown key; did you mean \"origins\"?",
        "gateway.json:4:72: filters[0].config.max_age: expected a string, found a number",
        "gateway.json:4:88: filters[1].use: unknown plugin \"corz\"",
        "gateway.json:6:19: routes[0].upstream: unknown upstream \"user\"",
        "gateway.json:6:79: routes[0].filters[0].config.colour: colour must be red",
        "gateway.json:7:63: routes[1].filters[0].deadlin: unknown key; did you mean \"deadline\"?",
        "gateway.json:7:99: routes[1].filters[0].config.per: expected a duration such as \"250ms\", \"5s\", \"1m\" or \"1h\", found \"1 m\"",
        "gateway.json:8:67: routes[2].filters[0].memory: too little for plugin \"cors\" to start",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
}

#[tokio::test]
async fn what_has_no_effect_is_a_warning_with_its_place_and_no_error() {
    let mut config = one_route("http://127.0.0.1:9", &json!([]));
    config["upstreams"]["spare"] = json!({ "targets": ["http://127.0.0.1:9"] });
    let second = json!({ "name": "second", "match": { "path": "/" }, "upstream": "origin" });
    config["routes"].as_array_mut().unwrap().push(second);
    let output = check(Site::new(&config)).await;
    let text = output.text();
    assert_eq!(output.code, 0, "{text}");
    let warnings: Vec<&str> = text.lines().filter(|line| line.starts_with("warning: gateway.json:")).collect();
    assert_eq!(warnings.len(), 2, "{text}");
    for said in ["upstreams.spare: nothing uses this upstream", "routes[1]: can never match: the route"] {
        assert!(warnings.iter().any(|warning| warning.contains(said)), "{said} is not in\n{text}");
    }
    let site = Site::new(&config);
    let output = tokio::task::spawn_blocking(move || site.run(&["check", "-o", "json"])).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((&json["valid"], json["warnings"].as_array().map(Vec::len)), (&json!(true), Some(2)), "{json}");
    assert!(json["warnings"][0]["line"].as_u64().is_some_and(|line| line > 0), "{json}");
}

#[tokio::test]
async fn an_upstream_that_only_a_plugins_configuration_names_is_used() {
    let mut config = one_route("http://127.0.0.1:9", &json!([]));
    let jwt = json!({ "jwt": { "issuer": "https://idp.example", "jwks": { "upstream": "idp", "path": "/keys" } } });
    config["upstreams"]["idp"] = json!({ "targets": ["http://127.0.0.1:9"] });
    config["filters"] = json!([{ "use": "auth", "config": jwt }]);
    let output = check(Site::new(&config)).await;
    assert!(output.code == 0 && !output.text().contains("nothing uses"), "{}", output.text());
}

#[tokio::test]
async fn check_leaves_no_trace_and_opens_no_port() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = one_route("http://127.0.0.1:9", &json!([]));
    config["listeners"] = json!([{ "address": taken.local_addr().unwrap() }]);
    let output = check(Site::new(&config)).await;
    assert_eq!(output.code, 0, "{}", output.text());
}

#[tokio::test]
async fn a_missing_file_is_1_and_wrong_arguments_are_2() {
    let output = check(Site::empty()).await;
    assert_eq!(output.code, 1);
    assert!(output.text().contains("gateway.json"), "{}", output.text());
    let output = tokio::task::spawn_blocking(|| Site::empty().run(&["fly"])).await.unwrap();
    assert_eq!(output.code, 2, "{}", output.text());
}

#[tokio::test]
async fn run_refuses_what_check_refuses_and_says_the_same() {
    let config = one_route("http://127.0.0.1:9", &json!([{ "use": "no-such-plugin" }]));
    let run = Site::new(&config);
    let output = tokio::task::spawn_blocking(move || run.run(&["run", "-c", "gateway.json"])).await.unwrap();
    assert_eq!(output.code, 1);
    assert!(output.text().contains("no-such-plugin"), "{}", output.text());
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_and_ends_with_3() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut config = one_route("http://127.0.0.1:9", &json!([]));
    config["listeners"] = json!([{ "address": address }]);
    let site = Site::new(&config);
    let output = tokio::task::spawn_blocking(move || site.run(&["run", "-c", "gateway.json"])).await.unwrap();
    assert_eq!(output.code, 3, "the machine refused, not the configuration");
    assert!(output.text().contains(&address.to_string()), "{}", output.text());
}

#[tokio::test]
async fn secrets_of_the_environment_are_filled_in_and_never_printed() {
    let config = one_route(
        "http://127.0.0.1:9",
        &json!([{ "use": "cors", "config": { "origins": ["${TESTS_SECRET}"], "x": 1 } }]),
    );
    let site = Site::new(&config).env("TESTS_SECRET", "hunter2hunter2");
    let output = check(site).await;
    assert_eq!(output.code, 1);
    assert!(!output.text().contains("hunter2"), "{}", output.text());
    let output = check(Site::new(&config)).await;
    assert!(output.text().contains("TESTS_SECRET"), "an unresolved reference is an error: {}", output.text());
}
