//! TLS towards upstreams: authorities, certificates and names of their own. Another gateway stands in for the service.

use serde_json::{Value, json};
use sluicegate_tests::tls::{Authority, Issued};
use sluicegate_tests::{Gateway, Origin, Site, one_route};

use crate::tls::{file, pairs, put};

/// A service that speaks TLS as `internal.example` and asks for a certificate of a client.
async fn service(origin: &Origin, authority: &Authority) -> Gateway {
    let show = json!({ "use": "script", "config": { "response_headers": [
        { "set": ["response", "x-peer", { "property": ["connection", "dns_san_peer_certificate"] }] },
        { "set": ["response", "x-name", { "property": ["connection", "requested_server_name"] }] },
    ] } });
    let mut config = one_route(&origin.url(), &json!([show]));
    let tls = json!({ "certificates": pairs(&["a"]), "client": { "ca": "ca.pem" } });
    config["listeners"] = json!([{ "address": "127.0.0.1:0", "tls": tls }]);
    let site = Site::new(&config).script();
    put(&site, "a", &authority.issue(&["internal.example"]));
    file(&site, "ca.pem", &authority.pem);
    site.start().await
}

fn config(service: &Gateway, protocol: &str, tls: &Value) -> Value {
    let target = format!("https://{}", service.address());
    json!({
        "upstreams": { "service": { "targets": [target], "protocol": protocol, "tls": tls } },
        "routes": [{ "upstream": "service" }],
    })
}

fn site(config: &Value, authority: &Authority, client: &Issued) -> Site {
    let site = Site::new(config);
    put(&site, "client", client);
    file(&site, "ca.pem", &authority.pem);
    site
}

fn whole() -> Value {
    json!({ "ca": "ca.pem", "certificate": "client.pem", "key": "client.key", "server_name": "internal.example" })
}

#[tokio::test]
async fn an_upstream_is_asked_by_its_name_with_the_gateways_certificate() {
    let (origin, authority) = (Origin::text("ok").await, Authority::new("Internal"));
    let service = service(&origin, &authority).await;
    let client = authority.client("gateway", "gateway.example", "spiffe://example/gateway");
    for protocol in ["http1", "http2"] {
        let gateway = site(&config(&service, protocol, &whole()), &authority, &client).start().await;
        let response = gateway.get("/").await.expect(200);
        assert_eq!(
            (response.header("x-peer"), response.header("x-name")),
            ("gateway.example".into(), "internal.example".into())
        );
        gateway.stop().await;
    }
}

#[tokio::test]
async fn what_cannot_be_trusted_is_not_asked() {
    let (origin, authority) = (Origin::text("ok").await, Authority::new("Internal"));
    let service = service(&origin, &authority).await;
    let client = authority.client("gateway", "gateway.example", "spiffe://example/gateway");
    let without = |key: &str| {
        let mut tls = whole();
        tls.as_object_mut().expect("an object").remove(key);
        tls
    };
    let mut other_name = whole();
    other_name["server_name"] = json!("other.example");
    for tls in [without("ca"), without("server_name"), other_name] {
        let gateway = site(&config(&service, "http1", &tls), &authority, &client).start().await;
        gateway.get("/").await.expect(503);
        gateway.wait_for_log("certificate").await;
        gateway.stop().await;
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_new_certificate_is_used_when_its_files_change() {
    let (origin, authority) = (Origin::text("ok").await, Authority::new("Internal"));
    let service = service(&origin, &authority).await;
    let client = |name: &str| authority.client("gateway", name, "spiffe://example/gateway");
    let gateway = site(&config(&service, "http1", &whole()), &authority, &client("old.example")).start().await;
    assert_eq!(gateway.get("/").await.expect(200).header("x-peer"), "old.example");
    let before = gateway.generation().await;
    put(gateway.site(), "client", &client("new.example"));
    gateway.next_generation(before).await;
    sluicegate_tests::wait::eventually("the new one is shown", || async {
        gateway.get("/").await.expect(200).header("x-peer") == "new.example"
    })
    .await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_refused_at_their_places() {
    let authority = Authority::new("Internal");
    let client = authority.client("gateway", "gateway.example", "spiffe://example/gateway");
    let text = r#"{
  "listeners": [{ "address": "127.0.0.1:0" }],
  "upstreams": { "service": {
    "targets": ["https://127.0.0.1:1"],
    "tls": { "ca": "empty.pem", "certificate": "client.pem", "key": "gone.key" }
  } }
}"#;
    let site = site(&json!({}), &authority, &client);
    file(&site, "empty.pem", "nothing here\n");
    site.write_text(text);
    let output = site.check();
    assert_eq!(output.code, 1);
    for line in [
        "gateway.json:5:20: upstreams.service.tls.ca: has no certificate in PEM form",
        "gateway.json:5:69: upstreams.service.tls.key: cannot read the file: No such file or directory (os error 2)",
    ] {
        assert!(output.text().contains(line), "{line} in {}", output.text());
    }
    site.write_text(&text.replace(", \"key\": \"gone.key\"", ""));
    let output = site.check();
    assert!(
        output.text().contains("upstreams.service.tls: \"certificate\" and \"key\" go together"),
        "{}",
        output.text()
    );
}

#[tokio::test]
async fn a_burst_waits_once_for_a_connection_that_cannot_be_made() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    let silent = sluicegate_tests::RawOrigin::start(move |stream| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            std::future::pending::<()>().await;
            drop(stream);
        }
    })
    .await;
    let target = silent.url().replace("http://", "https://");
    let upstream = json!({ "targets": [target], "protocol": "http2", "connect_timeout": "500ms" });
    let config = json!({
        "limits": { "workers": 1 }, "upstreams": { "service": upstream }, "routes": [{ "upstream": "service" }],
    });
    let gateway = Site::new(&config).start().await;
    let calls: Vec<_> = (0..10).map(|_| tokio::spawn(gateway.request(http::Method::GET, "/").send())).collect();
    for call in calls {
        let code = call.await.expect("it is answered").code();
        assert!(code == 503 || code == 504, "{code}");
    }
    // Those that came while it was made wait for the same; a late one may try once more.
    assert!(accepted.load(Ordering::SeqCst) <= 3, "{accepted:?}");
}
