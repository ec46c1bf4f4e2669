//! Requests find their routes by host, path, method, header and query, and are rewritten on the way.

use http::{Method, Request};
use serde_json::{Value, json};
use sluicegate_tests::client::Call;
use sluicegate_tests::{Connection, Gateway, Origin, Site, body};

/// A gateway whose routes answer with their own names: each rewrites to `/<name>`, and the origin echoes the path.
async fn named(routes: &[(&str, Value)]) -> (Gateway, Origin) {
    let origin = Origin::start(|seen| async move { sluicegate_tests::origin::answer(200, seen.target) }).await;
    let entry = |(name, matches): &(&str, Value)| json!({ "name": name, "match": matches, "upstream": "origin", "rewrite": { "path": { "full": format!("/{name}") } } });
    let config = json!({
        "upstreams": { "origin": { "targets": [origin.url()] } },
        "routes": routes.iter().map(entry).collect::<Vec<_>>(),
    });
    (Site::new(&config).start().await, origin)
}

async fn goes_to(gateway: &Gateway, target: &str, expected: &str) {
    let response = gateway.get(target).await.expect(200);
    assert_eq!(response.text(), expected, "{target}");
}

#[tokio::test]
async fn a_path_is_matched_exactly_by_whole_segments_or_by_expression() {
    let (gateway, _origin) = named(&[
        ("exact", json!({ "path": { "exact": "/users/me" } })),
        ("prefix", json!({ "path": { "prefix": "/users" } })),
        ("regex", json!({ "path": { "regex": "/v[0-9]+/items" } })),
    ])
    .await;
    for target in ["/users", "/users/", "/users/7", "/users/me/x"] {
        goes_to(&gateway, target, "/prefix").await;
    }
    goes_to(&gateway, "/users/me", "/exact").await;
    goes_to(&gateway, "/v12/items", "/regex").await;
    for target in ["/usersx", "/v12/items/3", "/av12/items", "/v/items", "/"] {
        gateway.get(target).await.expect(404);
    }
}

#[tokio::test]
async fn parameters_of_a_path_lead_around_no_route() {
    let (gateway, _origin) = named(&[
        ("all", json!({ "path": { "prefix": "/" } })),
        ("admin", json!({ "path": { "prefix": "/admin" } })),
        ("me", json!({ "path": { "exact": "/users/me" } })),
    ])
    .await;
    for target in ["/admin;x", "/admin;x=1/users", "/users;v=2/../admin;"] {
        goes_to(&gateway, target, "/admin").await;
    }
    goes_to(&gateway, "/users;v=1/me;x", "/me").await;
    for target in ["/;/admin", "/admin/;", "/x/..;/admin"] {
        gateway.get(target).await.expect(400);
    }
}

#[tokio::test]
async fn the_most_specific_route_wins_whatever_the_order_of_the_file() {
    let (gateway, _origin) = named(&[
        ("all", json!({ "path": { "prefix": "/" } })),
        ("a", json!({ "path": { "prefix": "/a" } })),
        ("ab", json!({ "path": { "prefix": "/a/b" } })),
        ("exact", json!({ "path": { "exact": "/a/b" } })),
    ])
    .await;
    goes_to(&gateway, "/x", "/all").await;
    goes_to(&gateway, "/a/x", "/a").await;
    goes_to(&gateway, "/a/b/c", "/ab").await;
    goes_to(&gateway, "/a/b", "/exact").await;
}

#[tokio::test]
async fn a_host_is_matched_exactly_or_by_its_suffix_without_port_and_case() {
    let (gateway, _origin) = named(&[
        ("api", json!({ "hosts": ["api.example.com"] })),
        ("wild", json!({ "hosts": ["*.example.com"] })),
        ("any", json!({ "path": { "prefix": "/" } })),
    ])
    .await;
    for (host, expected) in [
        ("api.example.com", "/api"),
        ("API.Example.com", "/api"),
        ("api.example.com:8080", "/api"),
        ("www.example.com", "/wild"),
        ("a.b.example.com", "/wild"),
        ("example.com", "/any"),
        ("evilexample.com", "/any"),
    ] {
        let response = gateway.request(Method::GET, "/").header("host", host).send().await.expect(200);
        assert_eq!(response.text(), expected, "{host}");
    }
}

