//! The admin API over TLS: who may read, who may change something, and what becomes of its files.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use http::Request;
use serde_json::{Value, json};
use sluicegate_tests::client::Call;
use sluicegate_tests::tls::{Authority, Issued, TlsClient};
use sluicegate_tests::{Gateway, Origin, Response, Site, body, one_route, wait};

use crate::tls::{file, pairs, put};

const TOKEN: &str = "c29tZXRoaW5nIHNlY3JldA";

struct Setup {
    gateway: Gateway,
    servers: Authority,
    clients: Authority,
    _origin: Origin,
}

async fn start(mode: &str, address: &str) -> Setup {
    let (servers, clients, origin) = (Authority::new("Servers"), Authority::new("Clients"), Origin::text("ok").await);
    let tls = json!({ "certificates": pairs(&["a"]), "client": { "ca": "clients.pem", "mode": mode } });
    let mut config = one_route(&origin.url(), &json!([]));
    config["admin"] = json!({ "address": address, "tls": tls, "token": "${file:token}" });
    let site = Site::new(&config);
    put(&site, "a", &servers.issue(&["a.test"]));
    file(&site, "clients.pem", &clients.pem);
    file(&site, "token", TOKEN);
    Setup { gateway: site.start().await, servers, clients, _origin: origin }
}

impl Setup {
    /// Asks as that client; `None` when there is no TLS with it.
    async fn ask(
        &self,
        at: SocketAddr,
        who: Option<&Issued>,
        ask: (&str, &str),
        token: Option<&str>,
    ) -> Option<Response> {
        let client = TlsClient::trusting(&self.servers);
        let client = who.into_iter().fold(client, |client, identity| client.identity(identity)).build();
        let mut secure = client.open(at, "a.test").await.ok()?;
        let mut request = Request::builder().method(ask.0).uri(ask.1).header("host", "a.test");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        secure.connection.send(request.body(body::empty()).unwrap()).await.ok()
    }
}

/// An address of this machine that is not on the loopback interface; nothing is sent.
fn elsewhere() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

#[tokio::test]
async fn without_a_trusted_certificate_nothing_is_answered_where_one_is_required() {
    let setup = start("required", "127.0.0.1:0").await;
    let (at, get) = (setup.gateway.admin(), ("GET", "/readyz"));
    let alice = setup.clients.client("alice", "a.test", "x:a");
    let mallory = Authority::new("Others").client("mallory", "a.test", "x:a");
    assert_eq!(setup.ask(at, Some(&alice), get, None).await.unwrap().code(), 200);
    assert_eq!(setup.ask(at, Some(&alice), ("POST", "/api/v1/reload"), None).await.unwrap().code(), 200);
    assert!(setup.ask(at, None, get, None).await.is_none());
    assert!(setup.ask(at, Some(&mallory), get, Some(TOKEN)).await.is_none());
    assert!(Call::new(at, http::Method::GET, "/readyz").try_send().await.is_err(), "nor in the clear");
    let config = setup.ask(at, Some(&alice), ("GET", "/api/v1/config"), None).await.unwrap();
    assert_eq!(config.json()["admin"]["token"], Value::from("${file:token}"));
}

#[tokio::test]
async fn from_elsewhere_a_certificate_or_the_token_is_needed_to_change_something() {
    let setup = start("optional", "0.0.0.0:0").await;
    let port = setup.gateway.admin().port();
    let here = SocketAddr::from(([127, 0, 0, 1], port));
    let reload = ("POST", "/api/v1/reload");
    assert_eq!(setup.ask(here, None, ("GET", "/livez"), None).await.unwrap().code(), 200);
    assert_eq!(setup.ask(here, None, reload, None).await.unwrap().code(), 200);
    let Some(elsewhere) = elsewhere() else { return eprintln!("skipped: this machine has no other address") };
    let there = SocketAddr::new(elsewhere, port);
    let alice = setup.clients.client("alice", "a.test", "x:a");
    let code = async |who, ask, token| setup.ask(there, who, ask, token).await.unwrap().code();
    assert_eq!(code(None, ("GET", "/readyz"), None).await, 200);
    assert_eq!(code(None, reload, None).await, 403);
    assert_eq!(code(None, reload, Some("c29tZXRoaW5nIGVsc2U")).await, 403);
    assert_eq!(code(None, reload, Some(TOKEN)).await, 200);
    assert_eq!(code(Some(&alice), reload, None).await, 200);
    // A new token is in force when it is read.
    file(setup.gateway.site(), "token", "YW5vdGhlciBzZWNyZXQ");
    assert_eq!(code(Some(&alice), reload, None).await, 200);
    assert_eq!(code(None, reload, Some(TOKEN)).await, 403);
    assert_eq!(code(None, reload, Some("YW5vdGhlciBzZWNyZXQ")).await, 200);
}

#[tokio::test]
async fn a_renewed_certificate_of_the_admin_api_is_taken_over_and_a_broken_one_is_not() {
    let setup = start("optional", "127.0.0.1:0").await;
    let (at, site) = (setup.gateway.admin(), setup.gateway.site());
    let shown = async || {
        let secure = TlsClient::trusting(&setup.servers).build().open(at, "a.test").await.unwrap();
        secure.certificate
    };
    let renewed = setup.servers.issue(&["a.test"]);
    assert_ne!(shown().await, renewed.der);
    put(site, "a", &renewed);
    wait::eventually("the new one is shown", || async { shown().await == renewed.der }).await;
    file(site, "a.pem", "nothing");
    setup.gateway.wait_for_log("admin.tls.certificates[0].certificate: ").await;
    assert_eq!(shown().await, renewed.der);
}
