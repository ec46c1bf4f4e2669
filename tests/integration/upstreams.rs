//! Which target gets a request: by turn, load, key, priority; and which get none, because they are not well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::origin::{answer, json_answer};
use sluicegate_tests::wait::eventually;
use sluicegate_tests::{Gateway, Origin, Site, process};
use tokio::sync::Semaphore;

/// One worker, so that turns can be counted, and one route to an upstream with these keys.
async fn gateway(upstream: &Value) -> Gateway {
    Site::new(&config(upstream)).start().await
}

fn config(upstream: &Value) -> Value {
    json!({ "limits": { "workers": 1 }, "upstreams": { "all": upstream }, "routes": [{ "upstream": "all" }] })
}

/// Origins that answer with their own names.
async fn named<const N: usize>(names: [&'static str; N]) -> Vec<Origin> {
    let mut origins = Vec::new();
    for name in names {
        origins.push(Origin::text(name).await);
    }
    origins
}

async fn counts(gateway: &Gateway, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        *counts.entry(gateway.get("/").await.expect(200).text()).or_insert(0) += 1;
    }
    counts
}

fn urls(origins: &[Origin]) -> Vec<String> {
    origins.iter().map(Origin::url).collect()
}

#[tokio::test]
async fn targets_get_requests_in_turn_by_weight() {
    let origins = named(["a", "b", "c"]).await;
    let even = gateway(&json!({ "targets": urls(&origins) })).await;
    assert_eq!(counts(&even, 9).await.into_values().collect::<Vec<_>>(), [3, 3, 3]);
    let [a, b, c] = &urls(&origins)[..] else { panic!("three") };
    let targets = json!([{ "url": a, "weight": 3 }, b, { "url": c, "weight": 0 }]);
    let weighted = gateway(&json!({ "targets": targets })).await;
    assert_eq!(counts(&weighted, 8).await, BTreeMap::from([("a".to_owned(), 6), ("b".to_owned(), 2)]));
}

#[tokio::test]
async fn the_same_key_leads_to_the_same_target_and_a_lost_target_moves_only_its_own_keys() {
    let origins = named(["a", "b", "c"]).await;
    let by_header = json!({ "targets": urls(&origins), "balance": { "hash": { "header": "x-user" } } });
    let gateway = gateway(&by_header).await;
    let ask = async |user: usize| {
        let call = gateway.request(Method::GET, "/").header("x-user", &format!("user-{user}"));
        call.send().await.expect(200).text()
    };
    let mut before = Vec::new();
    for user in 0..30 {
        let target = ask(user).await;
        assert_eq!(ask(user).await, target);
        before.push(target);
    }
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3, "all get some: {before:?}");
    let fewer = json!({ "targets": urls(&origins[..2]), "balance": { "hash": { "header": "x-user" } } });
    gateway.reload(&config(&fewer)).await;
    for (user, target) in before.iter().enumerate().filter(|(_, target)| *target != "c") {
        assert_eq!(ask(user).await, *target, "nobody else's keys move");
    }
}

#[tokio::test]
async fn cookies_and_addresses_are_keys_too_and_without_a_key_it_goes_by_turn() {
    let origins = named(["a", "b"]).await;
    let by_cookie = gateway(&json!({ "targets": urls(&origins), "balance": { "hash": { "cookie": "sid" } } })).await;
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        let call = by_cookie.request(Method::GET, "/").header("cookie", "a=1; sid=abc; b=2");
        seen.insert(call.send().await.expect(200).text());
    }
    assert_eq!(seen.len(), 1);
    assert_eq!(counts(&by_cookie, 4).await.len(), 2);
    let by_address = gateway(&json!({ "targets": urls(&origins), "balance": { "hash": "ip" } })).await;
    assert_eq!(counts(&by_address, 6).await.len(), 1);
}

