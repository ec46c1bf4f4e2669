//! Listeners that become wider or narrower at a reload.

use serde_json::{Value, json};
use sluicegate_tests::client::Call;
use sluicegate_tests::{Connection, Gateway, Origin, Site, one_route, process};
use tokio::net::TcpStream;

fn config(origin: &Origin, addresses: &[String]) -> Value {
    let mut config = one_route(&origin.url(), &json!([]));
    config["listeners"] = addresses.iter().map(|address| json!({ "address": address })).collect();
    config
}

async fn is_served(gateway: &Gateway, host: &str) -> bool {
    let address = format!("{host}:{}", gateway.address().port()).parse().unwrap();
    if TcpStream::connect(address).await.is_err() {
        return false;
    }
    Call::new(address, http::Method::GET, "/").send().await.code() == 200
}

#[tokio::test]
async fn a_listener_becomes_wider_and_narrower_again_while_its_port_is_served() {
    let origin = Origin::text("ok").await;
    let port = process::free_address().port();
    let at = |host: &str| format!("{host}:{port}");
    let gateway = Site::new(&config(&origin, &[at("127.0.0.1")])).start().await;
    let mut kept = Connection::http1(gateway.address()).await.unwrap();
    kept.get("/").await.expect(200);
    assert!(!is_served(&gateway, "127.0.0.2").await);
    for (addresses, wide) in [
        (vec![at("0.0.0.0")], true),
        (vec![at("127.0.0.1")], false),
        // Both at once, too, and from those to one of them.
        (vec![at("127.0.0.1"), at("0.0.0.0")], true),
        (vec![at("0.0.0.0")], true),
        (vec![at("127.0.0.1")], false),
    ] {
        gateway.reload(&config(&origin, &addresses)).await;
        for _ in 0..8 {
            assert!(is_served(&gateway, "127.0.0.1").await, "{addresses:?}");
        }
        assert_eq!(is_served(&gateway, "127.0.0.2").await, wide, "{addresses:?}");
        kept.get("/").await.expect(200);
    }
    assert_eq!(gateway.log.count("Change refused"), 0);
}

#[tokio::test]
async fn a_wider_address_that_another_program_has_part_of_is_refused_and_nothing_changes() {
    let origin = Origin::text("ok").await;
    let port = process::free_address().port();
    let gateway = Site::new(&config(&origin, &[format!("127.0.0.1:{port}")])).start().await;
    let other = std::net::TcpListener::bind(("127.0.0.2", port)).unwrap();
    gateway.site().write(&config(&origin, &[format!("0.0.0.0:{port}")]));
    gateway.wait_for_log(&format!("cannot listen on 0.0.0.0:{port}")).await;
    assert!(is_served(&gateway, "127.0.0.1").await);
    drop(other);
}
