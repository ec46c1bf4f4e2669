//! Who asks: told by load balancers in a PROXY header, and by trusted proxies in `x-forwarded-*`.

use serde_json::{Value, json};
use sluicegate_tests::raw::Raw;
use sluicegate_tests::{Gateway, Origin, RawOrigin, Site, one_route, one_tcp};

/// A gateway whose listener has these keys, in front of an origin that echoes; a filter shows the address that it is told.
async fn gateway(origin: &Origin, listener: Value) -> Gateway {
    let show = json!({ "use": "script", "config": { "request_headers": [
        { "set": ["request", "x-seen", { "property": ["source", "address"] }] },
        { "set": ["request", "x-scheme", { "property": ["request", "scheme"] }] },
    ] } });
    let mut config = one_route(&origin.url(), &json!([show]));
    let mut listener = listener;
    listener["address"] = json!("127.0.0.1:0");
    config["listeners"] = json!([listener]);
    Site::new(&config).script().start().await
}

async fn asked(gateway: &Gateway, before: &[u8], fields: &str) -> u16 {
    let mut client = Raw::connect(gateway.address()).await;
    client.write(before).await;
    client.write(format!("GET / HTTP/1.1\r\nhost: api.example\r\n{fields}\r\n")).await;
    client.response().await.status
}

fn seen(origin: &Origin) -> [String; 3] {
    let last = origin.last();
    // The port of a connection is the kernel's choice.
    let seen = last.header("x-seen").trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    [seen, last.header("x-forwarded-for"), last.header("x-scheme")]
}

#[tokio::test]
async fn the_client_is_the_first_one_from_here_who_is_not_a_trusted_proxy() {
    let origin = Origin::echo().await;
    let gateway = gateway(&origin, json!({ "trusted_proxies": ["127.0.0.1", "10.0.0.0/8", "fd00::/8"] })).await;
    let cases = [
        ("", "127.0.0.1:", "127.0.0.1"),
        ("192.0.2.7", "192.0.2.7:", "192.0.2.7, 127.0.0.1"),
        ("6.6.6.6, 192.0.2.7, 10.1.2.3", "192.0.2.7:", "6.6.6.6, 192.0.2.7, 10.1.2.3, 127.0.0.1"),
        ("192.0.2.7,\t fd00::7", "192.0.2.7:", "192.0.2.7, fd00::7, 127.0.0.1"),
        ("10.9.9.9", "10.9.9.9:", "10.9.9.9, 127.0.0.1"),
        ("6.6.6.6, unknown, 10.1.2.3", "10.1.2.3:", "6.6.6.6, unknown, 10.1.2.3, 127.0.0.1"),
        ("[2001:db8::1]:443", "[2001:db8::1]:", "[2001:db8::1]:443, 127.0.0.1"),
        ("2001:db8::1", "[2001:db8::1]:", "2001:db8::1, 127.0.0.1"),
    ];
    for (claimed, address, chain) in cases {
        let field = if claimed.is_empty() { String::new() } else { format!("x-forwarded-for: {claimed}\r\n") };
        assert_eq!(asked(&gateway, b"", &field).await, 200);
        assert_eq!(seen(&origin), [address, chain, "http"], "{claimed}");
    }
    let fields = "x-forwarded-for: 192.0.2.1\r\nx-forwarded-for: 10.0.0.1\r\nx-forwarded-proto: https\r\nx-forwarded-host: www.example\r\n";
    assert_eq!(asked(&gateway, b"", fields).await, 200);
    assert_eq!(seen(&origin), ["192.0.2.1:", "192.0.2.1, 10.0.0.1, 127.0.0.1", "https"]);
    let last = origin.last();
    assert_eq!(
        (last.header("x-forwarded-proto"), last.header("x-forwarded-host")),
        ("https".into(), "www.example".into())
    );
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let origin = Origin::echo().await;
    for listener in [json!({}), json!({ "trusted_proxies": ["10.0.0.0/8"] })] {
        let gateway = gateway(&origin, listener).await;
        let fields = "x-forwarded-for: 10.0.0.1\r\nx-forwarded-proto: https\r\nx-forwarded-host: evil.example\r\n";
        assert_eq!(asked(&gateway, b"", fields).await, 200);
        assert_eq!(seen(&origin), ["127.0.0.1:", "127.0.0.1", "http"]);
        assert_eq!(origin.last().header("x-forwarded-host"), "api.example");
    }
}

/// A header of version 2 with an address, and something that the load balancer adds.
fn version_2(command: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, 0x11, 0, 12 + 4]);
    header.extend([192, 0, 2, 9, 198, 51, 100, 1, 0x04, 0xd2, 0x01, 0xbb]);
    header.extend([0x04, 0, 1, 0]);
    header
}

