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
