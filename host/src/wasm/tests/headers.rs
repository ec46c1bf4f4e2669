//! Header maps: reading, writing, and what is refused silently.

use super::guest::{Guest, pairs};
use super::stage::Bench;
use crate::filter::Direction::{Request, Response};
use crate::wasm::pairs::decode;

const CONTINUE: &str = "(i32.const 0)";

/// A guest that does that in the request's headers callback.
fn on_request(body: &str) -> Guest {
    Guest::new().on("proxy_on_request_headers", &format!("{body} {CONTINUE}"))
}

#[test]
fn several_values_are_read_as_one_so_that_a_check_sees_them_all() {
    let guest = on_request(
        "(call $note (i32.const 1) (call $proxy_get_header_map_value (i32.const 0) 'x-ROLE' (global.get $at) (global.get $n)))
         (call $note_result (i32.const 2))
         (drop (call $proxy_get_header_map_value (i32.const 0) 'set-cookie' (global.get $at) (global.get $n)))
         (call $note_result (i32.const 3))
         (call $note (i32.const 4) (call $proxy_get_header_map_value (i32.const 0) 'x-none' (global.get $at) (global.get $n)))
         (drop (call $proxy_get_header_map_value (i32.const 0) 'Host' (global.get $at) (global.get $n)))
         (call $note_result (i32.const 5))",
    );
    let bench = Bench::new(&guest);
    bench.exchange().request(&[("x-role", "good"), ("set-cookie", "a"), ("x-role", "evil"), ("set-cookie", "b")], &[]);
    assert_eq!((bench.number(1), bench.text(2).as_str()), (0, "good, evil"));
    assert_eq!(bench.text(3), "a");
    assert_eq!(bench.number(4), 1, "NOT_FOUND");
    assert_eq!(bench.text(5), "a.example");
}

#[test]
fn pairs_keep_order_and_duplicates() {
    let guest = on_request(
        "(drop (call $proxy_get_header_map_pairs (i32.const 0) (global.get $at) (global.get $n))) (call $note_result (i32.const 1))
         (drop (call $proxy_get_header_map_size (i32.const 0) (i32.const 32))) (call $note (i32.const 2) (i32.load (i32.const 32)))
         (call $note (i32.const 3) (local.get $count))
         (call $note (i32.const 4) (call $proxy_get_header_map_pairs (i32.const 2) (global.get $at) (global.get $n)))
         (call $note (i32.const 5) (i32.load (global.get $n)))",
    );
    let bench = Bench::new(&guest);
    bench.exchange().request(&[("a", "1"), ("b", "2"), ("a", "3")], &[]);
    let bytes = bench.noted(1).unwrap();
    let names: Vec<_> =
        decode(&bytes).unwrap().into_iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(names, [":authority", ":path", ":method", ":scheme", "a", "b", "a"]);
    assert_eq!((bench.number(2), bench.number(3)), (57, 7));
    assert_eq!((bench.number(4), bench.number(5)), (0, 0), "a response that is not there yet reads as empty");
}

#[test]
fn fields_are_added_replaced_and_removed() {
    let guest = on_request(
        "(drop (call $proxy_add_header_map_value (i32.const 0) 'X-A' '2'))
         (drop (call $proxy_replace_header_map_value (i32.const 0) 'b' '9'))
         (drop (call $proxy_remove_header_map_value (i32.const 0) 'C'))
         (drop (call $proxy_add_header_map_value (i32.const 0) ':path' '/new'))
         (drop (call $proxy_replace_header_map_value (i32.const 0) 'host' 'b.example'))",
    );
    let talk = Bench::new(&guest).exchange();
    talk.request(&[("x-a", "1"), ("b", "1"), ("b", "2"), ("c", "1")], &[]);
    assert_eq!(talk.fields(Request, "x-a"), ["1", "2"]);
    assert_eq!(talk.fields(Request, "b"), ["9"]);
    assert_eq!(talk.fields(Request, "c"), [""; 0]);
    assert_eq!(talk.fields(Request, ":path"), ["/new"], "there is one of each pseudo header");
    assert_eq!(talk.fields(Request, ":authority"), ["b.example"]);
}

