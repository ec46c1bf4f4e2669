//! Upstreams whose targets are names: every address of a name is a target of its own, as long as the name has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::dns::Says;
use sluicegate_tests::origin::answer;
use sluicegate_tests::wait::eventually;
use sluicegate_tests::{DnsServer, Gateway, Origin, Site};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Origins at the same port of these addresses, which answer with their addresses.
pub(crate) async fn at<const N: usize>(addresses: [&'static str; N]) -> ([Origin; N], u16) {
    let (listeners, port) = sockets(addresses).await;
    let mut listeners = listeners.into_iter();
    let origins = addresses.map(|address| {
        Origin::serve_on(listeners.next().unwrap(), false, move |_| async move { answer(200, address) })
    });
    (origins, port)
}

/// Sockets that listen at the same port of these addresses.
pub(crate) async fn sockets<const N: usize>(addresses: [&'static str; N]) -> (Vec<TcpListener>, u16) {
    loop {
        let first = TcpListener::bind((addresses[0], 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let mut listeners = vec![first];
        for address in &addresses[1..] {
            // Somebody else may have it.
            let Ok(listener) = TcpListener::bind((*address, port)).await else { break };
            listeners.push(listener);
        }
        if listeners.len() == N {
            return (listeners, port);
        }
    }
}

/// One worker, and an upstream whose target is the name `users.test`; it is asked for again without much of a pause.
pub(crate) fn config(dns: &DnsServer, port: u16, more: &Value) -> Value {
    let mut upstream = json!({
        "targets": [format!("http://users.test:{port}")],
        "dns": { "servers": [dns.address().to_string()], "min_ttl": "20ms" },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        upstream[key] = value.clone();
    }
    json!({ "limits": { "workers": 1 }, "upstreams": { "users": upstream }, "routes": [{ "upstream": "users" }] })
}

pub(crate) async fn gateway(dns: &DnsServer, port: u16, more: &Value) -> Gateway {
    Site::new(&config(dns, port, more)).start().await
}

/// The addresses that the gateway knows, without ports.
pub(crate) async fn known(gateway: &Gateway) -> Vec<String> {
    let shown = gateway.admin_get("/api/v1/upstreams").await.json();
    let addresses = shown["names"][0]["addresses"].as_array().unwrap().clone();
    let host = |address: &Value| address.as_str().unwrap().rsplit_once(':').unwrap().0.to_owned();
    addresses.iter().map(host).collect()
}

async fn until_known(gateway: &Gateway, addresses: &[&str]) {
    eventually("the name has these addresses", || async { known(gateway).await == addresses }).await;
}

async fn counts(gateway: &Gateway, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        *counts.entry(gateway.get("/").await.expect(200).text()).or_insert(0) += 1;
    }
    counts
}

#[tokio::test]
async fn requests_move_when_the_answer_of_a_name_has_expired_and_not_before() {
    let ([first, second], port) = at(["127.0.0.1", "127.0.0.2"]).await;
    let dns = DnsServer::start().await;
    dns.has("users.test", &["127.0.0.1"]);
    dns.says("kept.test", Says::Addresses(vec!["127.0.0.1".parse().unwrap()], 3600));
    let mut config = config(&dns, port, &json!({}));
    let targets = json!([format!("http://kept.test:{port}")]);
    config["upstreams"]["kept"] = json!({ "targets": targets, "dns": config["upstreams"]["users"]["dns"] });
    config["routes"] = json!([{ "match": { "path": "/kept" }, "upstream": "kept" }, { "upstream": "users" }]);
    let gateway = Site::new(&config).start().await;
    assert_eq!(gateway.get("/").await.expect(200).text(), "127.0.0.1", "the first request waits for the first answer");
    dns.has("users.test", &["127.0.0.2"]);
    dns.says("kept.test", Says::Addresses(vec!["127.0.0.2".parse().unwrap()], 3600));
    gateway.wait_for_log("The addresses of a name have changed.").await;
    eventually("requests have moved", || async { gateway.get("/").await.text() == "127.0.0.2" }).await;
    let before = first.count();
    assert_eq!(counts(&gateway, 10).await, BTreeMap::from([("127.0.0.2".to_owned(), 10)]));
    assert_eq!(first.count(), before);
    dns.wait_for("users.test", 20).await;
    assert_eq!(gateway.get("/kept").await.expect(200).text(), "127.0.0.1");
    assert_eq!(dns.asked("kept.test"), 1, "its answer may be kept for an hour");
    assert!(second.count() >= 11);
}

#[tokio::test]
async fn every_address_takes_its_turn_and_a_name_gets_no_more_than_its_weight() {
    let (_origins, port) = at(["127.0.0.1", "127.0.0.2", "127.0.0.3"]).await;
    let dns = DnsServer::start().await;
    dns.has("users.test", &["127.0.0.3", "127.0.0.2"]);
    let targets = json!([format!("http://users.test:{port}"), format!("http://127.0.0.1:{port}")]);
    let gateway = gateway(&dns, port, &json!({ "targets": targets })).await;
    until_known(&gateway, &["127.0.0.2", "127.0.0.3"]).await;
    eventually("the worker knows them", || async { gateway.get("/").await.text() != "127.0.0.1" }).await;
    let shares = counts(&gateway, 12).await;
    assert_eq!(shares.into_values().collect::<Vec<_>>(), [6, 3, 3]);
    let shown = gateway.admin_get("/api/v1/upstreams").await.json();
    let target = &shown["targets"][0];
    assert_eq!(target["target"], json!(format!("users.test:{port}")), "{shown}");
    assert_eq!(
        (&target["address"], &target["state"]),
        (&json!(format!("127.0.0.2:{port}")), &json!("unchecked")),
        "{shown}"
    );
}

#[tokio::test]
async fn addresses_of_both_families_are_used_or_of_the_one_that_is_asked_for() {
    let (_origins, port) = at(["127.0.0.1", "::1"]).await;
    let dns = DnsServer::start().await;
    dns.has("users.test", &["127.0.0.1", "::1"]);
    let both = gateway(&dns, port, &json!({})).await;
    assert_eq!(counts(&both, 8).await.into_values().collect::<Vec<_>>(), [4, 4]);
    for (family, expected) in [("ipv4", "127.0.0.1"), ("ipv6", "::1")] {
        let how = json!({ "servers": [dns.address().to_string()], "family": family });
        let one = gateway(&dns, port, &json!({ "dns": how })).await;
        assert_eq!(counts(&one, 4).await, BTreeMap::from([(expected.to_owned(), 4)]));
    }
}

#[tokio::test]
async fn a_removed_address_gets_nothing_new_and_finishes_what_it_has() {
    let (mut listeners, port) = sockets(["127.0.0.1", "127.0.0.2"]).await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let _new = Origin::serve_on(listeners.pop().unwrap(), false, |_| async { answer(200, "new") });
    let old = Origin::serve_on(listeners.pop().unwrap(), false, move |_| {
        let held = Arc::clone(&held);
        async move {
            drop(held.acquire().await);
            answer(200, "old")
        }
    });
    let dns = DnsServer::start().await;
    dns.has("users.test", &["127.0.0.1"]);
    let gateway = gateway(&dns, port, &json!({})).await;
    let waiting = tokio::spawn(gateway.request(Method::GET, "/").send());
    old.wait_for(1).await;
    dns.has("users.test", &["127.0.0.2"]);
    until_known(&gateway, &["127.0.0.2"]).await;
    eventually("requests have moved", || async { gateway.get("/").await.text() == "new" }).await;
    assert_eq!(counts(&gateway, 5).await, BTreeMap::from([("new".to_owned(), 5)]));
    gate.add_permits(1);
    assert_eq!(waiting.await.unwrap().expect(200).text(), "old");
    assert_eq!(old.count(), 1);
}

#[tokio::test]
async fn an_address_that_stays_keeps_its_connections_and_its_health() {
    let ([stays, _goes], port) = at(["127.0.0.1", "127.0.0.2"]).await;
    let dns = DnsServer::start().await;
    dns.has("users.test", &["127.0.0.1"]);
    let health = json!({ "path": "/", "interval": "1h" });
    let gateway = gateway(&dns, port, &json!({ "health": health })).await;
    counts(&gateway, 3).await;
    let before = stays.connections();
    dns.has("users.test", &["127.0.0.1", "127.0.0.2"]);
    until_known(&gateway, &["127.0.0.1", "127.0.0.2"]).await;
    eventually("both get requests", || async { counts(&gateway, 2).await.len() == 2 }).await;
    dns.has("users.test", &["127.0.0.1"]);
    until_known(&gateway, &["127.0.0.1"]).await;
    eventually("one gets requests", || async { counts(&gateway, 2).await.len() == 1 }).await;
    assert_eq!(stays.connections(), before);
}

#[tokio::test]
async fn health_checks_follow_the_addresses_that_appear() {
    let ([_well, _other], port) = at(["127.0.0.1", "127.0.0.3"]).await;
    let dns = DnsServer::start().await;
    dns.has("users.test", &["127.0.0.1"]);
    let health = json!({ "path": "/", "interval": "20ms", "unhealthy": 1, "healthy": 1 });
    let gateway = gateway(&dns, port, &json!({ "health": health })).await;
    counts(&gateway, 2).await;
    // Nobody listens at the second one.
    dns.has("users.test", &["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    let usable = async |address: &str| {
        let address = format!("{address}:{port}");
        gateway.metric("sluicegate_upstream_target_usable", &[("upstream", "users"), ("address", &address)]).await
    };
    eventually("the third is well", || async { usable("127.0.0.3").await > 0.0 }).await;
    gateway.wait_for_log("fails its health check").await;
    assert_eq!(usable("127.0.0.2").await, 0.0);
    assert_eq!(counts(&gateway, 4).await.len(), 2);
    assert_eq!(gateway.metric("sluicegate_dns_addresses", &[("upstream", "users")]).await, 3.0);
}

#[tokio::test]
async fn localhost_needs_no_server() {
    let ([origin], port) = at(["127.0.0.1"]).await;
    let dns = DnsServer::start().await;
    let gateway = gateway(&dns, port, &json!({ "targets": [format!("http://localhost:{port}")] })).await;
    assert_eq!(counts(&gateway, 6).await, BTreeMap::from([("127.0.0.1".to_owned(), 6)]));
    assert_eq!((dns.asked("localhost"), origin.count()), (0, 6));
}