#[tokio::test]
async fn the_one_with_fewer_requests_under_way_gets_the_next() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let slow = Origin::start(move |_| {
        let held = Arc::clone(&held);
        async move {
            drop(held.acquire().await);
            answer(200, "slow")
        }
    })
    .await;
    let fast = Origin::text("fast").await;
    let gateway = gateway(&json!({ "targets": [slow.url(), fast.url()], "balance": "least_request" })).await;
    let waiting: Vec<_> = (0..12).map(|_| tokio::spawn(gateway.request(Method::GET, "/").send())).collect();
    slow.wait_for(1).await;
    // Both candidates are the slow one now and then; otherwise the one without waiting requests is taken.
    let (before, mut answered) = (slow.count(), 0);
    while answered < 20 {
        if tokio::time::timeout(std::time::Duration::from_millis(500), gateway.get("/")).await.is_ok() {
            answered += 1;
        }
    }
    assert!(slow.count() - before < 20, "the slow one got {} of {}", slow.count() - before, fast.count());
    gate.add_permits(100);
    for call in waiting {
        call.await.expect("it is answered").expect(200);
    }
}

#[tokio::test]
async fn targets_of_the_next_priority_stand_in_when_none_of_the_first_is_there() {
    let spare = Origin::text("spare").await;
    let gone = process::free_address();
    let targets = json!([{ "url": format!("http://{gone}") }, { "url": spare.url(), "priority": 1 }]);
    let gateway = gateway(&json!({ "targets": targets })).await;
    assert_eq!(counts(&gateway, 3).await, BTreeMap::from([("spare".to_owned(), 3)]));
    let first = Origin::text("first").await;
    let targets = json!([{ "url": first.url() }, { "url": spare.url(), "priority": 1 }]);
    gateway.reload(&config(&json!({ "targets": targets }))).await;
    assert_eq!(counts(&gateway, 3).await, BTreeMap::from([("first".to_owned(), 3)]));
}

/// An origin whose health is asked for at `/healthz`, and can be changed.
async fn ailing(name: &'static str) -> (Origin, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&well);
    let origin = Origin::start(move |seen| {
        let status = if seen.target == "/healthz" && !says.load(Ordering::SeqCst) { 500 } else { 200 };
        async move { answer(status, name) }
    })
    .await;
    (origin, well)
}

#[tokio::test]
async fn a_target_that_fails_its_checks_gets_nothing_until_it_is_well_again() {
    let ((a, a_well), (b, b_well)) = (ailing("a").await, ailing("b").await);
    let health = json!({ "path": "/healthz", "interval": "20ms", "healthy": 2, "unhealthy": 2 });
    let upstream = json!({ "targets": [a.url(), b.url()], "health": health });
    let gateway = gateway(&upstream).await;
    assert_eq!(counts(&gateway, 4).await.len(), 2);
    let usable = async |origin: &Origin| {
        let name = origin.address().to_string();
        gateway.metric("sluicegate_upstream_target_usable", &[("upstream", "all"), ("target", &name)]).await > 0.0
    };
    a_well.store(false, Ordering::SeqCst);
    eventually("the target is out", || async { !usable(&a).await }).await;
    gateway.wait_for_log("fails its health check").await;
    assert_eq!(counts(&gateway, 4).await, BTreeMap::from([("b".to_owned(), 4)]));
    let shown = gateway.admin_get("/api/v1/upstreams").await.json();
    assert_eq!(shown["targets"][0]["state"], "failing", "{shown}");
    // A reload that leaves the target where it is keeps what is known of it.
    let mut longer = config(&upstream);
    longer["upstreams"]["all"]["connect_timeout"] = json!("6s");
    gateway.reload(&longer).await;
    assert_eq!(counts(&gateway, 4).await, BTreeMap::from([("b".to_owned(), 4)]));
    b_well.store(false, Ordering::SeqCst);
    eventually("nobody is left", || async { !usable(&b).await }).await;
    gateway.get("/").await.expect(503);
    assert!(
        gateway.metric("sluicegate_upstream_errors_total", &[("upstream", "all"), ("reason", "no_target")]).await > 0.0
    );
    a_well.store(true, Ordering::SeqCst);
    eventually("it is back", || async { usable(&a).await }).await;
    assert_eq!(counts(&gateway, 4).await, BTreeMap::from([("a".to_owned(), 4)]));
}

