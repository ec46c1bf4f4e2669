//! Guests written as text: callbacks in the text format, with everything of the ABI imported under its own name and
//! strings in quotes.

use std::fmt::Write as _;

/// Callback, parameters, result, what it answers when the test says nothing else.
const CALLBACKS: [(&str, &str, &str); 21] = [
    ("_initialize", "", ""),
    ("_start", "", ""),
    ("proxy_on_context_create", "(param $ctx i32) (param $parent i32)", ""),
    ("proxy_on_vm_start", "(param $ctx i32) (param $size i32)", "i32"),
    ("proxy_on_configure", "(param $ctx i32) (param $size i32)", "i32"),
    ("proxy_on_tick", "(param $ctx i32)", ""),
    ("proxy_on_queue_ready", "(param $ctx i32) (param $queue i32)", ""),
    ("proxy_on_request_headers", "(param $ctx i32) (param $count i32) (param $end i32)", "i32"),
    ("proxy_on_response_headers", "(param $ctx i32) (param $count i32) (param $end i32)", "i32"),
    ("proxy_on_request_body", "(param $ctx i32) (param $size i32) (param $end i32)", "i32"),
    ("proxy_on_response_body", "(param $ctx i32) (param $size i32) (param $end i32)", "i32"),
    ("proxy_on_request_trailers", "(param $ctx i32) (param $count i32)", "i32"),
    ("proxy_on_response_trailers", "(param $ctx i32) (param $count i32)", "i32"),
    (
        "proxy_on_http_call_response",
        "(param $ctx i32) (param $token i32) (param $count i32) (param $size i32) (param $trailers i32)",
        "",
    ),
    ("proxy_on_grpc_receive_initial_metadata", "(param $ctx i32) (param $token i32) (param $count i32)", ""),
    ("proxy_on_grpc_receive", "(param $ctx i32) (param $token i32) (param $size i32)", ""),
    ("proxy_on_grpc_receive_trailing_metadata", "(param $ctx i32) (param $token i32) (param $count i32)", ""),
    ("proxy_on_grpc_close", "(param $ctx i32) (param $token i32) (param $status i32)", ""),
    ("proxy_on_done", "(param $ctx i32)", "i32"),
    ("proxy_on_log", "(param $ctx i32)", ""),
    ("proxy_on_delete", "(param $ctx i32)", ""),
];

/// Imports: module, name, number of `i32` parameters before an optional `i64`, whether it answers.
pub(in crate::wasm) const IMPORTS: [(&str, &str, &str, bool); 48] = [
    ("env", "proxy_log", "iii", true),
    ("env", "proxy_get_log_level", "i", true),
    ("env", "proxy_get_current_time_nanoseconds", "i", true),
    ("env", "proxy_set_tick_period_milliseconds", "i", true),
    ("env", "proxy_get_buffer_bytes", "iiiii", true),
    ("env", "proxy_get_buffer_status", "iii", true),
    ("env", "proxy_set_buffer_bytes", "iiiii", true),
    ("env", "proxy_get_configuration", "ii", true),
    ("env", "proxy_get_header_map_size", "ii", true),
    ("env", "proxy_get_header_map_pairs", "iii", true),
    ("env", "proxy_set_header_map_pairs", "iii", true),
    ("env", "proxy_get_header_map_value", "iiiii", true),
    ("env", "proxy_add_header_map_value", "iiiii", true),
    ("env", "proxy_replace_header_map_value", "iiiii", true),
    ("env", "proxy_remove_header_map_value", "iii", true),
    ("env", "proxy_get_property", "iiii", true),
    ("env", "proxy_set_property", "iiii", true),
    ("env", "proxy_continue_stream", "i", true),
    ("env", "proxy_close_stream", "i", true),
    ("env", "proxy_continue_request", "", false),
    ("env", "proxy_continue_response", "", true),
    ("env", "proxy_clear_route_cache", "", true),
    ("env", "proxy_get_status", "iii", true),
    ("env", "proxy_send_local_response", "iiiiiiii", true),
    ("env", "proxy_http_call", "iiiiiiiiii", true),
    ("env", "proxy_grpc_call", "iiiiiiiiiiii", true),
    ("env", "proxy_grpc_stream", "iiiiiiiii", true),
    ("env", "proxy_grpc_send", "iiii", true),
    ("env", "proxy_grpc_cancel", "i", true),
    ("env", "proxy_grpc_close", "i", true),
    ("env", "proxy_get_shared_data", "iiiii", true),
    ("env", "proxy_set_shared_data", "iiiii", true),
    ("env", "proxy_register_shared_queue", "iii", true),
    ("env", "proxy_resolve_shared_queue", "iiiii", true),
    ("env", "proxy_enqueue_shared_queue", "iii", true),
    ("env", "proxy_dequeue_shared_queue", "iii", true),
    ("env", "proxy_define_metric", "iiii", true),
    ("env", "proxy_increment_metric", "il", true),
    ("env", "proxy_record_metric", "il", true),
    ("env", "proxy_get_metric", "ii", true),
    ("env", "proxy_set_effective_context", "i", true),
    ("env", "proxy_done", "", true),
    ("env", "proxy_call_foreign_function", "iiiiii", true),
    ("wasi_snapshot_preview1", "fd_write", "iiii", true),
    ("wasi_snapshot_preview1", "random_get", "ii", true),
    ("wasi_snapshot_preview1", "clock_time_get", "ili", true),
    ("wasi_snapshot_preview1", "environ_sizes_get", "ii", true),
    ("wasi_snapshot_preview1", "environ_get", "ii", true),
];

