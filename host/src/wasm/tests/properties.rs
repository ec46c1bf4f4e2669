//! Properties in Envoy's names and encodings.

use super::guest::Guest;
use super::stage::Bench;

/// Reads properties at that callback, each under its index.
fn reading(callback: &str, paths: &[&str]) -> Guest {
    let mut body = String::new();
    for (slot, path) in paths.iter().enumerate() {
        let path = path.replace('.', "\\0");
        body += &format!(
            "(call $note (i32.const {}) (call $proxy_get_property '{path}' (global.get $at) (global.get $n)))
             (call $note_result (i32.const {slot}))",
            slot + 100
        );
    }
    Guest::new().on("proxy_on_request_headers", "(i32.const 0)").on(callback, &body)
}

#[test]
fn properties_of_the_stream_are_found_under_their_names() {
    let cases: [(&str, &[u8]); 25] = [
        ("request.path", b"/p?q=1"),
        ("request.original_path", b"/p?q=1"),
        ("request.url_path", b"/p"),
        ("request.query", b"q=1"),
        ("request.host", b"a.example"),
        ("request.scheme", b"http"),
        ("request.method", b"GET"),
        ("request.headers.x-a", b"1"),
        ("request.useragent", b"curl"),
        ("request.id", b"id-1"),
        ("request.protocol", b"HTTP/1.1"),
        ("request.time", &42_u64.to_le_bytes()),
        ("request.size", &0_u64.to_le_bytes()),
        ("source.address", b"192.0.2.1:1234"),
        ("source.port", &1234_u64.to_le_bytes()),
        ("destination.address", b"192.0.2.2:80"),
        ("connection.id", &7_u64.to_le_bytes()),
        ("connection.mtls", &[0]),
        ("response.code", &200_u64.to_le_bytes()),
        ("response.headers.x-r", b"r"),
        ("plugin_name", b"test"),
        ("plugin_root_id", b""),
        ("route_name", b"route-1"),
        ("xds.cluster_name", b"users"),
        ("cluster_name", b"users"),
    ];
    let bench = Bench::new(&reading("proxy_on_log", &cases.map(|(path, _)| path)));
    let talk = bench.exchange();
    talk.request(&[("x-a", "1"), ("user-agent", "curl")], &[]);
    talk.response(&[("x-r", "r")], &[]);
    talk.chain.finish();
    for (slot, (path, expected)) in (0..).zip(cases) {
        assert_eq!(bench.number(slot + 100), 0, "{path}");
        assert_eq!(bench.noted(slot).unwrap(), expected, "{path}");
    }
}

#[test]
fn what_is_unknown_or_not_there_is_not_found() {
    let paths = [
        "request.nothing",
        "nothing",
        "",
        "connection.tls_version",
        "upstream.address",
        "response.grpc_status",
        "request.headers.x-b",
    ];
    let bench = Bench::new(&reading("proxy_on_log", &paths));
    bench.run();
    for (slot, path) in (100..).zip(paths) {
        assert_eq!(bench.number(slot), 1, "{path}");
    }
}

#[test]
fn properties_that_filters_set_are_found_again_whatever_their_path() {
    let guest = Guest::new()
        .on(
            "proxy_on_request_headers",
            "(drop (call $proxy_set_property 'consumer' 'alice')) (drop (call $proxy_set_property 'a\\0b\\0c' 'deep'))
             (drop (call $proxy_set_property 'consumer' 'bob')) (i32.const 0)",
        )
        .on(
            "proxy_on_log",
            "(drop (call $proxy_get_property 'consumer' (global.get $at) (global.get $n))) (call $note_result (i32.const 1))
             (drop (call $proxy_get_property 'a\\0b\\0c\\0' (global.get $at) (global.get $n))) (call $note_result (i32.const 2))",
        );
    let bench = Bench::new(&guest);
    bench.run();
    assert_eq!((bench.text(1).as_str(), bench.text(2).as_str()), ("bob", "deep"));
}

#[test]
fn properties_are_bounded() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "(loop $l
           (i32.store (i32.const 64) (local.get $i))
           (drop (call $proxy_set_property (i32.const 64) (i32.const 4) 'v'))
           (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))
         (drop (call $proxy_set_property 'big' (i32.const 0) (i32.const 70000))) (i32.const 0)",
    );
    let talk = Bench::new(&guest).exchange();
    talk.request(&[], &[]);
    let (bytes, count) = talk.chain.exchange().properties.size();
    assert_eq!(count, 128);
    assert!(bytes < 1000);
}

#[test]
fn a_property_set_without_a_stream_is_ignored() {
    let guest = Guest::new()
        .on("proxy_on_configure", "(call $note (i32.const 1) (call $proxy_set_property 'a' 'b')) (i32.const 1)")
        .on("proxy_on_log", "");
    assert_eq!(Bench::new(&guest).number(1), 0);
}
