//! The filter through its harness: every option.

use sluicegate_sdk::prelude::*;
use sluicegate_sdk::test::{Harness, Outcome, TestReply};

use crate::RateLimit;

fn limit(config: Json) -> Harness<RateLimit> {
    Harness::new(config).unwrap().client_ip("10.0.0.7")
}
/// How many of `count` requests pass.
fn passed(harness: &Harness<RateLimit>, count: usize) -> usize {
    (0..count).filter(|_| harness.get("/a").send().reached_upstream()).count()
}

#[test]
fn requests_over_the_limit_are_answered_429() {
    let two = limit(json!({"limit": 2, "per": "1m"}));
    assert_eq!(passed(&two, 2), 2);
    let out = two.get("/a").send();
    assert_eq!((out.status(), out.reached_upstream()), (429, false));
    assert_eq!(out.header("retry-after"), Some("30"));
    assert_eq!(out.header("content-type"), Some("application/problem+json"));
    assert_eq!(out.json::<Json>()["status"], 429);
    assert_eq!(out.metric("limited{limit=default}"), 1);
}

#[test]
fn the_limit_fills_up_again_steadily() {
    let two = limit(json!({"limit": 2, "per": "1m"}));
    assert_eq!(passed(&two, 5), 2);
    two.advance(Duration::from_secs(29));
    assert_eq!(passed(&two, 5), 0);
    two.advance(Duration::from_secs(1));
    assert_eq!(passed(&two, 5), 1);
    two.advance(Duration::from_secs(600));
    assert_eq!(passed(&two, 5), 2);
}

#[test]
fn a_burst_bounds_what_passes_at_once() {
    let burst = limit(json!({"limit": 60, "per": "1m", "burst": 3}));
    assert_eq!(passed(&burst, 10), 3);
    burst.advance(Duration::from_secs(2));
    assert_eq!(passed(&burst, 10), 2);
}

