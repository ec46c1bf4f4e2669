//! Certificates that were revoked are refused, as soon as the list of it is there.

use serde_json::{Value, json};
use sluicegate_tests::tls::{Authority, Issued, TlsClient};
use sluicegate_tests::{Gateway, Origin, Site, one_route, wait};

use crate::tls::{file, pairs, put};

/// A year to come.
const LATER: i32 = 2200;
/// One that has passed.
const BEFORE: i32 = 2002;

fn config(origin: &Origin) -> Value {
    let client = json!({ "ca": "clients.pem", "crl": ["revoked.pem"] });
    let mut config = one_route(&origin.url(), &json!([]));
    config["listeners"] =
        json!([{ "address": "127.0.0.1:0", "tls": { "certificates": pairs(&["a"]), "client": client } }]);
    config
}

async fn is_served(gateway: &Gateway, servers: &Authority, identity: &Issued) -> bool {
    let client = TlsClient::trusting(servers).identity(identity).build();
    client.get(gateway.address(), "a.test").await.is_ok_and(|response| response.code() == 200)
}

async fn replace(gateway: &Gateway, name: &str, text: &str) {
    let before = gateway.generation().await;
    file(gateway.site(), name, text);
    gateway.next_generation(before).await;
}

#[tokio::test]
async fn a_client_whose_certificate_is_revoked_is_refused_and_others_are_served() {
    let (servers, clients, origin) = (Authority::new("Servers"), Authority::new("Clients"), Origin::text("ok").await);
    let (alice, bob) = (clients.client("alice", "a.test", "x:a"), clients.client("bob", "b.test", "x:b"));
    let site = Site::new(&config(&origin));
    put(&site, "a", &servers.issue(&["a.test"]));
    file(&site, "clients.pem", &clients.pem);
    file(&site, "revoked.pem", &clients.revoking(&[], LATER));
    let gateway = site.start().await;
    let bobs = TlsClient::trusting(&servers).identity(&bob).build();
    bobs.get(gateway.address(), "a.test").await.unwrap().expect(200);
    assert!(is_served(&gateway, &servers, &alice).await);

    replace(&gateway, "revoked.pem", &clients.revoking(&[&bob], LATER)).await;
    assert!(is_served(&gateway, &servers, &alice).await);
    assert!(!is_served(&gateway, &servers, &bob).await);
    assert!(bobs.get(gateway.address(), "a.test").await.is_err(), "nor is the session resumed");
    assert!(
        gateway.metric("sluicegate_tls_handshake_failures_total", &[("reason", "certificate_refused")]).await >= 2.0
    );

    // A list that has expired tells nothing, and one of another authority neither: nobody is let in.
    replace(&gateway, "revoked.pem", &clients.revoking(&[], BEFORE)).await;
    gateway.wait_for_log("client.crl[0]: expired at").await;
    assert!(!is_served(&gateway, &servers, &alice).await);
    replace(&gateway, "revoked.pem", &servers.revoking(&[], LATER)).await;
    assert!(!is_served(&gateway, &servers, &alice).await);

    // What is no list changes nothing.
    file(gateway.site(), "revoked.pem", &clients.pem);
    gateway.wait_for_log("tls.client.crl[0]: has no list of revoked certificates").await;
    replace(&gateway, "revoked.pem", &clients.revoking(&[], LATER)).await;
    assert!(is_served(&gateway, &servers, &bob).await);
}

#[tokio::test]
async fn an_upstream_whose_certificate_is_revoked_gets_no_requests() {
    let (servers, inner, origin) = (Authority::new("Servers"), Authority::new("Inner"), Origin::text("ok").await);
    // A gateway with TLS is the upstream of another one.
    let mut behind = one_route(&origin.url(), &json!([]));
    behind["listeners"] = json!([{ "address": "127.0.0.1:0", "tls": { "certificates": pairs(&["a"]) } }]);
    let site = Site::new(&behind);
    let issued = inner.issue(&["a.test"]);
    put(&site, "a", &issued);
    let behind = site.start().await;
    let mut config = one_route(&format!("https://{}", behind.address()), &json!([]));
    config["upstreams"]["origin"]["tls"] = json!({ "ca": "ca.pem", "server_name": "a.test", "crl": ["revoked.pem"] });
    let site = Site::new(&config);
    file(&site, "ca.pem", &inner.pem);
    file(&site, "revoked.pem", &inner.revoking(&[], LATER));
    let gateway = site.start().await;
    gateway.get("/").await.expect(200);
    replace(&gateway, "revoked.pem", &inner.revoking(&[&issued], LATER)).await;
    wait::eventually("the upstream is refused", || async { gateway.get("/").await.code() == 503 }).await;
    file(gateway.site(), "revoked.pem", &servers.pem);
    gateway.wait_for_log("upstreams.origin.tls.crl: has no list of revoked certificates").await;
}

#[tokio::test]
async fn a_response_of_ocsp_is_stapled_as_its_file_has_it() {
    let (servers, origin) = (Authority::new("Servers"), Origin::text("ok").await);
    let certificate = json!({ "certificate": "a.pem", "key": "a.key", "ocsp": "a.der" });
    let mut config = one_route(&origin.url(), &json!([]));
    config["listeners"] = json!([{ "address": "127.0.0.1:0", "tls": { "certificates": [certificate] } }]);
    let site = Site::new(&config);
    put(&site, "a", &servers.issue(&["a.test"]));
    // Two sequences that only clients would look into.
    let responses = ["0\u{3}\n\u{1}\u{0}", "0\u{3}\n\u{1}\u{1}"];
    file(&site, "a.der", responses[0]);
    let gateway = site.start().await;
    let stapled = async || {
        let client = TlsClient::credulous().build();
        client.get(gateway.address(), "a.test").await.unwrap().expect(200);
        client.stapled()
    };
    assert_eq!(stapled().await, responses[0].as_bytes());
    replace(&gateway, "a.der", responses[1]).await;
    assert_eq!(stapled().await, responses[1].as_bytes());
    file(gateway.site(), "a.der", "-----BEGIN");
    gateway.wait_for_log("tls.certificates[0].ocsp: is no OCSP response in DER form").await;
    assert_eq!(stapled().await, responses[1].as_bytes());
}
