//! Names that do not resolve, and addresses of names that nobody reaches.

use serde_json::json;
use sluicegate_tests::dns::Says;
use sluicegate_tests::origin::answer;
use sluicegate_tests::tcp::Tcp;
use sluicegate_tests::wait::eventually;
use sluicegate_tests::{DnsServer, Origin, RawOrigin, Site};
use tokio::net::{TcpSocket, TcpStream};

use crate::names::{at, config, gateway, known, sockets};

#[tokio::test]
async fn without_an_answer_the_last_addresses_stay_and_it_is_counted_and_told_once() {
    let (_origins, port) = at(["127.0.0.1"]).await;
    let dns = DnsServer::start().await;
    dns.has("users.test", &["127.0.0.1"]);
    let gateway = gateway(&dns, port, &json!({})).await;
    gateway.get("/").await.expect(200);
    dns.says("users.test", Says::Failure);
    let labels = [("upstream", "users"), ("result", "failure")];
    eventually("it fails again and again", || async {
        gateway.metric("sluicegate_dns_resolutions_total", &labels).await >= 3.0
    })
    .await;
    for _ in 0..5 {
        gateway.get("/").await.expect(200);
    }
    assert_eq!(gateway.log.count("A name does not resolve."), 1);
    let shown = gateway.admin_get("/api/v1/upstreams").await.json();
    assert!(shown["names"][0]["problem"].is_string(), "{shown}");
    // Another configuration of the upstream goes on with what is known.
    gateway.reload(&config(&dns, port, &json!({ "connect_timeout": "3s" }))).await;
    gateway.get("/").await.expect(200);
    dns.has("users.test", &["127.0.0.1"]);
    gateway.wait_for_log("A name resolves again.").await;
    assert!(gateway.admin_get("/api/v1/upstreams").await.json()["names"][0]["problem"].is_null());
}

#[tokio::test]
async fn a_gateway_starts_with_a_name_that_nobody_knows_and_serves_once_it_is_known() {
    let (_origins, port) = at(["127.0.0.1"]).await;
    let dns = DnsServer::start().await;
    let gateway = gateway(&dns, port, &json!({})).await;
    gateway.get("/").await.expect(503);
    gateway.wait_for_log("there is no such name").await;
    let shown = gateway.admin_get("/api/v1/upstreams").await.json();
    assert_eq!((&shown["targets"], &shown["names"][0]["addresses"]), (&json!([]), &json!([])), "{shown}");
    dns.has("users.test", &["127.0.0.1"]);
    eventually("it serves", || async { gateway.get("/").await.code() == 200 }).await;
    // An answer that there is nothing is an answer too.
    dns.says("users.test", Says::NoName);
    eventually("its addresses are taken away", || async { gateway.get("/").await.code() == 503 }).await;
    assert!(known(&gateway).await.is_empty());
}

#[tokio::test]
async fn half_an_answer_takes_nothing_away() {
    let (_origins, port) = at(["127.0.0.1"]).await;
    let dns = DnsServer::start().await;
    dns.has("users.test", &["127.0.0.1", "::1"]);
    let gateway = gateway(&dns, port, &json!({})).await;
    eventually("both are known", || async { known(&gateway).await.len() == 2 }).await;
    for ipv6 in [vec!["::1".parse().unwrap()], Vec::new()] {
        dns.says("users.test", Says::HalfFailure(ipv6));
        dns.wait_for("users.test", 5).await;
        assert_eq!(known(&gateway).await.len(), 2);
        gateway.get("/").await.expect(200);
    }
}

#[tokio::test]
async fn a_silent_server_of_names_does_not_hold_up_the_start() {
    let (_origins, port) = at(["127.0.0.1"]).await;
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let how = json!({ "servers": [silent.local_addr().unwrap().to_string()] });
    let targets = json!([format!("http://users.test:{port}")]);
    let upstream = json!({ "targets": targets, "dns": how, "connect_timeout": "50ms" });
    let config = json!({ "upstreams": { "users": upstream }, "routes": [{ "upstream": "users" }] });
    let gateway = Site::new(&config).start().await;
    gateway.get("/").await.expect(503);
}

#[tokio::test]
async fn an_address_that_refuses_costs_no_request() {
    let ([well], port) = at(["127.0.0.1"]).await;
    let dns = DnsServer::start().await;
    dns.has("users.test", &["127.0.0.2", "127.0.0.1", "::1"]);
    for eject in [json!({}), json!({ "failures": 1000 })] {
        let gateway = gateway(&dns, port, &json!({ "eject": eject })).await;
        for n in 0..20 {
            gateway.post("/", format!("{n}")).await.expect(200);
        }
        assert!(gateway.log.count("Target failed") <= 4, "it is not told for every request");
    }
    assert_eq!(well.count(), 40);
}

#[tokio::test]
async fn an_address_that_does_not_answer_costs_a_moment_and_no_request() {
    // The queue of a socket that accepts nobody is full soon; further connections are not answered.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let deaf = socket.listen(0).unwrap();
    let address = deaf.local_addr().unwrap();
    let filling: Vec<_> = (0..4).map(|_| tokio::spawn(TcpStream::connect(address))).collect();
    eventually("the queue is full", || std::future::ready(filling.iter().filter(|one| one.is_finished()).count() >= 1))
        .await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", address.port())).await.unwrap();
    let well = Origin::serve_on(listener, false, |_| async { answer(200, "well") });
    let dns = DnsServer::start().await;
    dns.has("users.test", &["127.0.0.1", "127.0.0.2"]);
    // Without another address being tried meanwhile, this would be waited for in vain.
    let gateway = gateway(&dns, address.port(), &json!({ "connect_timeout": "10m" })).await;
    for _ in 0..8 {
        gateway.get("/").await.expect(200);
    }
    assert_eq!(well.count(), 8);
    filling.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn http2_and_tcp_go_past_an_address_that_nobody_reaches_too() {
    let (mut listeners, port) = sockets(["127.0.0.1"]).await;
    let http2 = Origin::serve_on(listeners.pop().unwrap(), true, |_| async { answer(200, "two") });
    let dns = DnsServer::start().await;
    dns.has("users.test", &["127.0.0.1", "127.0.0.2"]);
    let over_http2 = gateway(&dns, port, &json!({ "protocol": "http2" })).await;
    for _ in 0..6 {
        over_http2.get("/").await.expect(200);
    }
    assert_eq!(http2.connections(), 1);
    let echo = RawOrigin::echo().await;
    let targets = json!([format!("tcp://users.test:{}", echo.address().port())]);
    let mut config = config(&dns, port, &json!({ "targets": targets }));
    config["routes"] = json!([]);
    config["listeners"] = json!([{ "address": "127.0.0.1:0", "tcp": { "upstream": "users" } }]);
    let over_tcp = Site::new(&config).start().await;
    for _ in 0..6 {
        assert_eq!(Tcp::to(&over_tcp).await.ask("hello").await, "hello");
    }
}
