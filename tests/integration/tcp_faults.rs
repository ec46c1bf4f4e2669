//! Filters of TCP connections that die: their connection goes with them, or on without them.

use serde_json::{Value, json};
use sluicegate_tests::tcp::Tcp;
use sluicegate_tests::{Gateway, RawOrigin, Site, one_tcp, wait};

const CALLBACKS: [&str; 5] = ["new_connection", "downstream", "upstream", "downstream_close", "upstream_close"];

async fn gateway(origin: &RawOrigin, callback: &str, step: &Value, on_error: &str) -> Gateway {
    let filters = json!([
        { "use": "tcp", "config": { callback: [step] }, "on_error": on_error, "deadline": "50ms" },
        { "use": "tcp", "config": { "downstream": ["uppercase"] } },
    ]);
    Site::new(&one_tcp(&origin.tcp_url(), &filters)).tcp_script().start().await
}

/// A conversation, and whether it came to a proper end.
async fn talk(gateway: &Gateway) -> (String, bool) {
    let mut client = Tcp::to(gateway).await;
    client.write("hello").await;
    client.shut().await;
    client.rest().await
}

#[tokio::test]
async fn a_trap_in_any_callback_costs_its_connection() {
    let origin = RawOrigin::echo().await;
    for callback in CALLBACKS {
        let gateway = gateway(&origin, callback, &json!("trap"), "closed").await;
        let (answer, proper) = talk(&gateway).await;
        match callback {
            // Everything has been said by then.
            "downstream_close" => assert_eq!((&*answer, proper), ("HELLO", true), "{callback}"),
            "upstream_close" => assert!(!proper, "{callback} {answer}"),
            // Nothing was carried, so nothing is missing.
            "new_connection" => assert_eq!(answer, "", "{callback}"),
            _ => assert_eq!((&*answer, proper), ("", false), "{callback}"),
        }
        let reason = if callback == "downstream_close" { "complete" } else { "filter_fault" };
        wait::eventually(callback, || async {
            gateway.metric("sluicegate_tcp_connections_closed_total", &[("reason", reason)]).await == 1.0
                && gateway.metric("sluicegate_filter_traps_total", &[("kind", "trap")]).await == 1.0
        })
        .await;
    }
}

#[tokio::test]
async fn a_filter_that_may_fail_is_skipped_from_then_on() {
    let origin = RawOrigin::echo().await;
    for callback in CALLBACKS {
        let gateway = gateway(&origin, callback, &json!("trap"), "open").await;
        assert_eq!(talk(&gateway).await, ("HELLO".to_owned(), true), "{callback}");
        // The next one gets a fresh instance.
        assert_eq!(talk(&gateway).await, ("HELLO".to_owned(), true), "{callback}");
    }
}

#[tokio::test]
async fn a_filter_that_does_not_return_is_stopped() {
    let origin = RawOrigin::echo().await;
    for callback in ["new_connection", "downstream", "upstream"] {
        let gateway = gateway(&origin, callback, &json!("loop"), "closed").await;
        let (answer, proper) = talk(&gateway).await;
        assert!(answer.is_empty() && (!proper || callback == "new_connection"), "{callback} {answer}");
        assert!(gateway.metric("sluicegate_filter_traps_total", &[("kind", "deadline")]).await >= 1.0);
    }
}

#[tokio::test]
async fn what_a_dead_filter_held_goes_on_or_breaks_off() {
    let origin = RawOrigin::echo().await;
    for (on_error, workers) in [("open", 1), ("closed", 1)] {
        let script = json!({ "downstream": [{ "when": ["hold", ["pause"]] }, { "when": ["die", ["trap"]] }] });
        let filter = json!({ "use": "tcp", "config": script, "on_error": on_error });
        let mut config = one_tcp(&origin.tcp_url(), &json!([filter]));
        config["limits"] = json!({ "workers": workers });
        let gateway = Site::new(&config).tcp_script().start().await;
        let mut holding = Tcp::to(&gateway).await;
        holding.write("hold").await;
        wait::eventually("it is held", || async {
            let labels = [("phase", "downstream_data"), ("outcome", "pause")];
            gateway.metric("sluicegate_filter_calls_total", &labels).await == 1.0
        })
        .await;
        // Another connection of the same instance kills it.
        let mut killer = Tcp::to(&gateway).await;
        killer.write("die").await;
        if on_error == "open" {
            holding.expect("hold").await;
            killer.expect("die").await;
        } else {
            assert_eq!(holding.rest().await, (String::new(), false));
            assert_eq!(killer.rest().await, (String::new(), false));
        }
    }
}
