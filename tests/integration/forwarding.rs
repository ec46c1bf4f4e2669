//! What goes from the client to the upstream and back, and what does not.

use http::{HeaderMap, Method};
use serde_json::json;
use sluicegate_tests::origin::{answer, stream, with};
use sluicegate_tests::raw::{Raw, exchange};
use sluicegate_tests::{Connection, Gateway, Origin, RawOrigin, Site, body, one_route};
use tokio::io::AsyncReadExt;

async fn before(origin: &Origin) -> Gateway {
    Site::new(&one_route(&origin.url(), &json!([]))).start().await
}

#[tokio::test]
async fn hop_by_hop_fields_are_not_forwarded_in_either_direction() {
    let origin = Origin::start(|_| async {
        let hop = [("connection", "x-private"), ("x-private", "1"), ("x-public", "2")];
        with(answer(200, "ok"), &hop)
    })
    .await;
    let gateway = before(&origin).await;
    let call = gateway.request(Method::GET, "/").header("connection", "x-secret, keep-alive").header("x-secret", "1");
    let call = call.header("keep-alive", "timeout=5").header("te", "gzip");
    let response = call.header("upgrade", "h2c").header("x-kept", "yes").send().await.expect(200);
    let seen = origin.last();
    for name in ["x-secret", "keep-alive", "te", "upgrade"] {
        assert!(!seen.has(name), "{name} reached the upstream");
    }
    assert_eq!(seen.header("x-kept"), "yes");
    assert!(!response.has("x-private"), "a field named by connection reached the client");
    assert_eq!(response.header("x-public"), "2");
}

#[tokio::test]
async fn fields_that_matter_for_security_survive_being_named_by_connection() {
    let origin = Origin::echo().await;
    let gateway = before(&origin).await;
    let call = gateway.request(Method::GET, "/").header("connection", "x-forwarded-for, x-forwarded-proto, via, host");
    call.send().await.expect(200);
    let seen = origin.last();
    assert_eq!(seen.header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen.header("x-forwarded-proto"), "http");
    assert!(seen.has("via") && seen.has("host"));
}

#[tokio::test]
async fn the_upstream_learns_who_asked_and_through_whom() {
    let origin = Origin::echo().await;
    let gateway = before(&origin).await;
    let call = gateway.request(Method::GET, "/a?b=c").header("host", "shop.example:81");
    let call =
        call.header("x-forwarded-for", "6.6.6.6").header("x-forwarded-host", "evil.example").header("via", "1.0 fred");
    let response = call.send().await.expect(200);
    let seen = origin.last();
    assert_eq!(seen.target, "/a?b=c");
    assert_eq!(seen.header("host"), "shop.example:81");
    assert_eq!(seen.header("x-forwarded-for"), "127.0.0.1", "what an unknown client claims is not believed");
    assert_eq!(seen.header("x-forwarded-host"), "shop.example:81");
    assert_eq!(seen.header("x-forwarded-proto"), "http");
    assert!(seen.header("via").starts_with("1.0 fred, 1.1 "), "via is {:?}", seen.header("via"));
    assert!(response.header("via").contains("1.1 "), "via is {:?}", response.header("via"));
    assert!(!seen.header("x-request-id").is_empty());
}

#[tokio::test]
async fn fields_with_underscores_cannot_pose_as_forwarded_ones() {
    let origin = Origin::echo().await;
    let gateway = before(&origin).await;
    gateway.request(Method::GET, "/").header("x_forwarded_for", "6.6.6.6").send().await.expect(200);
    assert!(!origin.last().has("x_forwarded_for"));
}

#[tokio::test]
async fn repeated_fields_stay_apart_and_in_order() {
    let origin =
        Origin::start(|_| async { with(answer(200, ""), &[("set-cookie", "a=1"), ("set-cookie", "b=2")]) }).await;
    let gateway = before(&origin).await;
    let call = gateway.request(Method::GET, "/").header("x-many", "1").header("x-many", "2");
    let response = call.send().await.expect(200);
    let cookies: Vec<_> = response.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let many: Vec<_> = origin.last().headers.get_all("x-many").iter().cloned().collect();
    assert_eq!(many, ["1", "2"]);
}