#[tokio::test]
async fn a_load_balancer_tells_the_client_in_its_first_bytes() {
    let origin = Origin::echo().await;
    let gateway = gateway(&origin, json!({ "proxy_protocol": true })).await;
    let cases: [(&[u8], &str); 5] = [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 1234 443\r\n", "192.0.2.7:"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 1234 443\r\n", "[2001:db8::7]:"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1:"),
        (&version_2(1), "192.0.2.9:"),
        (&version_2(0), "127.0.0.1:"),
    ];
    for (header, address) in cases {
        assert_eq!(asked(&gateway, header, "").await, 200);
        assert_eq!(seen(&origin)[0], address, "{}", String::from_utf8_lossy(header));
    }
    let mut client = Raw::connect(gateway.address()).await;
    for byte in b"PROXY TCP4 192.0.2.7 198.51.100.1 1234 443\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n" {
        client.write([*byte]).await;
    }
    assert_eq!(client.response().await.status, 200, "in pieces too");
}

#[tokio::test]
async fn without_a_proper_header_a_connection_is_closed() {
    let origin = Origin::echo().await;
    let gateway = gateway(&origin, json!({ "proxy_protocol": true })).await;
    let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
    let mut huge = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    huge.extend([0x21, 0x11, 0xff, 0xff]);
    let broken: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PROXY TCP4 a b c d\r\n\r\n\r\n",
        long.as_bytes(),
        &huge,
        b"PROXY TCP4 1.2.3.4 5.6.7.8 99999 1\r\n",
    ];
    for bytes in broken {
        let mut client = Raw::connect(gateway.address()).await;
        client.write(bytes).await;
        client.shut().await;
        assert!(client.rest().await.is_empty());
    }
    assert_eq!(origin.count(), 0);
    gateway.wait_for_log("No PROXY header").await;
}

#[tokio::test]
async fn tcp_listeners_learn_the_client_too() {
    let origin = RawOrigin::echo().await;
    let filter = json!([{ "use": "tcp", "config": { "trace": true } }]);
    let mut config = one_tcp(&origin.tcp_url(), &filter);
    config["listeners"][0]["proxy_protocol"] = json!(true);
    let gateway = Site::new(&config).tcp_script().start().await;
    let mut client = Raw::connect(gateway.address()).await;
    client.write(b"PROXY TCP4 192.0.2.7 198.51.100.1 1234 443\r\nhello").await;
    assert_eq!(client.take(5).await, b"hello");
}

#[tokio::test]
async fn what_a_client_writes_does_not_hide_what_a_proxy_adds() {
    let origin = Origin::echo().await;
    let gateway = gateway(&origin, json!({ "trusted_proxies": ["127.0.0.1"] })).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.write(b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: \xe9, 203.0.113.9\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(seen(&origin)[0], "203.0.113.9:");
}

#[tokio::test]
async fn a_redirection_leads_to_the_host_that_a_trusted_proxy_was_asked_for() {
    let listeners = json!([{ "address": "127.0.0.1:0", "trusted_proxies": ["127.0.0.1"] }]);
    let routes = json!([{ "redirect": { "path": { "full": "/new" } } }]);
    let gateway = Site::new(&json!({ "listeners": listeners, "routes": routes })).start().await;
    let call = gateway.request(http::Method::GET, "/old").header("host", "internal:9000");
    let call = call.header("x-forwarded-host", "www.example").header("x-forwarded-proto", "https");
    assert_eq!(call.send().await.expect(302).header("location"), "https://www.example/new");
}

#[tokio::test]
async fn proxies_are_no_clients_whose_connections_are_limited() {
    let origin = Origin::echo().await;
    let show = json!([]);
    let mut config = one_route(&origin.url(), &show);
    config["listeners"] = json!([{ "address": "127.0.0.1:0", "trusted_proxies": ["127.0.0.1"] }]);
    config["limits"] = json!({ "connections_per_client": 1 });
    let gateway = Site::new(&config).start().await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut client = Raw::connect(gateway.address()).await;
        client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response().await.status, 200);
        open.push(client);
    }
}

#[tokio::test]
async fn what_a_client_claims_of_itself_chooses_no_route() {
    let (all, inner) = (Origin::text("all").await, Origin::text("inner").await);
    let claims =
        [("x-real-ip", "10.0.0.1"), ("x-forwarded-proto", "https"), ("x_role", "admin"), ("forwarded", "for=10.0.0.1")];
    let claimed =
        |(name, value): &(&str, &str)| json!({ "match": { "headers": { *name: value } }, "upstream": "inner" });
    let mut routes: Vec<_> = claims.iter().map(claimed).collect();
    routes.push(json!({ "upstream": "all" }));
    let mut config = json!({
        "listeners": [{ "address": "127.0.0.1:0" }],
        "upstreams": { "all": { "targets": [all.url()] }, "inner": { "targets": [inner.url()] } },
        "routes": routes,
    });
    let gateway = Site::new(&config).start().await;
    for (name, value) in claims {
        let answer = gateway.request(http::Method::GET, "/").header(name, value).send().await.expect(200);
        assert_eq!(answer.text(), "all", "{name}");
    }
    // A trusted proxy knows.
    config["listeners"] = json!([{ "address": "127.0.0.1:0", "trusted_proxies": ["127.0.0.1"] }]);
    let gateway = Site::new(&config).start().await;
    let answer = gateway.request(http::Method::GET, "/").header("x-forwarded-proto", "https").send().await.expect(200);
    assert_eq!(answer.text(), "inner");
}