#[tokio::test]
async fn connections_and_grpc_say_how_a_target_is_too() {
    let here = Origin::text("here").await;
    let gone = process::free_address();
    let health = json!({ "connect": true, "interval": "20ms" });
    let gateway = gateway(&json!({ "targets": [here.url(), format!("http://{gone}")], "health": health })).await;
    let gone = gone.to_string();
    let labels = [("upstream", "all"), ("target", gone.as_str())];
    eventually("the lost one is noticed", || async {
        gateway.metric("sluicegate_upstream_target_usable", &labels).await < 1.0
    })
    .await;
    let serving = |status: u8| {
        Origin::start_http2(move |seen| async move {
            assert_eq!(seen.target, "/grpc.health.v1.Health/Check");
            assert_eq!(seen.body[..], [0, 0, 0, 0, 3, 10, 1, b'x']);
            answer(200, bytes::Bytes::from(vec![0, 0, 0, 0, 2, 8, status]))
        })
    };
    let (well, ill) = (serving(1).await, serving(2).await);
    let health = json!({ "grpc": "x", "interval": "20ms" });
    let upstream = json!({ "targets": [well.url(), ill.url()], "protocol": "http2", "health": health });
    gateway.reload(&config(&upstream)).await;
    let usable = async |origin: &Origin| {
        let name = origin.address().to_string();
        gateway.metric("sluicegate_upstream_target_usable", &[("upstream", "all"), ("target", &name)]).await
    };
    eventually("one is well, the other is not", || async { usable(&well).await > 0.0 && usable(&ill).await < 1.0 })
        .await;
}

#[tokio::test]
async fn a_target_that_fails_requests_in_a_row_is_left_out_for_a_while() {
    let bad = Origin::start(|_| async { answer(503, "bad") }).await;
    let good = Origin::text("good").await;
    let eject = json!({ "failures": 3, "time": "1h" });
    let gateway = gateway(&json!({ "targets": [bad.url(), good.url()], "eject": eject })).await;
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(gateway.get("/").await.code());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 3);
    assert_eq!(bad.count(), 3, "nothing more goes there");
    gateway.wait_for_log("left out for a while").await;
    let shown = gateway.admin_get("/api/v1/upstreams").await.json();
    assert_eq!(shown["targets"][0]["state"], "left_out", "{shown}");
}

#[tokio::test]
async fn not_all_targets_are_left_out_and_the_last_ones_are_asked_even_then() {
    let (one, two) =
        (Origin::start(|_| async { answer(500, "one") }).await, Origin::start(|_| async { answer(500, "two") }).await);
    let eject = json!({ "failures": 1, "time": "1h", "most_percent": 50 });
    let half = gateway(&json!({ "targets": [one.url(), two.url()], "eject": eject })).await;
    for _ in 0..6 {
        half.get("/").await.expect(500);
    }
    assert_eq!(one.count().min(two.count()), 1, "one of two may be left out");
    let all = json!({ "failures": 1, "time": "1h", "most_percent": 100 });
    let all = gateway(&json!({ "targets": [one.url(), two.url()], "eject": all })).await;
    for _ in 0..6 {
        all.get("/").await.expect(500);
    }
}

#[tokio::test]
async fn an_upstream_has_no_more_requests_under_way_than_it_may() {
    let gate = Arc::new(Semaphore::new(0));
    let (held, running) = (Arc::clone(&gate), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&running);
    let origin = Origin::start(move |_| {
        let (held, count) = (Arc::clone(&held), Arc::clone(&count));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            drop(held.acquire().await);
            json_answer(&json!({}))
        }
    })
    .await;
    let mut config = config(&json!({ "targets": [origin.url()], "max_requests": 2 }));
    config["limits"]["workers"] = json!(2);
    let gateway = Site::new(&config).start().await;
    let waiting: Vec<_> = (0..2).map(|_| tokio::spawn(gateway.request(Method::GET, "/").send())).collect();
    eventually("two are under way", || async { running.load(Ordering::SeqCst) == 2 }).await;
    for _ in 0..4 {
        gateway.get("/").await.expect(503);
    }
    let labels = [("upstream", "all"), ("reason", "overloaded")];
    assert_eq!(gateway.metric("sluicegate_upstream_errors_total", &labels).await, 4.0);
    gate.add_permits(100);
    for call in waiting {
        call.await.expect("it is answered").expect(200);
    }
    eventually("there is room again", || async { gateway.get("/").await.code() == 200 }).await;
}

