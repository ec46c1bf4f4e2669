//! Methods that are not about a resource behind the gateway: CONNECT, TRACE, OPTIONS of the server.

use http::{Method, Request};
use serde_json::json;
use sluicegate_tests::raw::Raw;
use sluicegate_tests::{Connection, Gateway, Origin, Site, body, one_route};

async fn gateway(origin: &Origin) -> Gateway {
    Site::new(&one_route(&origin.url(), &json!([{ "use": "script" }]))).script().start().await
}

#[tokio::test]
async fn connect_is_refused_and_nothing_behind_it_is_read_as_a_request() {
    let origin = Origin::echo().await;
    let gateway = gateway(&origin).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.write("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = client.response().await;
    assert_eq!(answer.status, 501, "{}", answer.head);
    assert!(answer.has_line("connection: close"), "{}", answer.head);
    assert!(client.rest().await.is_empty(), "the connection is closed");
    assert_eq!(origin.count(), 0);
    assert_eq!(gateway.metric("sluicegate_replies_total", &[("reason", "unsupported")]).await, 1.0);
}

#[tokio::test]
async fn connect_over_http2_costs_its_stream_and_not_the_connection() {
    let origin = Origin::echo().await;
    let gateway = gateway(&origin).await;
    let mut client = Connection::http2(gateway.address()).await.unwrap();
    for _ in 0..3 {
        let request = Request::builder().method(Method::CONNECT).uri("a:443").body(body::empty()).unwrap();
        assert_eq!(client.send(request).await.unwrap().code(), 501);
        let request = Request::get("/after").body(body::empty()).unwrap();
        assert_eq!(client.send(request).await.unwrap().expect(200).json()["target"], "/after");
    }
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn the_server_as_a_whole_is_asked_on_a_connection_that_goes_on() {
    let origin = Origin::echo().await;
    let gateway = gateway(&origin).await;
    let mut client = Raw::connect(gateway.address()).await;
    for ask in ["OPTIONS *", "TRACE /x", "OPTIONS *"] {
        client.write(format!("{ask} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let answer = client.response().await;
        assert_eq!(answer.status, if ask.starts_with('O') { 204 } else { 405 }, "{}", answer.head);
        assert!(answer.has_line("allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"), "{}", answer.head);
    }
    client.write("OPTIONS /x HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(origin.count(), 1);
}
