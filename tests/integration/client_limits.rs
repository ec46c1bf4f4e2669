//! What one client and one connection may have.

use serde_json::{Value, json};
use sluicegate_tests::raw::Raw;
use sluicegate_tests::wait::eventually;
use sluicegate_tests::{Connection, Gateway, Origin, Site, one_route};

async fn gateway(origin: &Origin, filters: &Value, limits: &Value) -> Gateway {
    let mut config = one_route(&origin.url(), filters);
    config["limits"] = limits.clone();
    Site::new(&config).script().start().await
}

#[tokio::test]
async fn a_client_has_no_more_connections_than_it_may() {
    let origin = Origin::text("ok").await;
    let gateway = gateway(&origin, &json!([]), &json!({ "connections_per_client": 3 })).await;
    let ask = async |client: &mut Raw| {
        client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.response().await.status
    };
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Raw::connect(gateway.address()).await;
        assert_eq!(ask(&mut client).await, 200);
        clients.push(client);
    }
    assert!(Raw::connect(gateway.address()).await.rest().await.is_empty(), "the fourth is closed");
    assert_eq!(ask(&mut clients[0]).await, 200, "the others go on");
    clients.pop();
    eventually("there is room for another one", || async {
        let mut client = Raw::connect(gateway.address()).await;
        client.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        !client.rest().await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_head_that_does_not_arrive_ends_its_connection_and_is_counted() {
    let origin = Origin::text("ok").await;
    let gateway = gateway(&origin, &json!([]), &json!({ "header_timeout": "100ms" })).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.write("GET / HTTP/1.1\r\nhost:").await;
    assert!(client.rest().await.is_empty());
    assert_eq!(gateway.metric("sluicegate_replies_total", &[("reason", "header_timeout")]).await, 1.0);
}

#[tokio::test]
async fn what_runs_on_a_connection_that_has_served_enough_is_finished() {
    let origin = Origin::start(|_| async {
        // Many times as long as the gateway looks away from a connection.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        sluicegate_tests::origin::answer(200, "slow")
    })
    .await;
    let limits = json!({ "requests_per_connection": 1, "header_timeout": "40ms", "idle_timeout": "40ms" });
    let gateway = gateway(&origin, &json!([]), &limits).await;
    let mut connection = Connection::http2(gateway.address()).await.expect("it is served");
    assert_eq!(connection.get("/").await.expect(200).text(), "slow");
}

#[tokio::test]
async fn a_connection_ends_after_as_many_requests_as_it_may_serve() {
    let origin = Origin::text("ok").await;
    let limits = json!({ "requests_per_connection": 3, "header_timeout": "100ms", "idle_timeout": "10s" });
    for filters in [json!([]), json!([{ "use": "script" }])] {
        let gateway = gateway(&origin, &filters, &limits).await;
        let mut client = Raw::connect(gateway.address()).await;
        for request in 1..=3 {
            client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let answer = client.response().await;
            assert_eq!((answer.status, answer.has_line("connection: close")), (200, request == 3), "{}", answer.head);
        }
        assert!(client.rest().await.is_empty());
        let mut connection = Connection::http2(gateway.address()).await.expect("it is served");
        for _ in 0..3 {
            connection.get("/").await.expect(200);
        }
        eventually("the connection is wound down", || async { connection.is_closed() }).await;
        gateway.stop().await;
    }
}