#[test]
fn a_whole_map_is_replaced_but_for_pseudo_headers_left_out() {
    let map = pairs(&[("x", "1"), (":path", "/new"), ("bad\nname", "1")]);
    let talk =
        Bench::new(&on_request(&format!("(drop (call $proxy_set_header_map_pairs (i32.const 0) '{map}'))"))).exchange();
    talk.request(&[("a", "1")], &[]);
    let headers = talk.chain.exchange().headers(Request).unwrap();
    let fields: Vec<_> = headers.iter().map(|field| (field.name.as_str().to_owned(), field.value.clone())).collect();
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(
        fields,
        [(":authority", "a.example"), (":method", "GET"), (":scheme", "http"), (":path", "/new"), ("x", "1")]
    );
}

#[test]
fn what_is_not_legal_on_the_wire_is_dropped_with_ok() {
    let guest = on_request(
        "(call $note (i32.const 1) (call $proxy_add_header_map_value (i32.const 0) 'x' 'a\\r\\nset-cookie: pwn=1'))
         (call $note (i32.const 2) (call $proxy_add_header_map_value (i32.const 0) 'bad name' '1'))
         (call $note (i32.const 3) (call $proxy_add_header_map_value (i32.const 0) '' '1'))
         (call $note (i32.const 4) (call $proxy_replace_header_map_value (i32.const 0) 'x' 'a\\0b'))
         (call $note (i32.const 5) (call $proxy_add_header_map_value (i32.const 0) ':status' '200'))",
    );
    let bench = Bench::new(&guest);
    let talk = bench.exchange();
    talk.request(&[], &[]);
    assert_eq!([1, 2, 3, 4, 5].map(|slot| bench.number(slot)), [0; 5]);
    assert_eq!(talk.chain.exchange().headers(Request).unwrap().len(), 4);
}

#[test]
fn maps_are_readable_to_the_end_and_late_writes_are_ignored_with_ok() {
    let body = |slot: u32| {
        format!(
            "(drop (call $proxy_get_header_map_value (i32.const 0) 'x-a' (global.get $at) (global.get $n)))
             (call $note_result (i32.const {slot}))
             (call $note (i32.const {}) (call $proxy_add_header_map_value (i32.const 0) 'late' '1'))",
            slot + 10
        )
    };
    let guest = Guest::new()
        .on("proxy_on_request_headers", CONTINUE)
        .on("proxy_on_response_headers", &format!("{} {CONTINUE}", body(1)))
        .on("proxy_on_done", &format!("{} (i32.const 1)", body(2)))
        .on("proxy_on_log", &body(3));
    let bench = Bench::new(&guest);
    let talk = bench.exchange();
    talk.request(&[("x-a", "here")], &[]);
    talk.response(&[], &[]);
    talk.chain.finish();
    assert_eq!([1, 2, 3].map(|slot| bench.text(slot)), ["here"; 3]);
    assert_eq!([11, 12, 13].map(|slot| bench.number(slot)), [0; 3]);
    assert_eq!(talk.fields(Request, "late"), [""; 0]);
}

#[test]
fn trailers_are_read_and_changed() {
    let guest = Guest::new().on(
        "proxy_on_response_trailers",
        "(call $note (i32.const 1) (local.get $count))
         (drop (call $proxy_add_header_map_value (i32.const 3) 'x-sum' '1')) (i32.const 0)",
    );
    let bench = Bench::new(&guest);
    let talk = bench.exchange();
    talk.request(&[], &[]);
    let passed = talk.response(&[], &["data", "!grpc-status: 0"]).unwrap();
    assert_eq!(passed.trailers.unwrap().len(), 2);
    assert_eq!(bench.number(1), 1);
    assert_eq!(talk.fields(Response, ":status"), ["200"]);
}

#[test]
fn unknown_maps_are_bad_arguments() {
    let guest = on_request(
        "(call $note (i32.const 1) (call $proxy_get_header_map_pairs (i32.const 8) (global.get $at) (global.get $n)))
         (call $note (i32.const 2) (call $proxy_add_header_map_value (i32.const 99) 'a' 'b'))
         (call $note (i32.const 3) (call $proxy_set_header_map_pairs (i32.const 0) 'not pairs'))
         (call $note (i32.const 4) (call $proxy_get_header_map_value (i32.const 4) 'a' (global.get $at) (global.get $n)))",
    );
    let bench = Bench::new(&guest);
    bench.exchange().request(&[], &[]);
    assert_eq!([1, 2, 3, 4].map(|slot| bench.number(slot)), [2, 2, 2, 1]);
}
