//! Certificates of clients: who is let in, and what filters learn of them.

use http::Request;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sluicegate_tests::tls::{Authority, TlsClient, TlsClientBuilder};
use sluicegate_tests::{Gateway, Origin, Site, body, one_route};

use crate::tls::{counted, file, pairs, put};

/// What the filter of these tests tells the origin.
const PROPERTIES: [&str; 8] = [
    "tls_version",
    "requested_server_name",
    "subject_peer_certificate",
    "uri_san_peer_certificate",
    "dns_san_peer_certificate",
    "sha256_peer_certificate_digest",
    "subject_local_certificate",
    "dns_san_local_certificate",
];

fn header(property: &str) -> String {
    format!("x-{}", property.replace('_', "-"))
}

/// A gateway whose listener asks for certificates of `clients`.
async fn asking(mode: &str, servers: &Authority, clients: &Authority) -> (Gateway, Origin) {
    let origin = Origin::text("ok").await;
    let mut steps: Vec<Value> = Vec::new();
    for property in PROPERTIES {
        steps.push(json!({ "set": ["request", header(property), { "property": ["connection", property] }] }));
    }
    let mtls = json!({ "status": 200, "body": { "property": ["connection", "mtls"] } });
    steps.push(json!({ "when": ["mtls", [{ "reply": mtls }]] }));
    let mut config = one_route(&origin.url(), &json!([{ "use": "script", "config": { "request_headers": steps } }]));
    let tls = json!({ "certificates": pairs(&["a"]), "client": { "ca": "clients.pem", "mode": mode } });
    config["listeners"] = json!([{ "address": "127.0.0.1:0", "tls": tls }]);
    let site = Site::new(&config).script();
    put(&site, "a", &servers.issue(&["a.test"]));
    file(&site, "clients.pem", &clients.pem);
    (site.start().await, origin)
}

async fn is_served(gateway: &Gateway, client: TlsClientBuilder) -> bool {
    match client.build().get(gateway.address(), "a.test").await {
        Ok(response) => response.code() == 200,
        Err(_) => false,
    }
}

/// What a filter sees as `connection.mtls`.
async fn mtls(gateway: &Gateway, client: TlsClientBuilder) -> Vec<u8> {
    let mut secure = client.build().open(gateway.address(), "a.test").await.unwrap();
    let request = Request::get("/").header("x-do", "mtls").body(body::empty()).unwrap();
    secure.connection.send(request).await.unwrap().expect(200).body.to_vec()
}

#[tokio::test]
async fn a_required_certificate_has_to_be_shown_and_to_be_trusted() {
    let (servers, clients, others) = (Authority::new("Servers"), Authority::new("Clients"), Authority::new("Others"));
    let (gateway, origin) = asking("required", &servers, &clients).await;
    let client = || TlsClient::trusting(&servers);
    for version in [&TLS12, &TLS13] {
        let good = clients.client("alice", "alice.test", "spiffe://test/alice");
        assert!(is_served(&gateway, client().version(version).identity(&good)).await);
    }
    let served = origin.count();
    let wrong = [others.client("mallory", "alice.test", "spiffe://test/alice"), clients.expired(&["alice.test"])];
    for version in [&TLS12, &TLS13] {
        assert!(!is_served(&gateway, client().version(version)).await);
        for identity in &wrong {
            assert!(!is_served(&gateway, client().version(version).identity(identity)).await);
        }
    }
    assert_eq!(origin.count(), served, "no request of them got through");
    counted(&gateway, "certificate_missing", 2.0).await;
    counted(&gateway, "certificate_refused", 4.0).await;
}

#[tokio::test]
async fn an_optional_certificate_may_be_missing_but_not_be_wrong() {
    let (servers, clients, others) = (Authority::new("Servers"), Authority::new("Clients"), Authority::new("Others"));
    let (gateway, origin) = asking("optional", &servers, &clients).await;
    let client = || TlsClient::trusting(&servers);
    assert!(is_served(&gateway, client()).await);
    assert_eq!(origin.last().header(&header("subject_peer_certificate")), "(none)");
    assert_eq!(mtls(&gateway, client()).await, [0]);
    let bob = clients.client("bob", "bob.test", "spiffe://test/bob");
    assert!(is_served(&gateway, client().identity(&bob)).await);
    assert_eq!(origin.last().header(&header("subject_peer_certificate")), "CN=bob,O=Acme");
    assert_eq!(mtls(&gateway, client().identity(&bob)).await, [1]);
    assert!(!is_served(&gateway, client().identity(&others.client("eve", "eve.test", "spiffe://test/eve"))).await);
}

#[tokio::test]
async fn filters_learn_of_the_connection_and_the_client_also_when_the_session_is_resumed() {
    let (servers, clients) = (Authority::new("Servers"), Authority::new("Clients"));
    let (gateway, origin) = asking("required", &servers, &clients).await;
    let alice = clients.client("alice", "alice.test", "spiffe://test/alice");
    let digest: String = Sha256::digest(&alice.der).iter().map(|byte| format!("{byte:02x}")).collect();
    for (version, name) in [(&TLS12, "TLSv1.2"), (&TLS13, "TLSv1.3")] {
        let client = TlsClient::trusting(&servers).version(version).identity(&alice).build();
        for resumed in [false, true] {
            let mut secure = client.open(gateway.address(), "a.test").await.unwrap();
            assert_eq!(secure.resumed, resumed);
            secure.connection.get("/").await.expect(200);
            let seen = origin.last();
            let told = PROPERTIES.map(|property| seen.header(&header(property)));
            let expected = [
                name,
                "a.test",
                "CN=alice,O=Acme",
                "spiffe://test/alice",
                "alice.test",
                &digest,
                "CN=a.test",
                "a.test",
            ];
            assert_eq!(told.each_ref().map(String::as_str), expected);
        }
    }
}