/// What every guest has. `$note` and its kin record something for the test, as shared data under a number. Results of
/// hostcalls go to `$at` (address) and `$n` (size or number).
const PRELUDE: &str = r#"
  (memory (export "memory") 4)
  (global $heap (mut i32) (i32.const 131072))
  (global $at i32 (i32.const 16))
  (global $n i32 (i32.const 20))
  (func $note (param $slot i32) (param $value i32)
    (i32.store (i32.const 4) (local.get $value))
    (call $note_bytes (local.get $slot) (i32.const 4) (i32.const 4)))
  (func $note_bytes (param $slot i32) (param $from i32) (param $size i32)
    (i32.store (i32.const 8) (local.get $slot))
    (drop (call $proxy_set_shared_data (i32.const 8) (i32.const 4) (local.get $from) (local.get $size) (i32.const 0))))
  (func $note_result (param $slot i32)
    (call $note_bytes (local.get $slot) (i32.load (global.get $at)) (i32.load (global.get $n))))
"#;
const ALLOCATOR: &str = r#"
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (local $address i32)
    (local.set $address (global.get $heap))
    (global.set $heap (i32.add (global.get $heap) (local.get $size)))
    (local.get $address))
"#;

/// Serialised pairs, to be put in quotes.
pub(in crate::wasm) fn pairs(fields: &[(&str, &str)]) -> String {
    let mut bytes = Vec::new();
    crate::wasm::pairs::encode(fields.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())), &mut bytes);
    String::from_utf8(bytes).expect("short fields")
}

/// Any bytes, to be put in quotes.
pub(in crate::wasm) fn escape(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// Text in which `\xNN` is a byte.
fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).expect("two digits"));
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

/// A guest being written.
pub(in crate::wasm) struct Guest {
    data: Vec<u8>,
    functions: String,
    allocator: String,
}

/// Where strings are kept.
const DATA: usize = 1024;

impl Guest {
    /// A guest that has memory, an allocator and a marker.
    pub(in crate::wasm) fn new() -> Self {
        Self { data: Vec::new(), functions: String::new(), allocator: ALLOCATOR.into() }
    }
    /// Adds a callback. In `body`, `'text'` stands for address and size of that text (`\0` and `\n` are what they are),
    /// parameters are `$ctx`, `$count`, `$size`, `$end`. Without an answer of its own it answers 0, or 1 where 0 means
    /// failure.
    pub(in crate::wasm) fn on(mut self, callback: &str, body: &str) -> Self {
        let (_, parameters, result) =
            CALLBACKS.iter().find(|known| known.0 == callback).expect("a callback of the ABI");
        let body = self.strings(body);
        let result = if result.is_empty() { String::new() } else { format!("(result {result})") };
        writeln!(self.functions, "(func (export \"{callback}\") {parameters} {result} (local $i i32) {body})").unwrap();
        self
    }
    /// Adds text that is no callback.
    pub(in crate::wasm) fn raw(mut self, text: &str) -> Self {
        let text = self.strings(text);
        self.functions.push_str(&text);
        self
    }
    /// Replaces the allocator.
    pub(in crate::wasm) fn allocator(mut self, text: &str) -> Self {
        self.allocator = self.strings(text);
        self
    }
    /// The module.
    pub(in crate::wasm) fn wasm(&self) -> Vec<u8> {
        let mut text = String::from("(module\n");
        for (module, name, parameters, answers) in IMPORTS {
            let parameters: String =
                parameters.chars().map(|kind| if kind == 'l' { "(param i64)" } else { "(param i32)" }).collect();
            let result = if answers { "(result i32)" } else { "" };
            writeln!(text, "(import \"{module}\" \"{name}\" (func ${name} {parameters} {result}))").unwrap();
        }
        let data: String = self.data.iter().map(|byte| format!("\\{byte:02x}")).collect();
        write!(
            text,
            "{PRELUDE}{}(func (export \"proxy_abi_version_0_2_1\"))\n(data (i32.const {DATA}) \"{data}\")\n{})",
            self.allocator, self.functions
        )
        .unwrap();
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }
    fn strings(&mut self, body: &str) -> String {
        let mut out = String::new();
        for (index, part) in body.split('\'').enumerate() {
            if index % 2 == 0 {
                out.push_str(part);
                continue;
            }
            let text = part.replace("\\0", "\0").replace("\\r", "\r").replace("\\n", "\n");
            let bytes = unescape(&text);
            write!(out, "(i32.const {}) (i32.const {})", DATA + self.data.len(), bytes.len()).unwrap();
            self.data.extend_from_slice(&bytes);
        }
        out
    }
}