#[tokio::test]
async fn bodies_and_trailers_go_through_in_both_directions_and_versions() {
    for http2 in [false, true] {
        let reply = |seen: sluicegate_tests::origin::Seen| async move {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", seen.body.len().to_string().parse().unwrap());
            with(stream(200, body::with_trailers(["one ", "two"], trailers)), &[("trailer", "x-sum")])
        };
        let origin = if http2 { Origin::start_http2(reply).await } else { Origin::start(reply).await };
        let mut config = one_route(&origin.url(), &json!([]));
        if http2 {
            config["upstreams"]["origin"]["protocol"] = json!("http2");
        }
        let gateway = Site::new(&config).start().await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "abc".parse().unwrap());
        let mut call = gateway.request(Method::POST, "/").stream(body::with_trailers(["12345", "678"], trailers));
        // HTTP/1.1 sends trailers to those only who say that they want them.
        call = if http2 { call.http2() } else { call.header("te", "trailers").header("trailer", "x-checksum") };
        let response = call.send().await.expect(200);
        assert_eq!(response.text(), "one two");
        let seen = origin.last();
        assert_eq!(seen.text(), "12345678");
        assert_eq!(seen.trailers.expect("the upstream got trailers")["x-checksum"], "abc");
        assert_eq!(response.trailers.expect("the client got trailers")["x-sum"], "8");
    }
}

#[tokio::test]
async fn a_length_stays_a_length_and_a_stream_stays_a_stream() {
    let origin = Origin::start(|seen| async move {
        if seen.target == "/stream" { stream(200, body::chunks(["a", "b"])) } else { answer(200, "abc") }
    })
    .await;
    let gateway = before(&origin).await;
    let response = gateway.post("/length", "hello").await.expect(200);
    assert_eq!((response.header("content-length").as_str(), response.text().as_str()), ("3", "abc"));
    assert_eq!(origin.last().header("content-length"), "5");
    let call = gateway.request(Method::POST, "/stream").stream(body::chunks(["hel", "lo"]));
    let response = call.send().await.expect(200);
    assert!(!response.has("content-length"));
    assert_eq!(response.text(), "ab");
    assert_eq!(origin.last().header("transfer-encoding"), "chunked");
    assert_eq!(origin.last().text(), "hello");
}