#[tokio::test]
async fn methods_headers_and_query_narrow_a_route() {
    let (gateway, _origin) = named(&[
        ("write", json!({ "path": { "prefix": "/" }, "methods": ["POST", "PUT"] })),
        ("beta", json!({ "path": { "prefix": "/" }, "headers": { "x-channel": "beta" } })),
        ("number", json!({ "path": { "prefix": "/" }, "query": { "page": { "regex": "[0-9]+" } } })),
        ("rest", json!({ "path": { "prefix": "/" } })),
    ])
    .await;
    assert_eq!(gateway.post("/", "x").await.expect(200).text(), "/write");
    let beta = gateway.request(Method::GET, "/").header("x-channel", "beta").send().await;
    assert_eq!(beta.text(), "/beta");
    assert_eq!(gateway.get("/?page=12").await.text(), "/number?page=12");
    assert_eq!(gateway.get("/?page=x").await.text(), "/rest?page=x");
    assert_eq!(gateway.get("/").await.text(), "/rest");
}

#[tokio::test]
async fn a_request_without_a_route_is_answered_404_and_reaches_nobody() {
    let (gateway, origin) = named(&[("users", json!({ "path": { "prefix": "/users" } }))]).await;
    gateway.get("/orders").await.expect(404);
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_path_cannot_be_written_so_that_it_escapes_its_route() {
    let (gateway, _origin) = named(&[
        ("admin", json!({ "path": { "prefix": "/admin" } })),
        ("public", json!({ "path": { "prefix": "/" } })),
    ])
    .await;
    for target in ["/x/../admin", "//admin", "/./admin", "/%61dmin", "/x/%2e%2e/admin", "/admin/./x", "/x/..//admin"] {
        goes_to(&gateway, target, "/admin").await;
    }
    for target in ["/x%2fadmin", "/x/..%2fadmin", "/x%5cadmin", "/x%00", "/x/..;a/admin"] {
        gateway.get(target).await.expect(400);
    }
}

#[tokio::test]
async fn a_rewrite_changes_path_and_host_and_keeps_the_query() {
    let origin = Origin::echo().await;
    let route = |name: &str, prefix: &str, rewrite: Value| json!({ "name": name, "match": { "path": { "prefix": prefix } }, "rewrite": rewrite, "upstream": "origin" });
    let config = json!({
        "upstreams": { "origin": { "targets": [origin.url()] } },
        "routes": [
            route("cut", "/api/v1", json!({ "path": { "prefix": "/" } })),
            route("other", "/old", json!({ "path": { "prefix": "/new/home" } })),
            route("full", "/one", json!({ "path": { "full": "/two" }, "host": "inner.example" })),
        ],
    });
    let gateway = Site::new(&config).start().await;
    for (target, expected) in [
        ("/api/v1/users?a=1&b=%20", "/users?a=1&b=%20"),
        ("/api/v1", "/"),
        ("/old/x/y", "/new/home/x/y"),
        ("/one/more?q", "/two?q"),
    ] {
        gateway.get(target).await.expect(200);
        assert_eq!(origin.last().target, expected, "{target}");
    }
    assert_eq!(origin.last().header("host"), "inner.example");
}

#[tokio::test]
async fn targets_take_turns() {
    let (one, two) = (Origin::text("one").await, Origin::text("two").await);
    let config = json!({
        "limits": { "workers": 1 },
        "upstreams": { "both": { "targets": [one.url(), two.url()] } },
        "routes": [{ "name": "all", "match": { "path": { "prefix": "/" } }, "upstream": "both" }],
    });
    let gateway = Site::new(&config).start().await;
    for _ in 0..10 {
        gateway.get("/").await.expect(200);
    }
    assert_eq!((one.count(), two.count()), (5, 5));
}

#[tokio::test]
async fn a_route_belongs_to_the_listeners_that_it_names_also_on_connections_that_were_there_before() {
    let names = |first: &str, second: &str| json!([{ "name": first, "address": "127.0.0.1:0" }, { "name": second, "address": "127.0.0.2:0" }]);
    let mut config = json!({
        "listeners": names("public", "internal"),
        "routes": [{ "name": "admin", "listeners": ["internal"], "respond": { "body": "admin" } }],
    });
    let gateway = Site::new(&config).start().await;
    let [public, internal] = [gateway.addresses()[0], gateway.addresses()[1]];
    let ask = |address| Call::new(address, Method::GET, "/").header("host", "a").send();
    ask(public).await.expect(404);
    assert_eq!(ask(internal).await.expect(200).text(), "admin");
    let told = gateway.admin_get("/api/v1/routes").await.expect(200).json();
    assert_eq!(told["routes"][0]["listeners"], json!(["internal"]));
    let mut kept = Connection::http1(public).await.unwrap();
    let request = || Request::get("/").header("host", "a").body(body::empty()).unwrap();
    assert_eq!(kept.send(request()).await.unwrap().code(), 404);
    config["listeners"] = names("internal", "public");
    gateway.reload(&config).await;
    assert_eq!(kept.send(request()).await.unwrap().code(), 200);
    ask(internal).await.expect(404);
}
