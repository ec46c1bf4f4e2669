//! Requests that no gateway should understand: answered 400, the connection closed, the upstream untouched.

use serde_json::json;
use sluicegate_tests::raw::{Raw, exchange};
use sluicegate_tests::{Gateway, Origin, Site, one_route};

/// A request line alone, with a good host.
fn line(line: &str) -> Vec<u8> {
    format!("{line}\r\nhost: a\r\n\r\n").into_bytes()
}

/// A GET with these lines in place of its header.
fn head(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n").into_bytes()
}

/// A POST with these lines beside a good host, and this body.
fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n{body}").into_bytes()
}

fn malformed() -> Vec<Vec<u8>> {
    let lines = [
        "GET /",
        "GET",
        " / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.1x",
        "GET / HTTP/9.9",
        "GET / XTTP/1.1",
        "GET x HTTP/1.1",
        "GET * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET ?a=b HTTP/1.1",
        "GET http:///path HTTP/1.1",
        "GET http://user@a/ HTTP/1.1",
        "GET http://a:b/ HTTP/1.1",
        "GET /x#fragment HTTP/1.1",
        "GET /a%2fb HTTP/1.1",
        "GET /a%5cb HTTP/1.1",
        "GET /a\\b HTTP/1.1",
        "GET /a%00b HTTP/1.1",
        "GET /a\0b HTTP/1.1",
        "GET /a\x7fb HTTP/1.1",
        "GET /a%zzb HTTP/1.1",
        "GET /a% HTTP/1.1",
        "GET /..;/x HTTP/1.1",
        "GET /%ff HTTP/1.1",
    ];
    let heads = [
        "x: 1",
        "host: a\r\nhost: b",
        "host: a\r\nhost: a",
        "host: ",
        "host: a/b",
        "host: user@a",
        "host: a b",
        "host: a:b",
        "host: a:99999",
        "host: a, b",
        "host: [::1",
        "host: a?b",
        "host: a#b",
        "host: a\r\nno colon here",
        "host: a\r\nspace before : 1",
        "host: a\r\n: no name",
        "host: a\r\nx: 1\r\n folded",
        " host: a",
        "host: a\r\nx: a\rb",
        "host: a\r\nx: a\0b",
        "host: a\r\nx@y: 1",
        "host: a\r\nx\u{e9}: 1",
    ];
    let posts = [
        ("content-length: abc", ""),
        ("content-length: -1", ""),
        ("content-length: +5", "hello"),
        ("content-length: 0x5", "hello"),
        ("content-length: 5 5", "hello"),
        ("content-length: ", ""),
        ("content-length: 99999999999999999999", ""),
        ("content-length: 5\r\ncontent-length: 6", "hello"),
        ("content-length: 5, 6", "hello"),
        ("content-length: 5\r\ntransfer-encoding: chunked", "0\r\n\r\n"),
        ("transfer-encoding: chunked\r\ncontent-length: 5", "0\r\n\r\n"),
        ("transfer-encoding: gzip", ""),
        ("transfer-encoding: chunked, gzip", ""),
        ("transfer-encoding: chunked\r\ntransfer-encoding: gzip", ""),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", "0\r\n\r\n"),
        ("transfer-encoding: chunked, chunked", "0\r\n\r\n"),
        ("transfer-encoding: xchunked", "0\r\n\r\n"),
        ("transfer-encoding: chunked", "zz\r\nhello\r\n0\r\n\r\n"),
        ("transfer-encoding: chunked", "-5\r\nhello\r\n0\r\n\r\n"),
        ("transfer-encoding: chunked", "fffffffffffffffff\r\nhello\r\n"),
        ("transfer-encoding: chunked", "5\r\nhelloX0\r\n\r\n"),
    ];
    let mut all: Vec<Vec<u8>> = lines.iter().map(|text| line(text)).collect();
    all.extend(heads.iter().map(|text| head(text)));
    all.extend(posts.iter().map(|(lines, body)| post(lines, body)));
    all.push(b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_vec());
    all.push(b"GET / HTTP/1.1\nhost: a\n\n".to_vec());
    all.push(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a greeting in another language\r\n\r\n".to_vec());
    all
}

async fn gateway(origin: &Origin) -> Gateway {
    Site::new(&one_route(&origin.url(), &json!([{ "use": "script", "config": { "trace": true } }])))
        .script()
        .start()
        .await
}

#[tokio::test]
async fn each_is_answered_400_and_closed_and_reaches_nobody() {
    let origin = Origin::echo().await;
    let gateway = gateway(&origin).await;
    let requests = malformed();
    assert!(requests.len() >= 40);
    let mut wrong = Vec::new();
    for request in requests {
        let answer = exchange(gateway.address(), &request).await;
        let text = String::from_utf8_lossy(&answer);
        if !text.starts_with("HTTP/1.1 400 ") || text.matches("HTTP/1.").count() != 1 {
            wrong.push(format!("{:?}\n    → {text:?}", String::from_utf8_lossy(&request)));
        }
    }
    assert!(wrong.is_empty(), "{} were not answered 400 once:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(origin.requests().len(), 0, "an upstream saw {:?}", origin.requests());
    gateway.get("/").await.expect(200);
}

#[tokio::test]
async fn what_follows_a_malformed_request_is_never_read_as_one() {
    let origin = Origin::echo().await;
    let gateway = gateway(&origin).await;
    for request in [head("x: 1"), line("GET /a%2fb HTTP/1.1"), post("content-length: 5\r\ncontent-length: 6", "")] {
        let mut both = request.clone();
        both.extend_from_slice(b"GET /second HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = exchange(gateway.address(), &both).await;
        assert_eq!(String::from_utf8_lossy(&answer).matches("HTTP/1.1 ").count(), 1);
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_head_too_long_or_with_too_many_fields_is_431() {
    let origin = Origin::echo().await;
    let gateway = gateway(&origin).await;
    let long = head(&format!("host: a\r\nx: {}", "y".repeat(80_000)));
    let many = head(&format!("host: a{}", "\r\nx: y".repeat(200)));
    for request in [long, many] {
        let mut raw = Raw::connect(gateway.address()).await;
        raw.write(&request).await;
        assert_eq!(raw.response().await.status, 431);
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn odd_but_lawful_requests_are_served() {
    let origin = Origin::echo().await;
    let gateway = gateway(&origin).await;
    for request in [
        line("GET /a?b=c/../d%2f HTTP/1.1"),
        line("GET /%e2%82%ac HTTP/1.1"),
        line("GET http://a/absolute HTTP/1.1"),
        line("PROPFIND /dav HTTP/1.1"),
        head("HOST:a"),
        head("host: [::1]:80"),
        head("host: a\r\nx:"),
        head("host: a\r\nx: \u{e9}"),
        post("content-length: 5\r\ncontent-length: 5", "hello"),
        post("transfer-encoding: Chunked", "5;name=value\r\nhello\r\n0\r\n\r\n"),
    ] {
        let mut raw = Raw::connect(gateway.address()).await;
        raw.write(&request).await;
        let status = raw.response().await.status;
        let text = String::from_utf8_lossy(&request).into_owned();
        assert!(
            status == 200 || (status == 400 && text.contains("content-length: 5\r\ncontent-length: 5")),
            "{status} for {text:?}"
        );
    }
}