#[test]
fn every_answer_says_where_the_client_stands() {
    let three = limit(json!({"limit": 3, "per": "1m"}));
    let answers: Vec<Outcome> = (0..4).map(|_| three.get("/a").upstream_reply(TestReply::new(404)).send()).collect();
    let field = |name| answers.iter().map(|out| out.header(name).unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(field("ratelimit-policy"), [r#""default";q=3;w=60"#; 4]);
    assert_eq!(
        field("ratelimit"),
        [r#""default";r=2;t=20"#, r#""default";r=1;t=40"#, r#""default";r=0;t=60"#, r#""default";r=0;t=60"#]
    );
    assert_eq!(answers[3].status(), 429);
    let count = |out: &Outcome| out.headers().iter().filter(|(name, _)| name.starts_with("ratelimit")).count();
    assert!(answers.iter().all(|out| count(out) == 2));
}

#[test]
fn the_default_key_is_the_consumer_else_the_address() {
    let one = limit(json!({"limit": 1, "per": "1m"}));
    assert_eq!(passed(&one, 3), 1);
    let one = one.client_ip("10.0.0.8");
    assert_eq!(passed(&one, 3), 1);
    let one = one.property(&["consumer"], "alice");
    assert_eq!(passed(&one, 3), 1);
    let one = one.client_ip("10.0.0.9");
    assert_eq!(passed(&one, 3), 0);
}

#[test]
fn a_key_may_be_the_address_path_route_method_or_a_header() {
    let by_ip = limit(json!({"limit": 1, "per": "1m", "key": "ip"})).property(&["consumer"], "alice");
    assert_eq!(passed(&by_ip, 3), 1);
    assert_eq!(passed(&by_ip.client_ip("10.0.0.8"), 3), 1);

    let by_path = limit(json!({"limit": 1, "per": "1m", "key": "path"}));
    let statuses = ["/a", "/a?x=1", "/b"].map(|path| by_path.get(path).send().status());
    assert_eq!(statuses, [200, 429, 200]);

    let by_route = limit(json!({"limit": 1, "per": "1m", "key": "route"})).property(&["xds", "route_name"], "users");
    assert_eq!(passed(&by_route, 2), 1);
    assert_eq!(passed(&by_route.property(&["xds", "route_name"], "orders"), 2), 1);

    let by_method = limit(json!({"limit": 1, "per": "1m", "key": "method"}));
    let statuses = ["GET", "GET", "POST"].map(|method| by_method.request(method, "/a").send().status());
    assert_eq!(statuses, [200, 429, 200]);

    let by_header = limit(json!({"limit": 1, "per": "1m", "key": {"header": "x-tenant"}}));
    let tenant = |name: &str| by_header.get("/a").header("x-tenant", name).send().status();
    assert_eq!([tenant("a"), tenant("a"), tenant("b")], [200, 429, 200]);
    assert_eq!(passed(&by_header, 2), 1);
}

#[test]
fn a_consumer_named_like_an_address_has_a_bucket_of_its_own() {
    let one = limit(json!({"limit": 1, "per": "1m"}));
    assert_eq!(passed(&one, 2), 1);
    assert_eq!(passed(&one.property(&["consumer"], "10.0.0.7"), 2), 1);
}

#[test]
fn an_ipv6_network_shares_a_bucket_and_a_mapped_address_is_ipv4() {
    let mut harness = limit(json!({"limit": 1, "per": "1m", "key": "ip"}));
    for (ip, expected) in [
        ("2001:db8:1:2:3:4:5:6", 1),
        ("2001:db8:1:2::9", 0),
        ("2001:db8:1:3::9", 1),
        ("::ffff:10.0.0.7", 1),
        ("10.0.0.7", 0),
    ] {
        harness = harness.client_ip(ip);
        assert_eq!(passed(&harness, 1), expected, "{ip}");
    }
}

#[test]
fn long_values_share_a_bucket() {
    let harness = limit(json!({"limit": 1, "per": "1m", "key": {"header": "x-tenant"}}));
    let tenant = |name: String| harness.get("/a").header("x-tenant", name).send().status();
    assert_eq!([tenant("x".repeat(5000)), tenant("x".repeat(6000)), tenant("x".repeat(100))], [200, 429, 200]);
}

#[test]
fn a_key_may_combine_parts() {
    let both = limit(json!({"limit": 1, "per": "1m", "key": ["ip", {"header": "x-tenant"}]}));
    let tenant = |name: &str| both.get("/a").header("x-tenant", name).send().status();
    assert_eq!([tenant("a"), tenant("a"), tenant("b")], [200, 429, 200]);
    let both = both.client_ip("10.0.0.8");
    assert_eq!(both.get("/a").header("x-tenant", "a").send().status(), 200);
}

#[test]
fn all_of_several_limits_must_allow_a_request() {
    let both = limit(json!({"limits": [
        {"name": "second", "limit": 2, "per": "1s", "key": "ip"},
        {"name": "minute", "limit": 3, "per": "1m", "burst": 3, "key": "ip"}
    ]}));
    assert_eq!(passed(&both, 3), 2);
    both.advance(Duration::from_secs(1));
    let third = both.get("/a").send();
    assert_eq!(third.header("ratelimit-policy"), Some(r#""second";q=2;w=1, "minute";q=3;w=60"#));
    assert_eq!(third.header("ratelimit"), Some(r#""second";r=1;t=1, "minute";r=0;t=59"#));
    let fourth = both.get("/a").send();
    assert_eq!(fourth.status(), 429);
    assert_eq!(fourth.metric("limited{limit=minute}"), 1);
}

#[test]
fn a_limit_may_stay_unseen() {
    let hidden = limit(json!({"limits": [
        {"name": "abuse", "limit": 100, "per": "1s", "key": "ip", "headers": false},
        {"name": "quota", "limit": 10, "per": "1h"}
    ]}));
    let out = hidden.get("/a").send();
    assert_eq!(out.header("ratelimit-policy"), Some(r#""quota";q=10;w=3600"#));
    assert_eq!(out.header("ratelimit"), Some(r#""quota";r=9;t=360"#));
    let all_hidden = limit(json!({"limits": [{"limit": 1, "per": "1s", "headers": false}]}));
    let out = all_hidden.get("/a").send();
    assert_eq!((out.header("ratelimit-policy"), out.header("ratelimit")), (None, None));
}

#[test]
fn it_also_limits_in_a_host_without_extensions() {
    let two = limit(json!({"limit": 2, "per": "1m"})).without_extensions();
    assert_eq!(passed(&two, 5), 2);
}

#[test]
fn a_configuration_that_limits_nothing_is_refused() {
    for (config, hint) in [
        (json!({}), "limit"),
        (json!({"limit": 5}), "per"),
        (json!({"per": "1m"}), "limit"),
        (json!({"limit": 0, "per": "1m"}), "limit"),
        (json!({"limit": 5, "per": "0s"}), "per"),
        (json!({"limit": 5, "per": "1m", "burst": 0}), "burst"),
        (json!({"limit": 5, "per": "1m", "key": []}), "key"),
        (json!({"limit": 5, "per": "1m", "key": "user"}), "user"),
        (json!({"limit": 5, "per": "1m", "limits": [{"limit": 5, "per": "1m"}]}), "or"),
        (json!({"key": "ip", "limits": [{"limit": 5, "per": "1m"}]}), "or"),
        (json!({"limits": [{"limit": 5, "per": "1m"}, {"limit": 9, "per": "1h"}]}), "name"),
        (json!({"limits": [{"name": "a\"b", "limit": 5, "per": "1m"}]}), "name"),
    ] {
        let error = Harness::<RateLimit>::new(config).unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
    }
}

#[test]
fn the_documented_examples_are_accepted() {
    let documents = [include_str!("lib.rs").replace("//! ", ""), include_str!("../README.md").to_owned()];
    let blocks =
        documents.iter().flat_map(|text| text.split("```json").skip(1)).filter_map(|rest| rest.split("```").next());
    let examples: Vec<Json> = blocks.map(|block| serde_json::from_str(block).unwrap()).collect();
    assert!(examples.len() >= 2);
    for example in examples {
        let config =
            if example.get("use").is_some() { example.get("config").cloned().unwrap_or(json!({})) } else { example };
        assert!(Harness::<RateLimit>::new(config.clone()).is_ok(), "{config}");
    }
}