#[tokio::test]
async fn head_204_and_304_have_no_body_and_keep_the_connection() {
    let origin = Origin::start(|seen| async move {
        match seen.target.as_str() {
            "/204" => answer(204, ""),
            "/304" => with(answer(304, ""), &[("etag", "\"x\"")]),
            _ => answer(200, "twelve bytes"),
        }
    })
    .await;
    let gateway = before(&origin).await;
    let mut raw = Raw::connect(gateway.address()).await;
    for (method, target, status, length) in [
        ("HEAD", "/", "200", Some("12")),
        ("GET", "/204", "204", None),
        ("GET", "/304", "304", None),
        ("GET", "/", "200", Some("12")),
    ] {
        raw.write(format!("{method} {target} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let head = String::from_utf8(raw.take_until(b"\r\n\r\n").await).unwrap().to_ascii_lowercase();
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{method} {target}: {head}");
        let declared = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        assert_eq!(declared, length, "{method} {target}");
        assert!(!head.contains("transfer-encoding"), "{method} {target}: {head}");
    }
    assert_eq!(raw.take(12).await, b"twelve bytes");
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it_and_then_sends() {
    let origin = Origin::echo().await;
    let gateway = before(&origin).await;
    let mut raw = Raw::connect(gateway.address()).await;
    raw.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n").await;
    let head = raw.take_until(b"\r\n\r\n").await;
    assert!(head.starts_with(b"HTTP/1.1 100"), "{:?}", String::from_utf8_lossy(&head));
    raw.write("hello").await;
    assert_eq!(raw.response().await.status, 200);
    assert_eq!(origin.last().text(), "hello");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|seen| async move { answer(200, seen.target) }).await;
    let gateway = before(&origin).await;
    let mut raw = Raw::connect(gateway.address()).await;
    raw.write("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\nGET /3 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    for expected in ["/1", "/2", "/3"] {
        assert_eq!(raw.response().await.body, expected.as_bytes());
    }
}

#[tokio::test]
async fn http_1_0_is_answered_without_chunks_and_closed() {
    let origin = Origin::start(|_| async { stream(200, body::chunks(["a", "b"])) }).await;
    let gateway = before(&origin).await;
    let answer = sluicegate_tests::raw::exchange(gateway.address(), "GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
    let text = String::from_utf8(answer).unwrap();
    assert!(text.contains(" 200 ") && text.ends_with("\r\n\r\nab"), "{text}");
    assert!(!text.to_ascii_lowercase().contains("transfer-encoding"), "{text}");
}

#[tokio::test]
async fn upstream_connections_are_kept_and_used_again() {
    let origin = Origin::text("ok").await;
    let mut config = one_route(&origin.url(), &json!([]));
    config["limits"] = json!({ "workers": 1 });
    let gateway = Site::new(&config).start().await;
    for _ in 0..20 {
        gateway.get("/").await.expect(200);
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn http_2_streams_share_a_connection_and_do_not_wait_for_each_other() {
    let origin = Origin::start(|seen| async move { answer(200, seen.target) }).await;
    let gateway = before(&origin).await;
    let connection = Connection::http2(gateway.address()).await.unwrap();
    let calls = (0..20).map(|number| {
        let mut sender = connection.http2_sender();
        let uri = format!("http://{}/{number}", gateway.address());
        tokio::spawn(async move {
            let request = http::Request::get(uri).body(body::empty()).unwrap();
            let response = sluicegate_tests::Response::read(sender.send_request(request).await.unwrap()).await.unwrap();
            assert_eq!(response.expect(200).text(), format!("/{number}"));
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_503_and_one_that_is_silent_is_504() {
    // A port that was free a moment ago may be another test's by now; this one is nobody's.
    let gone = "http://127.0.0.1:1";
    let silent = RawOrigin::start(|mut stream| async move {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.ok();
    })
    .await;
    let config = json!({
        "upstreams": { "gone": { "targets": [gone] }, "silent": { "targets": [silent.url()] } },
        "routes": [
            { "name": "gone", "match": { "path": { "prefix": "/gone" } }, "upstream": "gone" },
            { "name": "silent", "match": { "path": { "prefix": "/silent" } }, "upstream": "silent", "timeout": "200ms" },
        ],
    });
    let gateway = Site::new(&config).start().await;
    let response = gateway.get("/gone").await.expect(503);
    assert!(!response.text().contains("127.0.0.1"), "what the client sees names no upstream: {}", response.text());
    gateway.get("/silent").await.expect(504);
}

#[tokio::test]
async fn an_upstream_that_breaks_off_its_body_never_looks_complete() {
    for head in ["content-length: 100\r\n\r\nshort", "transfer-encoding: chunked\r\n\r\n5\r\nshort\r\n"] {
        let origin = RawOrigin::saying(format!("HTTP/1.1 200 OK\r\n{head}")).await;
        let gateway = Site::new(&one_route(&origin.url(), &json!([]))).start().await;
        assert!(gateway.request(Method::GET, "/").try_send().await.is_err(), "HTTP/1.1 {head:?}");
        assert!(gateway.request(Method::GET, "/").http2().try_send().await.is_err(), "HTTP/2 {head:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_answers_nonsense_is_502() {
    for nonsense in ["", "hello\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"] {
        let origin = RawOrigin::saying(nonsense).await;
        let gateway = Site::new(&one_route(&origin.url(), &json!([]))).start().await;
        assert_eq!(gateway.get("/").await.code(), 502, "{nonsense:?}");
    }
}

#[tokio::test]
async fn informational_responses_of_the_upstream_are_not_taken_for_the_answer() {
    let answer = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let origin = RawOrigin::saying(answer).await;
    let gateway = Site::new(&one_route(&origin.url(), &json!([]))).start().await;
    assert_eq!(gateway.get("/").await.expect(200).text(), "ok");
}

#[tokio::test]
async fn trailers_of_a_request_claim_nothing_that_a_head_could_not() {
    for (filters, http2) in [(json!([]), false), (json!([{ "use": "transform" }]), false), (json!([]), true)] {
        let origin = Origin::echo().await;
        let gateway = Site::new(&one_route(&origin.url(), &filters)).start().await;
        let mut trailers = HeaderMap::new();
        for name in ["x-forwarded-for", "x_consumer", "authorization", "content-length", "cookie", "x-checksum"] {
            trailers.insert(http::HeaderName::from_static(name), "1".parse().unwrap());
        }
        let names = "x-forwarded-for, x_consumer, authorization, content-length, cookie, x-checksum";
        let call = gateway.request(Method::POST, "/").stream(body::with_trailers(["body"], trailers));
        let call = if http2 { call.http2() } else { call.header("te", "trailers").header("trailer", names) };
        call.send().await.expect(200);
        let seen = origin.last().trailers.unwrap_or_default();
        assert!(seen.keys().all(|name| name == "x-checksum"), "{seen:?}");
    }
}

#[tokio::test]
async fn a_target_without_a_path_is_the_root() {
    let origin = Origin::echo().await;
    for filters in [json!([]), json!([{ "use": "transform" }])] {
        let gateway = Site::new(&one_route(&origin.url(), &filters)).start().await;
        let answer =
            exchange(gateway.address(), b"GET http://a?/admin HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(origin.last().target, "/?/admin");
    }
}