#[tokio::test]
async fn a_target_that_does_not_answer_in_time_is_left_out_too_and_another_try_goes_elsewhere() {
    let hung = Origin::start(|_| async {
        std::future::pending::<()>().await;
        answer(200, "never")
    })
    .await;
    let well = Origin::text("well").await;
    let targets = json!([hung.url(), well.url()]);
    for balance in [json!("round_robin"), json!({ "hash": "ip" })] {
        let mut config = config(&json!({ "targets": targets, "balance": balance, "eject": { "failures": 1000 } }));
        config["routes"][0]["retry"] = json!({ "attempts": 1, "on": ["timeout"], "per_try": "200ms", "backoff": "0s" });
        let gateway = Site::new(&config).start().await;
        for _ in 0..4 {
            assert_eq!(gateway.get("/").await.expect(200).text(), "well");
        }
    }
    let mut config = config(&json!({ "targets": targets, "eject": { "failures": 2, "time": "1h" } }));
    config["routes"][0]["timeout"] = json!("200ms");
    let gateway = Site::new(&config).start().await;
    let mut late = 0;
    for _ in 0..12 {
        late += usize::from(gateway.get("/").await.code() == 504);
    }
    assert_eq!(late, 2, "then it gets nothing more");
}

#[tokio::test]
async fn checks_go_on_when_the_files_of_an_upstreams_tls_change() {
    let (origin, well) = ailing("a").await;
    let authority = sluicegate_tests::tls::Authority::new("One");
    let health = json!({ "path": "/healthz", "interval": "20ms", "unhealthy": 1, "healthy": 1 });
    // One that is asked when nobody else is left, and never well.
    let last = json!({ "url": "https://127.0.0.1:9", "priority": 1 });
    let upstream = json!({ "targets": [origin.url(), last], "health": health, "tls": { "ca": "ca.pem" } });
    let site = Site::new(&config(&upstream));
    crate::tls::file(&site, "ca.pem", &authority.pem);
    let gateway = site.start().await;
    let before = gateway.generation().await;
    crate::tls::file(gateway.site(), "ca.pem", &sluicegate_tests::tls::Authority::new("Two").pem);
    gateway.next_generation(before).await;
    well.store(false, Ordering::SeqCst);
    eventually("its illness is noticed", || async { gateway.get("/").await.code() == 503 }).await;
    well.store(true, Ordering::SeqCst);
    eventually("and that it is well", || async { gateway.get("/").await.code() == 200 }).await;
}

#[tokio::test]
async fn a_changed_upstream_still_knows_its_requests_under_way() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |_| {
        let held = Arc::clone(&held);
        async move {
            drop(held.acquire().await);
            json_answer(&json!({}))
        }
    })
    .await;
    let mut config = config(&json!({ "targets": [origin.url()], "max_requests": 1 }));
    let gateway = Site::new(&config).start().await;
    let waiting = tokio::spawn(gateway.request(Method::GET, "/").send());
    origin.wait_for(1).await;
    for timeout in ["1s", "2s"] {
        config["upstreams"]["all"]["connect_timeout"] = json!(timeout);
        gateway.reload(&config).await;
        gateway.get("/").await.expect(503);
    }
    gate.add_permits(100);
    waiting.await.expect("it is answered").expect(200);
    eventually("there is room again", || async { gateway.get("/").await.code() == 200 }).await;
}
